//! The properties, judged from outside: from what relays send, hear and hold, and what hosts get.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use teredo::Instant;
use teredo::addr::{Mapped, SERVER_PORT, TeredoAddr};
use teredo::relay::{BUBBLE_INTERVAL, BUBBLE_WINDOW, BUBBLES_MAX, Limits};
use teredo::wire::payload;
use teredo::wire::trailer::Trailers;

use crate::net::{Output, may_be_sent_to};
use crate::packet::{ATTACK, Tag};
use crate::relay::Held;

/// A property that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A packet the network allowed did not arrive.
    Lost(Tag),
    /// A packet arrived again, though no link doubled it.
    Twice(Tag),
    /// A packet arrived behind a later one.
    OutOfOrder(Tag),
    /// What an attacker forged reached a host.
    Forged(Tag),
    /// Two bubbles to one peer within 2 s.
    BubbleTooSoon(TeredoAddr),
    /// Five bubbles to one peer within 300 s, none of them answered.
    FifthBubble(TeredoAddr),
    /// Bubbles to one server faster than the limit.
    ServerRate(Ipv4Addr),
    /// Bubbles to new peers faster than the limit.
    NewPeerRate,
    /// A datagram to what is no host of the IPv4 internet.
    NotGlobal(Ipv4Addr),
    /// More state than the limits allow.
    Unbounded(Held),
    /// A packet crossed more links than any path has.
    Loop(Tag),
    /// A relay still sent long after the last packet of any flow.
    NotSilent,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Violations noted in one run.
const NOTED: usize = 16;

/// Links the longest path has: client, server, host; or client, relay, host.
const PATH_LINKS: u32 = 3;

/// A token bucket in fractions of a token, kept apart from the relay's own.
#[derive(Clone, Copy, Debug)]
struct Meter {
    level: f64,
    at: Instant,
}

impl Meter {
    /// Whether one more was within `rate` a second and `burst`.
    fn take(&mut self, now: Instant, rate: u32, burst: u32) -> bool {
        /// Rounding of the intervals between tokens.
        const SLACK: f64 = 1e-3;
        let passed = now.saturating_since(self.at).as_secs_f64();
        self.level = (self.level + passed * f64::from(rate)).min(f64::from(burst)) - 1.0;
        self.at = now;
        self.level >= -SLACK
    }
}

#[derive(Clone, Debug, Default)]
struct Probed {
    /// Bubbles since the last answer.
    bubbles: Vec<Instant>,
    last: Option<Instant>,
    /// What answers them: cookie and nonce.
    proofs: Vec<([u8; 16], Option<[u8; 4]>)>,
}

/// What one relay did since it started.
#[derive(Clone, Debug, Default)]
struct RelayLog {
    peers: BTreeMap<TeredoAddr, Probed>,
    servers: BTreeMap<Ipv4Addr, Meter>,
    new_peers: Option<Meter>,
    heard: BTreeSet<TeredoAddr>,
    /// Blocked peers were forgotten early, so single peers cannot be judged.
    was_full: bool,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    got: u32,
    doubled: bool,
    crossings: u32,
}

/// Figures of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Packets of flows.
    pub sent: u64,
    /// Of these, arrived.
    pub received: u64,
    /// Bubbles relays sent.
    pub bubbles: u64,
    /// Time from the end of the faults to the last packet lost.
    pub healed_after: Duration,
}

/// Watches a world and notes what must not be.
#[derive(Debug)]
pub struct Observer {
    limits: Limits,
    table: usize,
    strict_from: Instant,
    silent_from: Instant,
    relays: Vec<RelayLog>,
    packets: BTreeMap<Tag, Sent>,
    last: BTreeMap<u32, u32>,
    violations: Vec<Violation>,
    bubbles: u64,
}

impl Observer {
    /// Watches `relays` relays with these bounds.
    pub fn new(
        relays: usize,
        limits: Limits,
        table: usize,
        strict_from: Instant,
        silent_from: Instant,
    ) -> Self {
        Self {
            limits,
            table,
            strict_from,
            silent_from,
            relays: vec![RelayLog::default(); relays],
            packets: BTreeMap::new(),
            last: BTreeMap::new(),
            violations: Vec::new(),
            bubbles: 0,
        }
    }

    fn note(&mut self, violation: Violation) {
        if self.violations.len() < NOTED {
            self.violations.push(violation);
        }
    }

    /// Relay `relay` received a datagram: maybe the answer to its bubbles.
    pub fn relay_hears(&mut self, relay: usize, from: Mapped, datagram: &[u8]) {
        let Ok(received) = payload::parse(datagram) else {
            return;
        };
        let Some(peer) = TeredoAddr::from_octets(&received.header.source) else {
            return;
        };
        let log = &mut self.relays[relay];
        let Some(probed) = log.peers.get_mut(&peer) else {
            return;
        };
        let nonce = Trailers::parse(received.tail).ok().and_then(|t| t.nonce);
        let proves = |(cookie, sent): &([u8; 16], Option<[u8; 4]>)| {
            received.header.destination == *cookie || (nonce.is_some() && nonce == *sent)
        };
        if from == peer.mapped() || probed.proofs.iter().any(proves) {
            probed.bubbles.clear();
            log.heard.insert(peer);
        }
    }

    /// Relay `relay` sent `output`.
    pub fn relay_sends(&mut self, now: Instant, relay: usize, output: &Output) {
        if now > self.silent_from {
            self.note(Violation::NotSilent);
        }
        let Output::V4 { to, payload, .. } = output else {
            return;
        };
        self.sends_to(to.ip);
        let Ok(sent) = payload::parse(payload) else {
            return;
        };
        let peer = TeredoAddr::from_octets(&sent.header.destination);
        if let Some(peer) = peer.filter(|_| sent.header.is_bubble() && to.port == SERVER_PORT) {
            let nonce = Trailers::parse(sent.tail).ok().and_then(|t| t.nonce);
            // not even a bubble leaves for a client that cannot exist.
            self.sends_to(peer.mapped().ip);
            self.bubble(now, relay, peer, (sent.header.source, nonce));
        }
    }

    fn bubble(
        &mut self,
        now: Instant,
        relay: usize,
        peer: TeredoAddr,
        proof: ([u8; 16], Option<[u8; 4]>),
    ) {
        self.bubbles += 1;
        let limits = self.limits;
        let mut noted = Vec::new();
        let log = &mut self.relays[relay];
        let is_new = !log.heard.contains(&peer);
        let probed = log.peers.entry(peer).or_default();
        if !log.was_full {
            let is_soon = |last| now.saturating_since(last) < BUBBLE_INTERVAL;
            if probed.last.is_some_and(is_soon) {
                noted.push(Violation::BubbleTooSoon(peer));
            }
            probed
                .bubbles
                .retain(|at| now.saturating_since(*at) < BUBBLE_WINDOW);
            if probed.bubbles.len() >= usize::from(BUBBLES_MAX) {
                noted.push(Violation::FifthBubble(peer));
            }
        }
        let begins = probed.bubbles.is_empty();
        probed.bubbles.push(now);
        probed.last = Some(now);
        probed.proofs.push(proof);
        let full = |burst: u32| Meter {
            level: f64::from(burst),
            at: now,
        };
        let server = peer.server().0;
        let burst = limits.server_bubbles_burst;
        let meter = log.servers.entry(server).or_insert_with(|| full(burst));
        if !meter.take(now, limits.server_bubbles_per_s, burst) {
            noted.push(Violation::ServerRate(server));
        }
        let burst = limits.new_peers_burst;
        let meter = log.new_peers.get_or_insert_with(|| full(burst));
        if is_new && begins && !meter.take(now, limits.new_peers_per_s, burst) {
            noted.push(Violation::NewPeerRate);
        }
        for violation in noted {
            self.note(violation);
        }
    }

    /// Relay `relay` holds this much after an event.
    pub fn relay_holds(&mut self, relay: usize, held: Held) {
        let limits = &self.limits;
        if held.pending >= limits.pending_peers {
            self.relays[relay].was_full = true;
        }
        if held.trusted > self.table
            || held.pending > limits.pending_peers
            || held.queued_bytes > limits.queue_bytes_total
        {
            self.note(Violation::Unbounded(held));
        }
    }

    /// Relay `relay` began anew: its counts do as well.
    pub fn relay_restarts(&mut self, relay: usize, keeps_table: bool) {
        let log = &mut self.relays[relay];
        let heard = std::mem::take(&mut log.heard);
        *log = RelayLog::default();
        if keeps_table {
            log.heard = heard;
        }
    }

    /// A relay, a server or a client sent a datagram to `ip`.
    pub fn sends_to(&mut self, ip: Ipv4Addr) {
        if !may_be_sent_to(ip) {
            self.note(Violation::NotGlobal(ip));
        }
    }

    /// An end of a flow, or an attacker, sent the packet of `tag`.
    pub fn begins(&mut self, now: Instant, tag: Tag) {
        let sent = Sent {
            at: now,
            got: 0,
            doubled: false,
            crossings: 0,
        };
        self.packets.insert(tag, sent);
    }

    /// The packet of `tag` was put on a link, which may have doubled it.
    pub fn crosses(&mut self, tag: Tag, doubled: bool) {
        let Some(sent) = self.packets.get_mut(&tag) else {
            return;
        };
        sent.doubled |= doubled;
        sent.crossings += 1;
        // Each of three links may double what arrives.
        let most = if sent.doubled { 1 + 2 + 4 } else { PATH_LINKS };
        if sent.crossings == most + 1 {
            self.note(Violation::Loop(tag));
        }
    }

    /// The packet of `tag` reached its end.
    pub fn arrives(&mut self, tag: Tag) {
        if tag.flow == ATTACK {
            return self.note(Violation::Forged(tag));
        }
        let Some(sent) = self.packets.get_mut(&tag) else {
            return self.note(Violation::Forged(tag));
        };
        sent.got += 1;
        let (is_again, is_strict) = (sent.got > 1 && !sent.doubled, sent.at >= self.strict_from);
        if is_again {
            self.note(Violation::Twice(tag));
        }
        if is_strict {
            let last = self.last.entry(tag.flow).or_default();
            let is_late = *last > tag.seq;
            *last = tag.seq.max(*last);
            if is_late {
                self.note(Violation::OutOfOrder(tag));
            }
        }
    }

    /// The end: what the network allowed must have arrived. Faults ended at `calm_at`.
    pub fn finish(mut self, calm_at: Instant) -> (Vec<Violation>, Figures) {
        let packets = std::mem::take(&mut self.packets);
        let mut figures = Figures {
            bubbles: self.bubbles,
            ..Figures::default()
        };
        for (tag, sent) in packets.iter().filter(|(tag, _)| tag.flow != ATTACK) {
            figures.sent += 1;
            figures.received += u64::from(sent.got > 0);
            if sent.got == 0 {
                let after = sent.at.saturating_since(calm_at);
                figures.healed_after = figures.healed_after.max(after);
                if sent.at >= self.strict_from {
                    self.note(Violation::Lost(*tag));
                }
            }
        }
        (self.violations, figures)
    }
}

//! What a relay may do, written a second time and from the other end: from what leaves it.

pub(crate) mod events;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::net::Ipv4Addr;
use std::time::Duration;

use teredo::addr::{Mapped, SERVER_PORT, ServerV4, TeredoAddr};
use teredo::relay::{Command, Gauges, Limits, PeerTable, Relay, TableFull, Trusted, UdpKind};
use teredo::wire::ipv6;
use teredo::wire::trailer::Trailers;
use teredo::{Fate, Instant};

pub(crate) const QUOTE_MAX_LEN: usize = 1232;

/// The beginning of the tick `at` falls in: a table need not keep time finer than that.
pub(crate) fn coarse(at: Instant) -> Instant {
    Instant::from_nanos(at.as_nanos() >> 28 << 28)
}

/// A table that may refuse new entries.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) entries: HashMap<TeredoAddr, Trusted>,
    pub(crate) is_full: bool,
}

impl PeerTable for Table {
    fn get(&self, peer: &TeredoAddr) -> Option<Trusted> {
        self.entries.get(peer).copied()
    }

    fn insert(&mut self, peer: &TeredoAddr, entry: Trusted) -> Result<(), TableFull> {
        if self.is_full && !self.entries.contains_key(peer) {
            return Err(TableFull);
        }
        let last_rx = coarse(entry.last_rx);
        self.entries.insert(*peer, Trusted { last_rx, ..entry });
        Ok(())
    }

    fn remove(&mut self, peer: &TeredoAddr) {
        self.entries.remove(peer);
    }
}

/// A leaky bucket in floating point: how much went lately, against how much may.
struct Meter<K> {
    per_s: f64,
    burst: f64,
    levels: HashMap<K, (Instant, f64)>,
}

impl<K: Hash + Eq> Meter<K> {
    fn new(per_s: f64, burst: u32) -> Self {
        Self {
            per_s,
            burst: f64::from(burst),
            levels: HashMap::new(),
        }
    }

    fn spend(&mut self, now: Instant, key: K, what: &str) {
        let (at, level) = self.levels.entry(key).or_insert((now, 0.0));
        let leaked = now.saturating_since(*at).as_secs_f64() * self.per_s;
        *level = (*level - leaked).max(0.0) + 1.0;
        *at = now;
        assert!(
            *level <= self.burst + 1e-3,
            "{what}: {level} at once, {} allowed",
            self.burst
        );
    }
}

/// What the model remembers of one peer.
#[derive(Default)]
struct Peer {
    /// When bubbles were sent, ever.
    bubbles: Vec<Instant>,
    /// How many of them came before the last direct answer.
    answered: usize,
    cookies: HashSet<[u8; 16]>,
    last_nonce: Option<[u8; 4]>,
    last_advertisement: Option<Instant>,
    /// Where it has proved to be.
    proven: HashSet<Mapped>,
    queue: VecDeque<Vec<u8>>,
}

/// A source and a payload, judged without the relay's help.
pub(crate) struct Claim {
    pub(crate) peer: TeredoAddr,
    pub(crate) outer: Mapped,
    pub(crate) is_bubble: bool,
    pub(crate) destination: [u8; 16],
    pub(crate) nonce: Option<[u8; 4]>,
}

pub(crate) struct Model {
    limits: Limits,
    /// Addresses a datagram may leave for.
    allowed: Vec<Ipv4Addr>,
    peers: BTreeMap<TeredoAddr, Peer>,
    per_server: Meter<ServerV4>,
    per_mapping: Meter<(ServerV4, Mapped)>,
    errors: Meter<()>,
    new_peers: Meter<()>,
    pub(crate) given: u64,
    given_up: u64,
}

impl Model {
    pub(crate) fn new(limits: Limits, allowed: Vec<Ipv4Addr>) -> Self {
        Self {
            per_server: Meter::new(
                limits.server_bubbles_per_s.into(),
                limits.server_bubbles_burst,
            ),
            per_mapping: Meter::new(0.5, 4),
            errors: Meter::new(limits.icmp6_per_s.into(), limits.icmp6_burst),
            new_peers: Meter::new(limits.new_peers_per_s.into(), limits.new_peers_burst),
            limits,
            allowed,
            peers: BTreeMap::new(),
            given: 0,
            given_up: 0,
        }
    }

    fn peer(&mut self, peer: TeredoAddr) -> &mut Peer {
        self.peers.entry(peer).or_default()
    }

    /// The relay kept `packet`, as it would leave, for `peer`.
    pub(crate) fn queued(&mut self, peer: TeredoAddr, packet: Vec<u8>) {
        self.peer(peer).queue.push_back(packet);
    }

    /// The fast path heard `peer`.
    pub(crate) fn heard(&mut self, peer: TeredoAddr) {
        let peer = self.peer(peer);
        peer.answered = peer.bubbles.len();
    }

    /// A cookie, and the nonce, `peer` was sent last.
    pub(crate) fn proofs(&self, peer: &TeredoAddr) -> (Option<[u8; 16]>, Option<[u8; 4]>) {
        self.peers.get(peer).map_or((None, None), |p| {
            (p.cookies.iter().min().copied(), p.last_nonce)
        })
    }

    /// What came of `claim`.
    pub(crate) fn judged(&mut self, claim: &Claim, fate: Fate) {
        let accepted = matches!(
            fate,
            Fate::BubbleAccepted
                | Fate::Decapsulated
                | Fate::DestinationNotGlobal
                | Fate::DestinationTeredo
                | Fate::DestinationNotServed
                | Fate::DestinationEmbedsForbiddenAddress
                | Fate::CongestionMarkedNotEct
        );
        if !accepted {
            return;
        }
        let peer = self.peer(claim.peer);
        let proves = claim.is_bubble
            && (peer.cookies.contains(&claim.destination)
                || (claim.nonce.is_some() && claim.nonce == peer.last_nonce));
        let legitimate =
            claim.outer == claim.peer.mapped() || peer.proven.contains(&claim.outer) || proves;
        assert!(legitimate, "{} spoke for {}", claim.outer, claim.peer);
        assert!(
            !peer.bubbles.is_empty(),
            "{} was never written to",
            claim.peer
        );
        peer.proven.insert(claim.outer);
        peer.answered = peer.bubbles.len();
    }

    /// Everything `relay` wants sent at `now`. `table` is the table before the event.
    pub(crate) fn sent(
        &mut self,
        now: Instant,
        relay: &mut Relay<Table>,
        table: &HashMap<TeredoAddr, Trusted>,
    ) {
        let evicted = relay.gauges().blocked_evicted > 0;
        while let Some(command) = relay.poll() {
            match command {
                Command::SendUdp {
                    to, payload, kind, ..
                } => {
                    assert!(
                        self.allowed.contains(&to.ip) && to.port != 0,
                        "a datagram to {to}"
                    );
                    match kind {
                        UdpKind::Bubble => self.bubble(now, to, payload, table, evicted),
                        UdpKind::Data | UdpKind::Queued => {
                            self.data(now, to, payload, kind, table);
                        }
                    }
                }
                Command::Forward { packet } => {
                    let (header, ..) = ipv6::parse(packet).unwrap();
                    assert_eq!(header.packet_len(), packet.len());
                    assert!(
                        TeredoAddr::is_teredo(&header.source)
                            && header.destination[0] & 0xe0 == 0x20
                    );
                    assert!(!TeredoAddr::is_teredo(&header.destination));
                }
                Command::Icmp6 { to, quote, .. } => {
                    self.errors.spend(now, (), "ICMPv6 errors");
                    assert!(quote.len() <= QUOTE_MAX_LEN);
                    assert_eq!(quote[8..24], to.octets());
                    // Garbage may look like a packet of any native host.
                    assert!(
                        teredo::filter::native_source(&to.octets()).is_ok(),
                        "an error to {to}"
                    );
                    let is_error = quote[6] == ipv6::ICMP6 && (quote[40] < 128 || quote[40] == 137);
                    assert!(!is_error && quote[24] != 0xff, "RFC 4443 2.4 e");
                }
            }
        }
    }

    fn bubble(
        &mut self,
        now: Instant,
        to: Mapped,
        payload: &[u8],
        table: &HashMap<TeredoAddr, Trusted>,
        evicted: bool,
    ) {
        let (header, _, tail) = ipv6::parse(payload).unwrap();
        let trailers = Trailers::parse(tail).unwrap();
        let address = TeredoAddr::from_octets(&header.destination).unwrap();
        let peer = self.peers.entry(address).or_default();
        if trailers.nd.is_some() {
            let last = peer.last_advertisement.replace(now);
            assert!(last.is_none_or(|at| now.saturating_since(at) >= Duration::from_secs(2)));
            assert!(peer.proven.contains(&to));
            return;
        }
        assert_eq!(
            to,
            Mapped {
                ip: address.server().0,
                port: SERVER_PORT
            }
        );
        if let Some(last) = peer.bubbles.last() {
            assert!(
                now.saturating_since(*last) >= Duration::from_secs(2),
                "R-26: 2 s"
            );
        }
        let is_new = peer.bubbles.len() == peer.answered
            && peer.proven.is_empty()
            && !table.contains_key(&address);
        peer.bubbles.push(now);
        let unanswered = &peer.bubbles[peer.answered..];
        let lately = unanswered
            .iter()
            .filter(|at| now.saturating_since(**at) < Duration::from_mins(5));
        assert!(
            evicted || lately.count() <= 4,
            "R-26: a fifth bubble in 300 s"
        );
        peer.cookies.insert(header.source);
        peer.last_nonce = trailers.nonce;
        self.per_server
            .spend(now, address.server(), "bubbles to one server");
        self.per_mapping.spend(
            now,
            (address.server(), address.mapped()),
            "bubbles to one mapping",
        );
        if is_new {
            self.new_peers.spend(now, (), "new peers");
        }
    }

    fn data(
        &mut self,
        now: Instant,
        to: Mapped,
        payload: &[u8],
        kind: UdpKind,
        table: &HashMap<TeredoAddr, Trusted>,
    ) {
        let (header, ..) = ipv6::parse(payload).unwrap();
        let address = TeredoAddr::from_octets(&header.destination).unwrap();
        let peer = self.peers.entry(address).or_default();
        assert!(
            peer.proven.contains(&to),
            "data to {to}, which nobody has answered from"
        );
        if kind == UdpKind::Queued {
            assert_eq!(
                peer.queue.pop_front().as_deref(),
                Some(payload),
                "first in, first out"
            );
            return;
        }
        assert!(peer.queue.is_empty(), "data overtook the queue");
        let entry = table[&address];
        assert_eq!(entry.mapped, to);
        assert!(
            now.saturating_since(entry.last_rx) <= Duration::from_secs(30),
            "data to a stale peer"
        );
    }

    /// The books, after every event.
    pub(crate) fn balance(&mut self, relay: &Relay<Table>) {
        let gauges: Gauges = relay.gauges();
        assert_eq!(
            relay.tally().total().packets + gauges.queued_packets as u64,
            self.given
        );
        let mut waiting = HashMap::new();
        let mut sum = (0, 0);
        for pending in relay.pending() {
            assert!(pending.queued_packets <= self.limits.queue_packets_per_peer);
            assert!(pending.queued_bytes <= self.limits.queue_bytes_per_peer);
            sum = (sum.0 + pending.queued_packets, sum.1 + pending.queued_bytes);
            waiting.insert(pending.peer, pending.queued_packets);
        }
        assert_eq!(sum, (gauges.queued_packets, gauges.queued_bytes));
        assert!(sum.1 <= self.limits.queue_bytes_total);
        assert!(relay.pending().count() <= self.limits.pending_peers);
        assert_eq!(
            gauges.probing + gauges.early_probes + gauges.blocked,
            relay.pending().count()
        );
        for (address, peer) in &mut self.peers {
            let left = waiting.get(address).copied().unwrap_or(0);
            let gone = peer
                .queue
                .len()
                .checked_sub(left)
                .expect("nothing waits that was not queued");
            assert!(gone == 0 || left == 0, "a queue is given up as a whole");
            peer.queue.drain(..gone);
            self.given_up += gone as u64;
        }
        let tally = relay.tally();
        let told = tally.get(Fate::BubblesUnanswered).packets + tally.get(Fate::ShutDown).packets;
        assert!(self.given_up <= told, "a queued packet vanished");
    }
}

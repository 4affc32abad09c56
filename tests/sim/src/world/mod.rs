//! The event loop: what happens next, and to whom.

mod build;
mod event;
mod faults;
mod paths;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use teredo::Instant;
use teredo::addr::Mapped;

use self::event::Event;
use crate::check::{Figures, Observer, Violation};
use crate::client::{ClientOutput, TeredoClient};
use crate::nat::Nat;
use crate::net::{Output, Weather};
use crate::packet::{self, Tag};
use crate::plan::{CALM_AT, End, FALLS_SILENT_WITHIN, Plan};
use crate::relay::{RelayNode, Setup};
use crate::server::PlainServer;

struct ClientNode {
    client: Box<dyn TeredoClient>,
    nat: Nat,
    /// The carrier in front of its NAT.
    carrier: Option<usize>,
    local: Mapped,
    wake: Option<Instant>,
}

struct RelaySlot {
    node: Box<dyn RelayNode>,
    setup: Setup,
    wake: Option<Instant>,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Hash over every event with its time.
    pub trace: u64,
    /// Events.
    pub events: u64,
    /// Properties that do not hold.
    pub violations: Vec<Violation>,
    /// Figures.
    pub figures: Figures,
}

/// A small internet.
pub struct World {
    plan: Plan,
    now: Instant,
    queue: BTreeMap<(Instant, u64), Event>,
    queued: u64,
    rng: fastrand::Rng,
    weather: Weather,
    cut_off: Option<Ipv4Addr>,
    relays: Vec<RelaySlot>,
    servers: Vec<PlainServer>,
    clients: Vec<ClientNode>,
    /// NATs of carriers, each in front of some clients' own.
    carriers: Vec<Nat>,
    /// The relay nearest to each host.
    nearest: Vec<usize>,
    sent: Vec<u32>,
    moved: u32,
    forged: u32,
    observer: Observer,
    trace: DefaultHasher,
    events: u64,
}

/// Events of the longest run: more is a loop no packet's count shows.
const EVENTS_MAX: u64 = 1_000_000;

const fn host_ip(i: usize) -> Ipv6Addr {
    #[allow(clippy::cast_possible_truncation)] // A handful.
    Ipv6Addr::new(0x2001, 0xdb8, 0x80, i as u16, 0, 0, 0, 0x80)
}

impl World {
    fn at(&mut self, at: Instant, event: Event) {
        self.queued += 1;
        self.queue.insert((at, self.queued), event);
    }

    /// Runs to the end.
    pub fn run(mut self) -> Outcome {
        let end = self.plan.flows_end() + FALLS_SILENT_WITHIN + Duration::from_secs(30);
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if at > end || self.events >= EVENTS_MAX {
                break;
            }
            self.now = at;
            self.events += 1;
            (at, &event).hash(&mut self.trace);
            if self.plan.prints {
                println!(
                    "{:12.6} {event:?}",
                    Duration::from_nanos(at.as_nanos()).as_secs_f64()
                );
            }
            self.turn(event);
        }
        let (mut violations, figures) = self.observer.finish(Instant::default() + CALM_AT);
        if self.events >= EVENTS_MAX {
            violations.push(Violation::NotSilent);
        }
        Outcome {
            trace: self.trace.finish(),
            events: self.events,
            violations,
            figures,
        }
    }

    fn turn(&mut self, event: Event) {
        match event {
            Event::V4 { from, to, payload } => self.v4_arrives(from, to, &payload),
            Event::V6(packet) => self.v6_arrives(&packet),
            Event::WakeRelay(i) => {
                self.relays[i].wake = None;
                let due = self.relays[i].node.poll_timeout();
                if due.is_some_and(|due| due <= self.now) {
                    self.relay(i, |relay, now, out| relay.handle_timeout(now, out));
                } else {
                    self.wake_relay(i);
                }
            }
            Event::WakeClient(i) => {
                self.clients[i].wake = None;
                self.client(i, |client, now, out| client.handle_timeout(now, out));
            }
            Event::Flow(i) => self.flow_sends(i),
            Event::Happens(what) => self.take_place(what),
        }
    }

    /// The present address of an end; `None` while a client has none.
    fn address(&self, end: End) -> Option<[u8; 16]> {
        match end {
            End::Host(i) => Some(host_ip(i).octets()),
            End::Client(i) => self.clients[i].client.address().map(|a| a.octets()),
        }
    }

    fn flow_sends(&mut self, i: usize) {
        if self.now >= self.plan.flows_end() {
            return;
        }
        let flow = self.plan.flows[i];
        let seq = self.sent[i];
        if let (Some(from), Some(to)) = (self.address(flow.from), self.address(flow.to)) {
            #[allow(clippy::cast_possible_truncation)] // A handful.
            let tag = Tag {
                flow: i as u32,
                seq,
            };
            self.sent[i] += 1;
            self.observer.begins(self.now, tag);
            let packet = packet::build(from, to, tag);
            match flow.from {
                End::Host(_) => self.launch_v6(packet),
                End::Client(i) => self.client(i, |client, now, out| client.send(now, &packet, out)),
            }
        }
        let next = self.plan.next_send(&flow, self.now, seq);
        self.at(next, Event::Flow(i));
    }

    fn relay(&mut self, i: usize, act: impl FnOnce(&mut dyn RelayNode, Instant, &mut Vec<Output>)) {
        let mut out = Vec::new();
        let now = self.now;
        act(self.relays[i].node.as_mut(), now, &mut out);
        let held = self.relays[i].node.held();
        self.observer.relay_holds(i, held);
        for output in out {
            self.observer.relay_sends(now, i, &output);
            match output {
                Output::V4 { from, to, payload } => self.launch_v4(from, to, payload),
                Output::V6(packet) => self.launch_v6(packet),
            }
        }
        self.wake_relay(i);
    }

    fn wake_relay(&mut self, i: usize) {
        let relay = &mut self.relays[i];
        let due = relay.node.poll_timeout().map(|at| at.max(self.now));
        if let Some(due) = due.filter(|due| relay.wake.is_none_or(|wake| *due < wake)) {
            relay.wake = Some(due);
            self.at(due, Event::WakeRelay(i));
        }
    }

    fn client(
        &mut self,
        i: usize,
        act: impl FnOnce(&mut dyn TeredoClient, Instant, &mut ClientOutput),
    ) {
        let mut out = ClientOutput::default();
        let now = self.now;
        let node = &mut self.clients[i];
        act(node.client.as_mut(), now, &mut out);
        for packet in out.delivered {
            if let Some(tag) = packet::tag(&packet) {
                self.observer.arrives(tag);
            }
        }
        for (to, payload) in out.datagrams {
            self.observer.sends_to(to.ip);
            if let Some(from) = self.leaves_nats(i, to) {
                self.launch_v4(from, to, payload);
            }
        }
        self.wake_client(i);
    }

    fn wake_client(&mut self, i: usize) {
        let node = &mut self.clients[i];
        let due = node.client.poll_timeout().map(|at| at.max(self.now));
        if let Some(due) = due.filter(|due| node.wake.is_none_or(|wake| *due < wake)) {
            node.wake = Some(due);
            self.at(due, Event::WakeClient(i));
        }
    }
}

//! The thread that owns the relay's state machine.
//!
//! It alone writes the peer table. One turn: take a batch of arrivals, feed them to the state machine,
//! send what it asks for, and only then publish its table writes to the fast path, so that a
//! peer's queued packets leave before the fast path opens for it (R-37, pitfall 14). Packets that wait in front of the
//! relay thread must leave before as well: publishing waits for a moment when there are none.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use relay_common::{Counter, PeerEntry, PeerKey, Reason, Ticks};
use teredo::addr::TeredoAddr;
use teredo::relay::{Command, Gauges, PendingPeer, Relay, UdpKind};
use teredo::{Fate, Instant};
use tracing::debug;

use super::clock;
use super::icmp6::ErrorSocket;
use super::inlet::{Arrival, Input};
use super::latency::{Latency, Percentiles};
use super::tally::FrontTally;
use super::tun::Tun;
use super::udp::{Datagram, SendBatch, ServiceSocket};
use super::xsk::PuntWatch;
use crate::datapath::StagedPeers;

/// Arrivals handled before anything is sent: enough to batch system calls, few enough to keep latency low.
const BATCH_MAX: usize = 64;

/// How often expired peers are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Peers looked at in one sweep: a full table of a million is gone through in half a minute.
const SWEEP_BUDGET: usize = 32_768;

/// How long a peer's way into the fast path may wait for the slow path to run empty. When the slow path is
/// flooded, the peer is served there until then.
const PUBLISH_WITHIN: Duration = Duration::from_millis(50);

/// How soon the relay thread looks again whether the slow path has run empty.
const PUBLISH_RETRY: Duration = Duration::from_micros(50);

/// Peers counted one by one for a status: a few milliseconds of the relay thread.
const COUNTED_ANEW_MAX: usize = 16_384;

/// What the control thread asks of the relay thread.
#[derive(Debug)]
pub enum Request {
    /// Figures for `status`.
    Snapshot(Sender<Snapshot>),
    /// Peers that are not trusted, for `peers`.
    Pending(Sender<Vec<PendingPeer>>),
    /// Trusted peers, for `peers`: some of them, and how many there are.
    Trusted {
        /// Most to list.
        limit: usize,
        /// Where the answer goes.
        reply: Sender<(Vec<(PeerKey, PeerEntry)>, u64)>,
    },
    /// This machine's IPv4 addresses, and the broadcast addresses of its subnets, have changed.
    OwnIpv4 {
        /// Addresses.
        own: Vec<Ipv4Addr>,
        /// Directed broadcasts.
        broadcasts: Vec<Ipv4Addr>,
    },
    /// Drop the queues and end.
    ShutDown,
}

/// Trusted peers by freshness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrustedCounts {
    /// Heard in the last 30 s.
    pub fresh: u64,
    /// Not heard for 30 s, not yet forgotten.
    pub stale: u64,
}

/// The slow path's figures at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Trusted peers; in a large table as of the last complete sweep.
    pub trusted: TrustedCounts,
    /// By reason, front ends included.
    pub counters: [Counter; Reason::COUNT],
    /// The state machine's gauges.
    pub gauges: Gauges,
    /// Native frame in to bubble out.
    pub frame_to_bubble: Percentiles,
    /// Client's answer in to queue out.
    pub answer_to_queue: Percentiles,
}

/// The sockets the relay thread sends through.
#[derive(Debug)]
pub struct Outlets {
    /// To clients and servers.
    pub service: ServiceSocket,
    /// To native IPv6.
    pub tun: Arc<Tun>,
    /// ICMPv6 errors.
    pub errors: ErrorSocket,
}

/// The relay thread's state.
pub struct RelayThread {
    relay: Relay<StagedPeers>,
    outlets: Outlets,
    batch: SendBatch,
    front: Arc<FrontTally>,
    /// The rings in front of the punt workers.
    punts: Vec<PuntWatch>,
    /// When the oldest write that is not published yet was staged.
    staged_at: Option<Instant>,
    /// Packets the state machine counted as carried but the kernel refused.
    refused: [Counter; Reason::COUNT],
    frame_to_bubble: Latency,
    answer_to_queue: Latency,
    next_sweep: Instant,
    /// What the sweep in progress has seen so far.
    sweeping: TrustedCounts,
    /// What the last complete sweep saw.
    swept: TrustedCounts,
}

/// What became visible outside while one arrival was handled.
#[derive(Clone, Copy)]
enum Effect {
    Bubble,
    Queue,
}

impl RelayThread {
    /// A thread around `relay`, sending through `outlets`.
    pub fn new(
        relay: Relay<StagedPeers>,
        outlets: Outlets,
        front: Arc<FrontTally>,
        punts: Vec<PuntWatch>,
    ) -> Self {
        Self {
            punts,
            staged_at: None,
            relay,
            outlets,
            batch: SendBatch::default(),
            front,
            refused: [Counter::default(); Reason::COUNT],
            frame_to_bubble: Latency::default(),
            answer_to_queue: Latency::default(),
            next_sweep: clock::now() + SWEEP_INTERVAL,
            sweeping: TrustedCounts::default(),
            swept: TrustedCounts::default(),
        }
    }

    /// Runs until [`Request::ShutDown`] or until every sender is gone. Gives the last figures back.
    pub fn run(mut self, arrivals: &Receiver<Arrival>, requests: &Receiver<Request>) -> Snapshot {
        loop {
            let wait = self.next_deadline().saturating_since(clock::now());
            crossbeam_channel::select! {
                recv(arrivals) -> arrival => match arrival {
                    Ok(arrival) => self.turn(arrival, arrivals),
                    Err(_) => return self.snapshot(),
                },
                recv(requests) -> request => match request {
                    Ok(Request::ShutDown) | Err(_) => {
                        self.relay.shut_down();
                        self.carry_out();
                        return self.snapshot();
                    }
                    Ok(request) => self.answer(request),
                },
                default(wait) => {}
            }
            self.keep_time();
            self.publish_when_quiet(arrivals);
        }
    }

    fn next_deadline(&self) -> Instant {
        let timer = self.relay.poll_timeout().unwrap_or(self.next_sweep);
        let publish = match self.staged_at {
            Some(_) => clock::now() + PUBLISH_RETRY,
            None => self.next_sweep,
        };
        timer.min(self.next_sweep).min(publish)
    }

    /// Opens the fast path for the peers of this turn, once no packet that came before is left behind.
    fn publish_when_quiet(&mut self, arrivals: &Receiver<Arrival>) {
        if !self.relay.table().has_staged() {
            self.staged_at = None;
            return;
        }
        let now = clock::now();
        let staged_at = *self.staged_at.get_or_insert(now);
        // The order counts: rings, workers' hands, channel. A packet can only move along it.
        let quiet = self.punts.iter().all(PuntWatch::is_quiet) && arrivals.is_empty();
        if quiet || now.saturating_since(staged_at) >= PUBLISH_WITHIN {
            self.relay.table_mut().publish();
            self.staged_at = None;
        }
    }

    fn turn(&mut self, first: Arrival, arrivals: &Receiver<Arrival>) {
        let mut visible: Vec<(Instant, Effect)> = Vec::new();
        let mut arrival = Some(first);
        let mut handled = 0;
        while let Some(next) = arrival {
            let at = next.at;
            if let Some(effect) = self.handle(next.input) {
                visible.push((at, effect));
            }
            handled += 1;
            arrival = if handled < BATCH_MAX {
                arrivals.try_recv().ok()
            } else {
                None
            };
        }
        self.send();
        let sent_at = clock::now();
        for (at, effect) in visible {
            let latency = sent_at.saturating_since(at);
            match effect {
                Effect::Bubble => self.frame_to_bubble.record(latency),
                Effect::Queue => self.answer_to_queue.record(latency),
            }
        }
    }

    fn handle(&mut self, input: Input) -> Option<Effect> {
        let now = clock::now();
        match input {
            Input::Native { packet, hop } => {
                let fate = self.relay.from_native(now, &packet, hop);
                debug!(bytes = packet.len(), ?fate, "from native");
            }
            Input::Client {
                source,
                tos,
                payload,
            } => {
                let fate = self.relay.from_client(now, source, tos, &payload);
                debug!(bytes = payload.len(), ?fate, "from client");
            }
            Input::Probe(key) => self.relay.probe(now, &TeredoAddr::from(key)),
        }
        self.carry_out()
    }

    /// Moves the state machine's commands to the sockets. Datagrams are batched, the rest goes at once.
    fn carry_out(&mut self) -> Option<Effect> {
        let mut effect = None;
        while let Some(command) = self.relay.poll() {
            match command {
                Command::SendUdp {
                    to,
                    tos,
                    payload,
                    kind,
                } => {
                    effect = match kind {
                        UdpKind::Bubble => Some(Effect::Bubble),
                        UdpKind::Queued => Some(Effect::Queue),
                        UdpKind::Data => effect,
                    };
                    self.batch.push(Datagram {
                        to: to.into(),
                        tos,
                        payload,
                        kind,
                    });
                }
                Command::Forward { packet } => {
                    if let Err(error) = self.outlets.tun.send(&packet) {
                        debug!(%error, "the kernel refused a decapsulated packet");
                        count_refused(&mut self.refused, Fate::Decapsulated, packet.len());
                    }
                }
                Command::Icmp6 { to, error, quote } => {
                    if let Err(cause) = self.outlets.errors.send(to, error, &quote) {
                        debug!(%cause, ?error, "the kernel refused an ICMPv6 error");
                    }
                }
            }
        }
        effect
    }

    fn send(&mut self) {
        let refused = &mut self.refused;
        self.outlets
            .service
            .send(&mut self.batch, |datagram, error| {
                debug!(%error, kind = ?datagram.kind, "the kernel refused a datagram");
                let fate = match datagram.kind {
                    UdpKind::Bubble => return,
                    UdpKind::Data => Fate::Encapsulated,
                    UdpKind::Queued => Fate::EncapsulatedFromQueue,
                };
                count_refused(refused, fate, datagram.payload.len());
            });
        self.relay.table_mut().publish();
    }

    fn keep_time(&mut self) {
        let now = clock::now();
        if self.relay.poll_timeout().is_some_and(|at| at <= now) {
            self.relay.handle_timeout(now);
            self.carry_out();
            self.send();
        }
        if self.next_sweep <= now {
            self.next_sweep = now + SWEEP_INTERVAL;
            self.sweep(now);
        }
    }

    fn sweep(&mut self, now: Instant) {
        let step = self
            .relay
            .table_mut()
            .sweep_step(Ticks::from(now), SWEEP_BUDGET);
        self.sweeping.fresh += step.seen_fresh as u64;
        self.sweeping.stale += step.seen_stale as u64;
        if step.wrapped {
            self.swept = std::mem::take(&mut self.sweeping);
        }
    }

    /// Counted anew while the table is small, so that a peer shows as soon as it is there.
    fn trusted(&self) -> TrustedCounts {
        let store = self.relay.table().store();
        if store.len() > COUNTED_ANEW_MAX {
            return self.swept;
        }
        let now = Ticks::from(clock::now());
        let entries = store.list(COUNTED_ANEW_MAX).unwrap_or_default();
        let fresh = entries
            .iter()
            .filter(|(_, entry)| entry.is_fresh(now))
            .count() as u64;
        TrustedCounts {
            fresh,
            stale: entries.len() as u64 - fresh,
        }
    }

    fn answer(&mut self, request: Request) {
        // The asker may have gone: then nobody misses the answer.
        match request {
            Request::Snapshot(reply) => drop(reply.send(self.snapshot())),
            Request::Pending(reply) => drop(reply.send(self.relay.pending().collect())),
            Request::Trusted { limit, reply } => {
                let store = self.relay.table().store();
                drop(reply.send((store.list(limit).unwrap_or_default(), store.len() as u64)));
            }
            Request::OwnIpv4 { own, broadcasts } => self.relay.set_own_ipv4(&own, &broadcasts),
            Request::ShutDown => {}
        }
    }

    fn snapshot(&self) -> Snapshot {
        let mut counters = [Counter::default(); Reason::COUNT];
        for (fate, tally) in self.relay.tally().iter() {
            let counter = &mut counters[Reason::from(fate) as usize];
            counter.packets += tally.packets;
            counter.bytes += tally.bytes;
        }
        for (counter, refused) in counters.iter_mut().zip(&self.refused) {
            counter.packets = counter.packets.saturating_sub(refused.packets);
            counter.bytes = counter.bytes.saturating_sub(refused.bytes);
        }
        let lost = self
            .refused
            .iter()
            .fold(Counter::default(), |mut sum, refused| {
                counters_add(&mut sum, refused);
                sum
            });
        counters_add(&mut counters[Reason::SendFailed as usize], &lost);
        self.front.add_to(&mut counters);
        Snapshot {
            trusted: self.trusted(),
            counters,
            gauges: self.relay.gauges(),
            frame_to_bubble: self.frame_to_bubble.percentiles(),
            answer_to_queue: self.answer_to_queue.percentiles(),
        }
    }
}

fn counters_add(to: &mut Counter, from: &Counter) {
    to.packets += from.packets;
    to.bytes += from.bytes;
}

fn count_refused(refused: &mut [Counter; Reason::COUNT], fate: Fate, bytes: usize) {
    counters_add(
        &mut refused[Reason::from(fate) as usize],
        &Counter {
            packets: 1,
            bytes: bytes as u64,
        },
    );
}

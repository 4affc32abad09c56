//! The relay's state machine with its sockets, behind one lock.
//!
//! Whoever takes packets from a socket runs the state machine on them: no other thread has to wake up
//! before a bubble leaves. One turn: feed a batch to the state machine, send what it asks for, and only then
//! publish its table writes to the fast path, so that a peer's queued packets leave before the fast path
//! opens for it (R-37, pitfall 14). Packets that wait in front of the state machine must leave before as
//! well: publishing waits for a moment when there are none.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use relay_common::{Counter, PeerEntry, PeerKey, Reason, Ticks};
use teredo::addr::TeredoAddr;
use teredo::relay::{Command, Gauges, Hop, PendingPeer, Relay, UdpKind};
use teredo::{Fate, Instant};
use tracing::{debug, trace};

use super::clock;
use super::icmp6::ErrorSocket;
use super::latency::Latency;
use super::poll::STOP_CHECK;
use super::tun::Tun;
use super::udp::{Datagram, SendBatch, ServiceSocket};
use super::xsk::PuntWatch;
use crate::datapath::StagedPeers;
use crate::status::Percentiles;

/// How often expired peers are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// Peers looked at in one sweep: a few milliseconds under the lock, and a full table of a million is gone
/// through in half a minute.
const SWEEP_BUDGET: usize = 8192;

/// How long a peer's way into the fast path may wait for the slow path to run empty. When the slow path is
/// flooded, the peer is served there until then.
const PUBLISH_WITHIN: Duration = Duration::from_millis(50);

/// How soon the timer looks again whether the slow path has run empty.
const PUBLISH_RETRY: Duration = Duration::from_micros(50);

/// Peers counted one by one for a status: a few milliseconds of the slow path.
const COUNTED_ANEW_MAX: usize = 16_384;

/// What a front end brings.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// An IPv6 packet for a Teredo destination.
    Native {
        /// The packet.
        packet: &'a [u8],
        /// Who decrements its hop limit.
        hop: Hop,
    },
    /// A UDP payload that came to the service port.
    Client {
        /// Outer source.
        source: SocketAddrV4,
        /// Outer TOS byte.
        tos: u8,
        /// The payload.
        payload: &'a [u8],
    },
    /// What ends in front of the state machine: a frame that could not be read, a packet that is not ours.
    Ended {
        /// Why.
        reason: Reason,
        /// Its length.
        bytes: usize,
    },
    /// The fast path asks for an early probe of a peer.
    Probe(PeerKey),
}

/// Who brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// The worker of that punt socket.
    Punt(usize),
    /// Anybody else.
    Other,
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
    /// By reason.
    pub counters: [Counter; Reason::COUNT],
    /// The state machine's gauges.
    pub gauges: Gauges,
    /// Native frame in to bubble out.
    pub frame_to_bubble: Percentiles,
    /// Client's answer in to queue out.
    pub answer_to_queue: Percentiles,
}

/// The sockets packets leave through.
#[derive(Debug)]
pub struct Outlets {
    /// To clients and servers.
    pub service: ServiceSocket,
    /// To native IPv6.
    pub tun: Arc<Tun>,
    /// ICMPv6 errors.
    pub errors: ErrorSocket,
}

/// The slow path, shared by its threads.
pub struct SlowPath {
    engine: Mutex<Engine>,
    /// The rings in front of the punt workers, by the number of [`Front::Punt`].
    punts: Vec<PuntWatch>,
    timer: OnceLock<Thread>,
}

/// A thread panicked while it ran the state machine, which cannot be trusted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl<T> From<PoisonError<T>> for Broken {
    fn from(_: PoisonError<T>) -> Self {
        Self
    }
}

impl SlowPath {
    /// A slow path around `relay`, sending through `outlets`, with the rings of its punt workers.
    pub fn new(relay: Relay<StagedPeers>, outlets: Outlets, punts: Vec<PuntWatch>) -> Self {
        Self {
            engine: Mutex::new(Engine::new(relay, outlets)),
            punts,
            timer: OnceLock::new(),
        }
    }

    fn lock(&self) -> Result<MutexGuard<'_, Engine>, Broken> {
        Ok(self.engine.lock()?)
    }

    /// Runs the state machine on a batch and sends what it asks for.
    ///
    /// # Errors
    /// [`Broken`]: the relay must end.
    pub fn handle<'a>(
        &self,
        front: Front,
        inputs: impl Iterator<Item = Input<'a>>,
    ) -> Result<(), Broken> {
        let taken_at = clock::now();
        let mut engine = self.lock()?;
        engine.turn(taken_at, inputs);
        let published = engine.publish_when(|| self.is_quiet(front));
        drop(engine);
        if !published && let Some(timer) = self.timer.get() {
            timer.unpark();
        }
        Ok(())
    }

    /// Whether no packet waits anywhere but in the hands of `front`, which has handled its own.
    fn is_quiet(&self, front: Front) -> bool {
        self.punts.iter().enumerate().all(|(i, punt)| {
            if front == Front::Punt(i) {
                !punt.has_waiting()
            } else {
                punt.is_quiet()
            }
        })
    }

    /// Keeps the relay's timers, sweeps and publishes, until `stop`.
    ///
    /// # Errors
    /// [`Broken`]: the relay must end.
    pub fn keep_time(&self, stop: &AtomicBool) -> Result<(), Broken> {
        // One timer thread; a second one would be woken by nobody, and need not be.
        let _ = self.timer.set(thread::current());
        while !stop.load(Relaxed) {
            let mut engine = self.lock()?;
            let deadline = engine.keep_time(clock::now());
            let published = engine.publish_when(|| self.is_quiet(Front::Other));
            drop(engine);
            let wait = deadline.saturating_since(clock::now()).min(STOP_CHECK);
            thread::park_timeout(if published {
                wait
            } else {
                PUBLISH_RETRY.min(wait)
            });
        }
        Ok(())
    }

    /// This machine's IPv4 addresses, and the broadcast addresses of its subnets.
    ///
    /// # Errors
    /// [`Broken`]: the relay must end.
    pub fn set_own_ipv4(&self, own: &[Ipv4Addr], broadcasts: &[Ipv4Addr]) -> Result<(), Broken> {
        self.lock()?.relay.set_own_ipv4(own, broadcasts);
        Ok(())
    }

    /// Drops the queues.
    ///
    /// # Errors
    /// [`Broken`]: they are as good as dropped.
    pub fn shut_down(&self) -> Result<(), Broken> {
        self.lock()?.relay.shut_down();
        Ok(())
    }

    /// Figures for `status`.
    ///
    /// # Errors
    /// [`Broken`]: the relay is about to end.
    pub fn snapshot(&self) -> Result<Snapshot, Broken> {
        Ok(self.lock()?.snapshot())
    }

    /// Up to `limit` trusted peers and how many there are, and all that are not trusted.
    ///
    /// # Errors
    /// [`Broken`]: the relay is about to end.
    pub fn peers(&self, limit: usize) -> Result<PeerLists, Broken> {
        let engine = self.lock()?;
        let store = engine.relay.table().store();
        Ok(PeerLists {
            trusted: store.list(limit),
            trusted_total: store.len() as u64,
            pending: engine.relay.pending().collect(),
        })
    }
}

/// What [`SlowPath::peers`] finds.
#[derive(Debug)]
pub struct PeerLists {
    /// Some trusted peers.
    pub trusted: Vec<(PeerKey, PeerEntry)>,
    /// How many there are.
    pub trusted_total: u64,
    /// Peers being probed or blocked.
    pub pending: Vec<PendingPeer>,
}

struct Engine {
    relay: Relay<StagedPeers>,
    outlets: Outlets,
    batch: SendBatch,
    /// What did not reach the state machine.
    ended: [Counter; Reason::COUNT],
    /// Packets the state machine counted as carried but the kernel refused.
    refused: [Counter; Reason::COUNT],
    frame_to_bubble: Latency,
    answer_to_queue: Latency,
    /// When the oldest write that is not published yet was staged.
    staged_at: Option<Instant>,
    next_sweep: Instant,
    /// What the sweep in progress has seen so far.
    sweeping: TrustedCounts,
    /// What the last complete sweep saw.
    swept: TrustedCounts,
}

impl Engine {
    fn new(relay: Relay<StagedPeers>, outlets: Outlets) -> Self {
        Self {
            relay,
            outlets,
            batch: SendBatch::default(),
            ended: [Counter::default(); Reason::COUNT],
            refused: [Counter::default(); Reason::COUNT],
            frame_to_bubble: Latency::default(),
            answer_to_queue: Latency::default(),
            staged_at: None,
            next_sweep: clock::now() + SWEEP_INTERVAL,
            sweeping: TrustedCounts::default(),
            swept: TrustedCounts::default(),
        }
    }

    fn turn<'a>(&mut self, taken_at: Instant, inputs: impl Iterator<Item = Input<'a>>) {
        let (mut bubbles, mut queues) = (0, 0);
        for input in inputs {
            self.handle(input);
            let sent = self.carry_out();
            bubbles += u64::from(sent.bubble);
            queues += u64::from(sent.queue);
        }
        self.send();
        let latency = clock::now().saturating_since(taken_at);
        self.frame_to_bubble.record(latency, bubbles);
        self.answer_to_queue.record(latency, queues);
    }

    fn handle(&mut self, input: Input<'_>) {
        let now = clock::now();
        match input {
            Input::Native { packet, hop } => {
                let fate = self.relay.from_native(now, packet, hop);
                trace!(bytes = packet.len(), ?fate, "from native");
            }
            Input::Client {
                source,
                tos,
                payload,
            } => {
                let fate = self.relay.from_client(now, source, tos, payload);
                trace!(bytes = payload.len(), ?fate, "from client");
            }
            Input::Ended { reason, bytes } => count(&mut self.ended, reason, bytes),
            Input::Probe(key) => self.relay.probe(now, &TeredoAddr::from(key)),
        }
    }

    /// Moves the state machine's commands to the sockets. Datagrams are batched, the rest goes at once.
    fn carry_out(&mut self) -> Sent {
        let mut sent = Sent::default();
        while let Some(command) = self.relay.poll() {
            match command {
                Command::SendUdp {
                    to,
                    tos,
                    payload,
                    kind,
                } => {
                    sent.bubble |= kind == UdpKind::Bubble;
                    sent.queue |= kind == UdpKind::Queued;
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
                        count(&mut self.refused, Fate::Decapsulated.into(), packet.len());
                    }
                }
                Command::Icmp6 { to, error, quote } => {
                    if let Err(cause) = self.outlets.errors.send(to, error, &quote) {
                        debug!(%cause, ?error, "the kernel refused an ICMPv6 error");
                    }
                }
            }
        }
        sent
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
                count(refused, fate.into(), datagram.payload.len());
            });
    }

    /// Opens the fast path for the peers that became trusted, once no packet that came before is left
    /// behind. Says whether nothing waits for that any more.
    fn publish_when(&mut self, is_quiet: impl FnOnce() -> bool) -> bool {
        if self.relay.table().has_staged() {
            let now = clock::now();
            let staged_at = *self.staged_at.get_or_insert(now);
            if !is_quiet() && now.saturating_since(staged_at) < PUBLISH_WITHIN {
                return false;
            }
            self.relay.table_mut().publish();
        }
        self.staged_at = None;
        true
    }

    /// Does what is due at `now`, and says when the next thing is.
    fn keep_time(&mut self, now: Instant) -> Instant {
        if self.relay.poll_timeout().is_some_and(|at| at <= now) {
            self.relay.handle_timeout(now);
            self.carry_out();
            self.send();
        }
        if self.next_sweep <= now {
            self.next_sweep = now + SWEEP_INTERVAL;
            self.sweep(now);
        }
        let timer = self.relay.poll_timeout().unwrap_or(self.next_sweep);
        timer.min(self.next_sweep)
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
        let entries = store.list(COUNTED_ANEW_MAX);
        let fresh = entries
            .iter()
            .filter(|(_, entry)| entry.is_fresh(now))
            .count() as u64;
        TrustedCounts {
            fresh,
            stale: entries.len() as u64 - fresh,
        }
    }

    fn snapshot(&self) -> Snapshot {
        let mut counters = self.ended;
        for (fate, tally) in self.relay.tally().iter() {
            add(
                &mut counters[Reason::from(fate) as usize],
                tally.packets,
                tally.bytes,
            );
        }
        for (i, refused) in self.refused.iter().enumerate() {
            counters[i].packets -= refused.packets;
            counters[i].bytes = counters[i].bytes.saturating_sub(refused.bytes);
            add(
                &mut counters[Reason::SendFailed as usize],
                refused.packets,
                refused.bytes,
            );
        }
        Snapshot {
            trusted: self.trusted(),
            counters,
            gauges: self.relay.gauges(),
            frame_to_bubble: self.frame_to_bubble.percentiles(),
            answer_to_queue: self.answer_to_queue.percentiles(),
        }
    }
}

/// What became visible outside while one input was handled.
#[derive(Clone, Copy, Default)]
struct Sent {
    bubble: bool,
    queue: bool,
}

fn count(counters: &mut [Counter; Reason::COUNT], reason: Reason, bytes: usize) {
    add(&mut counters[reason as usize], 1, bytes as u64);
}

fn add(to: &mut Counter, packets: u64, bytes: u64) {
    to.packets += packets;
    to.bytes += bytes;
}

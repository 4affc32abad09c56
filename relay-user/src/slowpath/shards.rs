//! The slow path as its threads share it: one or more shards, each a state machine behind a lock of its own.
//!
//! Whoever takes packets from a socket runs the state machines on them: no other thread has to wake up
//! before a bubble leaves. A peer belongs to one shard, which alone writes to its entry in the peer table.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use arrayvec::ArrayVec;
use relay_common::{Counter, PeerEntry, PeerKey, Reason, Ticks};
use teredo::addr::TeredoAddr;
use teredo::relay::{Gauges, PendingPeer, Relay};
use teredo::wire::{ipv6, payload};

use super::clock;
use super::engine::{Engine, Figures, Input, Outlets, TrustedCounts};
use super::poll::STOP_CHECK;
use super::xsk::PuntWatch;
use crate::datapath::{Peers, StagedPeers};
use crate::status::Percentiles;

/// How soon the timer looks again whether the slow path has run empty.
const PUBLISH_RETRY: Duration = Duration::from_micros(50);

/// Peers counted one by one for a status.
const COUNTED_ANEW_MAX: usize = 16_384;

/// Inputs sorted by shard at once: as many as a front end takes from a socket.
const SORTED_AT_ONCE: usize = 256;

/// Who brings a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// The worker of that punt socket.
    Punt(usize),
    /// Anybody else.
    Other,
}

/// The slow path's figures at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Trusted peers; in a large table as of the last complete sweep.
    pub trusted: TrustedCounts,
    /// By reason.
    pub counters: [Counter; Reason::COUNT],
    /// The state machines' gauges.
    pub gauges: Gauges,
    /// Native frame in to bubble out.
    pub frame_to_bubble: Percentiles,
    /// Client's answer in to queue out.
    pub answer_to_queue: Percentiles,
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

/// A thread panicked while it ran a state machine, which cannot be trusted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl<T> From<PoisonError<T>> for Broken {
    fn from(_: PoisonError<T>) -> Self {
        Self
    }
}

/// The slow path, shared by its threads.
pub struct SlowPath {
    shards: Vec<Mutex<Engine>>,
    /// For questions that take no lock.
    store: Peers,
    /// The rings in front of the punt workers, by the number of [`Front::Punt`].
    punts: Vec<PuntWatch>,
    timer: OnceLock<Thread>,
}

impl SlowPath {
    /// A slow path around `relays`, one for each shard, over handles on `store` that are bound to their
    /// shard ([`Peers::for_shard`]); sending through `outlets`, with the rings of its punt workers.
    pub fn new(
        relays: Vec<Relay<StagedPeers>>,
        store: Peers,
        outlets: &Outlets,
        punts: Vec<PuntWatch>,
    ) -> Self {
        let count = relays.len();
        let engine = |(shard, relay)| Mutex::new(Engine::new(relay, outlets.clone(), shard, count));
        Self {
            shards: relays.into_iter().enumerate().map(engine).collect(),
            store,
            punts,
            timer: OnceLock::new(),
        }
    }

    /// Runs the state machines on a batch and sends what they ask for.
    ///
    /// # Errors
    /// [`Broken`]: the relay must end.
    pub fn handle<'a>(
        &self,
        front: Front,
        mut inputs: impl Iterator<Item = Input<'a>>,
    ) -> Result<(), Broken> {
        let taken_at = clock::now();
        let mut published = true;
        if let [shard] = self.shards.as_slice() {
            let mut engine = shard.lock()?;
            engine.turn(taken_at, inputs);
            published = engine.publish_when(|| self.is_quiet(front));
        } else {
            loop {
                let sorted: ArrayVec<(usize, Input<'a>), SORTED_AT_ONCE> = inputs
                    .by_ref()
                    .take(SORTED_AT_ONCE)
                    .map(|input| (self.shard_of(&input), input))
                    .collect();
                if sorted.is_empty() {
                    break;
                }
                published &= self.handle_sorted(front, taken_at, &sorted)?;
            }
        }
        if !published && let Some(timer) = self.timer.get() {
            timer.unpark();
        }
        Ok(())
    }

    /// Visits the shards that have a part in the batch. Two workers begin at different ones, so that they
    /// rarely wait for each other.
    fn handle_sorted(
        &self,
        front: Front,
        taken_at: teredo::Instant,
        sorted: &[(usize, Input<'_>)],
    ) -> Result<bool, Broken> {
        let first = match front {
            Front::Punt(number) => number,
            Front::Other => 0,
        };
        let mut published = true;
        for i in 0..self.shards.len() {
            let shard = (first + i) % self.shards.len();
            let mut part = sorted.iter().filter(|(of, _)| *of == shard).peekable();
            if part.peek().is_none() {
                continue;
            }
            let mut engine = self.shards[shard].lock()?;
            engine.turn(taken_at, part.map(|(_, input)| *input));
            published &= engine.publish_when(|| self.is_quiet(front));
        }
        Ok(published)
    }

    /// The shard of the peer an input is about; of what is about none, any.
    fn shard_of(&self, input: &Input<'_>) -> usize {
        let peer = match input {
            Input::Native { packet, .. } => ipv6::parse(packet)
                .ok()
                .and_then(|(header, ..)| TeredoAddr::from_octets(&header.destination)),
            Input::Client { payload, .. } => payload::parse(payload)
                .ok()
                .and_then(|parsed| TeredoAddr::from_octets(&parsed.header.source)),
            Input::Probe(key) => Some(TeredoAddr::from(*key)),
            Input::Ended { .. } => None,
        };
        peer.map_or(0, |peer| {
            self.store.shard_of(PeerKey::from(&peer), self.shards.len())
        })
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

    fn engines(&self) -> impl Iterator<Item = Result<MutexGuard<'_, Engine>, Broken>> {
        self.shards.iter().map(|shard| Ok(shard.lock()?))
    }

    /// Keeps the relays' timers, sweeps and publishes, until `stop`.
    ///
    /// # Errors
    /// [`Broken`]: the relay must end.
    pub fn keep_time(&self, stop: &AtomicBool) -> Result<(), Broken> {
        // One timer thread; a second one would be woken by nobody, and need not be.
        let _ = self.timer.set(thread::current());
        while !stop.load(Relaxed) {
            let mut wait = STOP_CHECK;
            for engine in self.engines() {
                let mut engine = engine?;
                let deadline = engine.keep_time(clock::now());
                if !engine.publish_when(|| self.is_quiet(Front::Other)) {
                    wait = wait.min(PUBLISH_RETRY);
                }
                drop(engine);
                wait = wait.min(deadline.saturating_since(clock::now()));
            }
            thread::park_timeout(wait);
        }
        Ok(())
    }

    /// This machine's IPv4 addresses, and the broadcast addresses of its subnets.
    ///
    /// # Errors
    /// [`Broken`]: the relay must end.
    pub fn set_own_ipv4(&self, own: &[Ipv4Addr], broadcasts: &[Ipv4Addr]) -> Result<(), Broken> {
        for engine in self.engines() {
            engine?.relay.set_own_ipv4(own, broadcasts);
        }
        Ok(())
    }

    /// Drops the queues.
    ///
    /// # Errors
    /// [`Broken`]: they are as good as dropped.
    pub fn shut_down(&self) -> Result<(), Broken> {
        for engine in self.engines() {
            engine?.relay.shut_down();
        }
        Ok(())
    }

    /// Figures for `status`.
    ///
    /// # Errors
    /// [`Broken`]: the relay is about to end.
    pub fn snapshot(&self) -> Result<Snapshot, Broken> {
        let mut sum = Figures::default();
        for engine in self.engines() {
            engine?.add_to(&mut sum);
        }
        Ok(Snapshot {
            trusted: self.trusted().unwrap_or(sum.swept),
            counters: sum.counters,
            gauges: sum.gauges,
            frame_to_bubble: sum.frame_to_bubble.percentiles(),
            answer_to_queue: sum.answer_to_queue.percentiles(),
        })
    }

    /// Counted anew while the table is small, so that a peer shows as soon as it is there.
    fn trusted(&self) -> Option<TrustedCounts> {
        if self.store.len() > COUNTED_ANEW_MAX {
            return None;
        }
        let now = Ticks::from(clock::now());
        let entries = self.store.list(COUNTED_ANEW_MAX);
        let is_fresh = |entry: &&(PeerKey, PeerEntry)| entry.1.is_fresh(now);
        let fresh = entries.iter().filter(is_fresh).count() as u64;
        Some(TrustedCounts {
            fresh,
            stale: entries.len() as u64 - fresh,
        })
    }

    /// Up to `limit` trusted peers and how many there are, and all that are not trusted.
    ///
    /// # Errors
    /// [`Broken`]: the relay is about to end.
    pub fn peers(&self, limit: usize) -> Result<PeerLists, Broken> {
        let mut pending = Vec::new();
        for engine in self.engines() {
            pending.extend(engine?.relay.pending());
        }
        Ok(PeerLists {
            trusted: self.store.list(limit),
            trusted_total: self.store.len() as u64,
            pending,
        })
    }
}

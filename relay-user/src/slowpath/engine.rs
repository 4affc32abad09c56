//! The relay's state machine with its sockets: what one shard of the slow path runs under its lock.
//!
//! One turn: feed a batch to the state machine, send what it asks for, and only then publish its table writes to the
//! fast path, so that a peer's queued packets leave before the fast path opens for it (R-37, pitfall 14). Packets
//! that wait in front of the state machine must leave before as well: publishing waits for a moment when there are none.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use relay_common::{Counter, PeerKey, Reason, Ticks, WayBack};
use teredo::addr::TeredoAddr;
use teredo::relay::{Command, Gauges, Hop, Relay, UdpKind};
use teredo::{Fate, Instant};
use tracing::{debug, trace};

use super::bypass::Bypass;
use super::clock;
use super::icmp6::ErrorSocket;
use super::latency::Latency;
use super::send::SendBatch;
use super::tun::Tun;
use super::udp::ServiceSocket;
use crate::datapath::StagedPeers;

/// How often expired peers are looked for: in steps so small that no packet waits for one longer than a fifth of a millisecond.
const SWEEP_INTERVAL: Duration = Duration::from_millis(40);

/// Peers looked at in one step, by all shards together: a full table of a million is gone through in eight seconds.
const SWEEP_BUDGET: usize = 5_120;

/// How long a peer's way into the fast path may wait for the slow path to run empty. When the slow path is
/// flooded, the peer is served there until then.
const PUBLISH_WITHIN: Duration = Duration::from_millis(50);

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
        /// How the fast path would send to `source`, if it said so.
        way_back: Option<WayBack>,
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

/// Trusted peers by freshness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrustedCounts {
    /// Heard in the last 30 s.
    pub fresh: u64,
    /// Not heard for 30 s, not yet forgotten.
    pub stale: u64,
}

/// The sockets packets leave through.
#[derive(Clone, Debug)]
pub struct Outlets {
    /// To clients and servers.
    pub service: Arc<ServiceSocket>,
    /// To native IPv6.
    pub tun: Arc<Tun>,
    /// ICMPv6 errors.
    pub errors: Arc<ErrorSocket>,
    /// To clients, past the kernel; none without a fast path that keeps next hops.
    pub bypass: Option<Arc<Bypass>>,
}

/// Figures of one shard, or the sums of several.
#[derive(Debug)]
pub(super) struct Figures {
    /// As of the last complete sweep.
    pub(super) swept: TrustedCounts,
    pub(super) counters: [Counter; Reason::COUNT],
    pub(super) gauges: Gauges,
    pub(super) frame_to_bubble: Latency,
    pub(super) answer_to_queue: Latency,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            swept: TrustedCounts::default(),
            counters: [Counter::default(); Reason::COUNT],
            gauges: Gauges::default(),
            frame_to_bubble: Latency::default(),
            answer_to_queue: Latency::default(),
        }
    }
}

/// One shard: a state machine and the way its output takes.
pub(super) struct Engine {
    /// Which of the shards.
    shard: usize,
    pub(super) relay: Relay<StagedPeers>,
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
    sweep_budget: usize,
    next_sweep: Instant,
    /// What the sweep in progress has seen so far.
    sweeping: TrustedCounts,
    /// What the last complete sweep saw.
    swept: TrustedCounts,
}

impl Engine {
    /// Number `shard` of `shards`.
    pub(super) fn new(
        relay: Relay<StagedPeers>,
        outlets: Outlets,
        shard: usize,
        shards: usize,
    ) -> Self {
        Self {
            shard,
            relay,
            outlets,
            batch: SendBatch::default(),
            ended: [Counter::default(); Reason::COUNT],
            refused: [Counter::default(); Reason::COUNT],
            frame_to_bubble: Latency::default(),
            answer_to_queue: Latency::default(),
            staged_at: None,
            sweep_budget: SWEEP_BUDGET.div_ceil(shards.max(1)),
            next_sweep: clock::now() + SWEEP_INTERVAL,
            sweeping: TrustedCounts::default(),
            swept: TrustedCounts::default(),
        }
    }

    /// Runs the state machine on a batch that was taken from its socket at `taken_at`, and sends what it asks for.
    ///
    /// The batch has one time, read now that the lock is held: time never goes back for the state machine.
    pub(super) fn turn<'a>(&mut self, taken_at: Instant, inputs: impl Iterator<Item = Input<'a>>) {
        let now = clock::now();
        let mut sent = Sent::default();
        for input in inputs {
            self.handle(now, input);
            let way_back = match input {
                Input::Client { way_back, .. } => way_back,
                _ => None,
            };
            self.carry_out(now, way_back, &mut sent);
        }
        self.send(&mut sent);
        if sent.bubbles + sent.queued > 0 {
            let latency = clock::now().saturating_since(taken_at);
            self.frame_to_bubble.record(latency, sent.bubbles);
            self.answer_to_queue.record(latency, sent.queued);
        }
    }

    fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Native { packet, hop } => {
                let fate = self.relay.from_native(now, packet, hop);
                trace!(bytes = packet.len(), ?fate, "from native");
            }
            Input::Client {
                source,
                tos,
                payload,
                way_back: _,
            } => {
                let fate = self.relay.from_client(now, source, tos, payload);
                trace!(bytes = payload.len(), ?fate, "from client");
            }
            Input::Ended { reason, bytes } => count(&mut self.ended, reason, bytes),
            Input::Probe(key) => self.relay.probe(now, &TeredoAddr::from(key)),
        }
    }

    /// Moves the state machine's commands to the sockets. Datagrams are batched, the rest goes at once. What waited for the
    /// client that `way_back` leads to goes that way, up to the first packet that cannot.
    fn carry_out(&mut self, now: Instant, mut way_back: Option<WayBack>, sent: &mut Sent) {
        while let Some(command) = self.relay.poll() {
            match command {
                Command::SendUdp {
                    to,
                    tos,
                    payload,
                    kind,
                } => {
                    sent.bubbles += u64::from(kind == UdpKind::Bubble);
                    sent.queued += u64::from(kind == UdpKind::Queued);
                    if kind == UdpKind::Queued
                        && let (Some(way), Some(bypass)) = (&way_back, &self.outlets.bypass)
                    {
                        if bypass.send(Ticks::from(now), way, self.shard, to, tos, payload) {
                            sent.past_kernel = true;
                            continue;
                        }
                        way_back = None;
                    }
                    self.batch.push(to, tos, payload, kind);
                }
                Command::Forward { packet } => {
                    if let Err(error) = self.outlets.tun.send(packet) {
                        debug!(%error, "the kernel refused a decapsulated packet");
                        count(&mut self.refused, Fate::Decapsulated.into(), packet.len());
                    }
                }
                Command::Icmp6 { to, error, quote } => {
                    if let Err(cause) = self.outlets.errors.send(to, error, quote) {
                        debug!(%cause, ?error, "the kernel refused an ICMPv6 error");
                    }
                }
            }
        }
        if self.batch.is_full() {
            self.send(sent);
        }
    }

    /// What goes past the kernel first: where both ways lead to one client, the other has what comes after.
    fn send(&mut self, sent: &mut Sent) {
        if std::mem::take(&mut sent.past_kernel)
            && let Some(bypass) = &self.outlets.bypass
        {
            bypass.flush();
        }
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
                count(refused, fate.into(), datagram.len);
            });
    }

    /// Opens the fast path for the peers that became trusted, once no packet that came before is left
    /// behind. Says whether nothing waits for that any more.
    pub(super) fn publish_when(&mut self, is_quiet: impl FnOnce() -> bool) -> bool {
        if self.relay.table().has_staged() {
            let now = clock::now();
            let staged_at = *self.staged_at.get_or_insert(now);
            let bypass = self.outlets.bypass.as_ref();
            let is_sent = bypass.is_none_or(|bypass| bypass.flush());
            if !(is_sent && is_quiet()) && now.saturating_since(staged_at) < PUBLISH_WITHIN {
                return false;
            }
            self.relay.table_mut().publish();
        }
        self.staged_at = None;
        true
    }

    /// Does what is due at `now`, and says when the next thing is.
    pub(super) fn keep_time(&mut self, now: Instant) -> Instant {
        if self.relay.poll_timeout().is_some_and(|at| at <= now) {
            self.relay.handle_timeout(now);
            let mut sent = Sent::default();
            self.carry_out(now, None, &mut sent);
            self.send(&mut sent);
        }
        if self.next_sweep <= now {
            self.next_sweep = now + SWEEP_INTERVAL;
            self.sweep(now);
        }
        let timer = self.relay.poll_timeout().unwrap_or(self.next_sweep);
        timer.min(self.next_sweep)
    }

    fn sweep(&mut self, now: Instant) {
        let budget = self.sweep_budget;
        let step = self.relay.table_mut().sweep_step(Ticks::from(now), budget);
        self.sweeping.fresh += step.seen_fresh as u64;
        self.sweeping.stale += step.seen_stale as u64;
        if step.wrapped {
            self.swept = std::mem::take(&mut self.sweeping);
            if self.relay.give_back_memory(now) {
                // SAFETY: gives free pages back; nothing of this process refers to them.
                unsafe { libc::malloc_trim(0) };
            }
        }
    }

    /// Adds this shard's figures to `sum`.
    pub(super) fn add_to(&self, sum: &mut Figures) {
        sum.swept.fresh += self.swept.fresh;
        sum.swept.stale += self.swept.stale;
        sum.gauges += self.relay.gauges();
        sum.frame_to_bubble.add(&self.frame_to_bubble);
        sum.answer_to_queue.add(&self.answer_to_queue);
        for (fate, tally) in self.relay.tally().iter() {
            let counter = &mut sum.counters[Reason::from(fate) as usize];
            add(counter, tally.packets, tally.bytes);
        }
        for (i, (ended, refused)) in self.ended.iter().zip(&self.refused).enumerate() {
            let counter = &mut sum.counters[i];
            add(counter, ended.packets, ended.bytes);
            counter.packets -= refused.packets;
            counter.bytes = counter.bytes.saturating_sub(refused.bytes);
            let failed = &mut sum.counters[Reason::SendFailed as usize];
            add(failed, refused.packets, refused.bytes);
        }
    }
}

/// What became visible outside during one turn.
#[derive(Clone, Copy, Default)]
struct Sent {
    bubbles: u64,
    queued: u64,
    /// Whether anything waits to leave past the kernel.
    past_kernel: bool,
}

fn count(counters: &mut [Counter; Reason::COUNT], reason: Reason, bytes: usize) {
    add(&mut counters[reason as usize], 1, bytes as u64);
}

fn add(to: &mut Counter, packets: u64, bytes: u64) {
    to.packets += packets;
    to.bytes += bytes;
}

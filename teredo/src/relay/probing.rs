//! The bubble procedure and its end, good or bad.
//!
//! Three limits hold for every bubble. Per peer: 2 s since the last one, four in 300 s without an
//! answer. Per server: a token bucket, of which new peers leave a quarter to those heard before, so
//! that a scan does not stall established one-way streams. Per NAT mapping, which peers that differ
//! in flags alone share: a token bucket too, four at once and then one per 2 s, so that the 4096
//! flags of one client multiply nothing; there, too, new peers leave a quarter, or whoever asks for the flags of
//! a client could keep it from being asked. A single peer never meets that last one.
//!
//! A fourth holds for repeats to new peers, all together: they are paid for by the answers that came lately, or by further packets
//! for the peer, which whoever means to have others flooded would have to send himself.

use super::command::{Icmp6Error, UdpKind};
use super::native::is_fresh;
use super::outbox::Order;
use super::peer::{ATTEMPT, BUBBLE_INTERVAL, BUBBLES_MAX, PEER_FRESH, PROBE_AFTER, Pending, Phase};
use super::pending::Place;
use super::prefixes::SourcePrefix;
use super::queue::Queue;
use super::table::PeerTable;
use super::{Relay, Trusted};
use crate::addr::{Mapped, SERVER_PORT, TeredoAddr};
use crate::wire::bubble;
use crate::wire::trailer::Trailers;
use crate::{Fate, Instant};
use core::time::Duration;

/// The part of a bucket that new peers leave to known ones: one in so many.
const KNOWN_PEER_SHARE: u32 = 4;

/// The fast path keeps time in ticks of 0.27 s, so it may ask a little before the 20 s are over.
const PROBE_EARLIEST: Duration = Duration::from_secs(PROBE_AFTER.as_secs() - 1);

impl<T: PeerTable> Relay<T> {
    /// The fast path saw outbound traffic to a trusted `peer` last heard 20 to 30 s ago: probes it while
    /// its data flows. Does nothing if the peer was heard meanwhile, or went stale.
    pub fn probe(&mut self, now: Instant, peer: &TeredoAddr) {
        let Some(entry) = self.trusted(peer) else {
            return;
        };
        let place = self.pending.find(peer);
        let place = self.settle(now, place, Some(entry));
        let age = now.saturating_since(entry.last_rx);
        if (PROBE_EARLIEST..=PEER_FRESH).contains(&age) {
            self.probe_early(now, peer, place);
        }
    }

    /// Sends the first early bubble unless one is under way already, the peer's bubbles are spent, or
    /// there is no room: then the peer is probed when it has gone stale.
    pub(super) fn probe_early(&mut self, now: Instant, peer: &TeredoAddr, place: Option<Place>) {
        if self.is_shut_down {
            return;
        }
        if let Some(place) = place {
            let pending = self.pending.get(place);
            if pending.phase != Phase::Blocked || now < pending.window_end() {
                return;
            }
            self.pending.remove(place);
        }
        let _refused = self.start(now, peer, Phase::Early, None);
    }

    /// The table's entry of `peer`, unless this machine's addresses changed and forbid its mapping.
    pub(super) fn trusted(&mut self, peer: &TeredoAddr) -> Option<Trusted> {
        let entry = self.table.get(peer)?;
        if self.policy.may_send(entry.mapped.ip) {
            return Some(entry);
        }
        self.table.remove(peer);
        None
    }

    /// Ends the probing of the peer at `place`, if the fast path has heard it since it began. Returns where it
    /// stands otherwise.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        place: Option<Place>,
        entry: Option<Trusted>,
    ) -> Option<Place> {
        let (Some(at), Some(entry)) = (place, entry) else {
            return place;
        };
        let pending = self.pending.get(at);
        let revived = pending.phase == Phase::Probing && is_fresh(now, &entry);
        if !revived && entry.last_rx <= pending.first_bubble {
            return place;
        }
        let queue = self.pending.remove(at).queue;
        self.flush(queue, entry.mapped);
        None
    }

    /// Takes in `peer`, which is not pending, and sends its first bubble. `origin` is the /64 that asks for a peer never heard;
    /// for a known one the limits on new peers do not count.
    ///
    /// # Errors
    /// The limit that forbids it; then nothing has changed.
    pub(super) fn start(
        &mut self,
        now: Instant,
        peer: &TeredoAddr,
        phase: Phase,
        origin: Option<SourcePrefix>,
    ) -> Result<Place, Fate> {
        let limit = self.config.limits.unanswered_per_source_prefix;
        if origin.is_some_and(|origin| self.pending.unanswered(origin) >= limit) {
            return Err(Fate::SourcePrefixLimitExceeded);
        }
        if !self.pending.has_room() {
            return Err(Fate::PeerTableFull);
        }
        if origin.is_some() && !self.new_peers.is_ready(now) {
            return Err(Fate::NewPeerRateExceeded);
        }
        if !self.may_bubble(now, peer, origin.is_some()) {
            return Err(Fate::BubbleRateExceeded);
        }
        if origin.is_some() {
            self.new_peers.take(now);
        }
        let pending = Pending::new(now, phase, origin);
        let (place, evicted) = self.pending.insert(*peer, pending, now + BUBBLE_INTERVAL);
        self.counts.blocked_evicted += u64::from(evicted);
        self.send_bubble(now, place);
        Ok(place)
    }

    /// The deadline of the peer at `place` has come: 3.8, the rows of the timer.
    pub(super) fn turn(&mut self, now: Instant, place: Place) {
        let peer = self.pending.peer(place);
        let entry = self.trusted(&peer);
        if self.settle(now, Some(place), entry).is_none() {
            return;
        }
        let pending = self.pending.get(place);
        let (phase, is_new) = (pending.phase, pending.origin.is_some());
        let is_spent = pending.is_spent(now);
        let is_over = now.saturating_since(pending.first_bubble) >= ATTEMPT;
        let is_idle = pending.bubbles == 0 && pending.queue.is_empty();
        if phase == Phase::Blocked || is_idle {
            self.pending.remove(place);
            return;
        }
        self.pending.set_overdue(place);
        if is_spent {
            self.give_up(now, &peer, place);
        } else if !self.may_bubble(now, &peer, is_new) {
            self.counts.bubbles_deferred += 1;
            self.pending.schedule(place, phase, now + BUBBLE_INTERVAL);
        } else if !is_new || self.is_repeat_paid(now, place) {
            self.send_bubble(now, place);
        } else if is_over {
            self.give_up(now, &peer, place);
        } else {
            self.counts.repeats_unpaid += 1;
            self.pending.schedule(place, phase, now + BUBBLE_INTERVAL);
        }
    }

    /// Whether another bubble to the peer at `place` was paid for: by the packets that wait, of which each is worth one, or out
    /// of what answers have paid in.
    fn is_repeat_paid(&mut self, now: Instant, place: Place) -> bool {
        let pending = self.pending.get(place);
        pending.queue.len() > pending.bubbles.into() || self.repeats.take(now)
    }

    /// No answer: the queue is given up and the peer remembered until its window ends. One
    /// that failed to answer early bubbles stays trusted until it is stale.
    fn give_up(&mut self, now: Instant, peer: &TeredoAddr, place: Place) {
        let pending = self.pending.get_mut(place);
        let mut queue = core::mem::take(&mut pending.queue);
        let (phase, window_end) = (pending.phase, pending.window_end());
        if phase == Phase::Probing {
            self.table.remove(peer);
        }
        if now < window_end {
            self.pending.schedule(place, Phase::Blocked, window_end);
        } else {
            self.pending.remove(place);
        }
        while self.memory.pop(&mut queue, self.outbox.pen()).is_some() {
            self.tally
                .add(Fate::BubblesUnanswered, self.outbox.draft().len());
            self.answer_draft_with_error(now, Icmp6Error::AddressUnreachable);
        }
    }

    /// `peer` spoke from `mapped`, which may speak for it. The table learns first, then the queue
    /// leaves; the caller sends whatever else after that.
    pub(super) fn trust(
        &mut self,
        now: Instant,
        peer: &TeredoAddr,
        place: Option<Place>,
        mapped: Mapped,
    ) {
        let entry = Trusted {
            mapped,
            last_rx: now,
        };
        let stored = self.table.insert(peer, entry).is_ok();
        self.counts.peer_table_full += u64::from(!stored);
        let Some(place) = place else {
            return;
        };
        self.repeats.put(u32::from(BUBBLES_MAX) - 1);
        let rest_until = self.pending.get(place).last_bubble + BUBBLE_INTERVAL;
        let answered = if stored || now >= rest_until {
            self.pending.remove(place)
        } else {
            // Without an entry the next packet would bubble at once: remember the 2 s at least.
            self.pending.rest(place, now)
        };
        self.flush(answered.queue, mapped);
    }

    /// Sends what waited, in the order it came.
    fn flush(&mut self, mut queue: Queue, to: Mapped) {
        while let Some(hop) = self.memory.pop(&mut queue, self.outbox.pen()) {
            self.tally
                .add(Fate::EncapsulatedFromQueue, self.outbox.draft().len());
            self.send_draft(to, hop, UdpKind::Queued);
        }
    }

    /// Whether the shared limits have room for a bubble to `peer`.
    fn may_bubble(&mut self, now: Instant, peer: &TeredoAddr, is_new: bool) -> bool {
        let server = peer.server();
        let reserve = |burst| if is_new { burst / KNOWN_PEER_SHARE } else { 0 };
        let of_server = reserve(self.config.limits.server_bubbles_burst);
        let of_mapping = reserve(BUBBLES_MAX.into());
        self.policy.may_ask(server.0)
            && self.servers.is_ready(now, server, of_server)
            && self.mappings.is_ready(now, mapping_key(peer), of_mapping)
    }

    /// Sends an indirect bubble to the peer at `place`, for which [`Self::may_bubble`] holds
    /// . A relay on a public IPv4 sends no direct one: it would be unsolicited.
    fn send_bubble(&mut self, now: Instant, place: Place) {
        let nonce = self.config.nonce_trailer.then(|| self.nonces.draw());
        let peer = self.pending.peer(place);
        let pending = self.pending.get_mut(place);
        if pending.bubbles == 0 {
            pending.first_bubble = now;
        }
        pending.bubbles += 1;
        pending.last_bubble = now;
        pending.nonce = nonce;
        let phase = pending.phase;
        self.pending.schedule(place, phase, now + BUBBLE_INTERVAL);
        self.servers.take(now, peer.server());
        self.mappings.take(now, mapping_key(&peer));
        self.counts.bubbles_sent += 1;
        let trailers = Trailers {
            nonce,
            ..Trailers::default()
        };
        let cookie = self.cookies.current(now, &peer);
        bubble::write(cookie, peer.octets(), &trailers, self.outbox.pen());
        self.outbox.order(Order::SendUdp {
            to: Mapped {
                ip: peer.server().0,
                port: SERVER_PORT,
            },
            tos: 0,
            kind: UdpKind::Bubble,
        });
    }
}

/// What peers that differ in flags alone have in common.
fn mapping_key(peer: &TeredoAddr) -> TeredoAddr {
    TeredoAddr::new(peer.server(), 0, peer.mapped())
}

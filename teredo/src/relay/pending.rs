//! The bounded set of peers being probed or remembered as blocked, with their timers.

use alloc::collections::{BTreeMap, BTreeSet};

use super::limits::{SourcePrefix, SourcePrefixes};
use super::peer::{Pending, PendingPeer, Phase};
use crate::Instant;
use crate::addr::TeredoAddr;

/// One peer's slot: its probing, and what the indices know of it.
#[derive(Debug)]
struct Slot {
    pending: Pending,
    deadline: Instant,
    /// Counted against its origin: the first answer is overdue.
    overdue: bool,
}

/// Peers by address, and in the order of their deadlines.
///
/// Blocked peers have an order of their own: the first of them is the one to forget when room
/// is needed.
#[derive(Debug)]
pub(super) struct PendingPeers {
    capacity: usize,
    slots: BTreeMap<TeredoAddr, Slot>,
    turns: BTreeSet<(Instant, TeredoAddr)>,
    blocked: BTreeSet<(Instant, TeredoAddr)>,
    early: usize,
    unanswered: SourcePrefixes,
}

impl PendingPeers {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            slots: BTreeMap::new(),
            turns: BTreeSet::new(),
            blocked: BTreeSet::new(),
            early: 0,
            unanswered: SourcePrefixes::default(),
        }
    }

    pub(super) fn get(&self, peer: &TeredoAddr) -> Option<&Pending> {
        self.slots.get(peer).map(|slot| &slot.pending)
    }

    /// For everything but the phase, which [`Self::schedule`] alone may change.
    pub(super) fn get_mut(&mut self, peer: &TeredoAddr) -> Option<&mut Pending> {
        self.slots.get_mut(peer).map(|slot| &mut slot.pending)
    }

    /// Whether one more can be taken in, be it in place of a blocked one.
    pub(super) fn has_room(&self) -> bool {
        self.slots.len() < self.capacity || (self.capacity > 0 && !self.blocked.is_empty())
    }

    /// Takes in `peer`, due at `deadline`. Returns whether a blocked peer had to be forgotten.
    pub(super) fn insert(&mut self, peer: TeredoAddr, pending: Pending, deadline: Instant) -> bool {
        self.remove(&peer);
        let evicted = self.slots.len() >= self.capacity
            && self
                .blocked
                .first()
                .copied()
                .is_some_and(|(_, oldest)| self.remove(&oldest).is_some());
        let phase = pending.phase;
        let slot = Slot {
            pending,
            deadline,
            overdue: false,
        };
        self.slots.insert(peer, slot);
        self.index(phase, deadline, peer);
        evicted
    }

    /// Moves `peer` to `phase`, due at `deadline`.
    pub(super) fn schedule(&mut self, peer: &TeredoAddr, phase: Phase, deadline: Instant) {
        let Some(slot) = self.slots.get_mut(peer) else {
            return;
        };
        let (old_phase, old_deadline) = (slot.pending.phase, slot.deadline);
        slot.pending.phase = phase;
        slot.deadline = deadline;
        self.unindex(old_phase, old_deadline, *peer);
        self.index(phase, deadline, *peer);
    }

    /// Changes the phase and leaves the deadline.
    pub(super) fn set_phase(&mut self, peer: &TeredoAddr, phase: Phase) {
        if let Some(deadline) = self.slots.get(peer).map(|slot| slot.deadline) {
            self.schedule(peer, phase, deadline);
        }
    }

    pub(super) fn remove(&mut self, peer: &TeredoAddr) -> Option<Pending> {
        let slot = self.slots.remove(peer)?;
        self.unindex(slot.pending.phase, slot.deadline, *peer);
        if let (true, Some(origin)) = (slot.overdue, slot.pending.origin) {
            self.unanswered.remove(origin);
        }
        Some(slot.pending)
    }

    /// Any one of them, to be removed.
    pub(super) fn first(&self) -> Option<TeredoAddr> {
        self.slots.keys().next().copied()
    }

    /// Counts `peer` against its origin from now on.
    pub(super) fn set_overdue(&mut self, peer: &TeredoAddr) {
        if let Some(slot) = self.slots.get_mut(peer)
            && let (false, Some(origin)) = (slot.overdue, slot.pending.origin)
        {
            slot.overdue = true;
            self.unanswered.add(origin);
        }
    }

    /// Peers `origin` asked for whose first answer is overdue.
    pub(super) fn unanswered(&self, origin: SourcePrefix) -> u32 {
        self.unanswered.unanswered(origin)
    }

    /// The earliest deadline.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.next().map(|(at, _)| at)
    }

    /// A peer whose deadline has come, the earliest first.
    pub(super) fn due(&self, now: Instant) -> Option<TeredoAddr> {
        self.next()
            .filter(|(at, _)| *at <= now)
            .map(|(_, peer)| peer)
    }

    fn next(&self) -> Option<(Instant, TeredoAddr)> {
        let (turn, end) = (self.turns.first(), self.blocked.first());
        turn.into_iter().chain(end).min().copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = PendingPeer> + '_ {
        self.slots
            .iter()
            .map(|(peer, slot)| PendingPeer::of(*peer, &slot.pending))
    }

    pub(super) fn early(&self) -> usize {
        self.early
    }

    pub(super) fn blocked(&self) -> usize {
        self.blocked.len()
    }

    pub(super) fn probing(&self) -> usize {
        self.slots.len() - self.early - self.blocked.len()
    }

    fn index(&mut self, phase: Phase, deadline: Instant, peer: TeredoAddr) {
        match phase {
            Phase::Blocked => self.blocked.insert((deadline, peer)),
            Phase::Probing | Phase::Early => self.turns.insert((deadline, peer)),
        };
        self.early += usize::from(phase == Phase::Early);
    }

    fn unindex(&mut self, phase: Phase, deadline: Instant, peer: TeredoAddr) {
        match phase {
            Phase::Blocked => self.blocked.remove(&(deadline, peer)),
            Phase::Probing | Phase::Early => self.turns.remove(&(deadline, peer)),
        };
        self.early -= usize::from(phase == Phase::Early);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Mapped, ServerV4};
    use core::net::Ipv4Addr;
    use core::time::Duration;

    const ORIGIN: SourcePrefix = [1; 8];

    fn peer(port: u16) -> TeredoAddr {
        let ip = Ipv4Addr::new(198, 51, 100, 7);
        TeredoAddr::new(
            ServerV4(Ipv4Addr::new(192, 0, 2, 1)),
            0,
            Mapped { ip, port },
        )
    }

    fn at(s: u64) -> Instant {
        Instant::default() + Duration::from_secs(s)
    }

    fn probing() -> Pending {
        Pending::new(at(0), Phase::Probing, Some(ORIGIN))
    }

    /// R-21, 3.8 "table full".
    #[test]
    fn a_full_set_forgets_the_oldest_blocked_peer_and_then_refuses() {
        let mut peers = PendingPeers::new(2);
        peers.insert(peer(1), probing(), at(2));
        peers.insert(peer(2), probing(), at(2));
        assert!(!peers.has_room());
        peers.schedule(&peer(2), Phase::Blocked, at(300));
        peers.schedule(&peer(1), Phase::Blocked, at(299));
        assert!(peers.has_room());
        assert!(peers.insert(peer(3), probing(), at(5)));
        assert!(peers.get(&peer(1)).is_none() && peers.get(&peer(2)).is_some());
        assert_eq!((peers.probing(), peers.blocked()), (1, 1));
    }

    #[test]
    fn deadlines_of_all_phases_come_in_order() {
        let mut peers = PendingPeers::new(8);
        for (i, s) in [(1, 7), (2, 3), (3, 5)] {
            peers.insert(peer(i), probing(), at(s));
        }
        peers.schedule(&peer(3), Phase::Blocked, at(1));
        peers.schedule(&peer(2), Phase::Early, at(3));
        assert_eq!((peers.probing(), peers.early(), peers.blocked()), (1, 1, 1));
        let mut order = Vec::new();
        while let Some(due) = peers.due(at(7)) {
            order.push(due.mapped().port);
            peers.remove(&due);
        }
        assert_eq!(order, [3, 2, 1]);
        assert_eq!(peers.next_deadline(), None);
        assert_eq!(peers.early(), 0);
    }

    ///
    #[test]
    fn a_peer_counts_against_its_origin_once_and_until_it_is_gone() {
        let mut peers = PendingPeers::new(8);
        peers.insert(peer(1), probing(), at(2));
        assert_eq!(peers.unanswered(ORIGIN), 0);
        peers.set_overdue(&peer(1));
        peers.set_overdue(&peer(1));
        assert_eq!(peers.unanswered(ORIGIN), 1);
        peers.remove(&peer(1));
        assert_eq!(peers.unanswered(ORIGIN), 0);
    }
}

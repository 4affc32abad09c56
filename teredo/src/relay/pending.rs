//! The bounded set of peers being probed or remembered as blocked, with their timers.

use alloc::vec::Vec;

use hashbrown::HashMap;

use super::peer::{Pending, PendingPeer, Phase};
use super::prefixes::{SourcePrefix, SourcePrefixes};
use crate::Instant;
use crate::addr::TeredoAddr;
use crate::shared::keyed::Keyed;

/// Where a peer stands in the set. Good until that peer is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Place {
    const NONE: Self = Self(u32::MAX);
}

/// One peer's slot: its probing, and its neighbours in the line it stands in.
#[derive(Debug)]
struct Slot {
    peer: TeredoAddr,
    pending: Pending,
    deadline: Instant,
    /// Counted against its origin: the first answer is overdue.
    overdue: bool,
    /// Who is due before this one.
    before: Place,
    /// Who is due after this one; in a free slot, another free one.
    behind: Place,
}

/// Peers in the order of their deadlines.
///
/// Whoever comes is put at the end. Bubbles are repeated after a constant time, so that is the order. Windows
/// may end up to some seconds earlier than one that stands before: such a peer is forgotten with that one.
#[derive(Clone, Copy, Debug)]
struct Line {
    first: Place,
    last: Place,
    len: usize,
}

impl Line {
    const EMPTY: Self = Self {
        first: Place::NONE,
        last: Place::NONE,
        len: 0,
    };
}

/// Peers by address, and in the order of their deadlines.
///
/// Blocked peers have a line of their own: the first of them is the one to forget when room
/// is needed.
#[derive(Debug)]
pub(super) struct PendingPeers {
    capacity: usize,
    places: HashMap<TeredoAddr, Place, Keyed>,
    slots: Vec<Slot>,
    free: Place,
    turns: Line,
    blocked: Line,
    early: usize,
    unanswered: SourcePrefixes,
}

impl PendingPeers {
    pub(super) const fn new(capacity: usize, peers: Keyed, prefixes: Keyed) -> Self {
        Self {
            capacity,
            places: HashMap::with_hasher(peers),
            slots: Vec::new(),
            free: Place::NONE,
            turns: Line::EMPTY,
            blocked: Line::EMPTY,
            early: 0,
            unanswered: SourcePrefixes::new(prefixes),
        }
    }

    /// Gives back what memory is left over beyond `keep` peers, if there is none now. Says whether any was.
    pub(super) fn give_back(&mut self, keep: usize) -> bool {
        let gives = self.places.is_empty() && self.slots.capacity() > keep;
        if gives {
            self.slots = Vec::new();
            self.free = Place::NONE;
            self.places.shrink_to(keep);
            self.unanswered.give_back(keep);
        }
        gives
    }

    pub(super) fn find(&self, peer: &TeredoAddr) -> Option<Place> {
        self.places.get(peer).copied()
    }

    pub(super) fn peer(&self, place: Place) -> TeredoAddr {
        self.slots[place.0 as usize].peer
    }

    pub(super) fn get(&self, place: Place) -> &Pending {
        &self.slots[place.0 as usize].pending
    }

    /// For everything but the phase, which [`Self::schedule`] alone may change.
    pub(super) fn get_mut(&mut self, place: Place) -> &mut Pending {
        &mut self.slots[place.0 as usize].pending
    }

    /// Whether one more can be taken in, be it in place of a blocked one.
    pub(super) fn has_room(&self) -> bool {
        self.places.len() < self.capacity || (self.capacity > 0 && self.blocked.len > 0)
    }

    /// Takes in `peer`, which is not there yet, due at `deadline`. Says whether a blocked peer had to be forgotten.
    pub(super) fn insert(
        &mut self,
        peer: TeredoAddr,
        pending: Pending,
        deadline: Instant,
    ) -> (Place, bool) {
        let evicted = self.places.len() >= self.capacity && self.blocked.first != Place::NONE;
        if evicted {
            self.remove(self.blocked.first);
        }
        let slot = Slot {
            peer,
            pending,
            deadline,
            overdue: false,
            before: Place::NONE,
            behind: Place::NONE,
        };
        let place = self.free;
        let place = if let Some(free) = self.slots.get_mut(place.0 as usize) {
            self.free = free.behind;
            *free = slot;
            place
        } else {
            self.slots.push(slot);
            #[allow(clippy::cast_possible_truncation)] // `MAX_PENDING_PEERS` bounds them.
            Place((self.slots.len() - 1) as u32)
        };
        self.places.insert(peer, place);
        self.line_up(place, deadline);
        (place, evicted)
    }

    /// Moves the peer at `place` to `phase`, due at `deadline`.
    pub(super) fn schedule(&mut self, place: Place, phase: Phase, deadline: Instant) {
        self.leave(place);
        self.slots[place.0 as usize].pending.phase = phase;
        self.line_up(place, deadline);
    }

    /// An early probe becomes one that packets wait for, due at the same time.
    pub(super) fn await_answer(&mut self, place: Place) {
        let pending = self.get_mut(place);
        if pending.phase == Phase::Early {
            pending.phase = Phase::Probing;
            self.early -= 1;
        }
    }

    pub(super) fn remove(&mut self, place: Place) -> Pending {
        self.leave(place);
        let slot = &mut self.slots[place.0 as usize];
        slot.behind = self.free;
        self.free = place;
        let blank = Pending::new(Instant::default(), Phase::Blocked, None);
        let pending = core::mem::replace(&mut slot.pending, blank);
        self.places.remove(&slot.peer);
        if let (true, Some(origin)) = (slot.overdue, pending.origin) {
            self.unanswered.remove(origin);
        }
        pending
    }

    /// Starts the probing of the peer at `place` anew, with nothing sent and nothing waiting, due when it was.
    /// Returns what was there.
    pub(super) fn rest(&mut self, place: Place, now: Instant) -> Pending {
        self.await_answer(place);
        let slot = &mut self.slots[place.0 as usize];
        let resting = Pending::new(now, slot.pending.phase, None);
        let pending = core::mem::replace(&mut slot.pending, resting);
        if let (true, Some(origin)) = (slot.overdue, pending.origin) {
            self.unanswered.remove(origin);
        }
        slot.overdue = false;
        pending
    }

    /// Any one of them, to be removed.
    pub(super) fn first(&self) -> Option<Place> {
        [self.turns.first, self.blocked.first]
            .into_iter()
            .find(|place| *place != Place::NONE)
    }

    /// Counts the peer at `place` against its origin from now on.
    pub(super) fn set_overdue(&mut self, place: Place) {
        let slot = &mut self.slots[place.0 as usize];
        if let (false, Some(origin)) = (slot.overdue, slot.pending.origin) {
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
        self.next().map(|place| self.deadline(place))
    }

    /// A peer whose deadline has come, the earliest first.
    pub(super) fn due(&self, now: Instant) -> Option<Place> {
        self.next().filter(|place| self.deadline(*place) <= now)
    }

    fn next(&self) -> Option<Place> {
        [self.turns.first, self.blocked.first]
            .into_iter()
            .filter(|place| *place != Place::NONE)
            .min_by_key(|place| self.deadline(*place))
    }

    fn deadline(&self, place: Place) -> Instant {
        self.slots[place.0 as usize].deadline
    }

    /// All of them, in the order of their deadlines, blocked ones last.
    pub(super) fn iter(&self) -> impl Iterator<Item = PendingPeer> + '_ {
        let slot = |place: Place| self.slots.get(place.0 as usize);
        let line = move |line: &Line| {
            core::iter::successors(slot(line.first), move |before| slot(before.behind))
        };
        line(&self.turns)
            .chain(line(&self.blocked))
            .map(|slot| PendingPeer::of(slot.peer, &slot.pending))
    }

    pub(super) const fn early(&self) -> usize {
        self.early
    }

    pub(super) const fn blocked(&self) -> usize {
        self.blocked.len
    }

    pub(super) const fn probing(&self) -> usize {
        self.turns.len - self.early
    }

    const fn line(&mut self, phase: Phase) -> &mut Line {
        match phase {
            Phase::Blocked => &mut self.blocked,
            Phase::Probing | Phase::Early => &mut self.turns,
        }
    }

    /// Puts the slot at `place` at the end of the line of its phase.
    fn line_up(&mut self, place: Place, deadline: Instant) {
        let phase = self.get(place).phase;
        self.early += usize::from(phase == Phase::Early);
        let line = self.line(phase);
        let last = core::mem::replace(&mut line.last, place);
        line.len += 1;
        if last == Place::NONE {
            line.first = place;
        }
        let mut earliest = Instant::default();
        if let Some(slot) = self.slots.get_mut(last.0 as usize) {
            slot.behind = place;
            earliest = slot.deadline;
        }
        let slot = &mut self.slots[place.0 as usize];
        slot.before = last;
        slot.behind = Place::NONE;
        slot.deadline = deadline.max(earliest);
    }

    /// Takes the slot at `place` out of its line.
    fn leave(&mut self, place: Place) {
        let slot = &self.slots[place.0 as usize];
        let (phase, before, behind) = (slot.pending.phase, slot.before, slot.behind);
        self.early -= usize::from(phase == Phase::Early);
        if let Some(slot) = self.slots.get_mut(before.0 as usize) {
            slot.behind = behind;
        }
        if let Some(slot) = self.slots.get_mut(behind.0 as usize) {
            slot.before = before;
        }
        let line = self.line(phase);
        line.len -= 1;
        if before == Place::NONE {
            line.first = behind;
        }
        if behind == Place::NONE {
            line.last = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Mapped, ServerV4};
    use core::net::Ipv4Addr;
    use core::time::Duration;

    const ORIGIN: SourcePrefix = [1; 8];

    fn peers(capacity: usize) -> PendingPeers {
        let key = Keyed::new([7; 32]);
        PendingPeers::new(capacity, key, key)
    }

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

    fn insert(peers: &mut PendingPeers, port: u16, deadline: u64) -> Place {
        peers.insert(peer(port), probing(), at(deadline)).0
    }

    /// R-21, 3.8 "table full".
    #[test]
    fn a_full_set_forgets_the_oldest_blocked_peer_and_then_refuses() {
        let mut peers = peers(2);
        let (one, two) = (insert(&mut peers, 1, 2), insert(&mut peers, 2, 2));
        assert!(!peers.has_room());
        peers.schedule(two, Phase::Blocked, at(299));
        peers.schedule(one, Phase::Blocked, at(300));
        assert!(peers.has_room());
        let (_, evicted) = peers.insert(peer(3), probing(), at(5));
        assert!(evicted && peers.find(&peer(2)).is_none());
        assert_eq!(peers.find(&peer(1)), Some(one));
        assert_eq!((peers.probing(), peers.blocked()), (1, 1));
    }

    #[test]
    fn deadlines_of_all_phases_come_in_order() {
        let mut peers = peers(8);
        let places = [(1, 2), (2, 3), (3, 5), (4, 7)].map(|(i, s)| insert(&mut peers, i, s));
        peers.schedule(places[2], Phase::Blocked, at(4));
        peers.schedule(places[0], Phase::Early, at(8));
        assert_eq!((peers.probing(), peers.early(), peers.blocked()), (2, 1, 1));
        let ports: Vec<u16> = peers.iter().map(|p| p.peer.mapped().port).collect();
        assert_eq!(ports, [2, 4, 1, 3]);
        let mut order = Vec::new();
        while let Some(due) = peers.due(at(8)) {
            order.push(peers.peer(due).mapped().port);
            peers.remove(due);
        }
        assert_eq!(order, [2, 3, 4, 1]);
        assert_eq!(peers.next_deadline(), None);
        assert_eq!((peers.early(), peers.iter().count()), (0, 0));
    }

    /// the window itself is judged by [`Pending::window_end`].
    #[test]
    fn a_window_that_ends_before_the_one_in_front_is_forgotten_with_it() {
        let mut peers = peers(8);
        for (port, end) in [(1, 300), (2, 295)] {
            let place = insert(&mut peers, port, 2);
            peers.schedule(place, Phase::Blocked, at(end));
        }
        assert_eq!(peers.due(at(299)), None);
        for port in [1, 2] {
            let due = peers.due(at(300)).expect("both are due");
            assert_eq!(peers.peer(due), peer(port));
            peers.remove(due);
        }
    }

    #[test]
    fn slots_are_used_again_and_the_lines_stay_whole() {
        let mut peers = peers(8);
        for round in 0..100_u16 {
            let places = [0, 1, 2].map(|i| insert(&mut peers, 3 * round + i, 2));
            peers.remove(places[usize::from(round % 3)]);
            assert_eq!(peers.iter().count(), 2);
            while let Some(place) = peers.first() {
                peers.remove(place);
            }
        }
        assert_eq!(peers.slots.len(), 3);
    }

    ///
    #[test]
    fn a_peer_counts_against_its_origin_once_and_until_it_is_gone() {
        let mut peers = peers(8);
        for end in [
            |peers: &mut PendingPeers, place| peers.remove(place),
            |peers: &mut PendingPeers, place| peers.rest(place, at(1)),
        ] {
            let place = insert(&mut peers, 1, 2);
            assert_eq!(peers.unanswered(ORIGIN), 0);
            peers.set_overdue(place);
            peers.set_overdue(place);
            assert_eq!(peers.unanswered(ORIGIN), 1);
            let ended = end(&mut peers, place);
            assert_eq!(ended.origin, Some(ORIGIN));
            assert_eq!(peers.unanswered(ORIGIN), 0);
            if let Some(place) = peers.find(&peer(1)) {
                peers.remove(place);
            }
        }
    }
}

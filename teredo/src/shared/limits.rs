//! Rates that keep a relay or a server from being made a reflector (R-29, R-51, S-17).

use core::hash::Hash;
use core::time::Duration;

use indexmap::IndexMap;
use indexmap::map::Entry;

use crate::Instant;
use crate::shared::keyed::Keyed;

/// `burst` at once, then one per `interval`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    interval: Duration,
    burst: u32,
}

impl Rate {
    pub(crate) const fn every(interval: Duration, burst: u32) -> Self {
        Self { interval, burst }
    }

    /// A rate of 0 lets nothing through.
    pub(crate) const fn per_second(rate: u32, burst: u32) -> Self {
        match rate {
            0 => Self::every(Duration::from_secs(1), 0),
            n => Self::every(Duration::from_nanos(1_000_000_000 / n as u64), burst),
        }
    }

    /// When a bucket that is full at `full_at` will be full after one more, if there is one to take
    /// and `reserve` stay behind.
    fn take(self, full_at: Instant, now: Instant, reserve: u32) -> Option<Instant> {
        let next = full_at.max(now) + self.interval;
        let depth = self
            .interval
            .saturating_mul(self.burst.saturating_sub(reserve));
        (self.burst > reserve && next.saturating_since(now) <= depth).then_some(next)
    }
}

/// A token bucket, kept as the instant at which it will be full again.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    full_at: Instant,
}

impl Bucket {
    pub(crate) const fn new(rate: Rate) -> Self {
        Self {
            rate,
            full_at: Instant::from_nanos(0),
        }
    }

    pub(crate) fn is_ready(&self, now: Instant) -> bool {
        self.rate.take(self.full_at, now, 0).is_some()
    }

    /// Takes a token if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let next = self.rate.take(self.full_at, now, 0);
        self.full_at = next.unwrap_or(self.full_at);
        next.is_some()
    }

    /// Puts tokens in; what the bucket does not hold is lost.
    pub(crate) fn put(&mut self, tokens: u32) {
        self.full_at = self.full_at - self.rate.interval.saturating_mul(tokens);
    }
}

/// Buckets looked at, to forget full ones, whenever one is asked: more than can come in between.
const LOOKED_AT: usize = 2;

/// A token bucket per key. A bucket that is full again is forgotten, so what is kept is bounded
/// by what was taken lately, and by `capacity` in any case.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    rate: Rate,
    capacity: usize,
    full_at: IndexMap<K, Instant, Keyed>,
    /// Where the search for full buckets goes on. It goes round.
    hand: usize,
}

impl<K: Hash + Eq + Copy> Buckets<K> {
    pub(crate) const fn new(rate: Rate, capacity: usize, hasher: Keyed) -> Self {
        Self {
            rate,
            capacity,
            full_at: IndexMap::with_hasher(hasher),
            hand: 0,
        }
    }

    /// Whether `key` has a token beyond `reserve`.
    pub(crate) fn is_ready(&mut self, now: Instant, key: K, reserve: u32) -> bool {
        self.forget(now);
        match self.full_at.get(&key) {
            Some(full_at) => self.rate.take(*full_at, now, reserve).is_some(),
            None => self.len() < self.capacity && self.rate.burst > reserve,
        }
    }

    /// Takes a token of `key` if there is one.
    pub(crate) fn take(&mut self, now: Instant, key: K) -> bool {
        if self.len() == self.capacity {
            self.forget(now);
        }
        let has_room = self.len() < self.capacity;
        match self.full_at.entry(key) {
            Entry::Occupied(mut bucket) => {
                let next = self.rate.take(*bucket.get(), now, 0);
                bucket.insert(next.unwrap_or(*bucket.get()));
                next.is_some()
            }
            Entry::Vacant(place) => match self.rate.take(now, now, 0) {
                Some(full_at) if has_room => {
                    place.insert(full_at);
                    true
                }
                _ => false,
            },
        }
    }

    /// Takes a token of `key` if there is one. Where there is no room for another bucket, `key` takes over one of those
    /// there are, as it stands, from a key that may do the same: nobody is refused for being new, and all together
    /// get no more than `capacity` buckets give.
    pub(crate) fn take_or_take_over(&mut self, now: Instant, key: K) -> bool {
        if self.len() >= self.capacity && !self.full_at.contains_key(&key) {
            self.forget(now);
            if self.len() >= self.capacity {
                self.hand_over(key);
            }
        }
        self.take(now, key)
    }

    /// Gives `key` the fullest bucket of those that would be looked at next.
    fn hand_over(&mut self, key: K) {
        let next = (0..LOOKED_AT).map(|ahead| (self.hand + ahead) % self.len().max(1));
        let fullest =
            next.min_by_key(|at| self.full_at.get_index(*at).map(|(_, full_at)| *full_at));
        if let Some((_, full_at)) = fullest.and_then(|at| self.full_at.swap_remove_index(at)) {
            self.full_at.insert(key, full_at);
            self.hand += LOOKED_AT;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.full_at.len()
    }

    /// Forgets every full bucket, and gives back what memory is left over beyond `keep` buckets. Says whether any was.
    pub(crate) fn give_back(&mut self, now: Instant, keep: usize) -> bool {
        let had = self.full_at.capacity();
        self.full_at.retain(|_, full_at| *full_at > now);
        self.full_at.shrink_to(keep);
        self.full_at.capacity() < had
    }

    fn forget(&mut self, now: Instant) {
        for _ in 0..LOOKED_AT {
            if self.hand >= self.full_at.len() {
                self.hand = 0;
            }
            match self.full_at.get_index(self.hand) {
                Some((_, full_at)) if *full_at <= now => {
                    self.full_at.swap_remove_index(self.hand);
                }
                Some(_) => self.hand += 1,
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    /// the example of RFC 4443 2.4 (f).
    #[test]
    fn ten_at_once_then_ten_a_second() {
        let mut bucket = Bucket::new(Rate::per_second(10, 10));
        assert_eq!((0..20).filter(|_| bucket.take(at(0))).count(), 10);
        assert!(!bucket.take(at(99)));
        assert!(bucket.take(at(100)) && !bucket.take(at(100)));
        assert_eq!((0..20).filter(|_| bucket.take(at(60_000))).count(), 10);
    }

    #[test]
    fn a_rate_or_a_burst_of_zero_lets_nothing_through() {
        for rate in [Rate::per_second(0, 10), Rate::per_second(10, 0)] {
            assert!(!Bucket::new(rate).take(at(5000)));
            assert!(!Buckets::new(rate, 4, Keyed::new([7; 32])).take(at(5000), 1));
        }
    }

    #[test]
    fn buckets_are_apart_and_full_ones_are_forgotten() {
        let mut buckets = Buckets::new(Rate::per_second(1, 2), 2, Keyed::new([7; 32]));
        assert!(buckets.take(at(0), 'a') && buckets.take(at(0), 'a') && !buckets.take(at(0), 'a'));
        assert!(buckets.take(at(0), 'b'));
        assert!(!buckets.take(at(0), 'c'), "no room for a third");
        assert!(buckets.take(at(1000), 'c'), "b is full again");
        assert_eq!(buckets.len(), 2);
        assert!(buckets.take(at(9000), 'd'));
        assert_eq!(buckets.len(), 1);
    }

    #[test]
    fn a_reserve_stays_behind() {
        let mut buckets = Buckets::new(Rate::per_second(1, 4), 2, Keyed::new([7; 32]));
        assert!(buckets.take(at(0), 'a') && buckets.take(at(0), 'a'));
        assert!(buckets.is_ready(at(0), 'a', 1) && !buckets.is_ready(at(0), 'a', 2));
    }
}

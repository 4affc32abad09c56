//! The map of next hops, and what has become of each of its slots.
//!
//! ```text
//! free ─stage─► staged ─publish─► live ─retire─► retired ─free─► free
//!                  └──abandon──► free
//! ```
//!
//! The program keeps the numbers of slots it saw live. What a number means must not change while anybody may hold it, so
//! between `stage` and `publish`, and between `retire` and `free`, whoever calls must have waited until no run of the program
//! is left that began before; and before `free`, peers that hold the number must have been made to forget it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use relay_common::{Egress, HOP_LIVE, HOP_PROBES, HOP_RETIRED, HOPS, HopKey, Ticks};

use crate::datapath::shared_array::SharedArray;
use crate::net::routing::Family;

/// Slots of the map.
pub(super) const SLOTS: usize = HOPS as usize;

/// A set of slots, by number.
pub(super) type Numbers = [bool; SLOTS];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Free,
    Staged(HopKey),
    Live(HopKey),
    Retired,
}

/// Slots by what has become of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HopCounts {
    /// Next hops the program may keep.
    pub live: u32,
    /// Slots whose numbers somebody may still hold.
    pub retired: u32,
}

/// A [`NextHop`](relay_common::NextHop) in words: state and version, three of the key, two of the egress, the tick until
/// which it is good, and one of nothing.
pub(super) type HopWords = [AtomicU64; 8];

/// A [`Routing`](relay_common::Routing) in words.
pub(super) type RoutingWords = [AtomicU32; 4];

/// Ticks for which next hops are good without another word: some three seconds, in which a busy thread gets its turn.
const GOOD_FOR_TICKS: u32 = 12;
/// Its word in the element.
const GOOD_UNTIL: usize = 6;

const GENERATION: usize = 0;
const KEEP_IPV4: usize = 1;
const KEEP_IPV6: usize = 2;

/// Elements shared with the program.
#[derive(Debug)]
pub(super) enum Elements<T> {
    /// With the one that runs.
    Map(SharedArray<T>),
    /// With none.
    #[cfg(test)]
    Own(Vec<T>),
}

impl<T> Elements<T> {
    fn get(&self) -> &[T] {
        match self {
            Self::Map(array) => array.elements(),
            #[cfg(test)]
            Self::Own(elements) => elements,
        }
    }
}

/// The map of next hops and the element of [`Routing`](relay_common::Routing), written here alone.
#[derive(Debug)]
pub(super) struct Slots {
    hops: Elements<HopWords>,
    routing: Elements<RoutingWords>,
    became: [Slot; SLOTS],
    versions: [u32; SLOTS],
    /// Tick until which live next hops are good.
    good_until: u32,
}

impl Slots {
    /// Over maps that are all zero.
    ///
    /// # Panics
    /// The maps are smaller than the program's.
    pub(super) fn new(hops: Elements<HopWords>, routing: Elements<RoutingWords>) -> Self {
        assert!(hops.get().len() >= SLOTS && !routing.get().is_empty());
        Self {
            hops,
            routing,
            became: [Slot::Free; SLOTS],
            versions: [0; SLOTS],
            good_until: 0,
        }
    }

    /// What is live was true at `now`: everything the kernel had told by then has been followed.
    pub(super) fn renew(&mut self, now: Ticks) {
        let good_until = now.0.saturating_add(GOOD_FOR_TICKS);
        if good_until == self.good_until {
            return;
        }
        self.good_until = good_until;
        for (hop, slot) in self.hops.get().iter().zip(&self.became) {
            if matches!(slot, Slot::Live(_)) {
                hop[GOOD_UNTIL].store(word_of(good_until, 0), Ordering::Relaxed);
            }
        }
    }

    /// How many there are of each.
    pub(super) fn counts(&self) -> HopCounts {
        let count = |is: fn(&Slot) -> bool| {
            let slots = self.became.iter().filter(|slot| is(slot)).count();
            u32::try_from(slots).unwrap_or(HOPS)
        };
        HopCounts {
            live: count(|slot| matches!(slot, Slot::Live(_))),
            retired: count(|slot| matches!(slot, Slot::Retired)),
        }
    }

    /// The next hops that are live.
    pub(super) fn live(&self) -> impl Iterator<Item = HopKey> {
        self.became.iter().filter_map(|slot| match slot {
            Slot::Live(key) => Some(*key),
            _ => None,
        })
    }

    /// The next hop `number` if it is live as `version`, and still good at `now`.
    pub(super) fn live_as(&self, number: u32, version: u32, now: Ticks) -> Option<HopKey> {
        let number = usize::try_from(number).ok()?;
        match self.became.get(number)? {
            Slot::Live(key) if self.versions[number] == version && now.0 <= self.good_until => {
                Some(*key)
            }
            _ => None,
        }
    }

    /// Whether `key` is live or about to be.
    pub(super) fn has(&self, key: &HopKey) -> bool {
        let is = |slot: &Slot| matches!(slot, Slot::Live(k) | Slot::Staged(k) if k == key);
        self.became.iter().any(is)
    }

    /// Writes `key` into a free slot where the program looks for it. `None`: there is no free one.
    pub(super) fn stage(&mut self, key: HopKey, egress: Egress) -> Option<usize> {
        let home = key.home(self.generation());
        let number = (0..HOP_PROBES)
            .map(|probe| ((home + probe) % HOPS) as usize)
            .find(|number| *number != 0 && self.became[*number] == Slot::Free)?;
        self.versions[number] = self.versions[number].wrapping_add(1);
        let words = key.words().into_iter().chain(words_of(&egress));
        // Nobody reads more than the state of a slot that is not live.
        for (to, word) in self.hops.get()[number][1..].iter().zip(words) {
            to.store(word, Ordering::Relaxed);
        }
        self.became[number] = Slot::Staged(key);
        Some(number)
    }

    /// Makes a staged slot live.
    pub(super) fn publish(&mut self, number: usize) {
        if let Slot::Staged(key) = self.became[number] {
            self.became[number] = Slot::Live(key);
            let good_until = word_of(self.good_until, 0);
            self.hops.get()[number][GOOD_UNTIL].store(good_until, Ordering::Relaxed);
            self.set_state(number, HOP_LIVE);
        }
    }

    /// Frees a staged slot: nobody has seen it.
    pub(super) fn abandon(&mut self, number: usize) {
        if let Slot::Staged(_) = self.became[number] {
            self.became[number] = Slot::Free;
        }
    }

    /// Takes the live next hops that `which` names from the program: every packet that begins after this asks the kernel.
    pub(super) fn retire(&mut self, which: impl Fn(&HopKey) -> bool) {
        for number in 0..SLOTS {
            if let Slot::Live(key) = self.became[number]
                && which(&key)
            {
                self.set_state(number, HOP_RETIRED);
                self.became[number] = Slot::Retired;
            }
        }
    }

    /// The retired slots.
    pub(super) fn retired(&self) -> Numbers {
        self.became.map(|slot| slot == Slot::Retired)
    }

    /// Frees the slots `numbers`, which were retired.
    pub(super) fn free(&mut self, numbers: &Numbers) {
        for (slot, free) in self.became.iter_mut().zip(numbers) {
            if *free && *slot == Slot::Retired {
                *slot = Slot::Free;
            }
        }
    }

    /// Whether the program may keep next hops of `family`.
    pub(super) fn allow(&mut self, family: Family, keep: bool) {
        let word = match family {
            Family::Ipv4 => KEEP_IPV4,
            Family::Ipv6 => KEEP_IPV6,
        };
        self.routing.get()[0][word].store(u32::from(keep), Ordering::Release);
    }

    /// Retires everything and gives every next hop another home: for when too many have the same.
    pub(super) fn move_homes(&mut self) {
        self.retire(|_| true);
        self.routing.get()[0][GENERATION].fetch_add(1, Ordering::Release);
    }

    fn generation(&self) -> u32 {
        self.routing.get()[0][GENERATION].load(Ordering::Relaxed)
    }

    /// Publishes what was written before.
    fn set_state(&self, number: usize, state: u32) {
        let word = word_of(state, self.versions[number]);
        self.hops.get()[number][0].store(word, Ordering::Release);
    }
}

/// Two halves as they lie in memory one after the other.
fn word_of(first: u32, second: u32) -> u64 {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&first.to_ne_bytes());
    bytes[4..].copy_from_slice(&second.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

fn words_of(egress: &Egress) -> [u64; 2] {
    let [outer, inner] = egress.tags.map(|tag| {
        let ([a, b], [c, d]) = (tag.protocol, tag.tci);
        u32::from_ne_bytes([a, b, c, d])
    });
    [
        word_of(egress.port, egress.tag_count),
        word_of(outer, inner),
    ]
}

#[cfg(test)]
pub(super) mod tests;

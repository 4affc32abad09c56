//! The peer table's one writer: places found, occupied and vacated, word by word.
//!
//! The layout is `relay_common`'s, the rules for readers and writers are those of `docs/decisions/0009`:
//!
//! * A place is occupied in the order head, mapping, tail, and vacated by its tail alone.
//! * A place that changes its peer or its mapping is vacant in between, and its version goes up.
//! * One thread writes to a block. The program changes ticks, next hops and the request mark of used entries, so every
//!   change here is a compare-and-exchange of the whole tail.

#[cfg(test)]
mod loom_tests;
#[cfg(test)]
mod tests;
mod word;

use std::ops::Range;

use relay_common::{
    BLOCK_BUCKETS, BLOCK_LINES, BLOCK_SIDE_LINES, Found, KeyWords, MappedWord, PeerKey, ReadLine,
    SIDE_WAYS, SIDE_WORDS, TableShape, Tail, Ticks, WAYS, find,
};

pub(super) use word::Word;

/// Words of a line.
const LINE_WORDS: usize = 8;

/// There is no place for a peer in its bucket nor aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoPlace;

/// What [`PeerTable::insert`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inserted {
    /// The peer was there and is there.
    Refreshed,
    /// The peer has moved in.
    New,
}

/// A peer as it stands in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) key: PeerKey,
    pub(super) tail: Tail,
    pub(super) mapped: MappedWord,
}

/// The words of a table and their meaning.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerTable<'a, W> {
    words: &'a [W],
    shape: TableShape,
}

/// A line, as the lookup reads it.
struct Line<'a, W> {
    words: &'a [W],
    first: usize,
}

// Not derived: that would ask for words that can be copied.
impl<W> Clone for Line<'_, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for Line<'_, W> {}

impl<W: Word> ReadLine for Line<'_, W> {
    fn word(self, at: usize) -> u64 {
        self.words[self.first + at].read()
    }
}

/// Where an entry stands, as the number of its head in the table's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    head: usize,
    aside: bool,
}

impl Place {
    const fn tail(self) -> usize {
        self.head + 1
    }

    const fn mapped(self) -> usize {
        self.head + 2
    }
}

impl<'a, W: Word> PeerTable<'a, W> {
    /// The table of `shape` in `words`, eight for each of its lines.
    pub(super) fn new(words: &'a [W], shape: TableShape) -> Self {
        assert_eq!(words.len(), shape.lines() as usize * LINE_WORDS);
        Self { words, shape }
    }

    fn find(&self, key: PeerKey) -> Option<Found<Line<'a, W>>> {
        find(self.shape, KeyWords::from(key), |line| {
            Some(Line {
                words: self.words,
                first: line as usize * LINE_WORDS,
            })
        })
    }

    /// The entry of `key`.
    pub(super) fn get(&self, key: PeerKey) -> Option<(Tail, MappedWord)> {
        self.find(key).map(|found| (found.tail, found.mapped))
    }

    /// The block in which `key` belongs.
    pub(super) fn block(&self, key: PeerKey) -> u32 {
        self.shape.bucket(KeyWords::from(key)) / BLOCK_BUCKETS
    }

    /// Inserts `key`, mapped to `mapped` and heard at `tick`, or brings its entry up to date.
    ///
    /// # Errors
    /// [`NoPlace`]; an entry with another mapping is gone then.
    pub(super) fn insert(
        &self,
        key: PeerKey,
        mapped: MappedWord,
        tick: Ticks,
    ) -> Result<Inserted, NoPlace> {
        let words = KeyWords::from(key);
        let bucket = self.shape.bucket(words);
        let Some(found) = self.find(key) else {
            return self
                .move_in(bucket, words, mapped, tick)
                .map(|()| Inserted::New);
        };
        let place = Self::place_of(&found);
        if found.mapped == mapped {
            self.change(place, |tail| tail.with_tick(tick));
            return Ok(Inserted::Refreshed);
        }
        if place.aside {
            self.vacate(place);
            self.occupy(place, words, mapped, tick);
            return Ok(Inserted::Refreshed);
        }
        let moved = self.move_in(bucket, words, mapped, tick);
        self.vacate(place);
        moved.map(|()| Inserted::Refreshed)
    }

    /// Removes `key`. Says whether it was there.
    pub(super) fn remove(&self, key: PeerKey) -> bool {
        let Some(found) = self.find(key) else {
            return false;
        };
        let place = Self::place_of(&found);
        self.vacate(place);
        if place.aside {
            self.lower_flag(self.shape.bucket(KeyWords::from(key)));
        }
        true
    }

    /// Visits every peer in `blocks`; one for whom `keep` is false moves out, unless the program has refreshed it
    /// meanwhile. Gives how many moved out.
    pub(super) fn retain(
        &self,
        blocks: Range<u32>,
        mut keep: impl FnMut(PeerKey, Tail) -> bool,
    ) -> usize {
        let mut gone = 0;
        for place in blocks.flat_map(places_of) {
            let Some((key, tail)) = self.read(place) else {
                continue;
            };
            if keep(PeerKey::from(key), tail) {
                continue;
            }
            let vacated = self.words[place.tail()].replace(tail.0, tail.vacated().0);
            if vacated.is_ok() {
                gone += 1;
                if place.aside {
                    self.lower_flag(self.shape.bucket(key));
                }
            }
        }
        gone
    }

    /// Every peer in `blocks`.
    pub(super) fn iter(&self, blocks: Range<u32>) -> impl Iterator<Item = Standing> {
        blocks.flat_map(places_of).filter_map(move |place| {
            let (words, tail) = self.read(place)?;
            let mapped = if place.aside {
                MappedWord(self.words[place.mapped()].read())
            } else {
                words.embedded()
            };
            Some(Standing {
                key: words.into(),
                tail,
                mapped,
            })
        })
    }

    /// Takes next hops for which `forget` holds out of every entry.
    pub(super) fn forget_hops(&self, blocks: Range<u32>, forget: impl Fn(u8) -> bool) {
        for place in blocks.flat_map(places_of) {
            let holds = |tail: Tail| tail.is_used() && tail.hop() != 0 && forget(tail.hop());
            if holds(Tail(self.words[place.tail()].read())) {
                self.change(
                    place,
                    |tail| {
                        if holds(tail) { tail.with_hop(0) } else { tail }
                    },
                );
            }
        }
    }

    /// Blocks of the table.
    pub(super) const fn blocks(&self) -> u32 {
        self.shape.blocks
    }

    fn read(&self, place: Place) -> Option<(KeyWords, Tail)> {
        let tail = Tail(self.words[place.tail()].read());
        tail.is_used().then(|| {
            let head = self.words[place.head].read();
            (
                KeyWords {
                    head,
                    tail: tail.ip(),
                },
                tail,
            )
        })
    }

    fn place_of(found: &Found<Line<'a, W>>) -> Place {
        let line = found.line.first / LINE_WORDS;
        Place {
            head: found.line.first + found.tail_at - 1,
            aside: line % BLOCK_LINES as usize >= BLOCK_BUCKETS as usize,
        }
    }

    /// In the bucket where the mapping is the address's own and there is room, else aside.
    fn move_in(
        &self,
        bucket: u32,
        words: KeyWords,
        mapped: MappedWord,
        tick: Ticks,
    ) -> Result<(), NoPlace> {
        let vacant = |place: &Place| !Tail(self.words[place.tail()].read()).is_used();
        if mapped == words.embedded()
            && let Some(place) = bucket_places(bucket).find(vacant)
        {
            self.occupy(place, words, mapped, tick);
            return Ok(());
        }
        let place = side_places(bucket).find(vacant).ok_or(NoPlace)?;
        self.occupy(place, words, mapped, tick);
        self.change(flag_place(bucket), |tail| tail.with_side(true));
        Ok(())
    }

    fn occupy(&self, place: Place, words: KeyWords, mapped: MappedWord, tick: Ticks) {
        self.words[place.head].write(words.head);
        if place.aside {
            self.words[place.mapped()].write(mapped.0);
        }
        self.change(place, |tail| tail.occupied(words.tail, tick));
    }

    fn vacate(&self, place: Place) {
        self.change(place, Tail::vacated);
    }

    fn change(&self, place: Place, to: impl Fn(Tail) -> Tail) {
        let word = &self.words[place.tail()];
        let mut tail = word.read();
        while let Err(stood) = word.replace(tail, to(Tail(tail)).0) {
            tail = stood;
        }
    }

    /// Takes the side flag of `bucket` back once none of its peers is aside.
    fn lower_flag(&self, bucket: u32) {
        let has_side = side_places(bucket)
            .filter_map(|place| self.read(place))
            .any(|(words, _)| self.shape.bucket(words) == bucket);
        if !has_side {
            self.change(flag_place(bucket), |tail| tail.with_side(false));
        }
    }
}

fn bucket_places(bucket: u32) -> impl Iterator<Item = Place> {
    let first = TableShape::bucket_line(bucket) as usize * LINE_WORDS;
    (0..WAYS).map(move |i| Place {
        head: first + 2 * i,
        aside: false,
    })
}

fn side_places(bucket: u32) -> impl Iterator<Item = Place> {
    let first = TableShape::side_line(bucket) as usize * LINE_WORDS;
    (0..BLOCK_SIDE_LINES as usize * SIDE_WAYS).map(move |i| Place {
        head: first + SIDE_WORDS * i,
        aside: true,
    })
}

/// The entry whose tail has the side flag of `bucket`.
fn flag_place(bucket: u32) -> Place {
    Place {
        head: TableShape::bucket_line(bucket) as usize * LINE_WORDS,
        aside: false,
    }
}

fn places_of(block: u32) -> impl Iterator<Item = Place> {
    let first = block * BLOCK_BUCKETS;
    (first..first + BLOCK_BUCKETS)
        .flat_map(bucket_places)
        .chain(side_places(first))
}

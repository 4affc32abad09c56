//! Finding a peer in the table: the one algorithm of the XDP program, of user space and of the tests that
//! hold it against a writer.
//!
//! Places change hands while this runs. The order of the reads is what keeps a mixture of two peers
//! from being taken for a third; `docs/decisions/0009` tells why.

use crate::table::{
    BLOCK_SIDE_LINES, KeyWords, MappedWord, SIDE_WAYS, SIDE_WORDS, TableShape, Tail, WAYS,
};

/// A line of the table that can be read word by word. Reads must not be reordered or left out.
pub trait ReadLine: Copy {
    /// Word `at` of the line, 0 to 7, as it is now.
    fn word(self, at: usize) -> u64;
}

/// A peer that was found.
#[derive(Clone, Copy, Debug)]
pub struct Found<L> {
    /// The line it stands in.
    pub line: L,
    /// Which word of the line is its tail.
    pub tail_at: usize,
    /// What stood there.
    pub tail: Tail,
    /// Where it is mapped.
    pub mapped: MappedWord,
}

/// The peer of the key `words` in the table of `shape`, whose lines `line` gives.
#[inline(always)]
pub fn find<L: ReadLine>(
    shape: TableShape,
    words: KeyWords,
    line: impl Fn(u32) -> Option<L>,
) -> Option<Found<L>> {
    let bucket = shape.bucket(words);
    let home = line(TableShape::bucket_line(bucket))?;

    // One arithmetic expression over all entries: which one it is cannot be predicted, that it is one of them can.
    let (mut way, mut found) = (0, 0);
    for i in 0..WAYS {
        let tail = home.word(2 * i + 1);
        let head = home.word(2 * i);
        let is_it = is_zero(differs(words, head, tail));
        way |= is_it * i as u64;
        found |= is_it;
    }
    if found != 0 {
        #[allow(clippy::cast_possible_truncation)] // 0 to 3.
        let tail_at = 2 * (way as usize & (WAYS - 1)) + 1;
        let tail = Tail(home.word(tail_at));
        if differs(words, words.head, tail.0) != 0 {
            return None;
        }
        return Some(Found {
            line: home,
            tail_at,
            tail,
            mapped: words.embedded(),
        });
    }
    if Tail(home.word(1)).has_side() {
        return find_aside(words, TableShape::side_line(bucket), line);
    }
    None
}

/// The peer on the side lines from `first` on.
#[inline(always)]
fn find_aside<L: ReadLine>(
    words: KeyWords,
    first: u32,
    line: impl Fn(u32) -> Option<L>,
) -> Option<Found<L>> {
    for number in first..first + BLOCK_SIDE_LINES {
        let line = line(number)?;
        for i in 0..SIDE_WAYS {
            let (head_at, tail_at, mapped_at) =
                (SIDE_WORDS * i, SIDE_WORDS * i + 1, SIDE_WORDS * i + 2);
            let before = Tail(line.word(tail_at));
            let head = line.word(head_at);
            let mapped = MappedWord(line.word(mapped_at));
            let tail = Tail(line.word(tail_at));
            if differs(words, head, before.0) == 0 && before.is_same_occupant(tail) {
                return Some(Found {
                    line,
                    tail_at,
                    tail,
                    mapped,
                });
            }
        }
    }
    None
}

/// Zero if the entry `head`, `tail` is that of `key`, something else if not.
#[inline(always)]
pub const fn differs(key: KeyWords, head: u64, tail: u64) -> u64 {
    (head ^ key.head) | ((tail ^ key.tail as u64) << 32) | (!tail >> 63)
}

/// 1 for 0, 0 for everything else, without a branch: BPF has no conditional move, and a
/// comparison would become a jump.
#[inline(always)]
pub(crate) fn is_zero(x: u64) -> u64 {
    let x = opaque(x);
    (x.wrapping_sub(1) & !x) >> 63
}

/// `x`, of which the compiler knows nothing any more.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) fn opaque(mut x: u64) -> u64 {
    // Not an empty text: two lines of source at one instruction is line information no kernel accepts.
    // SAFETY: copies a register to itself.
    unsafe {
        core::arch::asm!("{0} = {0}", inout(reg) x, options(pure, nomem, nostack, preserves_flags));
    };
    x
}

/// `x`: elsewhere a comparison need not become a jump.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub(crate) const fn opaque(x: u64) -> u64 {
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PeerKey, Ticks};

    #[test]
    fn an_entry_differs_from_every_other_key_and_when_it_is_empty() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let key = KeyWords::from(PeerKey(bytes));
        let used = Tail::default().occupied(key.tail, Ticks(7));
        assert_eq!(differs(key, key.head, used.0), 0);
        assert_ne!(differs(key, key.head, used.vacated().0), 0);
        for at in 0..12 {
            let mut other = bytes;
            other[at] ^= 1;
            assert_ne!(differs(KeyWords::from(PeerKey(other)), key.head, used.0), 0);
        }
    }

    #[test]
    fn zero_alone_is_zero() {
        assert_eq!(is_zero(0), 1);
        for x in [1, 2, 1 << 31, 1 << 32, 1 << 63, u64::MAX, u64::MAX >> 1] {
            assert_eq!(is_zero(x), 0, "{x:x}");
        }
    }
}

//! What a daemon leaves to the one that takes over from it.

use crate::{Counter, Line, PeerKey, Reason, TableShape};

/// Raised when maps that outlive a daemon change their meaning and not their form.
const REVISION: u64 = 1;

/// The form of the maps that outlive a daemon: one that has another cannot use them.
pub const LAYOUT: u64 = layout();

/// The one element of the map that tells a daemon whether it can use the others, and how.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Succession {
    /// [`LAYOUT`] of whoever made the maps.
    pub layout: u64,
    /// Where peers stand in the peer table.
    pub table: TableShape,
    /// Peers it was made for (`--max-peers`).
    pub max_peers: u32,
    /// 1: the program is attached in the kernel's generic hook; 0: in the driver.
    pub generic: u32,
}

const _: () = assert!(size_of::<Succession>() == 56);

/// A hash (FNV-1a) of what a reader of the maps relies on.
const fn layout() -> u64 {
    let mut hash = fold(0xcbf2_9ce4_8422_2325, REVISION);
    let mut sizes = [
        size_of::<Line>(),
        size_of::<Counter>(),
        size_of::<TableShape>(),
        size_of::<PeerKey>(),
    ]
    .as_slice();
    while let [size, rest @ ..] = sizes {
        hash = fold(hash, *size as u64);
        sizes = rest;
    }
    // Counters are known by the place of their reason.
    let mut reasons = Reason::ALL;
    while let [reason, rest @ ..] = reasons {
        let mut name = reason.as_str().as_bytes();
        while let [byte, others @ ..] = name {
            hash = fold(hash, *byte as u64);
            name = others;
        }
        hash = fold(hash, u64::MAX);
        reasons = rest;
    }
    hash
}

const fn fold(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_word_gives_another_layout() {
        assert_ne!(fold(LAYOUT, 1), fold(LAYOUT, 2));
        assert_ne!(LAYOUT, 0);
    }
}

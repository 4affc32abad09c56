//! The peer table's layout: one cache line a lookup.
//!
//! ```text
//! table  = block | block | ...                     1408 bytes each, for 28 peers
//! block  = 16 buckets, then 6 side lines           64 bytes each
//! bucket = 4 entries of 16 bytes                   peers whose mapping is the one in their address
//! side   = 2 side entries of 32 bytes              peers mapped elsewhere (symmetric NATs), and those a full bucket turned away
//! entry  = head (8) | tail (8)
//! head   = server IPv4 (4) | flags (2) | mapped port ^ ffff (2)      as on the wire: bytes 4 to 12 of the Teredo address
//! tail   = mapped IPv4 ^ ffffffff (4), as on the wire | tick (2) | next hop (1) | flags (1)
//! ```
//!
//! A peer's bucket follows from a keyed hash of its address, the side lines from its bucket: they are those
//! of the same block, and looked at only when the bucket says so. Who may write what and what a reader
//! may see in between is told in `docs/decisions/0009`.

use crate::{PEER_FRESH_TICKS, PROBE_AFTER_TICKS, PeerKey, Ticks};

/// Entries of a bucket.
pub const WAYS: usize = 4;
/// Buckets of a block.
pub const BLOCK_BUCKETS: u32 = 16;
/// Side lines of a block.
pub const BLOCK_SIDE_LINES: u32 = 6;
/// Side entries of a side line.
pub const SIDE_WAYS: usize = 2;
/// Lines of a block.
pub const BLOCK_LINES: u32 = BLOCK_BUCKETS + BLOCK_SIDE_LINES;
/// Peers a block is made for: less than half of what its buckets hold. Of peers spread at random 2.5 % then find their
/// bucket full, and less than one in a million all of the block's side entries as well.
pub const BLOCK_PEERS: u32 = 28;

/// A cache line of the table: a bucket or a side line, in words.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Line(pub [u64; 8]);

const _: () = assert!(size_of::<Line>() == 64);

/// Whether words have their first byte lowest, as on every machine that runs the program.
const LITTLE: bool = cfg!(target_endian = "little");

/// Where keys belong: constants of a table, in the program's read-only data.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TableShape {
    /// Secrets of the hash, drawn at random: nobody outside can aim at one bucket.
    pub hash_keys: [u64; 4],
    /// Blocks of the table.
    pub blocks: u32,
    /// Always zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<TableShape>() == 40);

impl TableShape {
    /// A table for `max_peers` peers whose hash is keyed with `hash_keys`.
    pub const fn new(max_peers: u32, hash_keys: [u64; 4]) -> Self {
        let blocks = max_peers.div_ceil(BLOCK_PEERS);
        Self {
            hash_keys,
            blocks: if blocks == 0 { 1 } else { blocks },
            reserved: 0,
        }
    }

    /// Lines of the table: the capacity of its map.
    pub const fn lines(&self) -> u32 {
        self.blocks * BLOCK_LINES
    }

    /// Bytes of the table.
    pub const fn bytes(&self) -> u64 {
        self.lines() as u64 * size_of::<Line>() as u64
    }

    /// The bucket of `key`, below `blocks * 16`.
    ///
    /// Multilinear hashing over 32-bit words with random 64-bit keys, under which two keys meet as often as chance
    /// has it (Dietzfelbinger 1996; Lemire and Kaser 2014), and the finalizer of MurmurHash3: a linear function alone
    /// would let the consecutive ports of one NAT crowd into a few blocks for some of the keys.
    #[inline(always)]
    pub const fn bucket(&self, key: KeyWords) -> u32 {
        let [k0, k1, k2, k3] = self.hash_keys;
        let linear = k0
            .wrapping_add(k1.wrapping_mul(key.head & 0xffff_ffff))
            .wrapping_add(k2.wrapping_mul(key.head >> 32))
            .wrapping_add(k3.wrapping_mul(key.tail as u64));
        let mixed = (linear ^ (linear >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let hash = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        reduce((hash >> 32) as u32, self.blocks * BLOCK_BUCKETS)
    }

    /// The line of a bucket.
    #[inline(always)]
    pub const fn bucket_line(bucket: u32) -> u32 {
        bucket / BLOCK_BUCKETS * BLOCK_LINES + bucket % BLOCK_BUCKETS
    }

    /// The first side line of a bucket's block.
    #[inline(always)]
    pub const fn side_line(bucket: u32) -> u32 {
        bucket / BLOCK_BUCKETS * BLOCK_LINES + BLOCK_BUCKETS
    }
}

/// `hash` brought below `bound`, evenly (Lemire 2019).
#[inline(always)]
#[allow(clippy::cast_possible_truncation)] // Below a u32.
const fn reduce(hash: u32, bound: u32) -> u32 {
    ((hash as u64 * bound as u64) >> 32) as u32
}

/// A peer's key as the table's words hold it. The bytes are in wire order in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyWords {
    /// Server, flags and mapped port.
    pub head: u64,
    /// Mapped IPv4 address.
    pub tail: u32,
}

impl KeyWords {
    /// The key in a Teredo address, given as two words of memory.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // The upper half of a word.
    pub const fn of_address([first, second]: [u64; 2]) -> Self {
        if LITTLE {
            Self {
                head: first >> 32 | second << 32,
                tail: (second >> 32) as u32,
            }
        } else {
            Self {
                head: first << 32 | second >> 32,
                tail: second as u32,
            }
        }
    }

    /// The mapping the address names.
    #[inline(always)]
    pub const fn embedded(self) -> MappedWord {
        let ip = !self.tail as u64;
        if LITTLE {
            MappedWord(ip | (!self.head >> 48) << 32)
        } else {
            MappedWord(ip << 32 | (!self.head & 0xffff) << 16)
        }
    }
}

impl From<PeerKey> for KeyWords {
    #[inline(always)]
    fn from(PeerKey(k): PeerKey) -> Self {
        Self {
            head: u64::from_ne_bytes([k[0], k[1], k[2], k[3], k[4], k[5], k[6], k[7]]),
            tail: u32::from_ne_bytes([k[8], k[9], k[10], k[11]]),
        }
    }
}

impl From<KeyWords> for PeerKey {
    fn from(words: KeyWords) -> Self {
        let mut key = [0; 12];
        key[..8].copy_from_slice(&words.head.to_ne_bytes());
        key[8..].copy_from_slice(&words.tail.to_ne_bytes());
        Self(key)
    }
}

/// The second word of an entry.
///
/// ```text
/// bits  0..32  mapped IPv4, as in the Teredo address
/// bits 32..48  tick of the last accepted reception, low 16 bits
/// bits 48..56  next hop (0: ask the kernel)
/// bits 56..59  early probes the program asked for since then
/// bits 59..62  version: goes up with every peer that moves in
/// bit  62      first entry of a bucket: some peers of this bucket are on the side lines
/// bit  63      in use
/// ```
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tail(pub u64);

impl Tail {
    /// In use.
    pub const USED: u64 = 1 << 63;
    /// Some peers of this bucket are on the side lines.
    pub const SIDE: u64 = 1 << 62;
    const VERSION_SHIFT: u32 = 59;
    const VERSION: u64 = 7 << Self::VERSION_SHIFT;
    const ASKED_SHIFT: u32 = 56;
    const ASKED: u64 = 7 << Self::ASKED_SHIFT;
    const HOP_SHIFT: u32 = 48;
    const HOP: u64 = 0xff << Self::HOP_SHIFT;
    const TICK_SHIFT: u32 = 32;
    const TICK: u64 = 0xffff << Self::TICK_SHIFT;
    /// What tells one occupant of a place from the next.
    const IDENTITY: u64 = Self::USED | Self::VERSION | 0xffff_ffff;
    /// Log2 of the ticks between two requests to probe one peer: 2.1 s, the bubble interval of R-26.
    const ASKED_TICKS_SHIFT: u32 = 3;
    /// All requests before the peer is stale can be counted.
    const ASKED_FITS: () =
        assert!(Self::turn(PEER_FRESH_TICKS - 1) <= Self::ASKED >> Self::ASKED_SHIFT);

    /// Whether a peer stands here.
    #[inline(always)]
    pub const fn is_used(self) -> bool {
        self.0 & Self::USED != 0
    }

    /// Whether peers of this bucket are on the side lines (first entry of a bucket alone).
    #[inline(always)]
    pub const fn has_side(self) -> bool {
        self.0 & Self::SIDE != 0
    }

    /// Whether `later`, read from the same place, is of the same occupant.
    #[inline(always)]
    pub const fn is_same_occupant(self, later: Self) -> bool {
        (self.0 ^ later.0) & Self::IDENTITY == 0
    }

    /// Ticks since the last accepted reception. Zero when it lies a few ticks ahead, as it may between two
    /// clocks. Good for 4.8 hours, after which it begins anew: a sweep must have removed the peer by then.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)]
    pub const fn age(self, now: Ticks) -> u32 {
        /// How far ahead two clocks may be, in ticks.
        const AHEAD_MAX: u16 = 4;
        let age = (now.0 as u16).wrapping_sub((self.0 >> Self::TICK_SHIFT) as u16);
        if age > u16::MAX - AHEAD_MAX {
            0
        } else {
            age as u32
        }
    }

    /// Low 16 bits of the tick of the last reception.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)]
    pub const fn tick(self) -> u16 {
        (self.0 >> Self::TICK_SHIFT) as u16
    }

    /// The next hop's number; 0 for none.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)]
    pub const fn hop(self) -> u8 {
        (self.0 >> Self::HOP_SHIFT) as u8
    }

    /// Whether an early probe is due (R-53): the peer was not heard for 20 s, and none was asked for in the
    /// last 2 s of its silence.
    #[inline(always)]
    pub const fn wants_probe(self, now: Ticks) -> bool {
        let () = Self::ASKED_FITS;
        let age = self.age(now);
        age >= PROBE_AFTER_TICKS && Self::turn(age) > self.asked()
    }

    /// Probes asked for since the peer was heard.
    #[inline(always)]
    pub const fn asked(self) -> u64 {
        (self.0 & Self::ASKED) >> Self::ASKED_SHIFT
    }

    /// Which request is due after a silence of `age`: the first after 20 s, then one every 2.1 s, five until the peer is stale.
    #[inline(always)]
    const fn turn(age: u32) -> u64 {
        ((age - PROBE_AFTER_TICKS) >> Self::ASKED_TICKS_SHIFT) as u64 + 1
    }

    /// With the probe that is due asked for.
    #[inline(always)]
    #[must_use]
    pub const fn with_probe_asked(self, now: Ticks) -> Self {
        let turn = Self::turn(self.age(now));
        Self(self.0 & !Self::ASKED | (turn << Self::ASKED_SHIFT) & Self::ASKED)
    }

    /// With that next hop.
    #[inline(always)]
    #[must_use]
    pub const fn with_hop(self, hop: u8) -> Self {
        Self(self.0 & !Self::HOP | (hop as u64) << Self::HOP_SHIFT)
    }

    /// Heard at `tick`, no probe asked for since.
    #[inline(always)]
    #[must_use]
    pub const fn with_tick(self, tick: Ticks) -> Self {
        Self(self.0 & !(Self::TICK | Self::ASKED) | (tick.0 as u64 & 0xffff) << Self::TICK_SHIFT)
    }

    /// With the side flag set or cleared.
    #[must_use]
    pub const fn with_side(self, side: bool) -> Self {
        Self(self.0 & !Self::SIDE | if side { Self::SIDE } else { 0 })
    }

    /// The place after its peer has moved out: only the side flag and the version stay.
    #[must_use]
    pub const fn vacated(self) -> Self {
        Self(self.0 & (Self::SIDE | Self::VERSION))
    }

    /// The place after a peer mapped to `ip` (as in the Teredo address), heard at `tick`, has moved in.
    #[must_use]
    pub const fn occupied(self, ip: u32, tick: Ticks) -> Self {
        let version = (self.0 & Self::VERSION).wrapping_add(1 << Self::VERSION_SHIFT);
        Self(self.0 & Self::SIDE | version & Self::VERSION | Self::USED | ip as u64).with_tick(tick)
    }

    /// The mapped IPv4 address as in the Teredo address.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)]
    pub const fn ip(self) -> u32 {
        self.0 as u32
    }
}

/// Where a peer is mapped: IPv4 address and port, as on the wire, in the lower six bytes.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MappedWord(pub u64);

impl MappedWord {
    /// The word for an address and a port, both as on the wire.
    #[inline(always)]
    pub const fn new([a, b, c, d]: [u8; 4], [p, q]: [u8; 2]) -> Self {
        Self(u64::from_ne_bytes([a, b, c, d, p, q, 0, 0]))
    }

    /// Address and port, as on the wire.
    #[inline(always)]
    pub const fn octets(self) -> ([u8; 4], [u8; 2]) {
        let [a, b, c, d, p, q, _, _] = self.0.to_ne_bytes();
        ([a, b, c, d], [p, q])
    }

    /// The address, its bytes in memory as on the wire.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // The lower half of a word.
    pub const fn ip(self) -> u32 {
        if LITTLE {
            self.0 as u32
        } else {
            (self.0 >> 32) as u32
        }
    }

    /// The port, its bytes in memory as on the wire.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // Two bytes of a word.
    pub const fn port(self) -> u16 {
        (if LITTLE { self.0 >> 32 } else { self.0 >> 16 }) as u16
    }
}

/// Words of a side entry: head, tail, [`MappedWord`], one that is always zero.
pub const SIDE_WORDS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: PeerKey = PeerKey([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);

    fn shape(max_peers: u32) -> TableShape {
        TableShape::new(
            max_peers,
            [
                0x9e37_79b9_7f4a_7c15,
                0xbf58_476d_1ce4_e5b9,
                0x94d0_49bb_1331_11eb,
                0xd6e8_feb8_6659_fd93,
            ],
        )
    }

    #[test]
    fn a_key_and_its_words_convert_both_ways() {
        let words = KeyWords::from(KEY);
        assert_eq!(PeerKey::from(words), KEY);
        let address = [0x20, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let (halves, _) = address.as_chunks();
        let halves = [u64::from_ne_bytes(halves[0]), u64::from_ne_bytes(halves[1])];
        assert_eq!(KeyWords::of_address(halves), words);
        assert_eq!(words.embedded().octets(), ([!9, !10, !11, !12], [!7, !8]));
    }

    #[test]
    fn a_table_has_room_for_its_peers_and_stays_below_64_bytes_each() {
        for max_peers in [1, 31, 32, 33, 1000, 1 << 20, 1 << 22] {
            let shape = shape(max_peers);
            let buckets = shape.blocks * BLOCK_BUCKETS;
            assert!(u64::from(buckets) * 7 / 4 >= u64::from(max_peers));
            if max_peers >= 1000 {
                assert!(shape.bytes() < 53 * u64::from(max_peers));
            }
        }
    }

    #[test]
    fn buckets_lie_in_the_table_and_side_lines_behind_the_buckets_of_their_block() {
        let shape = shape(100);
        for i in 0..=255 {
            let bucket = shape.bucket(KeyWords::from(PeerKey([i; 12])));
            let line = TableShape::bucket_line(bucket);
            let side = TableShape::side_line(bucket);
            assert!(line < side && side + BLOCK_SIDE_LINES <= shape.lines());
            assert!(side - line <= BLOCK_BUCKETS);
        }
    }

    /// As many as chance has it, whatever the secret: at 1.75 peers a bucket a Poisson distribution sends 2.5 % aside.
    #[test]
    fn consecutive_ports_and_addresses_spread_over_the_buckets() {
        const PEERS: u32 = 1 << 14;
        for secret in 1..=200_u64 {
            let mix = |i: u64| {
                (secret * 4 + i)
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .rotate_left(29)
            };
            let shape = TableShape::new(PEERS, [mix(0), mix(1), mix(2), mix(3)]);
            for first_byte in [6, 8] {
                let mut load = vec![0_u32; (shape.blocks * BLOCK_BUCKETS) as usize];
                for i in 0..PEERS {
                    let mut key = [192, 0, 2, 1, 0, 0, 0, 0, 57, 155, 155, 248];
                    key[first_byte..first_byte + 2].copy_from_slice(&i.to_be_bytes()[2..]);
                    load[shape.bucket(KeyWords::from(PeerKey(key))) as usize] += 1;
                }
                let over =
                    |buckets: &[u32]| -> u32 { buckets.iter().map(|n| n.saturating_sub(4)).sum() };
                let aside = over(&load);
                assert!(aside < PEERS / 25, "{aside} of {PEERS} go aside: {secret}");
                let refused: u32 = load
                    .chunks(BLOCK_BUCKETS as usize)
                    .map(|block| over(block).saturating_sub(BLOCK_SIDE_LINES * 2))
                    .sum();
                assert!(refused <= 1, "{refused} of {PEERS} are refused: {secret}");
            }
        }
    }

    #[test]
    fn fields_of_a_tail_do_not_touch_each_other() {
        let tail = Tail::default()
            .with_side(true)
            .occupied(0xffff_ffff, Ticks(0x1_0003))
            .with_hop(0xa5);
        assert_eq!((tail.ip(), tail.tick(), tail.hop()), (0xffff_ffff, 3, 0xa5));
        assert!(tail.is_used() && tail.has_side());
        assert_eq!(tail.with_hop(0).with_tick(Ticks(9)).ip(), 0xffff_ffff);
        assert!(tail.is_same_occupant(tail.with_hop(1).with_tick(Ticks(99)).with_side(false)));
        let next = tail.vacated().occupied(0xffff_ffff, Ticks(3));
        assert!(!tail.is_same_occupant(next) && next.has_side() && next.hop() == 0);
        assert!(!tail.with_side(false).vacated().is_used());
    }

    /// R-53.
    #[test]
    fn probes_are_due_every_two_seconds_from_twenty_seconds_of_silence_on() {
        const HEARD: u32 = 0xfff0;
        let mut tail = Tail::default().occupied(9, Ticks(HEARD)).with_hop(0xff);
        let mut asked_at = Vec::new();
        for age in 0..PEER_FRESH_TICKS {
            let now = Ticks(HEARD + age);
            if tail.wants_probe(now) {
                tail = tail.with_probe_asked(now);
                asked_at.push(age - PROBE_AFTER_TICKS);
            }
        }
        assert_eq!(asked_at, [0, 8, 16, 24, 32]);
        assert_eq!((tail.hop(), tail.asked()), (0xff, 5));
        assert_eq!(tail.with_tick(Ticks(0)).asked(), 0);
    }

    #[test]
    fn an_age_survives_the_end_of_its_sixteen_bits() {
        let heard = Tail::default().occupied(0, Ticks(0xfffe));
        assert_eq!(heard.age(Ticks(0x1_0003)), 5);
        assert_eq!(heard.age(Ticks(0xfffd)), 0, "a clock slightly ahead");
        assert_eq!(heard.age(Ticks(0xfffe + 30_000)), 30_000);
    }
}

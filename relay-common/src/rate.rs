//! Token buckets of the server in XDP (S-17): by IPv4 address, one cache line a lookup, no memory that grows.
//!
//! ```text
//! line   = 7 buckets | latest (8)                         64 bytes; an address has its place in one line
//! bucket = IPv4 address (4), as on the wire | full at (4) when it will be full again, in units of 1024 ns
//! ```
//!
//! An address that is in no bucket has a full one, and takes the place of the bucket that lacks least. So whoever sends from a
//! million addresses never makes an honest one lose, and what an address owes is forgotten only when the six others of its line
//! owe more. Packets of one address come together, a relay's above all: the bucket that was asked for last is looked at first.

use crate::lookup::{is_zero, opaque};

/// Buckets of a line.
pub const RATE_WAYS: usize = 7;
/// Lines of one kind of bucket (by source, by target) on one CPU.
pub const RATE_LINES: u32 = 1 << 12;
/// Kinds of buckets: by source, by target.
pub const RATE_KINDS: u32 = 2;

/// Log2 of the nanoseconds of a unit. 32 bits of units last 73 minutes; a bucket nobody asked for in as long may be taken for one that
/// lacks something, for as long as it takes to fill it once.
const UNIT_NS_SHIFT: u32 = 10;

/// Units of a second.
const UNITS_PER_SECOND: u64 = 1_000_000_000 >> UNIT_NS_SHIFT;

/// Longest time in which a bucket may fill: 18 minutes.
const DEPTH_MAX: u32 = 1 << 30;

/// A line of buckets.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RateLine {
    /// The buckets.
    pub buckets: [u64; RATE_WAYS],
    /// Number of the bucket that was asked for last.
    pub latest: u64,
}

const _: () = assert!(size_of::<RateLine>() == 64);

/// How fast buckets of one kind fill, and how much they hold.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rate {
    /// Units in which one packet's worth flows in.
    pub interval: u32,
    /// Units in which an empty bucket fills.
    pub depth: u32,
}

impl Rate {
    /// `burst` packets at once, then `per_second` a second. A rate or burst of 0 lets nothing through.
    #[allow(clippy::cast_possible_truncation)] // Both are held to 30 bits.
    pub const fn new(per_second: u32, burst: u32) -> Self {
        if per_second == 0 || burst == 0 {
            return Self {
                interval: 1,
                depth: 0,
            };
        }
        let interval = match UNITS_PER_SECOND / per_second as u64 {
            0 => 1,
            units => units,
        };
        let depth = interval * burst as u64;
        Self {
            interval: interval as u32,
            depth: if depth > DEPTH_MAX as u64 {
                DEPTH_MAX
            } else {
                depth as u32
            },
        }
    }
}

/// A point in time in units, for buckets alone.
#[inline(always)]
#[allow(clippy::cast_possible_truncation)] // It goes round.
pub const fn rate_time(nanos: u64) -> u32 {
    (nanos >> UNIT_NS_SHIFT) as u32
}

/// The line of `address`, below [`RATE_LINES`]. Nobody who does not know `key` can aim at one.
#[inline(always)]
#[allow(clippy::cast_possible_truncation)] // The highest bits of a word.
pub const fn rate_line(address: u32, key: u64) -> u32 {
    let hash = (address as u64 ^ key).wrapping_mul(key | 1);
    let hash = (hash ^ (hash >> 32)).wrapping_mul(key | 1);
    (hash >> (u64::BITS - RATE_LINES.trailing_zeros())) as u32
}

/// Where a packet's worth is taken from, and what stands there afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Bucket of the line.
    pub way: usize,
    /// Its new value.
    pub bucket: u64,
}

/// The same, of a bucket that is known to be that of `address`: its new value. `None`: it has not got as much.
#[inline(always)]
#[allow(clippy::cast_possible_truncation)] // Parts of words.
pub fn take_again(bucket: u64, address: u32, now: u32, rate: Rate) -> Option<u64> {
    let lack = lack((bucket >> 32) as u32, now, rate) as u32 + rate.interval;
    (lack <= rate.depth).then(|| u64::from(address) | u64::from(now.wrapping_add(lack)) << 32)
}

/// Takes one packet's worth from the bucket of `address` in its line. `None`: it has not got as much.
///
/// Without branches: seven comparisons that nobody can predict, and as many paths for the verifier.
#[inline(always)]
#[allow(clippy::cast_possible_truncation)] // Parts of words.
pub fn take(line: &RateLine, address: u32, now: u32, rate: Rate) -> Option<Taken> {
    /// Where the lack stands in a candidate: above the number of its way.
    const LACK_SHIFT: u32 = 3;
    /// Above every lack: a candidate with it is the bucket of another address.
    const OTHER: u64 = 1 << 40;

    let mut best = u64::MAX >> 1;
    for (way, bucket) in line.buckets.iter().enumerate() {
        let lack = lack((*bucket >> 32) as u32, now, rate);
        let other = (1 - is_zero(u64::from(*bucket as u32 ^ address))) * OTHER;
        best = least(best, other | lack << LACK_SHIFT | way as u64);
    }
    let lack = if best < OTHER {
        (best >> LACK_SHIFT) as u32
    } else {
        0
    } + rate.interval;
    (lack <= rate.depth).then(|| Taken {
        way: best as usize & ((1 << LACK_SHIFT) - 1),
        bucket: u64::from(address) | u64::from(now.wrapping_add(lack)) << 32,
    })
}

/// Units until a bucket is full.
#[inline(always)]
fn lack(full_at: u32, now: u32, rate: Rate) -> u64 {
    // One that is full since before now lies further ahead than any that is not: time goes round.
    let ahead = u64::from(full_at.wrapping_sub(now));
    let is_ahead = ahead.wrapping_sub(u64::from(rate.depth) + 1) >> 63;
    ahead * opaque(is_ahead)
}

/// The smaller of two numbers below 2^63.
#[inline(always)]
fn least(a: u64, b: u64) -> u64 {
    let difference = a.wrapping_sub(b);
    b.wrapping_add(difference * opaque(difference >> 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate::new(200, 400);
    const SECOND: u32 = rate_time(1_000_000_000);

    /// Takes from the line; says whether there was enough. Both ways to a bucket say the same.
    fn took(line: &mut RateLine, address: u32, now: u32, rate: Rate) -> bool {
        let latest = line.buckets[usize::try_from(line.latest).unwrap()];
        let taken = take(line, address, now, rate);
        if u32::try_from(latest & 0xffff_ffff).unwrap() == address {
            let again = take_again(latest, address, now, rate);
            assert_eq!(again, taken.map(|taken| taken.bucket));
        }
        taken
            .map(|taken| {
                line.buckets[taken.way] = taken.bucket;
                line.latest = taken.way as u64;
            })
            .is_some()
    }

    fn passed(line: &mut RateLine, address: u32, now: u32, tries: usize) -> usize {
        (0..tries)
            .filter(|_| took(line, address, now, RATE))
            .count()
    }

    #[test]
    fn a_burst_passes_at_once_and_then_the_rate() {
        let mut line = RateLine::default();
        let mut now = 7;
        assert_eq!(passed(&mut line, 1, now, 1000), 400);
        for _ in 0..10 {
            now += SECOND;
            let passed = passed(&mut line, 1, now, 1000);
            assert!((199..=201).contains(&passed), "{passed}");
        }
    }

    #[test]
    fn an_idle_bucket_holds_a_burst_and_no_more() {
        let mut line = RateLine::default();
        assert_eq!(passed(&mut line, 1, 0, 1000), 400);
        assert_eq!(passed(&mut line, 1, 60 * SECOND, 1000), 400);
    }

    #[test]
    fn time_that_goes_round_changes_nothing() {
        let mut line = RateLine::default();
        let start = u32::MAX - SECOND / 2;
        assert_eq!(passed(&mut line, 1, start, 1000), 400);
        let passed = passed(&mut line, 1, start.wrapping_add(SECOND), 1000);
        assert!((199..=201).contains(&passed), "{passed}");
    }

    #[test]
    fn a_rate_of_nothing_lets_nothing_through() {
        let mut line = RateLine::default();
        for rate in [Rate::new(0, 9), Rate::new(9, 0)] {
            assert!(!took(&mut line, 1, 0, rate), "{rate:?}");
        }
    }

    #[test]
    fn the_highest_rates_and_bursts_stay_within_a_word() {
        for rate in [Rate::new(1, u32::MAX), Rate::new(u32::MAX, u32::MAX)] {
            assert!(rate.interval >= 1 && rate.depth <= DEPTH_MAX, "{rate:?}");
            assert!(took(&mut RateLine::default(), 1, u32::MAX, rate));
        }
    }

    #[test]
    fn a_flood_of_addresses_makes_no_honest_one_lose() {
        let mut line = RateLine::default();
        for packet in 0..100_000 {
            let now = packet * (SECOND / 100_000);
            assert!(took(&mut line, 1000 + packet, now, RATE));
            if packet % 1000 == 0 {
                assert!(took(&mut line, 1, now, RATE), "packet {packet}");
            }
        }
    }

    #[test]
    fn a_flood_of_addresses_does_not_lift_the_limit_of_one() {
        let mut line = RateLine::default();
        assert_eq!(passed(&mut line, 1, 0, 1000), 400);
        for packet in 0..100_000 {
            assert!(took(&mut line, 1000 + packet, 0, RATE));
        }
        assert_eq!(passed(&mut line, 1, 0, 1000), 0);
    }

    #[test]
    fn addresses_spread_over_the_lines() {
        let mut lines = vec![0_u32; RATE_LINES as usize];
        for address in 0..RATE_LINES * 7 {
            lines[rate_line(address, 0x9e37_79b9_7f4a_7c15) as usize] += 1;
        }
        assert!(lines.iter().all(|count| *count < 40));
        assert!(lines.iter().filter(|count| **count == 0).count() < 20);
    }
}

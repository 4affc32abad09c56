//! Numbers by which a receiver tells the fragments of one packet from those of another.

/// An IPv4 identification that is never 0 (invariant 7): number `count` of a `stream`, mixed with the secret `key`. A stream is a
/// destination, and whatever keeps those apart who count for themselves: without it, two CPUs that serve one destination would give
/// out the same numbers.
///
/// A multiplication by the secret, of which 16 mixed bits are shown: who sees the identifications of his own packets learns
/// neither those of others nor his next.
#[inline(always)]
#[must_use]
#[allow(
    clippy::cast_possible_truncation,
    reason = "the shift leaves sixteen bits"
)]
pub const fn identification(key: u64, count: u64, stream: u32) -> u16 {
    /// The second multiplier of MurmurHash3's finalizer; a secret one has rare bad values.
    const SPREAD: u64 = 0xc4ce_b9fe_1a85_ec53;
    let seed = count ^ ((stream as u64) << 32) ^ key.rotate_left(32);
    let mixed = seed.wrapping_mul(key | 1);
    match (mixed ^ (mixed >> 32)).wrapping_mul(SPREAD) >> 48 {
        0 => 1,
        id => id as u16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_gets_ever_other_numbers_and_never_zero() {
        let numbers: Vec<u16> = (0..100_000)
            .map(|count| identification(7, count, 9))
            .collect();
        assert!(!numbers.contains(&0));
        let near = numbers
            .windows(2)
            .filter(|two| two[0].abs_diff(two[1]) < 16)
            .count();
        assert!(near < 200, "{near}");
        let different: std::collections::HashSet<_> = numbers.iter().take(1000).collect();
        assert!(different.len() > 980, "{}", different.len());
    }
}

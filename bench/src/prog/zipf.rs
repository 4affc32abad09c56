//! Peers as uneven as traffic is.

use anyhow::{Context as _, Result};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand_distr::{Distribution as _, Zipf};

/// Spreads neighbouring ranks over the table: odd, so that no two ranks meet.
const SPREAD: u32 = 0x9e37_79b1;

/// `length` peers drawn from `peers` (a power of two), the most frequent twice as often as the second and three times
/// as often as the third: Zipf's law with exponent 1. The same `seed` gives the same sequence.
///
/// # Errors
/// There are no peers.
pub(super) fn sequence(peers: u32, length: usize, seed: u64) -> Result<Vec<u32>> {
    let ranks = Zipf::new(f64::from(peers), 1.0).context("there is at least one peer")?;
    let mut random = SmallRng::seed_from_u64(seed);
    let draw = || {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole numbers from 1 to `peers`"
        )]
        let rank = ranks.sample(&mut random) as u32;
        peer(rank - 1, peers)
    };
    Ok(std::iter::repeat_with(draw).take(length).collect())
}

/// The peer of rank `rank`, counted from 0.
fn peer(rank: u32, peers: u32) -> u32 {
    rank.wrapping_mul(SPREAD) & (peers - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_peer_drawn_is_one_there_is(bits in 0..22_u32, seed: u64) {
            let drawn = sequence(1 << bits, 500, seed).unwrap();
            prop_assert_eq!(drawn.len(), 500);
            prop_assert!(drawn.iter().all(|peer| *peer < 1 << bits));
        }

        #[test]
        fn frequencies_follow_zipf_s_law(seed: u64) {
            const PEERS: u32 = 1 << 10;
            const LENGTH: u32 = 100_000;
            let mut counts: HashMap<u32, u32> = HashMap::new();
            for peer in sequence(PEERS, LENGTH as usize, seed).unwrap() {
                *counts.entry(peer).or_default() += 1;
            }
            let harmonic: f64 = (1..=PEERS).map(|rank| 1.0 / f64::from(rank)).sum();
            for rank in [1, 2, 3, 10, 100] {
                let wanted = f64::from(LENGTH) / harmonic / f64::from(rank);
                let seen = f64::from(counts.get(&peer(rank - 1, PEERS)).copied().unwrap_or(0));
                // Six standard deviations of a count, which is all but Poisson's.
                let tolerance = 6.0 * wanted.sqrt();
                prop_assert!((seen - wanted).abs() < tolerance, "rank {}: {} for {}", rank, seen, wanted);
            }
        }
    }

    #[test]
    fn no_two_ranks_are_the_same_peer() {
        const PEERS: u32 = 1 << 12;
        let mut peers: Vec<u32> = (0..PEERS).map(|rank| peer(rank, PEERS)).collect();
        peers.sort_unstable();
        assert!(peers.into_iter().eq(0..PEERS));
    }

    #[test]
    fn a_seed_gives_one_sequence() {
        assert_eq!(sequence(64, 100, 1).unwrap(), sequence(64, 100, 1).unwrap());
        assert_ne!(sequence(64, 100, 1).unwrap(), sequence(64, 100, 2).unwrap());
    }
}

//! Times the farm has taken.

use relay_common::farm::bucket_start_ns;

/// Counts by bucket of [`relay_common::farm::bucket`].
#[derive(Debug)]
pub(crate) struct Histogram(Vec<u64>);

impl Histogram {
    pub(crate) const fn new(counts: Vec<u64>) -> Self {
        Self(counts)
    }

    /// Times taken.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The end of the bucket below which a share of `quantile` lies, in microseconds: at most 3 %
    /// more than the time itself. `None` if nothing was timed.
    pub(crate) fn quantile_us(&self, quantile: f64) -> Option<f64> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts of one measurement, a share of them"
        )]
        let rank = ((self.count() as f64 * quantile).ceil() as u64).max(1);
        let mut below = 0;
        for (bucket, count) in (0_u32..).zip(&self.0) {
            below += count;
            if below >= rank {
                #[expect(clippy::cast_precision_loss, reason = "a time for display")]
                let ns = bucket_start_ns(bucket + 1) as f64;
                return Some(ns / 1e3);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_common::farm::{BUCKETS, bucket};

    fn of(times_ns: impl IntoIterator<Item = u64>) -> Histogram {
        let mut counts = vec![0; BUCKETS as usize];
        for ns in times_ns {
            counts[bucket(ns) as usize] += 1;
        }
        Histogram::new(counts)
    }

    #[test]
    fn quantiles_of_a_thousand_microseconds_are_right_to_three_percent() {
        let times = of((1..=1000).map(|us| us * 1000));
        assert_eq!(times.count(), 1000);
        for (quantile, us) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
            let found = times.quantile_us(quantile).unwrap();
            assert!((us..=us * 1.032).contains(&found), "{quantile}: {found}");
        }
    }

    #[test]
    fn nothing_timed_has_no_quantile() {
        assert_eq!(of([]).quantile_us(0.5), None);
    }

    #[test]
    fn one_late_packet_in_a_thousand_shows_beyond_the_last_thousandth_alone() {
        let times = of((0..999).map(|_| 10_000).chain([5_000_000]));
        assert!(times.quantile_us(0.999).unwrap() < 11.0);
        assert!(times.quantile_us(0.9995).unwrap() >= 5000.0);
    }
}

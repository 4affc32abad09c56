//! How long the slow path itself takes (DESIGN 6).

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::status::Percentiles;

/// Largest latency told apart, in microseconds; longer ones count as this.
const LATENCY_MAX_US: u64 = 10_000_000;

/// A latency distribution in microseconds, three significant figures.
#[derive(Debug)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("constant bounds are valid"))
    }
}

impl Latency {
    /// Records the same latency for `samples` packets.
    pub fn record(&mut self, latency: Duration, samples: u64) {
        if samples == 0 {
            // The histogram would take the value for its extremes all the same.
            return;
        }
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let micros = micros.clamp(1, LATENCY_MAX_US);
        self.0.saturating_record_n(micros, samples);
    }

    /// Adds all that `other` recorded.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds, so there is nothing to refuse.
        let _ = self.0.add(&other.0);
    }

    /// The figures so far.
    pub fn percentiles(&self) -> Percentiles {
        let at = |q| self.0.value_at_quantile(q);
        Percentiles {
            count: self.0.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.0.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_without_samples_leaves_no_trace() {
        let mut latency = Latency::default();
        latency.record(Duration::from_secs(1), 0);
        assert_eq!(latency.percentiles(), Percentiles::default());
    }

    #[test]
    fn sums_have_the_samples_of_both() {
        let (mut sum, mut other) = (Latency::default(), Latency::default());
        sum.record(Duration::from_micros(10), 1);
        other.record(Duration::from_micros(30), 2);
        sum.add(&other);
        let p = sum.percentiles();
        assert_eq!((p.count, p.p50, p.max), (3, 30, 30));
    }

    #[test]
    fn percentiles_of_a_thousand_microseconds() {
        let mut latency = Latency::default();
        for us in 1..=1000 {
            latency.record(Duration::from_micros(us), 1);
        }
        let p = latency.percentiles();
        assert_eq!((p.count, p.p50, p.p99, p.max), (1000, 500, 990, 1000));
    }
}

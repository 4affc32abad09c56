//! What is reported of a case.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The spread of one case over all rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figure {
    /// The bench: `prog`, `live`, `setup`, `server`.
    pub(crate) bench: Cow<'static, str>,
    /// The case, with what it was measured at behind a slash: `encap/1M`.
    pub(crate) case: String,
    /// The unit of the three values; also says which way is better, see [`Unit`].
    pub(crate) unit: Cow<'static, str>,
    /// The smallest sample.
    pub(crate) min: f64,
    /// The sample in the middle, or the mean of the two there.
    pub(crate) median: f64,
    /// The largest sample.
    pub(crate) max: f64,
}

impl Figure {
    /// The spread of `samples`; `None` without any.
    pub(crate) fn new(
        bench: &'static str,
        case: String,
        unit: &'static str,
        mut samples: Vec<f64>,
    ) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let (min, max) = (*samples.first()?, *samples.last()?);
        let (low, high) = ((samples.len() - 1) / 2, samples.len() / 2);
        Some(Self {
            bench: bench.into(),
            case,
            unit: unit.into(),
            min,
            median: f64::midpoint(samples[low], samples[high]),
            max,
        })
    }

    /// What is known of its unit.
    pub(crate) fn unit(&self) -> Unit {
        Unit::of(&self.unit)
    }
}

/// What a unit says about its values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Unit {
    /// Larger values are better: rates and ratios. Everything else is a cost.
    pub(crate) more_is_better: bool,
    /// Smallest difference that means anything.
    pub(crate) resolution: f64,
}

impl Unit {
    fn of(name: &str) -> Self {
        Self {
            more_is_better: name.ends_with("/s") || name.ends_with("pps") || name == "ratio",
            // The kernel gives whole nanoseconds.
            resolution: if name == "ns/packet" { 1.0 } else { 0.0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_spread_of_its_samples() {
        let spread = |samples| {
            Figure::new("prog", "case".into(), "ns/packet", samples)
                .map(|figure| (figure.min, figure.median, figure.max))
        };
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), Some((1.0, 2.0, 3.0)));
        assert_eq!(spread(vec![4.0, 1.0, 3.0, 2.0]), Some((1.0, 2.5, 4.0)));
        assert_eq!(spread(vec![]), None);
    }

    #[test]
    fn rates_and_ratios_are_better_when_they_grow_and_costs_when_they_shrink() {
        for unit in ["pps", "kpps", "Mpps", "peers/s", "ratio"] {
            assert!(Unit::of(unit).more_is_better, "{unit}");
        }
        for unit in ["ns/packet", "us", "B/peer", "% lost", "ms CPU/sweep"] {
            assert!(!Unit::of(unit).more_is_better, "{unit}");
        }
    }
}

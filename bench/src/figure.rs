//! What is reported.

use std::fmt;

use serde::Serialize;

/// The figures of one case.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    bench: &'static str,
    case: String,
    unit: &'static str,
    min: f64,
    median: f64,
    max: f64,
}

impl Figure {
    /// The spread of `samples` in nanoseconds a packet; `None` without any.
    pub(crate) fn of(case: String, mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        Some(Self {
            bench: "prog_test_run",
            case,
            unit: "ns/packet",
            min: *samples.first()?,
            median: *samples.get(samples.len() / 2)?,
            max: *samples.last()?,
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            case,
            min,
            median,
            max,
            unit,
            ..
        } = self;
        write!(f, "{case:>16}  {min:5.0} {median:5.0} {max:5.0}  {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_spread_of_its_samples() {
        let figure = Figure::of("case".into(), vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!(
            figure.to_string(),
            "            case      1     2     3  ns/packet"
        );
        assert!(Figure::of("case".into(), vec![]).is_none());
    }
}

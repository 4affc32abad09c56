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
    pub(crate) fn new(
        bench: &'static str,
        case: String,
        unit: &'static str,
        mut samples: Vec<f64>,
    ) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        Some(Self {
            bench,
            case,
            unit,
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
        write!(f, "{case:>44}  {min:9.3} {median:9.3} {max:9.3}  {unit}")
    }
}

//! Samples by case, in the order in which cases first came.

use crate::report::Figure;

/// The samples of one bench.
pub(crate) struct Ledger {
    bench: &'static str,
    entries: Vec<(String, &'static str, Vec<f64>)>,
}

impl Ledger {
    pub(crate) const fn new(bench: &'static str) -> Self {
        Self {
            bench,
            entries: Vec::new(),
        }
    }

    /// Adds a sample of `case` in `unit`.
    pub(crate) fn add(&mut self, case: impl Into<String>, unit: &'static str, sample: f64) {
        let case = case.into();
        let known = self.entries.iter_mut().find(|(name, ..)| *name == case);
        if let Some((_, _, samples)) = known {
            samples.push(sample);
        } else {
            self.entries.push((case, unit, vec![sample]));
        }
    }

    /// The figures.
    pub(crate) fn into_figures(self) -> Vec<Figure> {
        let bench = self.bench;
        self.entries
            .into_iter()
            .filter_map(|(case, unit, samples)| Figure::new(bench, case, unit, samples))
            .collect()
    }
}

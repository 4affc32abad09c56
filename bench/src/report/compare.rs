//! Figures held against those of an earlier run.

use std::fmt;

use super::Figure;
use super::table::{markdown, number};

/// What has become of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    /// By so many per cent of what it was, in whichever direction is better or worse.
    By { percent: f64, worse: bool },
    /// It was not measured before.
    New,
    /// It is not measured any more, though its bench is.
    Missing,
}

/// A case before and now, by its medians.
#[derive(Debug)]
struct Row {
    name: String,
    unit: String,
    was: Option<f64>,
    is: Option<f64>,
    change: Change,
}

/// All cases of the benches that were run.
#[derive(Debug)]
pub(super) struct Comparison {
    rows: Vec<Row>,
    threshold: f64,
}

impl Comparison {
    /// Holds `new` against `old`. A median that is worse by more than `threshold` per cent, and by more than its
    /// unit resolves, counts.
    pub(super) fn new(old: &[Figure], new: &[Figure], threshold: f64) -> Self {
        let same =
            |a: &Figure, b: &Figure| (&a.bench, &a.case, &a.unit) == (&b.bench, &b.case, &b.unit);
        let row = |figure: &Figure, was, is, change| Row {
            name: format!("{} {}", figure.bench, figure.case),
            unit: figure.unit.to_string(),
            was,
            is,
            change,
        };
        let measured = new.iter().map(|figure| {
            let before = old.iter().find(|before| same(before, figure));
            let change = before.map_or(Change::New, |before| changed(before, figure, threshold));
            let was = before.map(|before| before.median);
            row(figure, was, Some(figure.median), change)
        });
        let missing = old.iter().filter(|before| {
            new.iter().any(|figure| figure.bench == before.bench)
                && !new.iter().any(|figure| same(before, figure))
        });
        let missing = missing.map(|before| row(before, Some(before.median), None, Change::Missing));
        Self {
            rows: measured.chain(missing).collect(),
            threshold,
        }
    }

    /// Whether any case is worse by more than the threshold.
    pub(super) fn is_worse(&self) -> bool {
        self.worse() > 0
    }

    fn worse(&self) -> usize {
        let worse = |row: &&Row| matches!(row.change, Change::By { worse: true, .. });
        self.rows.iter().filter(worse).count()
    }
}

fn changed(before: &Figure, now: &Figure, threshold: f64) -> Change {
    let unit = now.unit();
    let difference = now.median - before.median;
    let percent = if difference == 0.0 {
        0.0
    } else {
        100.0 * difference / before.median.abs()
    };
    let loss = if unit.more_is_better {
        -difference
    } else {
        difference
    };
    let worse = loss > unit.resolution && percent.abs() > threshold;
    Change::By { percent, worse }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
        let rows = self.rows.iter().map(|row| {
            let change = match row.change {
                Change::By { percent, worse } => {
                    format!("{percent:+.1} %{}", if worse { " WORSE" } else { "" })
                }
                Change::New => "new".into(),
                Change::Missing => "missing".into(),
            };
            [
                row.name.clone(),
                shown(row.was),
                shown(row.is),
                change,
                row.unit.clone(),
            ]
        });
        let head = ["case", "was", "is", "change", "unit"];
        f.write_str(&markdown(head, &rows.collect::<Vec<_>>()))?;
        let threshold = self.threshold;
        match self.worse() {
            0 => writeln!(f, "\nNo median is worse by more than {threshold} %."),
            worse => writeln!(f, "\n{worse} medians are worse by more than {threshold} %."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(case: &'static str, unit: &'static str, median: f64) -> Figure {
        Figure::new("prog", case.into(), unit, vec![median]).unwrap()
    }

    /// Whether going from `was` to `is` fails at 10 %.
    fn fails(unit: &'static str, was: f64, is: f64) -> bool {
        let (old, new) = ([figure("x", unit, was)], [figure("x", unit, is)]);
        Comparison::new(&old, &new, 10.0).is_worse()
    }

    #[test]
    fn a_cost_is_worse_when_it_grows_past_the_threshold() {
        assert!(fails("ns/packet", 100.0, 111.0));
        assert!(!fails("ns/packet", 100.0, 110.0));
        assert!(!fails("ns/packet", 100.0, 50.0));
        assert!(fails("us", 2.0, 2.3));
    }

    #[test]
    fn a_rate_is_worse_when_it_shrinks_past_the_threshold() {
        assert!(fails("Mpps", 2.0, 1.7));
        assert!(!fails("Mpps", 2.0, 1.8));
        assert!(!fails("Mpps", 2.0, 4.0));
        assert!(fails("ratio", 5.0, 4.4));
        assert!(fails("peers/s", 200_000.0, 100_000.0));
    }

    #[test]
    fn one_nanosecond_is_the_rounding_of_the_kernel() {
        assert!(!fails("ns/packet", 7.0, 8.0));
        assert!(fails("ns/packet", 7.0, 9.0));
    }

    #[test]
    fn whatever_costs_where_nothing_did_is_worse() {
        assert!(fails("% lost", 0.0, 0.1));
        assert!(!fails("% lost", 0.0, 0.0));
    }

    #[test]
    fn a_case_that_is_new_or_missing_is_told_and_fails_nothing() {
        let old = [
            figure("gone", "ns/packet", 1.0),
            figure("kept", "ns/packet", 5.0),
        ];
        let new = [
            figure("kept", "ns/packet", 5.0),
            figure("come", "ns/packet", 9.0),
        ];
        let comparison = Comparison::new(&old, &new, 10.0);
        assert!(!comparison.is_worse());
        let text = comparison.to_string();
        let line = |case: &str| {
            text.lines()
                .find(|line| line.contains(case))
                .unwrap()
                .to_owned()
        };
        assert!(line("gone").contains("missing"), "{text}");
        assert!(line("come").contains("new"), "{text}");
        assert!(line("kept").contains("+0.0 %"), "{text}");
    }

    #[test]
    fn a_bench_that_was_not_run_is_not_missing() {
        let old = [figure("x", "ns/packet", 1.0)];
        let new = [Figure::new("live", "x".into(), "pps", vec![1.0]).unwrap()];
        assert!(
            !Comparison::new(&old, &new, 10.0)
                .to_string()
                .contains("missing")
        );
    }

    #[test]
    fn the_same_case_in_another_unit_is_another_figure() {
        let old = [figure("x", "pps", 10.0)];
        let new = [figure("x", "ns/packet", 99.0), figure("x", "pps", 10.0)];
        assert!(!Comparison::new(&old, &new, 10.0).is_worse());
    }
}

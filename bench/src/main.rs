//! What Shipworm costs, measured beside what else does the job.
//!
//! Every bench compares within one run: its cases take turns, round by round, so that a slow minute
//! of a shared machine falls on all of them, and no sample is dropped. How each of them measures and what its figures
//! include is told in `docs/benchmarks`.

mod live;
mod prog;
mod report;
mod setup;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use clap::builder::PossibleValuesParser;

use report::Figure;

/// What a bench does.
type Measure = fn(&Options) -> Result<Vec<Figure>>;

/// The benches by name, in the order in which they run.
const BENCHES: &[(&str, Measure)] = &[
    ("prog", prog::measure),
    ("live", live::measure),
    ("setup", setup::measure),
    ("server", measure_server),
];

/// What the server costs: its program, and live beside miredo-server.
fn measure_server(options: &Options) -> Result<Vec<Figure>> {
    let mut figures = prog::measure_server(options)?;
    figures.extend(live::measure_server(options)?);
    Ok(figures)
}

/// Measures Shipworm. Needs root.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Options {
    /// What to measure; everything where none is named.
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(BENCHES.iter().map(|(name, _)| *name)))]
    names: Vec<String>,
    /// Fewer rounds of fewer packets, and no table of 4 M peers.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Writes the figures to this file, and the machine they are of to FILE with the extension `.machine.json`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Compares with the figures of an earlier run and fails where a median has become worse.
    #[arg(long, value_name = "OLD.json")]
    compare: Option<PathBuf>,
    /// How much worse a median may become, in per cent of what it was.
    #[arg(long, value_name = "PCT", default_value_t = 10.0, requires = "compare", value_parser = percent)]
    threshold: f64,
    /// Writes tables and plots to `docs/benchmarks`.
    #[arg(long)]
    publish: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent),
        _ => Err("expected a number of per cent, 0 or more".into()),
    }
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    // Before an hour of measuring, not after it.
    let old = options.compare.as_deref().map(report::read).transpose()?;
    let mut figures = Vec::new();
    for (name, measure) in BENCHES {
        if options.names.is_empty() || options.names.iter().any(|wanted| wanted == name) {
            eprintln!("bench {name}");
            let measured = measure(&options).with_context(|| format!("bench {name}"))?;
            report::print(&measured);
            figures.extend(measured);
        }
    }
    if let Some(path) = &options.json {
        report::write(path, &figures)?;
    }
    if options.publish {
        report::publish(&figures)?;
    }
    let worse = old.is_some_and(|old| report::compare(&old, &figures, options.threshold));
    Ok(if worse {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bench_that_does_not_exist_is_refused() {
        assert!(Options::try_parse_from(["bench", "prog"]).is_ok());
        assert!(Options::try_parse_from(["bench", "progg"]).is_err());
    }

    #[test]
    fn a_threshold_is_a_number_of_per_cent_and_takes_something_to_compare_with() {
        let parse = |words: &str| Options::try_parse_from(words.split(' '));
        assert!(parse("bench --compare a.json --threshold 2.5").is_ok_and(|o| o.threshold > 2.4));
        assert!(parse("bench --threshold 2.5").is_err());
        for wrong in ["-1", "NaN", "inf", "ten"] {
            assert!(parse(&format!("bench --compare a.json --threshold={wrong}")).is_err());
        }
    }
}

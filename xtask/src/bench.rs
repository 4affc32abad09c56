//! `cargo xtask bench`.

use std::path::PathBuf;

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use crate::build;
use crate::setup::{self, Need};
use crate::sh::cargo;
use crate::vm;

/// The benches of the `shipworm-bench` binary.
const NAMES: [&str; 4] = ["prog", "live", "setup", "server"];
/// Those of them that run the daemon.
const WITH_DAEMON: [&str; 3] = ["live", "setup", "server"];

/// Measure what relay and server cost, beside what else does the job
///
/// prog: nanoseconds a packet of the XDP program. live: packets a second between namespaces. setup: new peers, their latency
/// and memory. server: the same as the first two of what a server does. Needs root. Without a name all four.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    elsewhere: Option<Elsewhere>,
    /// What to measure
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(NAMES))]
    names: Vec<String>,
    /// Fewer rounds of fewer packets
    #[arg(long)]
    quick: bool,
    /// Write the figures to this file, and the machine beside it
    #[arg(long, value_name = "FILE", value_parser = absolute)]
    json: Option<PathBuf>,
    /// Compare with the figures of an earlier run; fail where a median has become worse
    #[arg(long, value_name = "OLD.json", value_parser = absolute)]
    compare: Option<PathBuf>,
    /// How much worse a median may become, in per cent [default: 10]
    #[arg(long, value_name = "PCT", requires = "compare")]
    threshold: Option<String>,
    /// Write tables and plots to docs/benchmarks
    #[arg(long)]
    publish: bool,
}

/// What is not measured on this machine.
#[derive(Subcommand)]
enum Elsewhere {
    Vm(vm::Options),
}

/// The job changes to the root of the project before it runs.
fn absolute(path: &str) -> std::io::Result<PathBuf> {
    std::path::absolute(path)
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        if let Some(Elsewhere::Vm(options)) = &self.elsewhere {
            return vm::run(options);
        }
        let daemon = self.runs_daemon();
        let needs: &[Need] = if daemon {
            &[Need::Build, Need::Network]
        } else {
            &[Need::Build]
        };
        setup::ensure(needs)?;
        let mut bench = cargo("measure")
            .args(["run", "--release", "--package", "shipworm-bench", "--"])
            .args(self.arguments());
        if daemon {
            bench = bench.env("SHIPWORM_BIN", build::shipworm(true)?);
        }
        bench.exec()?;
        Ok(())
    }

    fn runs_daemon(&self) -> bool {
        self.names.is_empty()
            || self
                .names
                .iter()
                .any(|name| WITH_DAEMON.contains(&name.as_str()))
    }

    /// What the binary is called with.
    fn arguments(&self) -> Vec<String> {
        let path = |flag: &str, path: &Option<PathBuf>| {
            path.iter()
                .flat_map(|path| [flag.to_owned(), path.to_string_lossy().into_owned()])
                .collect::<Vec<_>>()
        };
        let mut words = self.names.clone();
        words.extend(self.quick.then(|| "--quick".to_owned()));
        words.extend(path("--json", &self.json));
        words.extend(path("--compare", &self.compare));
        words.extend(
            self.threshold
                .iter()
                .map(|pct| format!("--threshold={pct}")),
        );
        words.extend(self.publish.then(|| "--publish".to_owned()));
        words
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bench: Bench,
    }

    fn parse(words: &str) -> Result<Bench, clap::Error> {
        Line::try_parse_from(words.split(' ')).map(|line| line.bench)
    }

    #[test]
    fn flags_arrive_with_paths_that_hold_anywhere() {
        let words =
            "bench prog live --quick --json /x.json --compare /old.json --threshold=5 --publish";
        assert_eq!(
            parse(words).unwrap().arguments().join(" "),
            words.strip_prefix("bench ").unwrap()
        );
        let relative = parse("bench --json x.json").unwrap();
        assert!(relative.json.unwrap().is_absolute());
    }

    #[test]
    fn the_daemon_is_built_for_the_benches_that_run_it() {
        for (words, daemon) in [
            ("bench", true),
            ("bench prog", false),
            ("bench prog setup", true),
            ("bench live", true),
        ] {
            assert_eq!(parse(words).unwrap().runs_daemon(), daemon, "{words}");
        }
    }

    #[test]
    fn a_bench_nobody_wrote_is_refused() {
        assert!(parse("bench progg").is_err());
    }
}

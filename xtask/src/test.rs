//! `cargo xtask test`.

mod asan;
mod miri;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::build;
use crate::fuzz;
use crate::mutants;
use crate::setup::{self, Need};
use crate::sh::{Sh, cargo};
use crate::vm;

/// What `--long` says to tests that can do more than fits into a run before every change.
const LONG: [(&str, &str); 1] = [("ORACLE_CASES", "20000000")];

/// Run all tests: units, documentation, XDP program, networks in namespaces, and fuzzers for a minute each
///
/// Needs root for programs and networks. With names, nothing is fuzzed.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Test {
    #[command(subcommand)]
    other: Option<Other>,
    /// Run only tests whose names contain one of these
    filter: Vec<String>,
    /// Run the long forms of tests that have one
    #[arg(long)]
    long: bool,
}

/// Tests that want another kernel, another compiler or another program.
#[derive(Subcommand)]
enum Other {
    Vm(vm::Matrix),
    Asan(asan::Asan),
    Miri(miri::Miri),
    /// Plant deliberate bugs and see that a test catches each
    Mutants,
}

impl Test {
    pub(crate) fn run(self) -> Result<()> {
        match self.other {
            None => all(&self.filter, self.long),
            Some(Other::Vm(job)) => job.run(),
            Some(Other::Asan(job)) => job.run(),
            Some(Other::Miri(job)) => job.run(),
            Some(Other::Mutants) => mutants::run(),
        }
    }
}

fn all(filter: &[String], long: bool) -> Result<()> {
    setup::ensure(&[Need::Build, Need::Network, Need::Fuzz])?;
    setup::check_kernel("cargo xtask test")?;
    let shipworm = build::shipworm(true)?;

    // The summary of the larger part comes last, whatever became of examples and fuzzers.
    let examples = cargo("pass the examples in the documentation")
        .args(["test", "--workspace", "--doc", "--"])
        .args(filter)
        .run();
    let seconds = if long {
        fuzz::SECONDS_LONG
    } else {
        fuzz::SECONDS
    };
    let fuzzed = if filter.is_empty() {
        fuzz::all(seconds)
    } else {
        Ok(())
    };
    let mut tests = tests(filter).env("SHIPWORM_BIN", shipworm);
    for (key, value) in LONG.into_iter().filter(|_| long) {
        tests = tests.env(key, value);
    }
    tests.run()?;
    if long {
        cargo("simulate ten million clients")
            .args([
                "run",
                "--release",
                "--package",
                "shipworm-sim",
                "--bin",
                "scale",
            ])
            .run()?;
    }
    examples.and(fuzzed)
}

fn tests(filter: &[String]) -> Sh {
    if setup::has_nextest() {
        return cargo("pass the tests")
            .args(["nextest", "run", "--workspace"])
            .args(filter);
    }
    // Networks in namespaces disturb each other's timing when many run at once.
    cargo("pass the tests")
        .args([
            "test",
            "--workspace",
            "--no-fail-fast",
            "--lib",
            "--bins",
            "--tests",
            "--",
        ])
        .args(filter)
        .env("RUST_TEST_THREADS", "2")
}

#[cfg(test)]
mod command_line {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        test: Test,
    }

    fn parse(words: &str) -> Result<Test, clap::Error> {
        Line::try_parse_from(words.split(' ')).map(|line| line.test)
    }

    #[test]
    fn words_are_filters_unless_the_first_names_another_kind_of_test() {
        let test = parse("test topology lifecycle --long").unwrap();
        assert_eq!(test.filter, ["topology", "lifecycle"]);
        assert!(test.long && test.other.is_none());
        let test = parse("test asan").unwrap();
        assert!(matches!(test.other, Some(Other::Asan(_))));
    }
}

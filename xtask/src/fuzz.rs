//! `cargo xtask fuzz`.

mod seeds;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, ValueEnum};

use self::seeds::Seeds;
use crate::setup::{self, Need};
use crate::sh::{Sh, cargo, root, sh};

/// What a fuzzer is fed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// Each of the others, as many at a time as there are cores
    All,
    /// UDP payloads: headers, inner packet, trailers
    Payload,
    /// Building of ICMPv6 errors
    Icmp6,
    /// The relay's state machine under random events
    Relay,
    /// Configuration files
    Config,
    /// Both ends of the control socket
    Control,
    /// A server under random datagrams
    Server,
}

/// Feed random input to whatever reads what others wrote, until something breaks
///
/// Begins with the packets of the captures, the packaged configuration and real requests. Findings and the corpus stay in
/// fuzz/artifacts and fuzz/corpus.
#[derive(Args)]
pub(crate) struct Fuzz {
    target: Target,
    /// Stop after so many seconds
    #[arg(long, default_value_t = SECONDS)]
    seconds: u32,
}

/// How long each target is fuzzed in a run of all tests.
pub(crate) const SECONDS: u32 = 60;
/// How long in a long one.
pub(crate) const SECONDS_LONG: u32 = 600;

/// Longest input in bytes: longer than any packet, any request the control socket reads, and the status.
const INPUT_BYTES: u32 = 16_384;
/// An input that takes longer is a finding. Far longer than any takes on a busy machine.
const INPUT_S: u32 = 60;

/// Coverage feedback and AddressSanitizer, as libFuzzer wants them.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Zsanitizer=address -Cdebug-assertions -Ccodegen-units=1";

impl Fuzz {
    pub(crate) fn run(self) -> Result<()> {
        setup::ensure(&[Need::Fuzz])?;
        match self.target {
            Target::All => all(self.seconds),
            target => {
                build(Some(target))?;
                target.fuzzer(self.seconds)?.run()
            }
        }
    }
}

/// Feeds each target for `seconds`, as many at a time as there are cores, and tells how often each was fed.
///
/// # Errors
/// A fuzzer does not build, or has found something; the others go on meanwhile.
pub(crate) fn all(seconds: u32) -> Result<()> {
    build(None)?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let targets = Target::value_variants().iter();
    let left = Mutex::new(targets.filter(|target| **target != Target::All));
    let next = || left.lock().ok()?.next();
    let fuzz = || {
        let mut findings = Vec::new();
        while let Some(target) = next() {
            findings.extend(target.fuzz_quietly(seconds).err());
        }
        findings
    };
    let findings: Vec<anyhow::Error> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(fuzz)).collect();
        let ends = workers.into_iter().map(thread::ScopedJoinHandle::join);
        ends.flat_map(|end| end.unwrap_or_else(|_| vec![anyhow!("a thread panicked")]))
            .collect()
    });
    for finding in &findings {
        eprintln!("{finding:#}");
    }
    findings.into_iter().next().map_or(Ok(()), Err)
}

/// Compiles one fuzzer, or all.
fn build(target: Option<Target>) -> Result<()> {
    let selection = target.map_or_else(
        || vec!["--bins".to_owned()],
        |target| vec!["--bin".to_owned(), target.name()],
    );
    // Naming the target keeps the flags away from build scripts. The sanitizer is an unstable feature of
    // the very compiler everything else is built with.
    cargo("build the fuzzers")
        .args([
            "build",
            "--release",
            "--manifest-path",
            "fuzz/Cargo.toml",
            "--target",
            &triple(),
            "--target-dir",
            "target/fuzz",
        ])
        .args(selection)
        .env("RUSTFLAGS", RUSTFLAGS)
        .env("RUSTC_BOOTSTRAP", "1")
        .run()
}

fn triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

impl Target {
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn seeds(self) -> Option<Seeds> {
        match self {
            Self::Payload => Some(Seeds::Datagrams),
            Self::Icmp6 => Some(Seeds::Packets),
            Self::Config => Some(Seeds::Configurations),
            Self::Control => Some(Seeds::Talk),
            // Their input is a list of events or of datagrams.
            Self::Relay | Self::Server | Self::All => None,
        }
    }

    /// The fuzzer, with its corpus and a place for findings.
    fn fuzzer(self, seconds: u32) -> Result<Sh> {
        let name = self.name();
        let corpus = root().join("fuzz/corpus").join(&name);
        let artifacts = root().join("fuzz/artifacts").join(&name);
        for directory in [&corpus, &artifacts] {
            fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        }
        if let Some(seeds) = self.seeds() {
            seeds.write(root(), &corpus)?;
        }
        let program = target_dir().join(triple()).join("release").join(&name);
        let fuzzer = sh(&format!("fuzz {name}"), &program.to_string_lossy());
        Ok(fuzzer.args([
            format!("-max_total_time={seconds}"),
            format!("-artifact_prefix={}/", artifacts.display()),
            format!("-max_len={INPUT_BYTES}"),
            format!("-timeout={INPUT_S}"),
            "-print_final_stats=1".to_owned(),
            corpus.display().to_string(),
        ]))
    }

    /// Fuzzes with the words in a file, and says in one line how it went.
    fn fuzz_quietly(self, seconds: u32) -> Result<()> {
        let name = self.name();
        let log = target_dir().join(format!("{name}.log"));
        let shown = |path: &Path| path.display().to_string();
        let file = File::create(&log).with_context(|| shown(&log))?;
        let end = self.fuzzer(seconds)?.said_to(file)?.run();
        let said = fs::read(&log).with_context(|| shown(&log))?;
        let said = String::from_utf8_lossy(&said);
        end.with_context(|| format!("{}\nthe above is of {}", last_lines(&said), shown(&log)))?;
        let fed = statistic(&said, "number_of_executed_units")
            .with_context(|| format!("{} has no figures", shown(&log)))?;
        eprintln!("fuzz {name}: {fed} inputs in {seconds} s, nothing found");
        Ok(())
    }
}

fn target_dir() -> PathBuf {
    root().join("target/fuzz")
}

/// A figure of those libFuzzer prints at its end.
fn statistic(said: &str, name: &str) -> Option<u64> {
    let figures = said.lines().filter_map(|line| line.strip_prefix("stat::"));
    let mut named = figures.filter_map(|figure| figure.strip_prefix(name)?.strip_prefix(':'));
    named.next()?.trim().parse().ok()
}

/// The end of what a fuzzer said: what it found, and where that is kept.
fn last_lines(said: &str) -> String {
    const LINES: usize = 60;
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_a_fuzzer_and_every_fuzzer_is_a_target() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        let mut bins = manifest.split("[[bin]]").skip(1);
        let mut targets = Target::value_variants().iter().map(|target| target.name());
        assert_eq!(targets.next().as_deref(), Some("all"));
        for target in targets {
            let bin = bins.next().unwrap_or_default();
            assert!(bin.contains(&format!("name = \"{target}\"")), "{target}");
        }
        assert_eq!(bins.next(), None);
    }

    #[test]
    fn the_figures_of_a_fuzzer_are_found_among_its_words() {
        let said =
            "#2 INITED\nstat::number_of_executed_units: 1234\nstat::average_exec_per_sec: 5\n";
        assert_eq!(statistic(said, "number_of_executed_units"), Some(1234));
        assert_eq!(statistic(said, "average_exec_per_sec"), Some(5));
        assert_eq!(statistic(said, "peak_rss_mb"), None);
    }

    #[test]
    fn what_was_said_last_is_shown() {
        let lines: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
        let last = last_lines(&lines.join("\n"));
        assert!(last.starts_with("line 40\n") && last.ends_with("line 99"));
        assert_eq!(last_lines("one"), "one");
    }
}

//! `cargo xtask lint` and `cargo xtask fmt`.

use anyhow::Result;
use clap::Args;

use crate::setup::{self, Need};
use crate::sh::{Sh, cargo};
use crate::tidy;

/// Check formatting, house rules, clippy, documentation and dependencies
#[derive(Args)]
pub(crate) struct Lint {}

impl Lint {
    #[expect(clippy::unused_self, reason = "every job has the same shape")]
    pub(crate) fn run(self) -> Result<()> {
        for sources in format_sources() {
            sources.args(["--check"]).run()?;
        }
        tidy::check()?;
        setup::ensure(&[Need::Build, Need::Lint])?;
        clippy(&["--workspace", "--all-targets"])?;
        // The part of the protocol the XDP program shares must do without an allocator.
        clippy(&["--package", "teredo", "--no-default-features"])?;
        cargo("build the documentation")
            .args(["doc", "--locked", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings")
            .run()?;
        dependencies()
    }
}

/// Format all sources
#[derive(Args)]
pub(crate) struct Fmt {}

impl Fmt {
    #[expect(clippy::unused_self, reason = "every job has the same shape")]
    pub(crate) fn run(self) -> Result<()> {
        format_sources().into_iter().try_for_each(Sh::run)
    }
}

/// The fuzzers are a workspace of their own.
fn format_sources() -> [Sh; 2] {
    [
        cargo("format the sources").args(["fmt", "--all"]),
        cargo("format the fuzzers").args(["fmt", "--manifest-path", "fuzz/Cargo.toml"]),
    ]
}

fn clippy(selection: &[&str]) -> Result<()> {
    cargo("satisfy clippy")
        .args(["clippy", "--locked"])
        .args(selection)
        .args(["--", "-D", "warnings"])
        .run()
}

/// Licences, sources and duplicates need no network; advisories do.
fn dependencies() -> Result<()> {
    let deny = |arguments: &[&str]| {
        cargo("accept the dependencies")
            .args(["deny", "--locked"])
            .args(arguments)
    };
    if deny(&["fetch", "db"]).run().is_err() {
        eprintln!(
            "note: the advisory database cannot be fetched; ADVISORIES ARE NOT CHECKED in this run"
        );
        let checks = [
            "check",
            "--hide-inclusion-graph",
            "licenses",
            "bans",
            "sources",
        ];
        return deny(&checks).run();
    }
    deny(&["check", "--hide-inclusion-graph"]).run()
}

//! `cargo xtask test`.

use anyhow::Result;
use clap::Args;

use crate::build;
use crate::mutants;
use crate::setup::{self, Need};
use crate::sh::cargo;

/// Run all tests: units, documentation, XDP program, and networks in namespaces
///
/// Needs root for the last two. Closes with the summary of nextest where it is installed, else of cargo.
#[derive(Args)]
pub(crate) struct Test {
    /// Run only tests whose names contain one of these; alone, `mutants` plants bugs and sees them caught
    filter: Vec<String>,
}

impl Test {
    pub(crate) fn run(self) -> Result<()> {
        if self.filter == ["mutants"] {
            return mutants::run();
        }
        setup::ensure(&[Need::Build, Need::Network])?;
        setup::check_kernel("cargo xtask test")?;
        let shipworm = build::shipworm(true)?;

        // The summary of the larger part comes last, whatever became of the examples.
        let examples = cargo("pass the examples in the documentation")
            .args(["test", "--workspace", "--doc", "--"])
            .args(&self.filter)
            .run();
        let tests = if setup::has_nextest() {
            cargo("pass the tests")
                .args(["nextest", "run", "--workspace"])
                .args(&self.filter)
        } else {
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
                .args(&self.filter)
                .env("RUST_TEST_THREADS", "2")
        };
        tests.env("SHIPWORM_BIN", shipworm).run()?;
        examples
    }
}

//! `cargo xtask test miri`.

use anyhow::{Context as _, Result};
use clap::Args;

use crate::sh::sh;

/// Run the tests of the protocol and the shared layouts in Miri, on a big-endian machine too
///
/// Wants a nightly compiler with the components `miri` and `rust-src`, which rustup installs.
#[derive(Args)]
pub(crate) struct Miri {
    /// The toolchain that has the components
    #[arg(long, value_name = "NAME", default_value = "nightly")]
    toolchain: String,
    /// Run only tests whose names contain one of these
    filter: Vec<String>,
}

/// The machine the relay is made for, and one with the other order of octets.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "s390x-unknown-linux-gnu"];

impl Miri {
    pub(crate) fn run(self) -> Result<()> {
        let install = format!(
            "rustup toolchain install {} --component miri --component rust-src",
            self.toolchain
        );
        let cargo = |purpose: &str| sh(purpose, "rustup").args(["run", &self.toolchain, "cargo"]);
        cargo("find Miri")
            .args(["miri", "--version"])
            .run()
            .with_context(|| format!("Miri comes with `{install}`"))?;
        for target in TARGETS {
            cargo("pass the tests in Miri")
                .args(["miri", "test", "--target", target])
                .args(["--target-dir", "target/miri"])
                .args(["--package", "teredo", "--package", "relay-common"])
                .args(["--lib", "--"])
                .args(&self.filter)
                // Properties are tried with few cases: an interpreter takes a thousand times as long.
                .env("PROPTEST_CASES", "4")
                // proptest asks for the current directory to keep what failed.
                .env("MIRIFLAGS", "-Zmiri-disable-isolation")
                .run()?;
        }
        Ok(())
    }
}

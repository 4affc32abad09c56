//! `cargo xtask test asan`.

use anyhow::Result;
use clap::Args;

use crate::setup::{self, Need};
use crate::sh::cargo;

/// Run the tests of the protocol, the shared layouts and the peer table under AddressSanitizer
///
/// With the compiler everything is built with: it has the run-time library, and the flag is one of its unstable features.
#[derive(Args)]
pub(crate) struct Asan {
    /// Run only tests whose names contain this [default: all]
    filter: Option<String>,
}

/// What runs: arguments of `cargo test`, and the part of its tests.
const RUNS: [(&[&str], &str); 3] = [
    (
        &["--package", "teredo", "--all-features", "--lib", "--tests"],
        "",
    ),
    (&["--package", "relay-common", "--lib", "--tests"], ""),
    (&["--package", "relay-user", "--lib"], "datapath::"),
];

impl Asan {
    pub(crate) fn run(self) -> Result<()> {
        setup::ensure(&[Need::Build])?;
        // Naming the target keeps the flag away from build scripts and procedural macros.
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        for (selection, part) in RUNS {
            cargo("pass the tests under AddressSanitizer")
                .args(["test", "--target", &triple, "--target-dir", "target/asan"])
                .args(selection)
                .args(["--", self.filter.as_deref().unwrap_or(part)])
                .env("RUSTFLAGS", "-Zsanitizer=address -Cdebug-assertions")
                .env("RUSTC_BOOTSTRAP", "1")
                .env(
                    "ASAN_OPTIONS",
                    "detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1",
                )
                .run()?;
        }
        Ok(())
    }
}

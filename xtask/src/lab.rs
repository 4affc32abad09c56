//! `cargo xtask lab`.

use anyhow::Result;
use clap::Args;

use crate::build;
use crate::setup::{self, Need};
use crate::sh::cargo;

/// Bring the small internet up with our relay in it and keep it until Ctrl-C
///
/// Prints how to enter each of its nodes.
#[derive(Args)]
pub(crate) struct Lab {
    /// Flags of the lab, passed on as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    flags: Vec<String>,
}

impl Lab {
    pub(crate) fn run(self) -> Result<()> {
        setup::ensure(&[Need::Build, Need::Network])?;
        setup::check_kernel("cargo xtask lab")?;
        let shipworm = build::shipworm(true)?;
        cargo("bring up the small internet")
            .args([
                "run",
                "--quiet",
                "--release",
                "--package",
                "shipworm-tests",
                "--bin",
                "shipworm-lab",
                "--",
            ])
            .args(self.flags)
            .env("SHIPWORM_BIN", shipworm)
            .exec()?;
        Ok(())
    }
}

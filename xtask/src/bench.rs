//! `cargo xtask bench`.

use anyhow::Result;
use clap::Args;

use crate::setup::{self, Need};
use crate::sh::cargo;

/// Measure the nanoseconds a packet costs in the XDP program
#[derive(Args)]
pub(crate) struct Bench {
    /// Flags of the measurement, passed on as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    flags: Vec<String>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        setup::ensure(&[Need::Build])?;
        cargo("measure")
            .args(["run", "--release", "--package", "shipworm-bench", "--"])
            .args(self.flags)
            .exec()?;
        Ok(())
    }
}

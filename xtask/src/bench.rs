//! `cargo xtask bench`.

use anyhow::Result;
use clap::{Args, Parser as _};

use crate::setup::{self, Need};
use crate::sh::cargo;
use crate::vm;

/// Measure the nanoseconds a packet costs in the XDP program; `vm`: try another kernel in a virtual machine
#[derive(Args)]
pub(crate) struct Bench {
    /// Flags of the measurement, passed on as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    flags: Vec<String>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        if self.flags.first().is_some_and(|name| name == "vm") {
            return vm::run(&vm::Options::parse_from(self.flags));
        }
        setup::ensure(&[Need::Build])?;
        cargo("measure")
            .args(["run", "--release", "--package", "shipworm-bench", "--"])
            .args(self.flags)
            .exec()?;
        Ok(())
    }
}

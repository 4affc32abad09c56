//! `cargo xtask test vm`.

use anyhow::Result;
use clap::Args;

/// See the XDP program load, attach and pass its tests on another kernel than this machine's
#[derive(Args)]
pub(crate) struct Matrix {
    #[command(flatten)]
    machine: super::Options,
}

impl Matrix {
    pub(crate) fn run(self) -> Result<()> {
        super::run(&self.machine)
    }
}

//! `cargo xtask ci`.

use anyhow::Result;
use clap::Args;

use crate::sh::{root, sh};

/// What must pass before a change is merged: .ci/run
#[derive(Args)]
pub(crate) struct Ci {}

impl Ci {
    #[expect(clippy::unused_self, reason = "every job has the same shape")]
    pub(crate) fn run(self) -> Result<()> {
        let script = root().join(".ci/run");
        sh("pass what a change must pass", &script.to_string_lossy()).exec()?;
        Ok(())
    }
}

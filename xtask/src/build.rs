//! `cargo xtask build`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::setup::{self, Need};
use crate::sh::{cargo, root};

/// Build the `shipworm` binary with the XDP program in it
#[derive(Args)]
pub(crate) struct Build {
    /// Optimise
    #[arg(long)]
    release: bool,
}

impl Build {
    pub(crate) fn run(self) -> Result<()> {
        setup::ensure(&[Need::Build])?;
        shipworm(self.release)?;
        Ok(())
    }
}

/// Builds `shipworm` and says where it is.
///
/// # Errors
/// It does not build.
pub(crate) fn shipworm(release: bool) -> Result<PathBuf> {
    let mut cargo =
        cargo("build shipworm").args(["build", "--package", "relay-user", "--bin", "shipworm"]);
    let mut profile = "debug";
    if release {
        cargo = cargo.args(["--release"]);
        profile = "release";
    }
    cargo.run()?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    // Tests run in the directory of their package, whatever the target directory is relative to.
    Ok(std::path::absolute(target.join(profile).join("shipworm"))?)
}

//! cargo-deny, which judges the dependencies in `lint`.

use anyhow::Result;

use super::host::Host;
use crate::sh::cargo;

/// Whether it is installed.
pub(crate) fn is_there(host: &dyn Host) -> bool {
    host.program("cargo-deny").is_some()
}

/// Builds and installs it.
///
/// # Errors
/// The build failed, for example without a network.
pub(crate) fn install() -> Result<()> {
    // It runs for seconds; optimising it fully would take longer than it ever saves.
    cargo("install cargo-deny")
        .args(["install", "cargo-deny", "--locked"])
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .run()
}

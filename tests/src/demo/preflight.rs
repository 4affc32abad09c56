//! What must be there before anything is built.

use std::env;

use anyhow::{Result, ensure};

/// Programs the small internet is made with, and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("nft", "nftables"),
    ("conntrack", "conntrack"),
    ("miredo", "miredo"),
    ("miredo-server", "miredo-server"),
];

/// Looks for root's rights and the programs needed.
///
/// # Errors
/// What is missing and how to get it.
pub fn preflight() -> Result<()> {
    // SAFETY: no pointers; cannot fail.
    let user = unsafe { libc::geteuid() };
    ensure!(
        user == 0,
        "only root may make network namespaces and attach XDP programs: run it with sudo"
    );
    let missing: Vec<_> = PROGRAMS
        .iter()
        .filter(|(program, _)| !is_installed(program))
        .collect();
    let names: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
    let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    ensure!(
        missing.is_empty(),
        "missing: {}. `cargo xtask setup` installs what is needed, or: apt-get install {}",
        names.join(", "),
        packages.join(" ")
    );
    Ok(())
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

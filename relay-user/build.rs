//! Builds the XDP program and leaves it in `OUT_DIR` for the library to embed.
//!
//! * `EBPF_TOOLCHAIN`: the rustup toolchain that compiles it; it needs the `rust-src` component. Default `nightly`.
//! * `EBPF_BOOTSTRAP=1`: that toolchain is a stable or custom one and is told to take nightly options.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use aya_build::{Package, Toolchain};

const PROGRAM_DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../relay-ebpf");
/// Crates the program is made of beside its own.
const SHARED_DIRS: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/../relay-common/src"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/../teredo/src"),
];
const SETUP: &str = "`cargo xtask setup` finds or installs it";

fn main() -> Result<()> {
    println!("cargo::rerun-if-env-changed=EBPF_TOOLCHAIN");
    println!("cargo::rerun-if-env-changed=EBPF_BOOTSTRAP");
    for dir in SHARED_DIRS {
        println!("cargo::rerun-if-changed={dir}");
    }
    let toolchain = std::env::var("EBPF_TOOLCHAIN").unwrap_or_else(|_| "nightly".into());
    let bootstrap = std::env::var("EBPF_BOOTSTRAP").is_ok_and(|v| v == "1");
    check_tools(&toolchain)?;

    let mut variables = vec![
        // The object names no directory of the machine that built it.
        ("CARGO_UNSTABLE_TRIM_PATHS", "true"),
        ("CARGO_PROFILE_RELEASE_TRIM_PATHS", "all"),
        // Every line the child says becomes a warning of this build.
        ("CARGO_TERM_QUIET", "true"),
    ];
    if bootstrap {
        variables.push(("RUSTC_BOOTSTRAP", "1"));
    }
    for (name, value) in variables {
        // SAFETY: the build script has one thread here; the variables are for its child alone.
        unsafe { std::env::set_var(name, value) };
    }

    let features: &[&str] = if std::env::var_os("CARGO_FEATURE_TRACE").is_some() {
        &["trace"]
    } else {
        &[]
    };
    aya_build::build_ebpf(
        [Package {
            name: "relay-ebpf",
            root_dir: PROGRAM_DIR,
            features,
            ..Package::default()
        }],
        Toolchain::Custom(&toolchain),
    )
    .with_context(|| {
        format!(
            "the XDP program does not build with toolchain `{toolchain}`; if its rust-src is missing, {SETUP}"
        )
    })
}

/// Says what is missing before a compiler does in its own words.
fn check_tools(toolchain: &str) -> Result<()> {
    ensure!(
        runs(Command::new("bpf-linker").arg("--version")),
        "bpf-linker is not in PATH; {SETUP}"
    );
    ensure!(
        !runs(Command::new("rustup").arg("--version"))
            || runs(Command::new("rustup").args(["run", toolchain, "rustc", "--version"])),
        "the toolchain `{toolchain}` for the XDP program is not there (EBPF_TOOLCHAIN names it); {SETUP}"
    );
    Ok(())
}

fn runs(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

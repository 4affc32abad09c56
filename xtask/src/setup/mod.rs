//! Finds what is missing to build, run, test and lint, and installs it.
//!
//! A survey says what is there; installing goes part by part, because later parts depend on earlier ones (bpf-linker is
//! built against the LLVM of the eBPF compiler, which may come from a package). Everything that will be
//! installed is named, with its reason, before anything is. Where we may not install, the commands are printed.

mod apt;
mod compiler;
mod deny;
mod host;
mod kernel;
mod linker;
mod packages;

use std::fs;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use self::apt::Apt;
use self::host::{Host, ThisHost};
use self::packages::Package;
use crate::sh::{root, sh};

pub(crate) use self::kernel::check as check_kernel;

/// Is the process root's?
pub(crate) fn is_root() -> bool {
    apt::is_root(&ThisHost)
}

/// Is nextest installed? It runs each test in its own process, with time limits.
pub(crate) fn has_nextest() -> bool {
    ThisHost.program("cargo-nextest").is_some()
}

/// Find what is missing to build, run, test and lint, and install it
///
/// May be repeated. Says what it installs, why, and with which command.
#[derive(Args)]
pub(crate) struct Setup {
    /// Only report; exit with 1 if something is missing
    #[arg(long)]
    check: bool,
    /// Take the eBPF compiler from rustup (a nightly with rust-src) even where apt has one
    #[arg(long)]
    rustup: bool,
}

impl Setup {
    pub(crate) fn run(self) -> Result<()> {
        let needs = [Need::Build, Need::Network, Need::Lint];
        let survey = Survey::of(&ThisHost, &needs);
        for line in &survey.ready {
            println!("ready    {line}");
        }
        if !survey.is_complete() {
            survey.print_missing();
            if self.check {
                bail!("something is missing; `cargo xtask setup` installs it");
            }
            install(&ThisHost, &needs, self.rustup)?;
        }
        tell_cargo(&ThisHost)?;
        println!("everything is there");
        for problem in kernel::problems(&ThisHost) {
            println!("note: network tests and the demo will not run here: {problem}");
        }
        Ok(())
    }
}

/// What a job needs beyond stable Rust.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// To build the `shipworm` binary.
    Build,
    /// To run the small internet.
    Network,
    /// To lint.
    Lint,
    /// To feed random input.
    Fuzz,
}

/// Installs what `needs` lack, saying so first; silent and quick when nothing is missing.
///
/// # Errors
/// Something is missing and could not be installed.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let survey = Survey::of(&ThisHost, needs);
    if !survey.is_complete() {
        survey.print_missing();
        install(&ThisHost, needs, false)?;
    }
    tell_cargo(&ThisHost)
}

/// What is there and what is not.
struct Survey {
    ready: Vec<String>,
    packages: Vec<&'static Package>,
    compiler: compiler::Found,
    linker: linker::Found,
    deny: bool,
}

impl Survey {
    fn of(host: &dyn Host, needs: &[Need]) -> Self {
        let mut ready = Vec::new();
        let mut packages = packages::missing(host, packages::BUILD);
        if packages.is_empty() {
            ready.push("packages to build with".to_owned());
        }
        if needs.contains(&Need::Network) {
            let missing = packages::missing(host, packages::NETWORK);
            if missing.is_empty() {
                ready.push("packages for the small internet of tests and demo".to_owned());
            }
            packages.extend(missing);
        }
        if needs.contains(&Need::Fuzz) {
            packages.extend(packages::missing(host, packages::FUZZ));
        }
        let compiler = compiler::find(host);
        let known = match &compiler {
            compiler::Found::Ready(compiler) => {
                ready.push(format!("eBPF compiler: {}", compiler.describe()));
                Some(compiler)
            }
            compiler::Found::Unlinked(compiler) => Some(compiler),
            compiler::Found::Missing(_) => None,
        };
        let linker = linker::find(host, known);
        if let linker::Found::Ready(version) = &linker {
            ready.push(version.clone());
        }
        let mut deny = true;
        if needs.contains(&Need::Lint) {
            deny = deny::is_there(host);
            if deny {
                ready.push("cargo-deny".to_owned());
            }
        }
        Self {
            ready,
            packages,
            compiler,
            linker,
            deny,
        }
    }

    fn is_complete(&self) -> bool {
        self.packages.is_empty()
            && matches!(self.compiler, compiler::Found::Ready(_))
            && matches!(self.linker, linker::Found::Ready(_))
            && self.deny
    }

    fn missing(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .packages
            .chunk_by(|a, b| a.why == b.why)
            .map(|group| {
                let names: Vec<_> = group.iter().map(|package| package.name).collect();
                format!("{} ({})", names.join(" "), group[0].why)
            })
            .collect();
        match &self.compiler {
            compiler::Found::Ready(_) => {}
            compiler::Found::Unlinked(compiler) => lines.push(format!(
                "a rustup name for the rustc in {} (compiles the XDP program)",
                compiler.sysroot.display()
            )),
            compiler::Found::Missing(why) => {
                lines.push(format!("eBPF compiler (compiles the XDP program): {why}"));
            }
        }
        if let linker::Found::Missing(why) = &self.linker {
            lines.push(format!("bpf-linker (links the XDP program): {why}"));
        }
        if !self.deny {
            lines.push(
                "cargo-deny (lint: licences, advisories and sources of dependencies)".to_owned(),
            );
        }
        lines
    }

    fn print_missing(&self) {
        for line in self.missing() {
            println!("missing  {line}");
        }
    }
}

/// Installs all that is missing.
fn install(host: &dyn Host, needs: &[Need], prefer_rustup: bool) -> Result<()> {
    let apt = Apt::of(host);
    let survey = Survey::of(host, needs);
    let lacks_compiler = matches!(survey.compiler, compiler::Found::Missing(_));
    let mut wanted: Vec<&str> = survey.packages.iter().map(|package| package.name).collect();

    // An image without package lists knows no candidates.
    if apt.usable() && (lacks_compiler || !wanted.is_empty()) {
        apt.update()?;
    }
    let has_rustup = host.program("rustup").is_some();
    let compiler_packages = if lacks_compiler && !(prefer_rustup && has_rustup) {
        compiler::packages(host).filter(|_| apt.usable() || !has_rustup)
    } else {
        None
    };
    wanted.extend(compiler_packages.into_iter().flatten());
    install_packages(&apt, &wanted)?;

    if lacks_compiler && compiler_packages.is_none() {
        install_nightly(has_rustup)?;
    }
    if let compiler::Found::Unlinked(compiler) = compiler::find(host) {
        println!(
            "making the distribution's rustc known to rustup as `{}`",
            compiler::LINKED
        );
        sh("name the eBPF compiler", "rustup")
            .args(["toolchain", "link", compiler::LINKED])
            .args([&compiler.sysroot])
            .run()?;
    }
    let compiler = match compiler::find(host) {
        compiler::Found::Ready(compiler) => compiler,
        compiler::Found::Unlinked(_) => bail!("rustup did not take the distribution's rustc"),
        compiler::Found::Missing(why) => bail!("still no eBPF compiler: {why}"),
    };

    if matches!(
        linker::find(host, Some(&compiler)),
        linker::Found::Missing(_)
    ) {
        println!(
            "building bpf-linker for LLVM {} (one to three minutes)",
            compiler.llvm
        );
        linker::install(host, &compiler)?;
    }
    if needs.contains(&Need::Lint) && !deny::is_there(host) {
        println!("building cargo-deny (one to three minutes)");
        deny::install()?;
    }

    let survey = Survey::of(host, needs);
    if !survey.is_complete() {
        bail!(
            "still missing after the installation:\n  {}",
            survey.missing().join("\n  ")
        );
    }
    Ok(())
}

fn install_packages(apt: &Apt, wanted: &[&str]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    match apt {
        Apt::Root | Apt::Sudo => {
            println!("installing packages: {}", wanted.join(" "));
            apt.install(wanted)
        }
        Apt::Forbidden => bail!(
            "packages are missing and only root may install them (sudo is absent or asks for a password). Run:\n{}    cargo xtask setup",
            apt::by_hand(wanted)
        ),
        Apt::Absent => bail!(
            "packages are missing and there is no apt-get. Install what your distribution calls:\n    {}\nand run again:\n    cargo xtask setup",
            wanted.join(" ")
        ),
    }
}

fn install_nightly(has_rustup: bool) -> Result<()> {
    let install = [
        "toolchain",
        "install",
        "nightly",
        "--profile",
        "minimal",
        "--component",
        "rust-src",
    ];
    let line = format!("rustup {}", install.join(" "));
    if !has_rustup {
        bail!(
            "no eBPF compiler, no package for it and no rustup. Install rustup (https://rustup.rs), then run:\n    {line}\n    cargo xtask setup"
        );
    }
    println!("installing a nightly Rust with its library sources, to compile the XDP program");
    sh("install the eBPF compiler", "rustup").args(install).run().with_context(|| {
        format!("without it the XDP program cannot be compiled; when the network is back, run:\n    {line}\n    cargo xtask setup")
    })
}

/// Writes the part of the cargo configuration that depends on this machine, so that plain `cargo build` works too.
fn tell_cargo(host: &dyn Host) -> Result<()> {
    let compiler::Found::Ready(compiler) = compiler::find(host) else {
        return Ok(());
    };
    let path = root().join(".cargo/ebpf.toml");
    let config = compiler.cargo_config();
    if host.text(&path).as_deref() == Some(&config) {
        return Ok(());
    }
    fs::write(&path, config).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::host::fake::FakeHost;
    use super::*;

    #[test]
    fn a_bare_machine_lacks_every_part_and_each_is_explained() {
        let survey = Survey::of(
            &FakeHost::default(),
            &[Need::Build, Need::Network, Need::Lint],
        );
        assert!(!survey.is_complete());
        let missing = survey.missing().join("\n");
        for part in [
            "gcc libc6-dev (",
            "miredo miredo-server (",
            "eBPF compiler",
            "bpf-linker",
            "cargo-deny",
        ] {
            assert!(missing.contains(part), "{part} in\n{missing}");
        }
    }

    #[test]
    fn a_build_needs_neither_miredo_nor_cargo_deny() {
        let survey = Survey::of(&FakeHost::default(), &[Need::Build]);
        let missing = survey.missing().join("\n");
        assert!(
            !missing.contains("miredo") && !missing.contains("cargo-deny"),
            "{missing}"
        );
    }

    #[test]
    fn packages_that_may_not_be_installed_are_asked_for_with_the_exact_command() {
        let error = install_packages(&Apt::Forbidden, &["make", "miredo"])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("sudo apt-get install --no-install-recommends make miredo\n"),
            "{error}"
        );
        assert!(error.contains("cargo xtask setup"), "{error}");
        let error = install_packages(&Apt::Absent, &["make"])
            .unwrap_err()
            .to_string();
        assert!(error.contains("no apt-get"), "{error}");
    }

    #[test]
    fn without_any_way_to_a_compiler_the_commands_are_named() {
        let error = install_nightly(false).unwrap_err().to_string();
        assert!(
            error.contains("rustup toolchain install nightly"),
            "{error}"
        );
    }
}

//! `cargo xtask bench vm`: another kernel, in a virtual machine without hardware support.
//!
//! The machine runs what this one cannot show: the verifier of a distribution's kernel, the XDP hook of a real
//! driver (virtio-net) and the scripts of `bench/pktgen` with the kernel's packet generator. An emulated processor
//! says nothing about speed, so every figure is a count.
//!
//! Nothing is installed: packages are unpacked below `target/vm`, and the cards of the machine end in a network
//! namespace that dies with it.

mod boot;
mod image;
mod matrix;
mod modules;
mod packages;
mod protocol;
mod record;
mod report;

pub(crate) use self::matrix::Matrix;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use self::protocol::Transcript;
use crate::build;
use crate::setup::{self, Need};
use crate::sh::root;

/// Boot a distribution's kernel in QEMU and see the relay work there: verifier, tests of the XDP program, virtio-net
#[derive(Args)]
pub(crate) struct Options {
    /// Debian package of the kernel [default: the one linux-image-cloud-amd64 depends on]
    #[arg(long, value_name = "PACKAGE")]
    kernel: Option<String>,
    /// Also write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(60..=3600))]
    timeout: u64,
    /// Run only the tests of the XDP program whose names contain this [default: all]
    #[arg(long, value_name = "TEXT")]
    tests: Option<String>,
}

/// Builds the machine, boots it and judges what it says.
///
/// # Errors
/// The machine cannot be built or started, did not come to its end in time, or a check in it failed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let works = Works::build("cargo xtask bench vm")?;
    let kernel = options.kernel.as_deref().unwrap_or(packages::KERNEL);
    let transcript = works.boot(kernel, options, false)?;
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report::figures(&transcript))?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    works.judge(&transcript)
}

/// What machines are made of, whatever their kernel.
struct Works {
    directory: PathBuf,
    tools: packages::Tools,
    payload: image::Payload,
}

impl Works {
    /// Builds and fetches what is missing, for `command`.
    fn build(command: &str) -> Result<Self> {
        setup::ensure(&[Need::Build, Need::Network])?;
        if !setup::is_root() {
            bail!(
                "the cards of the virtual machine end in a network namespace, which only root may create. Run:\n    \
                 sudo -E env \"PATH=$PATH\" {command}"
            );
        }
        let directory = std::path::absolute(root().join("target/vm"))?;
        Ok(Self {
            tools: packages::tools(&directory)?,
            payload: image::Payload {
                shipworm: build::shipworm(true)?,
                farm: build_farm()?,
                xdp_tests: build_xdp_tests()?,
            },
            directory,
        })
    }

    /// Boots the kernel of that package and prints what the machine says.
    fn boot(&self, kernel: &str, options: &Options, accept: bool) -> Result<Transcript> {
        let kernel = packages::kernel(&self.directory, kernel)?;
        let image = image::build(&self.directory, &self.tools, &kernel, &self.payload)?;
        let transcript = boot::Machine {
            tools: &self.tools,
            kernel: &kernel.image,
            initramfs: &image,
            console: self.console(),
            tests: options.tests.as_deref(),
            accept,
            timeout: Duration::from_secs(options.timeout),
        }
        .run()?;
        print!("{}", report::table(&transcript));
        Ok(transcript)
    }

    fn judge(&self, transcript: &Transcript) -> Result<()> {
        report::judge(transcript)
            .with_context(|| format!("the machine's console is in {}", self.console().display()))
    }

    fn console(&self) -> PathBuf {
        self.directory.join("console.log")
    }
}

fn build_farm() -> Result<PathBuf> {
    artifact(
        "build the client farm",
        &[
            "build",
            "--package",
            "shipworm-bench",
            "--bin",
            "shipworm-farm",
        ],
        "shipworm-farm",
    )
}

fn build_xdp_tests() -> Result<PathBuf> {
    artifact(
        "build the tests of the XDP program",
        &[
            "test",
            "--no-run",
            "--package",
            "shipworm-tests",
            "--test",
            "xdp",
        ],
        "xdp",
    )
}

/// Builds and gives the executable of the target `name`, which cargo alone can say the place of.
fn artifact(purpose: &str, arguments: &[&str], name: &str) -> Result<PathBuf> {
    let output = crate::sh::cargo(purpose)
        .args(arguments)
        .args(["--release", "--message-format=json-render-diagnostics"])
        .output()?;
    executable(&output, name)
        .with_context(|| format!("cannot {purpose}: cargo names no executable of {name}"))
}

fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_the_messages_of_cargo() {
        let messages = concat!(
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"lab\"},\"executable\":null}\n",
            "not json\n",
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"xdp\"},\"executable\":\"/t/xdp-1\"}\n",
            "{\"reason\":\"build-finished\",\"success\":true}\n",
        );
        assert_eq!(executable(messages, "xdp"), Some("/t/xdp-1".into()));
        assert_eq!(executable(messages, "lab"), None);
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Options::augment_args(clap::Command::new("vm")).debug_assert();
    }
}

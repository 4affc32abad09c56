//! `cargo xtask run`: the demo, or a relay on real interfaces.

use anyhow::{Result, bail};
use clap::Args;

use crate::build;
use crate::setup::{self, Need};
use crate::sh::{cargo, sh};

/// Run the demo, or with --iface a relay on real interfaces
///
/// Without flags a whole small internet (NATs, a Teredo server, clients, a native host) comes up in network
/// namespaces with the relay in the middle, and a table shows the traffic crossing it, until Ctrl-C.
#[derive(Args)]
pub(crate) struct Run {
    /// End the demo after so many seconds; exit with 0 if traffic crossed
    #[arg(long = "for", value_name = "SECONDS", conflicts_with_all = ["iface", "flags"])]
    seconds: Option<u64>,
    /// Run `shipworm relay` on this interface instead (repeatable)
    #[arg(long, value_name = "NAME")]
    iface: Vec<String>,
    /// Flags of `shipworm relay`, passed on as they are
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "RELAY FLAGS"
    )]
    flags: Vec<String>,
}

impl Run {
    pub(crate) fn run(self) -> Result<()> {
        if self.iface.is_empty() && self.flags.is_empty() {
            demo(self.seconds)
        } else {
            relay(&self.iface, &self.flags)
        }
    }
}

fn demo(seconds: Option<u64>) -> Result<()> {
    setup::ensure(&[Need::Build, Need::Network])?;
    setup::check_kernel("cargo xtask run")?;
    let shipworm = build::shipworm(true)?;
    let mut cargo = cargo("run the demo")
        .args([
            "run",
            "--quiet",
            "--release",
            "--package",
            "shipworm-tests",
            "--bin",
            "demo",
            "--",
        ])
        .env("SHIPWORM_BIN", shipworm);
    if let Some(seconds) = seconds {
        cargo = cargo.args(["--for", &seconds.to_string()]);
    }
    cargo.exec()?;
    Ok(())
}

fn relay(interfaces: &[String], flags: &[String]) -> Result<()> {
    setup::ensure(&[Need::Build])?;
    let shipworm = build::shipworm(true)?;
    let relay =
        sh("run the relay", &shipworm.to_string_lossy()).args(relay_arguments(interfaces, flags));
    if !setup::is_root() {
        bail!(
            "only root may attach an XDP program; it is built, so run:\n    sudo {}",
            relay.line()
        );
    }
    relay.exec()?;
    Ok(())
}

fn relay_arguments(interfaces: &[String], flags: &[String]) -> Vec<String> {
    let interfaces = interfaces
        .iter()
        .flat_map(|name| ["--iface".to_owned(), name.clone()]);
    std::iter::once("relay".to_owned())
        .chain(interfaces)
        .chain(flags.iter().cloned())
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: Run,
    }

    fn parse(words: &str) -> Result<Run, clap::Error> {
        Line::try_parse_from(words.split(' ')).map(|line| line.run)
    }

    #[test]
    fn without_flags_or_with_a_time_it_is_the_demo() {
        for (words, seconds) in [("run", None), ("run --for 30", Some(30))] {
            let run = parse(words).unwrap();
            assert!(run.iface.is_empty() && run.flags.is_empty());
            assert_eq!(run.seconds, seconds);
        }
    }

    #[test]
    fn flags_of_the_relay_arrive_as_they_are() {
        for words in [
            "relay --iface eth0 --iface eth1",
            "relay --iface eth0 --datapath auto --iface eth1 --max-peers 5",
            "relay --config relay.toml",
        ] {
            let run = parse(&words.replace("relay --", "run --")).unwrap();
            assert_eq!(relay_arguments(&run.iface, &run.flags).join(" "), words);
        }
    }

    #[test]
    fn a_relay_on_real_interfaces_has_no_end() {
        assert!(parse("run --for 30 --iface eth0").is_err());
    }
}

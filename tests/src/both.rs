//! Relay and server in one process, on the relay's machine.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::shipworm::{Datapath, LAB_RANGES, READY_DEADLINE, ask, binary, has_xdp_program, ready};
use crate::{Lab, Process, RELAY_PORT};

/// `shipworm run`. Dropping it kills it; [`Both::stop`] ends it the proper way.
#[derive(Debug)]
pub struct Both<'lab> {
    lab: &'lab Lab,
    binary: PathBuf,
    socket: PathBuf,
    process: Process,
    dir: TempDir,
}

impl<'lab> Both<'lab> {
    /// The server's primary address. The secondary is the one behind it.
    pub const PRIMARY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 20);

    /// Gives the relay's machine the server's addresses, starts both there, with more lines for the section `[server]`, and
    /// waits until they say READY.
    ///
    /// # Errors
    /// No binary, or it ends or is not ready in time; the message holds its log.
    pub fn start(lab: &'lab Lab, datapath: Datapath, server_keys: &str) -> Result<Self> {
        for ip in [Self::PRIMARY, Self::secondary()] {
            lab.relay.ip(&[&format!("addr add {ip}/28 dev lb-v4")])?;
        }
        let binary = binary()?;
        let dir = tempfile::Builder::new().prefix("shipworm-").tempdir()?;
        let socket = dir.path().join("both.sock");
        let text = format!(
            "iface = {:?}\ndatapath = \"{datapath}\"\nallow-non-global = {LAB_RANGES:?}\nsocket = \"{}\"\n\
             [relay]\nbind = \"{}:{RELAY_PORT}\"\nmax-peers = 32768\npin-dir = \"none\"\n\
             [server]\nprimary = \"{}\"\n{server_keys}\n",
            lab.relay_interfaces(),
            socket.display(),
            Lab::RELAY_V4,
            Self::PRIMARY,
        );
        fs::write(dir.path().join("both.toml"), text)?;
        let command = command(&binary, &dir);
        let process = ready(&lab.relay, command, dir.path())?;
        Ok(Self {
            lab,
            binary,
            socket,
            process,
            dir,
        })
    }

    /// The server's secondary address.
    pub const fn secondary() -> Ipv4Addr {
        Ipv4Addr::from_bits(Self::PRIMARY.to_bits() + 1)
    }

    /// Starts another that takes over, and waits until it says READY and this one has ended.
    ///
    /// # Errors
    /// The other does not start, or this one does not end with exit code 0.
    pub fn take_over(&mut self) -> Result<()> {
        let mut command = command(&self.binary, &self.dir);
        command.arg("--take-over");
        let other = ready(&self.lab.relay, command, self.dir.path())?;
        let mut before = std::mem::replace(&mut self.process, other);
        let status = before.wait(READY_DEADLINE)?;
        ensure!(status.code() == Some(0), "{status}\n{}", before.output());
        Ok(())
    }

    /// What `shipworm status --json` says.
    ///
    /// # Errors
    /// They do not answer.
    pub fn status(&self) -> Result<Value> {
        ask(&self.lab.relay, &self.binary, "status", &self.socket)
    }

    /// Ends them by SIGTERM, and makes sure that no program is left.
    ///
    /// # Errors
    /// They exit with an error, or leave an XDP program behind.
    pub fn stop(mut self) -> Result<()> {
        let status = self.process.terminate()?;
        ensure!(
            status.code() == Some(0),
            "{status}\n{}",
            self.process.output()
        );
        for interface in self.lab.relay_interfaces() {
            ensure!(
                !has_xdp_program(self.lab, interface)?,
                "an XDP program is left on {interface}"
            );
        }
        Ok(())
    }
}

fn command(binary: &PathBuf, dir: &TempDir) -> Command {
    let mut command = Command::new(binary);
    command
        .arg("run")
        .arg("--config")
        .arg(dir.path().join("both.toml"));
    command
}

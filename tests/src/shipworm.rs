//! The daemons under test: the `shipworm` binary as relay on the relay's machine and as server on the server's.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Lab, Node, Pids, Process};

pub(crate) const READY_DEADLINE: Duration = Duration::from_secs(20);
/// The daemon's TUN device.
pub const INTERFACE: &str = "shipworm0";
/// The ranges of the laboratory, which are not global unicast.
pub(crate) const LAB_RANGES: [&str; 2] = ["198.51.100.0/24", "203.0.113.0/24"];

/// How packets are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Datapath {
    /// XDP in the driver.
    Xdp,
    /// XDP in the kernel's generic hook.
    XdpGeneric,
    /// No XDP.
    Userspace,
}

impl Datapath {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Xdp, Self::XdpGeneric, Self::Userspace];

    /// The value of `--datapath`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp-generic",
            Self::Userspace => "userspace",
        }
    }
}

impl fmt::Display for Datapath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Settings of a relay in the lab.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--datapath`.
    pub datapath: Datapath,
    /// `--max-peers`; small, so that starting is quick.
    pub max_peers: u32,
    /// Whether program and peers outlive the daemon.
    pub pins: bool,
    /// More flags.
    pub flags: Vec<String>,
    /// Command that becomes the daemon, with limits for example; empty: none.
    pub under: Vec<String>,
}

impl Settings {
    /// The lab's defaults with `datapath`.
    pub fn new(datapath: Datapath) -> Self {
        Self {
            datapath,
            max_peers: 1 << 15,
            pins: false,
            flags: Vec::new(),
            under: Vec::new(),
        }
    }
}

/// A relay that serves. Dropping it kills it; [`Relay::stop`] ends it the proper way.
#[derive(Debug)]
pub struct Relay<'lab> {
    lab: &'lab Lab,
    binary: PathBuf,
    socket: PathBuf,
    process: Process,
    dir: TempDir,
}

impl<'lab> Relay<'lab> {
    /// Starts the relay on all its machine's interfaces and waits until it says READY.
    ///
    /// # Errors
    /// No binary, or it ends or is not ready in time; the message holds its log.
    pub fn start(lab: &'lab Lab, settings: &Settings) -> Result<Self> {
        let binary = binary()?;
        let dir = tempfile::Builder::new().prefix("shipworm-").tempdir()?;
        let socket = dir.path().join("relay.sock");
        let command = command(lab, &binary, &socket, settings);
        let process = ready(&lab.relay, command, dir.path())?;
        Ok(Self {
            lab,
            binary,
            socket,
            process,
            dir,
        })
    }

    /// Starts another that takes over, and waits until it says READY and this one has ended.
    ///
    /// # Errors
    /// The other does not start, or this one does not end with exit code 0.
    pub fn take_over(&mut self, settings: &Settings) -> Result<()> {
        let mut command = command(self.lab, &self.binary, &self.socket, settings);
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
    /// The relay does not answer.
    pub fn status(&self) -> Result<Value> {
        self.ask("status")
    }

    /// What `shipworm peers --json` says.
    ///
    /// # Errors
    /// The relay does not answer.
    pub fn peers(&self) -> Result<Value> {
        self.ask("peers")
    }

    /// The control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The program that runs.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The init of the daemon's PID namespace.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// What the daemon has logged so far.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Ends it by SIGTERM, and makes sure that nothing of it is left.
    ///
    /// # Errors
    /// It exits with an error, or leaves its TUN device, socket or XDP program behind.
    pub fn stop(mut self) -> Result<()> {
        let status = self.process.terminate()?;
        ensure!(
            status.code() == Some(0),
            "{status}\n{}",
            self.process.output()
        );
        ensure!(!self.socket.exists(), "the control socket is left");
        let interfaces = self.lab.relay.interfaces()?;
        ensure!(
            !interfaces.iter().any(|name| name == INTERFACE),
            "the TUN device is left"
        );
        for interface in self.lab.relay_interfaces() {
            ensure!(
                !has_xdp_program(self.lab, interface)?,
                "an XDP program is left on {interface}"
            );
        }
        Ok(())
    }

    /// Ends it by SIGKILL.
    ///
    /// # Errors
    /// It cannot be reaped.
    pub fn kill(mut self) -> Result<()> {
        self.process.kill()
    }

    fn ask(&self, what: &str) -> Result<Value> {
        ask(&self.lab.relay, &self.binary, what, &self.socket)
    }
}

pub(crate) fn ask(node: &Node, binary: &Path, what: &str, socket: &Path) -> Result<Value> {
    let json = node.run([
        binary.as_os_str(),
        what.as_ref(),
        "--json".as_ref(),
        "--socket".as_ref(),
        socket.as_os_str(),
    ])?;
    serde_json::from_str(&json).with_context(|| format!("{what}: {json}"))
}

/// `shipworm server`. Dropping it kills it; [`Server::stop`] ends it the proper way.
#[derive(Debug)]
pub struct Server<'lab> {
    node: &'lab Node,
    binary: PathBuf,
    socket: PathBuf,
    process: Process,
    _dir: TempDir,
}

impl<'lab> Server<'lab> {
    /// The interface clients' packets come by.
    pub const INTERFACE: &'static str = "lb-v4";

    /// Starts it at the two addresses of the server's machine and waits until it says READY.
    ///
    /// # Errors
    /// As [`Server::start_on`].
    pub fn start(lab: &'lab Lab, datapath: Datapath, flags: &[&str]) -> Result<Self> {
        Self::start_on(&lab.server, Lab::SERVER_V4, datapath, flags)
    }

    /// Starts it on `node`, at `primary` and the address behind it, and waits until it says READY.
    ///
    /// # Errors
    /// No binary, or it ends or is not ready in time; the message holds its log.
    pub fn start_on(
        node: &'lab Node,
        primary: Ipv4Addr,
        datapath: Datapath,
        flags: &[&str],
    ) -> Result<Self> {
        let binary = binary()?;
        let dir = tempfile::Builder::new().prefix("shipworm-").tempdir()?;
        let socket = dir.path().join("server.sock");
        let mut command = Command::new(&binary);
        command.args(["server", "--iface", Self::INTERFACE]);
        command.args(["--primary", &primary.to_string()]);
        for range in LAB_RANGES {
            command.args(["--allow-non-global", range]);
        }
        command.args(["--datapath", datapath.as_str()]);
        command.arg("--socket").arg(&socket).args(flags);
        let process = ready(node, command, dir.path())?;
        Ok(Self {
            node,
            binary,
            socket,
            process,
            _dir: dir,
        })
    }

    /// What `shipworm status --json` says.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn status(&self) -> Result<Value> {
        ask(self.node, &self.binary, "status", &self.socket)
    }

    /// The init of the daemon's PID namespace.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// What the daemon has logged so far.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Ends it by SIGTERM, and makes sure that nothing of it is left.
    ///
    /// # Errors
    /// It exits with an error, or leaves its socket or XDP program behind.
    pub fn stop(mut self) -> Result<()> {
        let status = self.process.terminate()?;
        ensure!(
            status.code() == Some(0),
            "{status}\n{}",
            self.process.output()
        );
        ensure!(!self.socket.exists(), "the control socket is left");
        ensure!(
            !is_on(self.node, Self::INTERFACE)?,
            "an XDP program is left on {}",
            Self::INTERFACE
        );
        Ok(())
    }
}

/// `shipworm relay` on all interfaces of the relay's machine.
fn command(lab: &Lab, binary: &Path, socket: &Path, settings: &Settings) -> Command {
    let mut words = settings
        .under
        .iter()
        .map(OsStr::new)
        .chain([binary.as_os_str()]);
    let mut command = Command::new(words.next().unwrap_or(binary.as_os_str()));
    command.args(words).arg("relay");
    for interface in lab.relay_interfaces() {
        command.args(["--iface", interface]);
    }
    if !lab.relay_vlans().is_empty() {
        // The addresses are on the VLAN devices, which may be stand-ins.
        command.args(["--bind", &Lab::RELAY_V4.to_string()]);
        command.args(["--native-address", &Lab::RELAY_V6.to_string()]);
    }
    for range in LAB_RANGES {
        command.args(["--allow-non-global", range]);
    }
    command.args(["--datapath", settings.datapath.as_str()]);
    command.args(["--max-peers", &settings.max_peers.to_string()]);
    if !settings.pins {
        command.args(["--pin-dir", "none"]);
    }
    command.arg("--socket").arg(socket).args(&settings.flags);
    command
}

/// Starts a daemon on `node` and waits until it says READY. Files of its own go to `dir`.
pub(crate) fn ready(node: &Node, mut command: Command, dir: &Path) -> Result<Process> {
    let notify_path = dir.join("notify.sock");
    // One of a daemon before.
    let _ = std::fs::remove_file(&notify_path);
    let notify = UnixDatagram::bind(&notify_path)?;
    notify.set_nonblocking(true)?;
    command.env("NOTIFY_SOCKET", &notify_path);
    let mut process = node.spawn_command(Pids::Own, command)?;
    process.wait_until("READY", READY_DEADLINE, || said_ready(&notify))?;
    Ok(process)
}

/// Whether an XDP program sits on one of the relay's interfaces.
///
/// # Errors
/// No such interface.
pub fn has_xdp_program(lab: &Lab, interface: &str) -> Result<bool> {
    is_on(&lab.relay, interface)
}

fn is_on(node: &Node, interface: &str) -> Result<bool> {
    let json = node.run(["ip", "-j", "link", "show", "dev", interface])?;
    let links: Value = serde_json::from_str(&json)?;
    Ok(links[0].get("xdp").is_some())
}

/// The binary: `SHIPWORM_BIN`, or the one cargo has put near this program.
///
/// # Errors
/// There is none.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("SHIPWORM_BIN") {
        return Ok(path.into());
    }
    let here = env::current_exe()?;
    // target/PROFILE/xtask, target/PROFILE/deps/test-0123456789abcdef
    here.ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join("shipworm"))
        .find(|path| path.is_file())
        .with_context(|| {
            format!(
                "no shipworm binary near {}: `cargo build -p relay-user` makes one, or SHIPWORM_BIN names one",
                here.display()
            )
        })
}

fn said_ready(notify: &UnixDatagram) -> bool {
    let mut buffer = [0; 4096];
    while let Ok(len) = notify.recv(&mut buffer) {
        if buffer[..len]
            .split(|byte| *byte == b'\n')
            .any(|line| line == b"READY=1")
        {
            return true;
        }
    }
    false
}

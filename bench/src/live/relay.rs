//! The daemons that are compared: the shipped relay, and miredo.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::{Pids, Process, XdpPass, wait_for_some};
use relay_common::Reason;
use relay_user::status::Status;
use tempfile::TempDir;

use super::bed::Bed;
use super::cpu::Tasks;
use super::frame::{SERVER, SERVICE};

/// Large tables take a while to be allocated.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Bounds that protect a relay on the internet, out of the way of a measurement of its speed.
const LIFTED: [(&str, &str); 9] = [
    ("--new-peers-per-s", "10000000"),
    ("--new-peers-burst", "10000000"),
    ("--server-bubbles-per-s", "10000000"),
    ("--server-bubbles-burst", "10000000"),
    ("--repeats-per-s", "10000000"),
    ("--repeats-burst", "10000000"),
    ("--pending-peers", "1048576"),
    ("--unanswered-per-source-prefix", "1048576"),
    ("--queue-bytes-total", "268435456"),
];

/// Shipworm, as a process. Dropping it kills it.
pub(crate) struct Relay {
    binary: PathBuf,
    socket: PathBuf,
    process: Process,
    pub(crate) tasks: Tasks,
    _dir: TempDir,
}

impl Relay {
    /// Starts it on the device of `bed` with room for `max_peers`, its threads on the device's processor.
    pub(crate) fn start(bed: &Bed, max_peers: u32) -> Result<Self> {
        let max_peers = max_peers.to_string();
        let mut args = vec!["relay", "--iface", "v4", "--iface", "v6"];
        args.extend(["--datapath", "xdp", "--max-peers", &max_peers]);
        args.extend(["--pin-dir", "none"]);
        args.extend(LIFTED.iter().flat_map(|(key, value)| [*key, *value]));
        Self::run(bed, &args)
    }

    /// Starts a server on the device of `bed` with the limits it is shipped with.
    pub(crate) fn serve(bed: &Bed, datapath: &str) -> Result<Self> {
        let primary = SERVER.ip.to_string();
        let args = ["server", "--iface", "v4", "--primary", &primary];
        Self::run(bed, &[&args[..], &["--datapath", datapath]].concat())
    }

    fn run(bed: &Bed, args: &[&str]) -> Result<Self> {
        let binary = lab::shipworm::binary()?;
        let dir = tempfile::Builder::new().prefix("bench-").tempdir()?;
        let socket = dir.path().join("shipworm.sock");
        let mut command = Command::new(&binary);
        command.args(args);
        for range in ["198.18.0.0/15", "203.0.113.0/24"] {
            command.args(["--allow-non-global", range]);
        }
        command.arg("--socket").arg(&socket);
        let process = bed.device.spawn_command(Pids::Shared, command)?;
        let mut relay = Self {
            binary,
            socket,
            process,
            tasks: Tasks::default(),
            _dir: dir,
        };
        let Self {
            process, socket, ..
        } = &mut relay;
        process.wait_until("its control socket", READY_WITHIN, || socket.exists())?;
        let (_, _) = wait_for_some("an answer of the daemon", READY_WITHIN, || {
            relay.status().ok()
        })
        .with_context(|| relay.process.output())?;
        relay.tasks = Tasks::of(relay.process.pid())?;
        relay.tasks.pin(bed.cores.device)?;
        Ok(relay)
    }

    /// What `shipworm status --json` says.
    pub(crate) fn status(&self) -> Result<Status> {
        let output = Command::new(&self.binary)
            .args(["status", "--json", "--socket"])
            .arg(&self.socket)
            .output()
            .context("run shipworm status")?;
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).with_context(|| {
            let complaint = String::from_utf8_lossy(&output.stderr);
            format!(
                "shipworm status says: {text}{complaint}\n{}",
                self.process.output()
            )
        })
    }

    /// Packets the fast path has carried.
    pub(crate) fn carried_fast(&self) -> Result<u64> {
        let traffic = self.status()?.traffic;
        Ok(traffic.encapsulated.fast.packets + traffic.decapsulated.fast.packets)
    }

    /// Solicitations the program has answered.
    pub(crate) fn advertised_fast(&self) -> Result<u64> {
        Ok(self.status()?.reasons.of(Reason::Advertised).fast.packets)
    }

    /// The daemon's process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// A daemon of miredo's. Dropping it kills it.
pub(crate) struct Miredo {
    pub(crate) tasks: Tasks,
    _process: Process,
    /// What the farm turns around is taken from the queue only where a program waits for it.
    _pass: XdpPass,
    _dir: TempDir,
}

impl Miredo {
    /// Starts the relay on the device of `bed`, its processes on the device's processor.
    pub(crate) fn start(bed: &Bed) -> Result<Self> {
        const INTERFACE: &str = "teredo";
        let config = format!(
            "RelayType relay\nInterfaceName {INTERFACE}\nBindAddress {}\nBindPort {}\n",
            SERVICE.ip, SERVICE.port
        );
        let prefix = "2001::".parse()?;
        Self::run(bed, "miredo", &config, "its route and port", || {
            bed.device
                .has_ipv6_route(prefix, 32, INTERFACE)
                .unwrap_or(false)
                && bed.device.has_udp_socket(SERVICE.port).unwrap_or(false)
        })
    }

    /// Starts the server on the device of `bed`, its processes on the device's processor.
    pub(crate) fn serve(bed: &Bed) -> Result<Self> {
        let config = format!("ServerBindAddress {}\n", SERVER.ip);
        Self::run(bed, "miredo-server", &config, "its port", || {
            bed.device.has_udp_socket(SERVER.port).unwrap_or(false)
        })
    }

    fn run(
        bed: &Bed,
        program: &str,
        config: &str,
        sign: &str,
        ready: impl FnMut() -> bool,
    ) -> Result<Self> {
        bed.kernel_receives()?;
        let pass = XdpPass::attach(&bed.device, "v4")?;
        let dir = tempfile::Builder::new().prefix("bench-").tempdir()?;
        // It reads its configuration as another user.
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755))?;
        let [file, pidfile] = ["miredo.conf", "miredo.pid"].map(|name| dir.path().join(name));
        fs::write(&file, config)?;
        let mut process = bed.device.spawn_daemon([
            program.as_ref(),
            "-f".as_ref(),
            "-c".as_ref(),
            file.as_os_str(),
            "-p".as_ref(),
            pidfile.as_os_str(),
        ])?;
        process.wait_until(sign, READY_WITHIN, ready)?;
        let tasks = Tasks::of(process.pid())?;
        tasks.pin(bed.cores.device)?;
        Ok(Self {
            tasks,
            _process: process,
            _pass: pass,
            _dir: dir,
        })
    }
}

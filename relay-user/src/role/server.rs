//! The server: alone in its process, or beside a relay.

use std::fs;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use teredo::server::Config;
use tracing::{info, warn};

use super::daemon::{self, RunError, Started, enter_sandbox, no_thread, settled_machine};
use super::fast_path::{FastPath, Wanted, random};
use super::memory;
use super::relay::next_hop_keeper;
use super::running::Running;
use super::status_desk::StatusDesk;
use super::workers::{Haste, Workers};
use crate::config::{self, InterfaceInfo, ServerDaemonSettings, ServerSettings};
use crate::control;
use crate::datapath::{LOOPBACK, ServerLimits, ServerRole};
use crate::error::StartError;
use crate::slowpath::server::{ServerPath, Unbound};

/// Whether the kernel forwards IPv4 from the loopback device, from which routes are looked up. Nothing but the machine's own packets
/// comes by it.
const FORWARDING: &str = "/proc/sys/net/ipv4/conf/lo/forwarding";

/// Runs the server until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting, or ends it.
pub fn run(settings: ServerDaemonSettings) -> Result<(), RunError> {
    daemon::run("server", || start(settings))
}

/// Opens everything that can fail first; what is open already closes itself when a later step fails.
fn start(settings: ServerDaemonSettings) -> Result<Started, StartError> {
    let ServerDaemonSettings {
        daemon,
        server: settings,
    } = settings;
    let snapshot = settled_machine()?;
    config::require_privileges(daemon.datapath)?;
    let interfaces = InterfaceInfo::all(&snapshot);
    config::check_ports(&daemon, &interfaces)?;
    config::find_server(&settings, &interfaces)?;
    let server = open(&settings, Vec::new())?;
    let control = control::Server::bind(&daemon.socket)?;
    let wanted = Wanted {
        daemon: &daemon,
        fib_ifindex: LOOPBACK,
        relay: None,
        server: Some(role(&settings)),
        // Without state there is nothing worth outliving the daemon.
        pin_dir: None,
        zero_copy: false,
    };
    let mut fast = FastPath::start(&wanted, &snapshot)?;
    let mut warnings = std::mem::take(&mut fast.warnings);
    if fast.datapath.is_some() {
        warnings.extend(forwarding_warning());
    }
    let keeper = next_hop_keeper(fast.datapath.as_mut());
    memory::settle();
    let haste = Haste::begin();
    let sandbox = enter_sandbox(&daemon, None)?;
    warnings.extend(sandbox.as_ref().and_then(|s| s.weakness.clone()));
    let (asks, asked) = control::asks();
    let mut desk = StatusDesk::new(&daemon, &snapshot, &fast, warnings);
    info!(primary = %settings.primary, secondary = %settings.secondary, "addresses");
    desk.server = Some((settings, Arc::clone(&server)).into());
    let (workers, ended) = Workers::new();
    let mut running = Running {
        workers,
        datapath: fast.datapath.take(),
        relay: None,
        server: Some(server),
    };
    running.set_own_ipv4(&snapshot);
    running
        .start_next_hops(keeper)
        .and_then(|()| running.start_server())
        .and_then(|()| {
            drop(haste);
            desk.open(asked)
        })
        .map_err(|error| no_thread(&error))?;
    memory::settle();
    running.open_up(sandbox)?;
    Ok(Started {
        running,
        server: control,
        asks,
        ended,
    })
}

/// Without forwarding there the program finds no route for what it would send on (decision 16).
fn forwarding_warning() -> Option<String> {
    let on = fs::read_to_string(FORWARDING).is_ok_and(|value| value.trim() != "0");
    (!on).then(|| {
        let text = "XDP answers solicitations but leaves bubbles to the sockets, which is slower: it needs sysctl -w net.ipv4.conf.lo.forwarding=1";
        warn!("{text}");
        text.to_owned()
    })
}

/// Opens the server's sockets, or goes on with those another has `handed_over`.
pub(super) fn open(
    settings: &ServerSettings,
    handed_over: Vec<OwnedFd>,
) -> Result<Arc<ServerPath>, StartError> {
    let config = Config {
        primary: settings.primary,
        secondary: settings.secondary,
        allow_non_global: settings.allow_non_global.clone(),
        credentials: settings.credentials.clone(),
        require_credentials: settings.require_auth,
        limits: settings.limits,
    };
    let opened = ServerPath::open(config, random()?, handed_over);
    opened.map(Arc::new).map_err(|unbound| match unbound {
        Unbound::Service { at, error } => {
            let key = if *at.ip() == settings.primary {
                "--primary"
            } else {
                "--secondary"
            };
            config::bind_error(key, at, &error)
        }
        Unbound::Native(error) => {
            StartError::new("raw socket", "", error.to_string(), "IPv6 may be off here")
        }
    })
}

/// The server's part of the program.
pub(super) fn role(settings: &ServerSettings) -> ServerRole {
    let limits = settings.limits;
    ServerRole {
        primary: settings.primary,
        secondary: settings.secondary,
        require_credentials: settings.require_auth,
        allow_non_global: settings.allow_non_global.clone(),
        limits: ServerLimits {
            source_per_s: limits.source_per_s,
            source_burst: limits.source_burst,
            target_per_s: limits.target_per_s,
            target_burst: limits.target_burst,
        },
    }
}

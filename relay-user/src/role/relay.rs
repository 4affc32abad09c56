//! The relay: started step by step, run until a signal, stopped in reverse.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use teredo::relay::{Config, Relay};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::fast_path::{FastPath, random};
use super::memory;
use super::running::{End, Running};
use super::status_desk::{self, StatusDesk};
use super::succession::{self, Place};
use super::workers::{Ended, Haste, Workers};
use crate::cli::{EXIT_CANNOT_START, EXIT_FAILED};
use crate::config::{self, InterfaceInfo, RelaySettings, peer_table_bytes};
use crate::control::{self, Ask, Server};
use crate::datapath::{Datapath, NextHopKeeper, StagedPeers, lift_locked_memory_limit};
use crate::error::StartError;
use crate::net::Snapshot;
use crate::sandbox::Sandbox;
use crate::slowpath::engine::Outlets;
use crate::slowpath::icmp6::ErrorSocket;
use crate::slowpath::shards::SlowPath;
use crate::slowpath::tun::{self, Tun};
use crate::slowpath::udp::ServiceSocket;
use crate::slowpath::xsk::PuntSocket;

/// How long a start waits for tentative addresses. One that is a duplicate stays tentative for ever.
const ADDRESSES_SETTLE_WITHIN: Duration = Duration::from_secs(3);

/// How often a start looks whether they have settled.
const ADDRESSES_LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Whether the kernel forwards IPv6 at all.
const FORWARDING: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// Why the relay ended other than by a signal.
#[derive(Debug)]
pub enum RunError {
    /// It could not start; nothing is left behind.
    Start(StartError),
    /// It failed while it ran.
    Running(String),
}

impl RunError {
    /// The exit code of the process.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Start(_) => EXIT_CANNOT_START,
            Self::Running(_) => EXIT_FAILED,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => error.fmt(f),
            Self::Running(text) => write!(f, "relay: {text}"),
        }
    }
}

impl std::error::Error for RunError {}

impl From<StartError> for RunError {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

/// Runs the relay until SIGTERM or SIGINT, or until another takes over. With `take_over` it is the other.
///
/// # Errors
/// What keeps it from starting, or ends it.
pub fn run(settings: RelaySettings, take_over: bool) -> Result<(), RunError> {
    memory::share_arena();
    lift_locked_memory_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| RunError::Running(format!("no event loop: {error}")))?;
    let Started {
        mut running,
        server,
        asks,
        ended,
    } = start(settings, take_over)?;
    let end = runtime.block_on(running.control(&server, asks, ended));
    match end {
        Ok(End::Asked) => {
            stopping();
            running.stop();
            Ok(())
        }
        Ok(End::Succeeded(successor)) => {
            info!("handing over");
            // The successor binds its own in the same place.
            drop(server);
            running.hand_over(successor);
            Ok(())
        }
        Err(text) => {
            stopping();
            running.stop();
            Err(RunError::Running(text))
        }
    }
}

fn stopping() {
    info!("stopping");
    let _ = sd_notify::notify(false, &[NotifyState::Stopping]);
}

/// A relay that runs, and what its control thread needs.
struct Started {
    running: Running,
    server: Server,
    asks: mpsc::Sender<Ask>,
    ended: Ended,
}

/// Opens everything that can fail first; what is open already closes itself when a later step fails.
fn start(settings: RelaySettings, take_over: bool) -> Result<Started, StartError> {
    let snapshot = settled_machine().map_err(|error| {
        StartError::new(
            "interfaces",
            "",
            error.to_string(),
            "the kernel does not list them",
        )
    })?;
    let Place {
        resolved,
        service,
        tun,
    } = place(&settings, &snapshot, take_over)?;
    let mut config = Config::new(resolved.service);
    config
        .allow_non_global
        .clone_from(&settings.daemon.allow_non_global);
    config.access.clone_from(&settings.access);
    let errors = ErrorSocket::bind(resolved.native_address).map_err(|error| {
        let address = resolved.native_address.to_string();
        StartError::new("--native-address", address, error.to_string(), "")
    })?;
    let server = Server::bind(&settings.daemon.socket)?;
    let tun = Arc::new(tun);
    let mut fast = FastPath::start(&settings, &snapshot, &config, tun.ifindex())?;
    info!(
        max_peers = settings.max_peers,
        mib = peer_table_bytes(settings.max_peers).div_ceil(1 << 20),
        "peer table"
    );
    let mut warnings = std::mem::take(&mut fast.warnings);
    warnings.extend(forwarding_warning());

    let receiver = service.try_clone().map_err(|error| no_thread(&error))?;
    let watches = fast.punts.iter().map(PuntSocket::watch).collect();
    let store = fast.peers(settings.max_peers);
    let service = Arc::new(service);
    let outlets = Outlets {
        service: Arc::clone(&service),
        tun: Arc::clone(&tun),
        errors: Arc::new(errors),
    };
    let shards = settings.shards.get();
    config.limits = settings.limits.shared_by(settings.shards);
    let relays = (0..shards)
        .map(|shard| {
            let peers = StagedPeers::new(store.for_shard(shard, shards));
            Ok(Relay::new(config.clone(), peers, random()?))
        })
        .collect::<Result<_, StartError>>()?;
    let slow = Arc::new(SlowPath::new(relays, store, &outlets, watches));
    let keeper = next_hop_keeper(fast.datapath.as_mut());
    // Once while there may be a right to it, and once when more is there.
    memory::settle();
    let haste = Haste::begin();
    let pins = fast.datapath.as_ref().and_then(Datapath::pinned_in);
    let sandbox = enter_sandbox(&settings, pins)?;
    warnings.extend(sandbox.as_ref().and_then(|s| s.weakness.clone()));
    let (asks, asked) = control::asks();
    let desk = StatusDesk {
        started: Instant::now(),
        active: fast.active(),
        fell_back: fast.fell_back.take(),
        pinned_in: fast
            .datapath
            .as_ref()
            .and_then(Datapath::pinned_in)
            .map(|path| path.display().to_string()),
        interfaces: status_desk::interfaces(&settings, &snapshot, fast.datapath.as_ref()),
        counters: fast.datapath.as_ref().map(Datapath::counters),
        punts: fast.punts.iter().map(PuntSocket::counters).collect(),
        next_hops: fast.datapath.as_ref().map(Datapath::next_hops),
        slow: Arc::clone(&slow),
        resolved,
        settings,
        warnings,
    };
    let (workers, ended) = Workers::new();
    let mut running = Running {
        workers,
        datapath: fast.datapath.take(),
        slow,
        service,
        tun,
    };
    running.set_own_ipv4(&snapshot);
    running
        .start_workers(fast.punts, shards, receiver, keeper)
        .and_then(|()| {
            drop(haste);
            // Ends by itself when the control socket is closed.
            let thread = thread::Builder::new().name("status".into());
            thread.spawn(move || desk.run(asked)).map(drop)
        })
        .map_err(|error| no_thread(&error))?;
    memory::settle();
    running.open_up(sandbox)?;
    Ok(Started {
        running,
        server,
        asks,
        ended,
    })
}

/// Takes the place of the relay that runs, or a new one.
fn place(
    settings: &RelaySettings,
    snapshot: &Snapshot,
    take_over: bool,
) -> Result<Place, StartError> {
    let interfaces = InterfaceInfo::all(snapshot);
    if take_over && let Some(place) = succession::take_over(settings, &interfaces)? {
        return Ok(place);
    }
    let (resolved, _) = config::check(settings, &interfaces)?;
    let service = ServiceSocket::bind(resolved.service).map_err(|error| {
        let address = resolved.service.to_string();
        StartError::new("--bind", address, error.to_string(), "")
    })?;
    let mtu = Config::new(resolved.service).tunnel_mtu;
    let tun = Tun::create(mtu).map_err(|error| tun::refused(&error))?;
    Ok(Place {
        resolved,
        service,
        tun,
    })
}

/// The machine's links, once its global addresses can be bound: at boot and after an address was added,
/// duplicate address detection (RFC 4862 5.4) takes a second or two.
fn settled_machine() -> io::Result<Snapshot> {
    let give_up_at = Instant::now() + ADDRESSES_SETTLE_WITHIN;
    loop {
        let snapshot = Snapshot::take()?;
        let mut addresses = snapshot.links.iter().flat_map(|link| &link.ipv6);
        let settled = !addresses.any(|address| address.global && address.tentative);
        if settled || Instant::now() >= give_up_at {
            return Ok(snapshot);
        }
        thread::sleep(ADDRESSES_LOOK_AGAIN);
    }
}

/// Without one the program asks the kernel about every packet: slower, not wrong.
fn next_hop_keeper(datapath: Option<&mut Datapath>) -> Option<NextHopKeeper> {
    datapath?.next_hop_keeper().unwrap_or_else(|error| {
        warn!(%error, "the fast path asks for the route of every packet: next hops cannot be kept");
        None
    })
}

/// The control socket and the pins are removed at the end.
fn enter_sandbox(
    settings: &RelaySettings,
    pins: Option<&Path>,
) -> Result<Option<Sandbox>, StartError> {
    if !settings.daemon.sandbox {
        warn!("the sandbox is off: the daemon keeps all it may do");
        return Ok(None);
    }
    let socket = settings
        .daemon
        .socket
        .parent()
        .filter(|d| !d.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let files_in: Vec<&Path> = std::iter::once(socket).chain(pins).collect();
    // The directory of the pins and the one around it, when they are empty.
    let directories_in: Vec<&Path> = pins
        .iter()
        .flat_map(|pins| pins.ancestors().skip(1).take(2))
        .collect();
    Sandbox::enter(&files_in, &directories_in).map(Some)
}

/// Without forwarding the kernel's half of the slow path leads nowhere.
fn forwarding_warning() -> Option<String> {
    let on = fs::read_to_string(FORWARDING).is_ok_and(|value| value.trim() != "0");
    (!on).then(|| {
        let text = "the kernel does not forward IPv6: packets of the slow path are lost until sysctl -w net.ipv6.conf.all.forwarding=1";
        warn!("{text}");
        text.to_owned()
    })
}

fn no_thread(error: &io::Error) -> StartError {
    let next = "the limits of processes and descriptors may be too low: ulimit -u -n, TasksMax";
    StartError::new("threads", "", error.to_string(), next)
}

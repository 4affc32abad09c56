//! The relay: started step by step, run until a signal, stopped in reverse.

use std::fs;
use std::sync::Arc;

use teredo::relay::{Config, Relay};
use tracing::{info, warn};

use super::daemon::{self, RunError, Started, enter_sandbox, no_thread, settled_machine};
use super::fast_path::{FastPath, Wanted, random};
use super::memory;
use super::running::{RelayParts, Running};
use super::status_desk::{RelayDesk, StatusDesk};
use super::succession::{self, Place};
use super::workers::{Haste, Workers};
use crate::config::{
    self, InterfaceInfo, RelaySettings, Resolved, ServerSettings, peer_table_bytes,
};
use crate::control::{self, Server};
use crate::datapath::{Datapath, NextHopKeeper, RelayRole, StagedPeers};
use crate::error::StartError;
use crate::net::Snapshot;
use crate::slowpath::engine::Outlets;
use crate::slowpath::icmp6::ErrorSocket;
use crate::slowpath::shards::SlowPath;
use crate::slowpath::tun::{self, Tun};
use crate::slowpath::udp::ServiceSocket;
use crate::slowpath::xsk::PuntSocket;

/// Whether the kernel forwards IPv6 at all.
const FORWARDING: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// Runs the relay, and the server where there is one beside it, until SIGTERM or SIGINT, or until another takes over.
/// With `take_over` it is the other.
///
/// # Errors
/// What keeps it from starting, or ends it.
pub fn run(
    settings: &RelaySettings,
    server: Option<ServerSettings>,
    take_over: bool,
) -> Result<(), RunError> {
    daemon::run("relay", || start(settings, server, take_over))
}

/// Opens everything that can fail first; what is open already closes itself when a later step fails.
fn start(
    settings: &RelaySettings,
    server: Option<ServerSettings>,
    take_over: bool,
) -> Result<Started, StartError> {
    let snapshot = settled_machine()?;
    let Place {
        resolved,
        service,
        tun,
        server_sockets,
    } = place(settings, server.as_ref(), &snapshot, take_over)?;
    let config = state_machine(settings, server.as_ref(), &resolved);
    let errors = ErrorSocket::bind(resolved.native_address).map_err(|error| {
        let address = resolved.native_address.to_string();
        StartError::new("--native-address", address, error.to_string(), "")
    })?;
    let beside = server
        .as_ref()
        .map(|server| super::server::open(server, server_sockets))
        .transpose()?;
    let control = Server::bind(&settings.daemon.socket)?;
    let tun = Arc::new(tun);
    let wanted = Wanted {
        daemon: &settings.daemon,
        fib_ifindex: tun.ifindex(),
        relay: Some(RelayRole {
            service: config.service,
            tunnel_mtu: config.tunnel_mtu,
            max_peers: settings.max_peers,
            access: config.access.clone(),
        }),
        server: server.as_ref().map(super::server::role),
        pin_dir: settings.pin_dir.as_deref(),
        zero_copy: settings.zero_copy,
    };
    let mut fast = FastPath::start(&wanted, &snapshot)?;
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
        bypass: fast.bypass(config.service)?.map(Arc::new),
    };
    let shards = settings.shards.get();
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
    let sandbox = enter_sandbox(&settings.daemon, pins)?;
    warnings.extend(sandbox.as_ref().and_then(|s| s.weakness.clone()));
    let (asks, asked) = control::asks();
    let mut desk = StatusDesk::new(&settings.daemon, &snapshot, &fast, warnings);
    desk.relay = Some(RelayDesk {
        resolved,
        max_peers: settings.max_peers,
        slow: Arc::clone(&slow),
    });
    desk.server = server.zip(beside.clone()).map(Into::into);
    let (workers, ended) = Workers::new();
    let mut running = Running {
        workers,
        datapath: fast.datapath.take(),
        relay: Some(RelayParts { slow, service, tun }),
        server: beside,
    };
    running.set_own_ipv4(&snapshot);
    running
        .start_relay(fast.punts, shards, receiver)
        .and_then(|()| running.start_next_hops(keeper))
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

/// What each shard's state machine is made with.
fn state_machine(
    settings: &RelaySettings,
    server: Option<&ServerSettings>,
    resolved: &Resolved,
) -> Config {
    Config {
        allow_non_global: settings.daemon.allow_non_global.clone(),
        access: settings.access.clone(),
        own_server: server.map(|server| server.primary),
        limits: settings.limits.shared_by(settings.shards),
        ..Config::new(resolved.service)
    }
}

/// Takes the place of the relay that runs, or a new one.
fn place(
    settings: &RelaySettings,
    server: Option<&ServerSettings>,
    snapshot: &Snapshot,
    take_over: bool,
) -> Result<Place, StartError> {
    let interfaces = InterfaceInfo::all(snapshot);
    if let Some(server) = server {
        config::find_server(server, &interfaces)?;
    }
    if take_over && let Some(place) = succession::take_over(settings, server, &interfaces)? {
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
        server_sockets: Vec::new(),
    })
}

/// Without one the program asks the kernel about every packet: slower, not wrong.
pub(super) fn next_hop_keeper(datapath: Option<&mut Datapath>) -> Option<NextHopKeeper> {
    datapath?.next_hop_keeper().unwrap_or_else(|error| {
        warn!(%error, "the fast path asks for the route of every packet: next hops cannot be kept");
        None
    })
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

//! The relay: started step by step, run until a signal, stopped in reverse.

use std::fmt;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use teredo::relay::{Config, Relay};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::fast_path::{FastPath, random};
use super::memory;
use super::status_desk::{self, StatusDesk};
use super::workers::{Ended, Haste, Workers};
use crate::cli::{EXIT_CANNOT_START, EXIT_FAILED};
use crate::config::{self, InterfaceInfo, RelaySettings, peer_table_bytes};
use crate::control::{self, Ask, Server};
use crate::datapath::{Datapath, NextHopKeeper, StagedPeers, lift_locked_memory_limit};
use crate::error::StartError;
use crate::net::{self, Snapshot};
use crate::sandbox::Sandbox;
use crate::slowpath::engine::Outlets;
use crate::slowpath::front_ends;
use crate::slowpath::icmp6::ErrorSocket;
use crate::slowpath::shards::SlowPath;
use crate::slowpath::tun::{self, TUN_NAME, Tun};
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

/// Runs the relay until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting, or ends it.
pub fn run(settings: RelaySettings) -> Result<(), RunError> {
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
    } = start(settings)?;
    let result = runtime.block_on(running.control(&server, asks, ended));
    info!("stopping");
    let _ = sd_notify::notify(false, &[NotifyState::Stopping]);
    running.stop();
    result.map_err(RunError::Running)
}

/// Everything that runs. Dropping it stops it, in the order of the fields.
struct Running {
    workers: Workers,
    datapath: Option<Datapath>,
    slow: Arc<SlowPath>,
    tun: Arc<Tun>,
}

/// A relay that runs, and what its control thread needs.
struct Started {
    running: Running,
    server: Server,
    asks: mpsc::Sender<Ask>,
    ended: Ended,
}

/// Opens everything that can fail first; what is open already closes itself when a later step fails.
fn start(settings: RelaySettings) -> Result<Started, StartError> {
    let snapshot = settled_machine().map_err(|error| {
        StartError::new(
            "interfaces",
            "",
            error.to_string(),
            "the kernel does not list them",
        )
    })?;
    let (resolved, _) = config::check(&settings, &InterfaceInfo::all(&snapshot))?;
    let mut config = Config::new(resolved.service);
    config
        .allow_non_global
        .clone_from(&settings.allow_non_global);

    let service = ServiceSocket::bind(resolved.service).map_err(|error| {
        StartError::new(
            "--bind",
            resolved.service.to_string(),
            error.to_string(),
            "",
        )
    })?;
    let errors = ErrorSocket::bind(resolved.native_address).map_err(|error| {
        let address = resolved.native_address.to_string();
        StartError::new("--native-address", address, error.to_string(), "")
    })?;
    let server = Server::bind(&settings.socket)?;
    let tun = Arc::new(Tun::create(config.tunnel_mtu).map_err(|error| tun::refused(&error))?);
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
    let outlets = Outlets {
        service: Arc::new(service),
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
    let sandbox = enter_sandbox(&settings)?;
    warnings.extend(sandbox.as_ref().and_then(|s| s.weakness.clone()));
    let (asks, asked) = control::asks();
    let desk = StatusDesk {
        started: Instant::now(),
        active: fast.active(),
        fell_back: fast.fell_back.take(),
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
    // Last, when everything behind it works: traffic comes by this route.
    running.tun.add_route().map_err(|error| no_route(&error))?;
    sandbox.map_or(Ok(()), Sandbox::seal)?;
    Ok(Started {
        running,
        server,
        asks,
        ended,
    })
}

impl Running {
    fn start_workers(
        &mut self,
        punts: Vec<PuntSocket>,
        shards: usize,
        receiver: ServiceSocket,
        keeper: Option<NextHopKeeper>,
    ) -> io::Result<()> {
        for (worker, sockets) in share(punts, shards).into_iter().enumerate() {
            let slow = Arc::clone(&self.slow);
            self.workers
                .start(&format!("punts-{worker}"), move |stop| {
                    front_ends::punts(sockets, &slow, stop)
                })?;
        }
        if let Some(events) = self.datapath.as_mut().and_then(Datapath::probes) {
            let slow = Arc::clone(&self.slow);
            self.workers.start("probes", move |stop| {
                front_ends::probes(events, &slow, stop)
            })?;
        }
        if let Some(keeper) = keeper {
            self.start_next_hops(keeper)?;
        }
        let slow = Arc::clone(&self.slow);
        self.workers.start("service", move |stop| {
            front_ends::service_socket(&receiver, &slow, stop)
        })?;
        let (slow, tun) = (Arc::clone(&self.slow), Arc::clone(&self.tun));
        self.workers
            .start("tun", move |stop| front_ends::tun(&tun, &slow, stop))?;
        let slow = Arc::clone(&self.slow);
        self.workers
            .start("timer", move |stop| slow.keep_time(stop))
    }

    fn start_next_hops(&mut self, next_hops: NextHopKeeper) -> io::Result<()> {
        let NextHopKeeper {
            mut follower,
            mut keeper,
        } = next_hops;
        self.workers.start("routes", move |stop| {
            follower.run(stop);
            Ok(())
        })?;
        self.workers.start("next-hops", move |stop| {
            keeper.run(stop);
            Ok(())
        })
    }

    /// The control thread's work: signals, the control socket, and the machine's changes.
    async fn control(
        &mut self,
        server: &Server,
        asks: mpsc::Sender<Ask>,
        mut ended: Ended,
    ) -> Result<(), String> {
        let signals = |kind| signal(kind).map_err(|error| format!("signals: {error}"));
        let mut terminate = signals(SignalKind::terminate())?;
        let mut interrupt = signals(SignalKind::interrupt())?;
        let (changed, mut changes) = mpsc::channel(1);
        let watch = tokio::spawn(async move {
            if let Err(error) = net::watch(changed).await {
                warn!(%error, "the kernel no longer tells of changed interfaces and addresses");
            }
        });
        let serve = server.serve(asks);
        tokio::pin!(serve);

        info!("ready");
        let _ = sd_notify::notify(false, &[NotifyState::Ready]);
        let end = loop {
            tokio::select! {
                _ = terminate.recv() => break Ok(()),
                _ = interrupt.recv() => break Ok(()),
                Some(name) = ended.recv() => break Err(format!("the thread {name} failed")),
                result = &mut serve => break Err(match result {
                    Ok(()) => "the control socket was closed".to_owned(),
                    Err(error) => format!("control socket: {error}"),
                }),
                Some(()) = changes.recv() => self.follow_machine().await,
            }
        };
        watch.abort();
        end
    }

    /// Links or addresses have changed.
    async fn follow_machine(&mut self) {
        match Snapshot::take_async().await {
            Ok(snapshot) => {
                if let Some(datapath) = &mut self.datapath {
                    datapath.reconcile(&snapshot);
                }
                self.set_own_ipv4(&snapshot);
            }
            Err(error) => warn!(%error, "cannot list interfaces"),
        }
    }

    fn set_own_ipv4(&self, snapshot: &Snapshot) {
        let own: Vec<Ipv4Addr> = snapshot.own_ipv4().collect();
        let broadcasts: Vec<Ipv4Addr> = snapshot.directed_broadcasts().collect();
        // A broken slow path ends the relay by itself: its threads have ended.
        let _ = self.slow.set_own_ipv4(&own, &broadcasts);
    }

    /// Route, front ends, program, queues, device: nothing new comes in before what it needs is gone.
    fn stop(&mut self) {
        if let Err(error) = self.tun.remove_route() {
            warn!(%error, "the route to 2001::/32 was gone already");
        }
        self.workers.stop();
        if let Some(datapath) = self.datapath.take() {
            datapath.detach();
        }
        let _ = self.slow.shut_down();
    }
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

/// The control socket is removed at the end.
fn enter_sandbox(settings: &RelaySettings) -> Result<Option<Sandbox>, StartError> {
    if !settings.sandbox {
        warn!("the sandbox is off: the daemon keeps all it may do");
        return Ok(None);
    }
    let directory = settings
        .socket
        .parent()
        .filter(|d| !d.as_os_str().is_empty());
    Sandbox::enter(&[directory.unwrap_or(Path::new("."))]).map(Some)
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

/// Deals numbered things out to at most `ways`, none of which gets nothing.
fn share<T>(things: Vec<T>, ways: usize) -> Vec<Vec<(usize, T)>> {
    let ways = ways.min(things.len());
    let mut shares: Vec<Vec<(usize, T)>> = (0..ways).map(|_| Vec::new()).collect();
    for (number, thing) in things.into_iter().enumerate() {
        shares[number % ways].push((number, thing));
    }
    shares
}

fn no_route(error: &io::Error) -> StartError {
    StartError::new(
        "route",
        format!("2001::/32 dev {TUN_NAME}"),
        error.to_string(),
        "another route for it may be there: ip -6 route show 2001::/32",
    )
}

fn no_thread(error: &io::Error) -> StartError {
    let next = "the limits of processes and descriptors may be too low: ulimit -u -n, TasksMax";
    StartError::new("threads", "", error.to_string(), next)
}

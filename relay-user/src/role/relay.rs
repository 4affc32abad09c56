//! The relay: started step by step, run until a signal, stopped in reverse.

use std::fmt;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Instant;

use core_affinity::CoreId;
use crossbeam_channel::Sender;
use sd_notify::NotifyState;
use teredo::relay::{Config, Hop, Relay};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::fast_path::{FastPath, random};
use super::status_desk::{self, StatusDesk};
use super::workers::Workers;
use crate::cli::{EXIT_CANNOT_START, EXIT_FAILED};
use crate::config::{self, InterfaceInfo, RelaySettings, peer_table_bytes};
use crate::control::{self, Ask, Server};
use crate::datapath::{Datapath, StagedPeers};
use crate::error::StartError;
use crate::net::{self, Snapshot};
use crate::slowpath::frame::{self, Frame};
use crate::slowpath::front_ends;
use crate::slowpath::icmp6::ErrorSocket;
use crate::slowpath::inlet::{Inlet, Input, WAITING_MAX};
use crate::slowpath::relay_thread::{Outlets, RelayThread, Request};
use crate::slowpath::tally::FrontTally;
use crate::slowpath::tun::{TUN_NAME, Tun};
use crate::slowpath::udp::ServiceSocket;
use crate::slowpath::xsk::PuntSocket;

/// Requests that may wait for the relay thread; those who ask wait for room.
const WAITING_REQUESTS: usize = 16;

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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| RunError::Running(format!("no event loop: {error}")))?;
    let (mut running, server, asks) = Running::start(settings)?;
    let result = runtime.block_on(running.control(&server, asks));
    info!("stopping");
    let _ = sd_notify::notify(false, &[NotifyState::Stopping]);
    running.stop();
    result.map_err(RunError::Running)
}

/// Everything that runs. Dropping it stops it, in the order of the fields.
struct Running {
    workers: Workers,
    datapath: Option<Datapath>,
    requests: Sender<Request>,
    relay_thread: Option<JoinHandle<()>>,
    /// Resolves when the relay thread is gone.
    relay_gone: Option<oneshot::Receiver<()>>,
    tun: Arc<Tun>,
}

impl Running {
    fn start(settings: RelaySettings) -> Result<(Self, Server, mpsc::Sender<Ask>), StartError> {
        let snapshot = Snapshot::take().map_err(|error| {
            StartError::new(
                "interfaces",
                "",
                error.to_string(),
                "the kernel does not list them",
            )
        })?;
        let (resolved, _) = config::check(&settings, &InterfaceInfo::all(&snapshot))?;
        let mut relay = Config::new(resolved.service);
        relay
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
            StartError::new(
                "--native-address",
                resolved.native_address.to_string(),
                error.to_string(),
                "",
            )
        })?;
        let server = Server::bind(&settings.socket)?;
        let tun = Arc::new(Tun::create(relay.tunnel_mtu).map_err(|error| tun_refused(&error))?);
        let mut fast = FastPath::start(&settings, &snapshot, &relay, tun.ifindex())?;
        info!(
            max_peers = settings.max_peers,
            mib = peer_table_bytes(settings.max_peers).div_ceil(1 << 20),
            "peer table"
        );
        let mut warnings = std::mem::take(&mut fast.warnings);
        warnings.extend(forwarding_warning());

        let peers = StagedPeers::new(fast.peers(settings.max_peers));
        let mut relay = Relay::new(relay, peers, random()?);
        let (own, broadcasts) = own_addresses(&snapshot);
        relay.set_own_ipv4(&own, &broadcasts);

        let front = Arc::new(FrontTally::default());
        let (arrivals, arrivals_out) = crossbeam_channel::bounded(WAITING_MAX);
        let (requests, requests_out) = crossbeam_channel::bounded(WAITING_REQUESTS);
        let inlet = Inlet::new(arrivals, Arc::clone(&front));
        let (asks, asked) = control::asks();
        let desk = StatusDesk {
            started: Instant::now(),
            active: fast.active(),
            fell_back: fast.fell_back.take(),
            interfaces: status_desk::interfaces(&settings, &snapshot, fast.datapath.as_ref()),
            counters: fast.datapath.as_ref().map(Datapath::counters),
            punts: fast
                .punts
                .iter()
                .map(|(_, socket)| socket.counters())
                .collect(),
            requests: requests.clone(),
            resolved,
            settings,
            warnings,
        };

        let socket = service.try_clone().map_err(|error| no_thread(&error))?;
        let watches = fast.punts.iter().map(|(_, s)| s.watch()).collect();
        let thread = RelayThread::new(
            relay,
            Outlets {
                service,
                tun: Arc::clone(&tun),
                errors,
            },
            front,
            watches,
        );
        let (alive, relay_gone) = oneshot::channel();
        let relay_thread = std::thread::Builder::new()
            .name("relay".into())
            .spawn(move || {
                thread.run(&arrivals_out, &requests_out);
                drop(alive);
            })
            .map_err(|error| no_thread(&error))?;
        let mut running = Self {
            workers: Workers::default(),
            datapath: fast.datapath.take(),
            requests,
            relay_thread: Some(relay_thread),
            relay_gone: Some(relay_gone),
            tun,
        };
        running
            .start_workers(fast.punts, socket, &inlet)
            .map_err(|error| no_thread(&error))?;
        std::thread::Builder::new()
            .name("status".into())
            .spawn(move || desk.run(asked))
            .map_err(|error| no_thread(&error))?;
        // Last, when everything behind it works: traffic comes by this route.
        running.tun.add_route().map_err(|error| {
            StartError::new(
                "route",
                format!("2001::/32 dev {TUN_NAME}"),
                error.to_string(),
                "another route for it may be there: ip -6 route show 2001::/32",
            )
        })?;
        Ok((running, server, asks))
    }

    fn start_workers(
        &mut self,
        punts: Vec<(u32, PuntSocket)>,
        service: ServiceSocket,
        inlet: &Inlet,
    ) -> io::Result<()> {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        for (queue, socket) in punts {
            let inlet = inlet.clone();
            let core = (!cores.is_empty()).then(|| cores[queue as usize % cores.len()]);
            self.workers.start(&format!("punt-{queue}"), move |stop| {
                punt_worker(socket, core, &inlet, stop)
            })?;
        }
        if let Some(events) = self.datapath.as_mut().and_then(Datapath::probes) {
            let inlet = inlet.clone();
            self.workers.start("probes", move |stop| {
                front_ends::probes(events, &inlet, stop)
            })?;
        }
        let udp_inlet = inlet.clone();
        self.workers.start("service", move |stop| {
            front_ends::service_socket(&service, &udp_inlet, stop);
        })?;
        let (tun, inlet) = (Arc::clone(&self.tun), inlet.clone());
        self.workers
            .start("tun", move |stop| front_ends::tun(&tun, &inlet, stop))
    }

    /// The control thread's work: signals, the control socket, and the machine's changes.
    async fn control(&mut self, server: &Server, asks: mpsc::Sender<Ask>) -> Result<(), String> {
        let signals = |kind| signal(kind).map_err(|error| format!("signals: {error}"));
        let (mut terminate, mut interrupt) = (
            signals(SignalKind::terminate())?,
            signals(SignalKind::interrupt())?,
        );
        let (changed, mut changes) = mpsc::channel(1);
        let watch = tokio::spawn(async move {
            if let Err(error) = net::watch(changed).await {
                warn!(%error, "the kernel no longer tells of changed interfaces and addresses");
            }
        });
        let relay_gone = self.relay_gone.take();
        let relay_gone = async move {
            match relay_gone {
                Some(gone) => drop(gone.await),
                None => std::future::pending().await,
            }
        };
        tokio::pin!(relay_gone);
        let serve = server.serve(asks);
        tokio::pin!(serve);

        info!("ready");
        let _ = sd_notify::notify(false, &[NotifyState::Ready]);
        let end = loop {
            tokio::select! {
                _ = terminate.recv() => break Ok(()),
                _ = interrupt.recv() => break Ok(()),
                () = &mut relay_gone => break Err("the relay thread ended".to_owned()),
                result = &mut serve => {
                    break Err(result.map_or_else(|e| format!("control socket: {e}"), |()| "control socket closed".into()));
                }
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
                let (own, broadcasts) = own_addresses(&snapshot);
                if self
                    .requests
                    .try_send(Request::OwnIpv4 { own, broadcasts })
                    .is_err()
                {
                    warn!(
                        "the relay thread is busy, it learns of changed addresses with the next change"
                    );
                }
            }
            Err(error) => warn!(%error, "cannot list interfaces"),
        }
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
        // Gone already if the thread ended by itself.
        let _ = self.requests.send(Request::ShutDown);
        if let Some(thread) = self.relay_thread.take()
            && thread.join().is_err()
        {
            error!("the relay thread panicked");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.relay_thread.is_some() {
            self.workers.stop();
            let _ = self.requests.send(Request::ShutDown);
        }
    }
}

/// Hands punted frames to the relay thread. When the socket fails the kernel's front end takes over.
fn punt_worker(mut socket: PuntSocket, core: Option<CoreId>, inlet: &Inlet, stop: &AtomicBool) {
    if let Some(core) = core {
        core_affinity::set_for_current(core);
    }
    let result = socket.run(stop, |bytes| match frame::read(bytes) {
        Ok(Frame::Native(packet)) => inlet.offer(Input::Native {
            packet: packet.to_vec(),
            hop: Hop::Pending,
        }),
        Ok(Frame::Client {
            source,
            tos,
            payload,
        }) => {
            inlet.offer(Input::Client {
                source,
                tos,
                payload: payload.to_vec(),
            });
        }
        Err(reason) => inlet.drop_for(reason, bytes.len()),
    });
    if let Err(error) = result {
        error!(%error, "an AF_XDP socket failed, its queue's slow path goes through the kernel from now on");
    }
}

fn own_addresses(snapshot: &Snapshot) -> (Vec<std::net::Ipv4Addr>, Vec<std::net::Ipv4Addr>) {
    (
        snapshot.own_ipv4().collect(),
        snapshot.directed_broadcasts().collect(),
    )
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

fn tun_refused(error: &io::Error) -> StartError {
    let next = match error.raw_os_error() {
        Some(libc::EBUSY) => "another relay runs in this network namespace: shipworm status",
        Some(libc::ENOENT) => "the kernel has no TUN driver: modprobe tun",
        Some(libc::EPERM) => "run as root or with CAP_NET_ADMIN",
        _ => "",
    };
    StartError::new("TUN device", TUN_NAME, error.to_string(), next)
}

fn no_thread(error: &io::Error) -> StartError {
    StartError::new(
        "threads",
        "",
        error.to_string(),
        "the process limit may be too low: ulimit -u, TasksMax",
    )
}

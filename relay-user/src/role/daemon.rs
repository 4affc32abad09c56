//! What every daemon does around its role: it waits for the machine, gives up its rights, runs until it is told to end.

use std::fmt;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::memory;
use super::running::{End, Running};
use super::workers::Ended;
use crate::cli::{EXIT_CANNOT_START, EXIT_FAILED};
use crate::config::DaemonSettings;
use crate::control::{Ask, Server};
use crate::datapath::lift_locked_memory_limit;
use crate::error::StartError;
use crate::net::Snapshot;
use crate::sandbox::Sandbox;

/// How long a start waits for tentative addresses. One that is a duplicate stays tentative for ever.
const ADDRESSES_SETTLE_WITHIN: Duration = Duration::from_secs(3);

/// How often a start looks whether they have settled.
const ADDRESSES_LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Why a daemon ended other than by a signal.
#[derive(Debug)]
pub enum RunError {
    /// It could not start; nothing is left behind.
    Start(StartError),
    /// It failed while it ran.
    Running {
        /// What it was.
        role: &'static str,
        /// What happened.
        cause: String,
    },
}

impl RunError {
    /// The exit code of the process.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Start(_) => EXIT_CANNOT_START,
            Self::Running { .. } => EXIT_FAILED,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => error.fmt(f),
            Self::Running { role, cause } => write!(f, "{role}: {cause}"),
        }
    }
}

impl std::error::Error for RunError {}

/// A daemon that runs, and what its control thread needs.
pub(super) struct Started {
    pub(super) running: Running,
    pub(super) server: Server,
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) ended: Ended,
}

/// Starts a daemon of that role and runs it until SIGTERM or SIGINT, or until another takes over.
///
/// # Errors
/// What keeps it from starting, or ends it.
pub(super) fn run(
    role: &'static str,
    start: impl FnOnce() -> Result<Started, StartError>,
) -> Result<(), RunError> {
    let failed = |cause| RunError::Running { role, cause };
    memory::share_arena();
    lift_locked_memory_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(format!("no event loop: {error}")))?;
    let Started {
        mut running,
        server,
        asks,
        ended,
    } = start().map_err(|error| RunError::Start(error.of(role)))?;
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
            Err(failed(text))
        }
    }
}

fn stopping() {
    info!("stopping");
    let _ = sd_notify::notify(false, &[NotifyState::Stopping]);
}

/// The machine's links, once its global addresses can be bound: at boot and after an address was added,
/// duplicate address detection (RFC 4862 5.4) takes a second or two.
pub(super) fn settled_machine() -> Result<Snapshot, StartError> {
    let give_up_at = Instant::now() + ADDRESSES_SETTLE_WITHIN;
    loop {
        let snapshot = Snapshot::take().map_err(|error| {
            StartError::new(
                "interfaces",
                "",
                error.to_string(),
                "the kernel does not list them",
            )
        })?;
        let mut addresses = snapshot.links.iter().flat_map(|link| &link.ipv6);
        let settled = !addresses.any(|address| address.global && address.tentative);
        if settled || Instant::now() >= give_up_at {
            return Ok(snapshot);
        }
        thread::sleep(ADDRESSES_LOOK_AGAIN);
    }
}

/// The control socket and the pins are removed at the end.
pub(super) fn enter_sandbox(
    settings: &DaemonSettings,
    pins: Option<&Path>,
) -> Result<Option<Sandbox>, StartError> {
    if !settings.sandbox {
        warn!("the sandbox is off: the daemon keeps all it may do");
        return Ok(None);
    }
    let socket = settings
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

pub(super) fn no_thread(error: &io::Error) -> StartError {
    let next = "the limits of processes and descriptors may be too low: ulimit -u -n, TasksMax";
    StartError::new("threads", "", error.to_string(), next)
}

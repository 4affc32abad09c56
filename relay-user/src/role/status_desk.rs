//! Answers the questions of the control socket in a thread of its own, so that neither the relay nor the
//! control thread ever waits for the other.

use std::io;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use relay_common::{Counter, PeerEntry, PeerKey, Reason, Ticks};
use teredo::addr::TeredoAddr;
use teredo::relay::{PendingPeer, PendingState};
use tokio::sync::mpsc;

use super::fast_path::{FastPath, port_of};
use crate::config::{DaemonSettings, DatapathChoice, Resolved, ServerSettings};
use crate::control::Ask;
use crate::datapath::{CounterReader, Datapath, NextHops};
use crate::net::Snapshot as Machine;
use crate::slowpath::clock;
use crate::slowpath::server::ServerPath;
use crate::slowpath::shards::{PeerLists, SlowPath, Snapshot};
use crate::slowpath::xsk::PuntSocket;
use crate::slowpath::xsk_counters::PuntCounters;
use crate::status::{
    self, Count, Icmp6Counts, Interface, Latencies, PeerCounts, PeerRow, PeerState, Peers,
    PuntSockets, Reasons, Status,
};

/// What is known about the daemon without asking its parts, and how to ask them.
pub(super) struct StatusDesk {
    started: Instant,
    requested: DatapathChoice,
    active: &'static str,
    fell_back: Option<String>,
    pinned_in: Option<String>,
    interfaces: Vec<Interface>,
    warnings: Vec<String>,
    counters: Option<CounterReader>,
    punts: Vec<Arc<PuntCounters>>,
    next_hops: Option<NextHops>,
    pub(super) relay: Option<RelayDesk>,
    pub(super) server: Option<ServerDesk>,
}

/// The relay's part.
pub(super) struct RelayDesk {
    pub(super) resolved: Resolved,
    pub(super) max_peers: u32,
    pub(super) slow: Arc<SlowPath>,
}

/// The server's part.
pub(super) struct ServerDesk {
    settings: ServerSettings,
    path: Arc<ServerPath>,
}

impl From<(ServerSettings, Arc<ServerPath>)> for ServerDesk {
    fn from((settings, path): (ServerSettings, Arc<ServerPath>)) -> Self {
        Self { settings, path }
    }
}

impl StatusDesk {
    /// One that knows no role yet.
    pub(super) fn new(
        settings: &DaemonSettings,
        machine: &Machine,
        fast: &FastPath,
        warnings: Vec<String>,
    ) -> Self {
        let datapath = fast.datapath.as_ref();
        let pinned_in = datapath.and_then(Datapath::pinned_in);
        Self {
            started: Instant::now(),
            requested: settings.datapath,
            active: fast.active(),
            fell_back: fast.fell_back.clone(),
            pinned_in: pinned_in.map(|path| path.display().to_string()),
            interfaces: interfaces(settings, machine, datapath),
            warnings,
            counters: datapath.map(Datapath::counters),
            punts: fast.punts.iter().map(PuntSocket::counters).collect(),
            next_hops: datapath.map(Datapath::next_hops),
            relay: None,
            server: None,
        }
    }

    /// Answers in a thread of its own, which ends by itself when the control socket is closed.
    pub(super) fn open(self, asked: mpsc::Receiver<Ask>) -> io::Result<()> {
        let thread = thread::Builder::new().name("status".into());
        thread.spawn(move || self.run(asked)).map(drop)
    }

    /// A question a part does not answer is dropped, and the client is told so.
    fn run(self, mut asked: mpsc::Receiver<Ask>) {
        while let Some(ask) = asked.blocking_recv() {
            match ask {
                Ask::Status(answer) => {
                    if let Some(status) = self.status() {
                        let _ = answer.send(status);
                    }
                }
                Ask::Peers { limit, answer } => {
                    if let Some(peers) = self.peers(limit) {
                        let _ = answer.send(peers);
                    }
                }
            }
        }
    }

    fn status(&self) -> Option<Status> {
        let fast = match &self.counters {
            Some(counters) => counters.read().ok()?,
            None => [Counter::default(); Reason::COUNT],
        };
        let mut slow = match &self.relay {
            Some(relay) => Some(relay.slow.snapshot().ok()?),
            None => None,
        };
        let mut nothing = [Counter::default(); Reason::COUNT];
        let counters = slow
            .as_mut()
            .map_or(&mut nothing, |slow| &mut slow.counters);
        if let Some(server) = &self.server {
            server.path.add_to(counters).ok()?;
        }
        let reasons = Reasons::new(&fast, counters);
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: process::id(),
            uptime_s: self.started.elapsed().as_secs(),
            datapath: status::Datapath {
                requested: self.requested.as_str().to_owned(),
                active: self.active.to_owned(),
                fell_back: self.fell_back.clone(),
                pinned_in: self.pinned_in.clone(),
            },
            interfaces: self.interfaces.clone(),
            warnings: self.warnings.clone(),
            traffic: reasons.traffic(),
            reasons,
            punt_sockets: self.punt_sockets(),
            next_hops: self
                .next_hops
                .as_ref()
                .map(NextHops::status)
                .unwrap_or_default(),
            server: self.server.as_ref().map(ServerDesk::status),
            ..Status::default()
        };
        if let (Some(relay), Some(slow)) = (&self.relay, slow) {
            relay.describe(&slow, &mut status);
        }
        Some(status)
    }

    fn punt_sockets(&self) -> PuntSockets {
        self.punts.iter().map(|counters| counters.read()).fold(
            PuntSockets::default(),
            |mut sum, one| {
                sum.received += one.frames;
                sum.rx_dropped += one.rx_dropped;
                sum.ring_full += one.rx_ring_full;
                sum.fill_empty += one.fill_ring_empty;
                sum.sent += one.sent;
                sum
            },
        )
    }

    fn peers(&self, limit: usize) -> Option<Peers> {
        let Some(relay) = &self.relay else {
            return Some(Peers::default());
        };
        let PeerLists {
            trusted,
            trusted_total,
            pending,
        } = relay.slow.peers(limit).ok()?;
        let now = Ticks::from(clock::now());
        let total = trusted_total + pending.len() as u64;
        let pending = pending.iter().filter_map(pending_row);
        let trusted = trusted
            .iter()
            .map(|(key, entry)| trusted_row(*key, entry, now));
        Some(Peers {
            total,
            peers: trusted.chain(pending).take(limit).collect(),
        })
    }
}

impl RelayDesk {
    fn describe(&self, slow: &Snapshot, status: &mut Status) {
        let gauges = &slow.gauges;
        status.service_address = Some(self.resolved.service);
        status.native_address = Some(self.resolved.native_address);
        status.max_peers = self.max_peers;
        status.peers = PeerCounts {
            fresh: slow.trusted.fresh,
            stale: slow.trusted.stale,
            probing: gauges.probing as u64,
            blocked: gauges.blocked as u64,
        };
        status.queued = Count {
            packets: gauges.queued_packets as u64,
            bytes: gauges.queued_bytes as u64,
        };
        status.bubbles_sent = gauges.bubbles_sent;
        status.repeats_unpaid = gauges.repeats_unpaid;
        status.icmp6 = Icmp6Counts {
            sent: gauges.icmp6_sent,
            suppressed: gauges.icmp6_suppressed,
        };
        status.latency_us = Latencies {
            frame_to_bubble: slow.frame_to_bubble,
            answer_to_queue: slow.answer_to_queue,
        };
    }
}

impl ServerDesk {
    fn status(&self) -> status::Server {
        status::Server {
            primary: self.settings.primary,
            secondary: self.settings.secondary,
            client_ids: self.settings.credentials.len() as u64,
            requires_credentials: self.settings.require_auth,
        }
    }
}

fn trusted_row(key: PeerKey, entry: &PeerEntry, now: Ticks) -> PeerRow {
    let address = TeredoAddr::from(key);
    PeerRow {
        address: address.into(),
        mapped: entry.mapped().into(),
        state: if entry.is_fresh(now) {
            PeerState::Fresh
        } else {
            PeerState::Stale
        },
        last_rx_age_s: Some(
            clock::now()
                .saturating_since(entry.last_rx.into())
                .as_secs(),
        ),
        bubbles: 0,
        queued_packets: 0,
    }
}

/// A peer that is not in the table; one that is probed early is, and stands there.
fn pending_row(peer: &PendingPeer) -> Option<PeerRow> {
    let (state, bubbles) = match peer.state {
        PendingState::Probing { bubbles } => (PeerState::Probing, bubbles),
        PendingState::Early { .. } => return None,
        PendingState::Blocked => (PeerState::Blocked, 0),
    };
    Some(PeerRow {
        address: peer.peer.into(),
        mapped: peer.peer.mapped().into(),
        state,
        last_rx_age_s: None,
        bubbles: u32::from(bubbles),
        queued_packets: u32::try_from(peer.queued_packets).unwrap_or(u32::MAX),
    })
}

/// The named interfaces with the port each stands on.
fn interfaces(
    settings: &DaemonSettings,
    machine: &Machine,
    datapath: Option<&Datapath>,
) -> Vec<Interface> {
    let attached = datapath.map(Datapath::attached).unwrap_or_default();
    settings
        .ifaces
        .iter()
        .filter_map(|name| {
            let path = port_of(machine, name).ok()?;
            let port = attached.iter().find(|a| a.ifindex == path.port.index);
            Some(Interface {
                name: name.clone(),
                ifindex: machine.by_name(name)?.index,
                port: path.port.name.clone(),
                driver: port.map(|p| p.driver.clone()).unwrap_or_default(),
                mode: port.map_or("userspace", |p| p.mode.as_str()).to_owned(),
                queues: port.map_or(0, |p| p.queues),
            })
        })
        .collect()
}

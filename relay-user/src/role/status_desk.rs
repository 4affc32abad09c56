//! Answers the questions of the control socket in a thread of its own, so that neither the relay nor the
//! control thread ever waits for the other.

use std::process;
use std::sync::Arc;
use std::time::Instant;

use relay_common::{Counter, PeerEntry, PeerKey, Reason, Ticks};
use teredo::addr::TeredoAddr;
use teredo::relay::{PendingPeer, PendingState};
use tokio::sync::mpsc;

use super::fast_path::port_of;
use crate::config::{RelaySettings, Resolved};
use crate::control::Ask;
use crate::datapath::{CounterReader, Datapath, NextHops};
use crate::net::Snapshot as Machine;
use crate::slowpath::clock;
use crate::slowpath::shards::{PeerLists, SlowPath};
use crate::slowpath::xsk::PuntCounters;
use crate::status::{
    self, Count, Icmp6Counts, Interface, Latencies, PeerCounts, PeerRow, PeerState, Peers,
    PuntSockets, Reasons, State, Status,
};

/// What is known about the relay without asking it, and how to ask.
pub(super) struct StatusDesk {
    pub(super) started: Instant,
    pub(super) settings: RelaySettings,
    pub(super) resolved: Resolved,
    pub(super) active: &'static str,
    pub(super) fell_back: Option<String>,
    pub(super) pinned_in: Option<String>,
    pub(super) interfaces: Vec<Interface>,
    pub(super) warnings: Vec<String>,
    pub(super) counters: Option<CounterReader>,
    pub(super) punts: Vec<Arc<PuntCounters>>,
    pub(super) next_hops: Option<NextHops>,
    pub(super) slow: Arc<SlowPath>,
}

impl StatusDesk {
    /// Answers until the control socket is gone. A question the relay does not answer is dropped, and the client is told so.
    pub(super) fn run(self, mut asked: mpsc::Receiver<Ask>) {
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
        let slow = self.slow.snapshot().ok()?;
        let fast = match &self.counters {
            Some(counters) => counters.read().ok()?,
            None => [Counter::default(); Reason::COUNT],
        };
        let reasons = Reasons::new(&fast, &slow.counters);
        let gauges = &slow.gauges;
        Some(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: process::id(),
            uptime_s: self.started.elapsed().as_secs(),
            state: State::Running,
            service_address: self.resolved.service,
            native_address: self.resolved.native_address,
            datapath: status::Datapath {
                requested: self.settings.daemon.datapath.as_str().to_owned(),
                active: self.active.to_owned(),
                fell_back: self.fell_back.clone(),
                pinned_in: self.pinned_in.clone(),
            },
            interfaces: self.interfaces.clone(),
            warnings: self.warnings.clone(),
            max_peers: self.settings.max_peers,
            peers: PeerCounts {
                fresh: slow.trusted.fresh,
                stale: slow.trusted.stale,
                probing: gauges.probing as u64,
                blocked: gauges.blocked as u64,
            },
            queued: Count {
                packets: gauges.queued_packets as u64,
                bytes: gauges.queued_bytes as u64,
            },
            traffic: reasons.traffic(),
            reasons,
            bubbles_sent: gauges.bubbles_sent,
            icmp6: Icmp6Counts {
                sent: gauges.icmp6_sent,
                suppressed: gauges.icmp6_suppressed,
            },
            latency_us: Latencies {
                frame_to_bubble: slow.frame_to_bubble,
                answer_to_queue: slow.answer_to_queue,
            },
            punt_sockets: self.punt_sockets(),
            next_hops: self
                .next_hops
                .as_ref()
                .map(NextHops::status)
                .unwrap_or_default(),
        })
    }

    fn punt_sockets(&self) -> PuntSockets {
        self.punts.iter().map(|counters| counters.read()).fold(
            PuntSockets::default(),
            |mut sum, one| {
                sum.received += one.frames;
                sum.rx_dropped += one.rx_dropped;
                sum.ring_full += one.rx_ring_full;
                sum.fill_empty += one.fill_ring_empty;
                sum
            },
        )
    }

    fn peers(&self, limit: usize) -> Option<Peers> {
        let PeerLists {
            trusted,
            trusted_total,
            pending,
        } = self.slow.peers(limit).ok()?;
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
pub(super) fn interfaces(
    settings: &RelaySettings,
    machine: &Machine,
    datapath: Option<&Datapath>,
) -> Vec<Interface> {
    let attached = datapath.map(Datapath::attached).unwrap_or_default();
    settings
        .daemon
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

//! The relay under test: `teredo`'s state machine, a table, and what the XDP program does for established peers.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::Duration;

use teredo::addr::{Mapped, TeredoAddr};
use teredo::relay::{
    Command, Config, Gauges, Hop, Ipv4Net, Limits, PEER_FRESH, PROBE_AFTER, PeerTable, Relay,
    TableFull, Trusted,
};
use teredo::wire::{icmp6, ipv6, payload};
use teredo::{Fate, Instant, filter};

use crate::net::{OPENED, Output};

/// What a relay holds at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Held {
    /// Peers in the table.
    pub trusted: usize,
    /// Peers probed, probed early or blocked.
    pub pending: usize,
    /// Bytes waiting.
    pub queued_bytes: usize,
}

/// A relay as the world sees it, in the words of [`Relay`]. A broken one stands behind it as well (see [`Flawed`](crate::flaw::Flawed)).
#[allow(clippy::wrong_self_convention)] // Packets come from there.
pub trait RelayNode {
    /// Takes a native packet routed to it.
    fn from_native(&mut self, now: Instant, packet: &[u8], out: &mut Vec<Output>);
    /// Takes a datagram received on its service port.
    fn from_client(&mut self, now: Instant, from: Mapped, payload: &[u8], out: &mut Vec<Output>);
    /// When it wants to be called next.
    fn poll_timeout(&self) -> Option<Instant>;
    /// Its time has come.
    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Output>);
    /// It ends and begins anew, with the trusted peers it had or without.
    fn restart(&mut self, keeps_table: bool);
    /// What it holds.
    fn held(&self) -> Held;
}

/// A bounded table in the memory of the process.
#[derive(Clone, Debug, Default)]
pub struct Table {
    entries: HashMap<TeredoAddr, Trusted>,
    capacity: usize,
}

impl PeerTable for Table {
    fn get(&self, peer: &TeredoAddr) -> Option<Trusted> {
        self.entries.get(peer).copied()
    }

    fn insert(&mut self, peer: &TeredoAddr, entry: Trusted) -> Result<(), TableFull> {
        if self.entries.len() >= self.capacity && !self.entries.contains_key(peer) {
            return Err(TableFull);
        }
        self.entries.insert(*peer, entry);
        Ok(())
    }

    fn remove(&mut self, peer: &TeredoAddr) {
        self.entries.remove(peer);
    }
}

/// How long an entry outlives the last reception, and how often that is looked at.
const EXPIRY: Duration = Duration::from_mins(1);
const SWEEP: Duration = Duration::from_secs(5);

/// What a relay of the world is made of.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Service address and port.
    pub service: Mapped,
    /// Source of ICMPv6 errors.
    pub native: Ipv6Addr,
    /// Bounds.
    pub limits: Limits,
    /// Peers the table has room for.
    pub table: usize,
    /// Key material of the first start.
    pub seed: u64,
}

/// The real relay.
pub struct Shipworm {
    setup: Setup,
    relay: Relay<Table>,
    starts: u64,
    next_sweep: Instant,
}

impl Shipworm {
    /// A relay that has just started.
    pub fn new(setup: Setup) -> Self {
        let table = Table {
            entries: HashMap::new(),
            capacity: setup.table,
        };
        Self {
            setup,
            relay: start(&setup, 0, table),
            starts: 0,
            next_sweep: Instant::default(),
        }
    }

    /// Its figures.
    pub fn gauges(&self) -> Gauges {
        self.relay.gauges()
    }

    fn carry_out(&mut self, out: &mut Vec<Output>) {
        let from = self.setup.service;
        let native = self.setup.native.octets();
        while let Some(command) = self.relay.poll() {
            out.push(match command {
                Command::SendUdp { to, payload, .. } => Output::V4 {
                    from,
                    to,
                    payload: payload.to_vec(),
                },
                Command::Forward { packet } => Output::V6(packet.to_vec()),
                Command::Icmp6 { to, error, quote } => {
                    Output::V6(icmp6::build_error(native, to.octets(), error, quote))
                }
            });
        }
    }

    /// Data for a fresh peer leaves without the state machine, which hears of it when the peer is to be probed.
    fn encapsulates(&mut self, now: Instant, packet: &[u8]) -> Option<Output> {
        let (header, body, _) = ipv6::parse(packet).ok()?;
        let peer = TeredoAddr::from_octets(&header.destination)?;
        filter::native_source(&header.source)
            .ok()
            .filter(|embedded| *embedded == filter::Embedded::None)?;
        let entry = self.relay.table().get(&peer)?;
        let age = now.saturating_since(entry.last_rx);
        if age >= PEER_FRESH || header.hop_limit <= 1 || packet.len() > 1280 || body.is_empty() {
            return None;
        }
        if age >= PROBE_AFTER {
            self.relay.probe(now, &peer);
        }
        let mut payload = packet.to_vec();
        payload[7] -= 1;
        Some(Output::V4 {
            from: self.setup.service,
            to: entry.mapped,
            payload,
        })
    }

    /// Data from a fresh peer's mapping is handed on and refreshes the entry, whose clock is coarse (R-36 b, R-45).
    fn decapsulates(&mut self, now: Instant, from: Mapped, datagram: &[u8]) -> Option<Output> {
        let received = payload::parse(datagram).ok()?;
        let header = received.header;
        let peer = TeredoAddr::from_octets(&header.source)?;
        let embedded = filter::client_destination(&header.destination).ok()?;
        let is_plain = embedded == filter::Embedded::None
            && received.tail.is_empty()
            && received.origin.is_none()
            && received.auth.is_none()
            && header.next_header != ipv6::ROUTING
            && header.payload_len() != 0;
        let entry = self.relay.table_mut().entries.get_mut(&peer)?;
        let is_fresh = now.saturating_since(entry.last_rx) < PEER_FRESH;
        if !is_plain || !is_fresh || entry.mapped != from {
            return None;
        }
        entry.last_rx = coarse(now).max(entry.last_rx);
        Some(Output::V6(received.packet.to_vec()))
    }
}

/// The beginning of the tick `now` falls in.
fn coarse(now: Instant) -> Instant {
    Instant::from(relay_common::Ticks::from(now))
}

fn start(setup: &Setup, starts: u64, table: Table) -> Relay<Table> {
    let service = SocketAddrV4::from(setup.service);
    let mut config = Config::new(service);
    config.limits = setup.limits;
    config.allow_non_global = OPENED
        .into_iter()
        .filter_map(|(net, len)| Ipv4Net::new(net, len))
        .collect();
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&setup.seed.to_be_bytes());
    seed[8..16].copy_from_slice(&starts.to_be_bytes());
    let mut relay = Relay::new(config, table, seed);
    relay.set_own_ipv4(&[*service.ip()], &[Ipv4Addr::new(203, 0, 113, 255)]);
    relay
}

impl RelayNode for Shipworm {
    fn from_native(&mut self, now: Instant, packet: &[u8], out: &mut Vec<Output>) {
        if let Some(output) = self.encapsulates(now, packet) {
            out.push(output);
        } else {
            self.relay.from_native(now, packet, Hop::Pending);
        }
        self.carry_out(out);
    }

    fn from_client(&mut self, now: Instant, from: Mapped, payload: &[u8], out: &mut Vec<Output>) {
        if let Some(output) = self.decapsulates(now, from, payload) {
            out.push(output);
        } else {
            let _fate: Fate = self.relay.from_client(now, from.into(), 0, payload);
        }
        self.carry_out(out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let has_peers = !self.relay.table().entries.is_empty();
        let sweep = has_peers.then_some(self.next_sweep);
        self.relay.poll_timeout().into_iter().chain(sweep).min()
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.next_sweep <= now {
            self.next_sweep = now + SWEEP;
            let is_in_use = |entry: &Trusted| now.saturating_since(entry.last_rx) < EXPIRY;
            self.relay
                .table_mut()
                .entries
                .retain(|_, entry| is_in_use(entry));
        }
        self.relay.handle_timeout(now);
        self.carry_out(out);
    }

    fn restart(&mut self, keeps_table: bool) {
        self.starts += 1;
        let mut table = self.relay.table().clone();
        if !keeps_table {
            table.entries.clear();
        }
        self.relay = start(&self.setup, self.starts, table);
    }

    fn held(&self) -> Held {
        let gauges = self.relay.gauges();
        Held {
            trusted: self.relay.table().entries.len(),
            pending: gauges.probing + gauges.early_probes + gauges.blocked,
            queued_bytes: gauges.queued_bytes,
        }
    }
}

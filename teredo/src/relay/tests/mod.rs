//! The rules one by one, on a relay whose table is a `HashMap`.

mod access;
mod client;
mod early;
mod limits;
mod native;
mod probing;
mod source;

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use core::time::Duration;
use std::collections::HashMap;

use zerocopy::IntoBytes;

use super::{
    Config, Hop, Icmp6Error, Ipv4Net, Limits, PeerTable, Relay, TableFull, Trusted, UdpKind,
};
use crate::addr::{Mapped, ServerV4, TeredoAddr};
use crate::wire::bubble;
use crate::wire::ipv6::{self, Ipv6Header};
use crate::wire::trailer::Trailers;
use crate::{Fate, Instant};

const RELAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 9), 3545);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const NAT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const HOST: [u8; 16] = [
    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80,
];

#[derive(Default)]
struct Table {
    entries: HashMap<TeredoAddr, Trusted>,
    is_full: bool,
}

impl PeerTable for Table {
    fn get(&self, peer: &TeredoAddr) -> Option<Trusted> {
        self.entries.get(peer).copied()
    }

    fn insert(&mut self, peer: &TeredoAddr, entry: Trusted) -> Result<(), TableFull> {
        if self.is_full {
            return Err(TableFull);
        }
        self.entries.insert(*peer, entry);
        Ok(())
    }

    fn remove(&mut self, peer: &TeredoAddr) {
        self.entries.remove(peer);
    }
}

/// A [`super::Command`] that keeps its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Command {
    SendUdp {
        to: Mapped,
        tos: u8,
        payload: Vec<u8>,
        kind: UdpKind,
    },
    Forward {
        packet: Vec<u8>,
    },
    Icmp6 {
        to: Ipv6Addr,
        error: Icmp6Error,
        quote: Vec<u8>,
    },
}

impl From<super::Command<'_>> for Command {
    fn from(command: super::Command<'_>) -> Self {
        match command {
            super::Command::SendUdp {
                to,
                tos,
                payload,
                kind,
            } => Self::SendUdp {
                to,
                tos,
                payload: payload.to_vec(),
                kind,
            },
            super::Command::Forward { packet } => Self::Forward {
                packet: packet.to_vec(),
            },
            super::Command::Icmp6 { to, error, quote } => Self::Icmp6 {
                to,
                error,
                quote: quote.to_vec(),
            },
        }
    }
}

/// A relay and its clock.
struct Bench {
    relay: Relay<Table>,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(set: impl FnOnce(&mut Limits)) -> Self {
        Self::configured(|config| set(&mut config.limits))
    }

    fn configured(set: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(RELAY);
        set(&mut config);
        config.allow_non_global = [SERVER, NAT, *RELAY.ip()]
            .into_iter()
            .filter_map(|ip| Ipv4Net::new(ip, 24))
            .collect();
        Self {
            relay: Relay::new(config, Table::default(), [7; 32]),
            now: Instant::from_nanos(1_000_000_000_000),
        }
    }

    /// A bench whose table knows `peer`, heard just now from its own mapped address.
    fn trusting(peer: &TeredoAddr) -> Self {
        let mut bench = Self::new();
        bench.hear(peer, peer.mapped());
        bench
    }

    /// Writes into the table as the fast path does.
    fn hear(&mut self, peer: &TeredoAddr, mapped: Mapped) {
        let entry = Trusted {
            mapped,
            last_rx: self.now,
        };
        self.relay.table_mut().entries.insert(*peer, entry);
    }

    fn native(&mut self, packet: &[u8]) -> Option<Fate> {
        self.relay.from_native(self.now, packet, Hop::Done)
    }

    fn client(&mut self, source: Mapped, payload: &[u8]) -> Fate {
        self.relay.from_client(self.now, source.into(), 0, payload)
    }

    /// What the relay wants sent.
    fn sent(&mut self) -> Vec<Command> {
        core::iter::from_fn(|| self.relay.poll().map(Command::from)).collect()
    }

    fn bubbles(&mut self) -> Vec<SentBubble> {
        self.sent().iter().filter_map(SentBubble::of).collect()
    }

    /// Lets `seconds` pass, serving the timers on time. Returns what was sent, and after how many ms.
    fn pass(&mut self, seconds: u64) -> Vec<(u128, Command)> {
        let (start, end) = (self.now, self.now + Duration::from_secs(seconds));
        let mut sent = Vec::new();
        while let Some(at) = self.relay.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.relay.handle_timeout(self.now);
            let after = self.now.saturating_since(start).as_millis();
            sent.extend(self.sent().into_iter().map(|command| (after, command)));
        }
        self.now = end;
        sent
    }

    fn count(&self, fate: Fate) -> u64 {
        self.relay.tally().get(fate).packets
    }
}

/// A bubble as it left.
#[derive(Clone, Debug, PartialEq)]
struct SentBubble {
    to: Mapped,
    source: [u8; 16],
    destination: [u8; 16],
    trailers: Trailers,
}

impl SentBubble {
    fn of(command: &Command) -> Option<Self> {
        let Command::SendUdp {
            to,
            tos: 0,
            payload,
            kind: UdpKind::Bubble,
        } = command
        else {
            return None;
        };
        let (header, _, tail) = ipv6::parse(payload).unwrap();
        assert!(header.is_bubble());
        Some(Self {
            to: *to,
            source: header.source,
            destination: header.destination,
            trailers: Trailers::parse(tail).unwrap(),
        })
    }
}

fn peer_at(ip: Ipv4Addr, port: u16) -> TeredoAddr {
    TeredoAddr::new(ServerV4(SERVER), 0x2093, Mapped { ip, port })
}

fn peer() -> TeredoAddr {
    peer_at(NAT, 40000)
}

fn packet(source: [u8; 16], destination: [u8; 16], data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap();
    let mut packet = Ipv6Header::new(source, destination, ipv6::UDP, 64, len)
        .as_bytes()
        .to_vec();
    packet.extend_from_slice(data);
    packet
}

/// From the native host to `peer`.
fn to_peer(peer: &TeredoAddr, data: &[u8]) -> Vec<u8> {
    packet(HOST, peer.octets(), data)
}

/// From `peer` to the native host.
fn to_host(peer: &TeredoAddr, data: &[u8]) -> Vec<u8> {
    packet(peer.octets(), HOST, data)
}

/// A bubble that answers `bubble` as clients do: source and destination swapped.
fn answer(bubble: &SentBubble) -> Vec<u8> {
    bubble::build(bubble.destination, bubble.source, &Trailers::default())
}

fn v6(text: &str) -> [u8; 16] {
    text.parse::<Ipv6Addr>().unwrap().octets()
}

fn unreachable(packet: &[u8]) -> Command {
    error(packet, Icmp6Error::AddressUnreachable)
}

fn error(packet: &[u8], error: Icmp6Error) -> Command {
    let (header, ..) = ipv6::parse(packet).unwrap();
    Command::Icmp6 {
        to: header.source.into(),
        error,
        quote: packet[..packet.len().min(1232)].to_vec(),
    }
}

fn udp(to: Mapped, payload: &[u8], kind: UdpKind) -> Command {
    let payload = payload.to_vec();
    Command::SendUdp {
        to,
        tos: 0,
        payload,
        kind,
    }
}

fn bubble_from(peer: &TeredoAddr, destination: [u8; 16], trailers: &Trailers) -> Vec<u8> {
    bubble::build(peer.octets(), destination, trailers)
}

fn nonce(nonce: Option<[u8; 4]>) -> Trailers {
    Trailers {
        nonce,
        ..Trailers::default()
    }
}

/// A bench with one packet queued for `peer()`, and the bubble that went out.
fn probing_with(packet: &[u8]) -> (Bench, SentBubble) {
    let mut bench = Bench::new();
    assert_eq!(bench.native(packet), None);
    let bubble = bench.bubbles().remove(0);
    (bench, bubble)
}

/// A bench that is probing `peer()`, and its bubble.
fn probing() -> (Bench, SentBubble) {
    probing_with(&to_peer(&peer(), b"data"))
}

/// Times of the bubbles among `sent`.
fn bubble_times(sent: &[(u128, Command)]) -> Vec<u128> {
    sent.iter()
        .filter(|(_, command)| SentBubble::of(command).is_some())
        .map(|(at, _)| *at)
        .collect()
}

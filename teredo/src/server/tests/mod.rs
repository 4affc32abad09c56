//! The rules one by one.

mod acceptance;
mod credentials;
mod forwarding;
mod limits;
mod qualification;

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use zerocopy::IntoBytes;

use super::{Config, Local, Server};
use crate::addr::{Mapped, ServerV4, TeredoAddr};
use crate::wire::auth::Auth;
use crate::wire::icmp6::{Echo, EchoKind};
use crate::wire::ipv6::{self, Ipv6Header};
use crate::wire::origin::Origin;
use crate::wire::payload;
use crate::wire::rs_ra::{CONE_SOURCE, RESTRICTED_SOURCE, RouterSolicitation};
use crate::wire::trailer::Trailers;
use crate::wire::{bubble, checksum};
use crate::{Fate, Instant, Ipv4Net};

const PRIMARY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SECONDARY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const ANOTHER_SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const NAT: Mapped = at([198, 51, 100, 7], 40000);
const OTHER_NAT: Mapped = at([198, 51, 100, 8], 50000);
const RELAY: Mapped = at([203, 0, 113, 9], 3545);
const HOST: [u8; 16] = [
    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80,
];
/// Source of a relay's bubble.
const COOKIE: [u8; 16] = [
    0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x1c, 0x3d, 0x2e, 0x4f, 0x5a, 0x6b, 0x7c, 0x8d,
];

const fn at(ip: [u8; 4], port: u16) -> Mapped {
    let [a, b, c, d] = ip;
    Mapped {
        ip: Ipv4Addr::new(a, b, c, d),
        port,
    }
}

/// A [`super::Command`] that keeps its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Command {
    SendUdp {
        from: Local,
        to: Mapped,
        payload: Vec<u8>,
    },
    Forward {
        packet: Vec<u8>,
    },
}

impl From<super::Command<'_>> for Command {
    fn from(command: super::Command<'_>) -> Self {
        match command {
            super::Command::SendUdp { from, to, payload } => Self::SendUdp {
                from,
                to,
                payload: payload.to_vec(),
            },
            super::Command::Forward { packet } => Self::Forward {
                packet: packet.to_vec(),
            },
        }
    }
}

/// A server and its clock.
struct Bench {
    server: Server,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self::configured(|_| {})
    }

    fn configured(set: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(PRIMARY);
        config.allow_non_global = [PRIMARY, NAT.ip, RELAY.ip]
            .into_iter()
            .filter_map(|ip| Ipv4Net::new(ip, 24))
            .collect();
        set(&mut config);
        Self {
            server: Server::new(config, [7; 32]),
            now: Instant::from_nanos(1_000_000_000_000),
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
    }

    /// A datagram to one of the addresses.
    fn receive_at(&mut self, at: Local, from: Mapped, payload: &[u8]) -> (Fate, Option<Command>) {
        let (fate, command) = self.server.receive(self.now, at, from.into(), payload);
        (fate, command.map(Command::from))
    }

    /// A datagram to the primary address.
    fn receive(&mut self, from: Mapped, payload: &[u8]) -> (Fate, Option<Command>) {
        self.receive_at(Local::Primary, from, payload)
    }

    /// The fate of a datagram to the primary address, for which nothing must be sent.
    fn refused(&mut self, from: Mapped, payload: &[u8]) -> Fate {
        let (fate, command) = self.receive(from, payload);
        assert_eq!(command, None, "{fate:?}");
        fate
    }

    /// Where a datagram goes, and what is in it.
    fn forwarded(&mut self, from: Mapped, payload: &[u8]) -> (Mapped, Vec<u8>) {
        match self.receive(from, payload) {
            (
                Fate::ForwardedToClient,
                Some(Command::SendUdp {
                    from: Local::Primary,
                    to,
                    payload,
                }),
            ) => (to, payload),
            other => panic!("not forwarded: {other:?}"),
        }
    }

    /// The answer to a solicitation, and where it leaves from. It goes to where the solicitation came from.
    fn advertised(&mut self, at: Local, source: Mapped, payload: &[u8]) -> (Local, Vec<u8>) {
        match self.receive_at(at, source, payload) {
            (Fate::Advertised, Some(Command::SendUdp { from, to, payload })) if to == source => {
                (from, payload)
            }
            other => panic!("not answered: {other:?}"),
        }
    }

    fn count(&self, fate: Fate) -> u64 {
        self.server.tally().get(fate).packets
    }
}

/// The client of `server` at `mapped`.
fn client_of(server: Ipv4Addr, mapped: Mapped) -> TeredoAddr {
    TeredoAddr::new(ServerV4(server), 0x2093, mapped)
}

/// The client of this server at `mapped`.
fn client(mapped: Mapped) -> TeredoAddr {
    client_of(PRIMARY, mapped)
}

/// The bubble of a relay to `to`, as others send it: hop limit 0.
fn bubble_to(to: [u8; 16]) -> Vec<u8> {
    bubble_between(COOKIE, to)
}

fn bubble_between(source: [u8; 16], destination: [u8; 16]) -> Vec<u8> {
    let mut bubble = bubble::build(source, destination, &Trailers::default());
    bubble[7] = 0;
    bubble
}

/// ICMPv6 of `kind` with a payload of `len` bytes, hop limit 64.
fn icmp6(kind: u8, source: [u8; 16], destination: [u8; 16], len: u16) -> Vec<u8> {
    let header = Ipv6Header::new(source, destination, ipv6::ICMP6, 64, len);
    let mut body = vec![0x5a; len.into()];
    if let Some(first) = body.get_mut(..4) {
        first.copy_from_slice(&[kind, 0, 0, 0]);
        let sum = checksum::upper_layer(&source, &destination, ipv6::ICMP6, &body);
        body[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    [header.as_bytes(), &body].concat()
}

/// What a client asks a native host through its server.
fn echo_request(source: [u8; 16], destination: [u8; 16], hop_limit: u8) -> Vec<u8> {
    let echo = Echo {
        kind: EchoKind::Request,
        identifier: 0x1234,
        sequence: 1,
        data: &[7; 18],
    };
    echo.build(source, destination, hop_limit).unwrap()
}

/// A solicitation from `source`.
fn solicitation(source: [u8; 16]) -> Vec<u8> {
    RouterSolicitation { source }.build()
}

/// `packet` behind the usual authentication header.
fn with_nonce(nonce: [u8; 8], packet: &[u8]) -> Vec<u8> {
    payload::build(Some(&Auth::with_nonce(nonce)), None, packet)
}

/// `packet` behind the origin indication of `mapped`.
fn with_origin(mapped: Mapped, packet: &[u8]) -> Vec<u8> {
    payload::build(None, Some(&Origin { mapped }), packet)
}

fn v6(text: &str) -> [u8; 16] {
    text.parse::<Ipv6Addr>().unwrap().octets()
}

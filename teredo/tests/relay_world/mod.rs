//! A small internet around one relay, in virtual time: a Teredo server, clients behind NATs, a native host.

pub(crate) mod nat;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::Duration;

use teredo::addr::{Mapped, SERVER_PORT, ServerV4, TeredoAddr};
use teredo::relay::{Command, Config, Hop, Icmp6Error, Ipv4Net, Relay, Trusted};
use teredo::wire::icmp6::{Echo, EchoKind};
use teredo::wire::ipv6::{self, Ipv6Header};
use teredo::wire::origin::Origin;
use teredo::wire::trailer::Trailers;
use teredo::wire::{bubble, payload};
use teredo::{Fate, Instant};
use zerocopy::IntoBytes;

use nat::{Nat, NatKind};

/// One way of every link.
pub(crate) const LATENCY: Duration = Duration::from_millis(25);

pub(crate) const RELAY: Mapped = Mapped {
    ip: Ipv4Addr::new(203, 0, 113, 9),
    port: 3545,
};
pub(crate) const SERVER: Mapped = Mapped {
    ip: Ipv4Addr::new(192, 0, 2, 1),
    port: SERVER_PORT,
};
pub(crate) const HOST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);

/// How a client answers an indirect bubble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// To the bubble's source, without trailers: miredo, Windows.
    ToTheCookie,
    /// With the nonce, to an address of its choice (RFC 6081 5.2.4).
    WithTheNonce,
    /// With neither.
    Blankly,
    /// Not at all.
    Never,
}

pub(crate) struct Client {
    pub(crate) address: TeredoAddr,
    answers: Answers,
    nat: Nat,
    /// Data it received, with the time and the outer source.
    pub(crate) received: Vec<(Instant, Mapped, Vec<u8>)>,
}

/// Something under way.
enum Flight {
    Udp {
        from: Mapped,
        to: Mapped,
        payload: Vec<u8>,
    },
    Native(Vec<u8>),
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) relay: Relay<BTreeMap<TeredoAddr, Trusted>>,
    pub(crate) clients: Vec<Client>,
    /// What reached the native host: packets, and ICMPv6 errors with the packet quoted.
    pub(crate) host_received: Vec<(Instant, Vec<u8>)>,
    pub(crate) host_errors: Vec<(Instant, Icmp6Error, Vec<u8>)>,
    /// When bubbles arrived at the server.
    pub(crate) bubbles: Vec<Instant>,
    flights: BTreeMap<(Instant, u64), Flight>,
    launched: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut config = Config::new(SocketAddrV4::from(RELAY));
        config.allow_non_global = [[192, 0, 2, 0], [198, 51, 100, 0], [203, 0, 113, 0]]
            .into_iter()
            .filter_map(|net| Ipv4Net::new(net.into(), 24))
            .collect();
        Self {
            now: Instant::from_nanos(1_000_000_000_000),
            relay: Relay::new(config, BTreeMap::new(), [42; 32]),
            clients: Vec::new(),
            host_received: Vec::new(),
            host_errors: Vec::new(),
            bubbles: Vec::new(),
            flights: BTreeMap::new(),
            launched: 0,
        }
    }

    /// A world with one client, qualified with the server.
    pub(crate) fn with_client(kind: NatKind, answers: Answers) -> Self {
        let mut world = Self::new();
        let mut nat = Nat::new(kind, Ipv4Addr::new(198, 51, 100, 7));
        let mapped = nat.outbound(SERVER);
        let address = TeredoAddr::new(ServerV4(SERVER.ip), 0x2093, mapped);
        world.clients.push(Client {
            address,
            answers,
            nat,
            received: Vec::new(),
        });
        world
    }

    pub(crate) fn client(&self) -> &Client {
        &self.clients[0]
    }

    /// The client is switched off as far as anybody can hear.
    pub(crate) fn silence_client(&mut self) {
        self.clients[0].answers = Answers::Never;
    }

    /// The native host sends `data` to the client.
    pub(crate) fn host_sends(&mut self, data: &[u8]) {
        let packet = packet(HOST.octets(), self.client().address.octets(), data);
        self.launch(Flight::Native(packet));
    }

    /// The client sends `data` to the native host, through the relay it knows of.
    pub(crate) fn client_sends(&mut self, data: &[u8]) {
        let packet = packet(self.client().address.octets(), HOST.octets(), data);
        self.client_transmits(RELAY, packet);
    }

    /// The client asks through its server whether the native host is there (RFC 4380 5.2.9).
    pub(crate) fn client_pings(&mut self, data: &[u8]) {
        let echo = Echo {
            kind: EchoKind::Request,
            identifier: 1,
            sequence: 2,
            data,
        };
        let packet = echo
            .build(self.client().address.octets(), HOST.octets(), 128)
            .unwrap();
        self.client_transmits(SERVER, packet);
    }

    fn client_transmits(&mut self, to: Mapped, payload: Vec<u8>) {
        let from = self.clients[0].nat.outbound(to);
        self.launch(Flight::Udp { from, to, payload });
    }

    fn launch(&mut self, flight: Flight) {
        self.launched += 1;
        self.flights
            .insert((self.now + LATENCY, self.launched), flight);
    }

    /// Lets `time` pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let arrival = self.flights.first_key_value().map(|((at, _), _)| *at);
            let timeout = self.relay.poll_timeout();
            let Some(next) = arrival
                .into_iter()
                .chain(timeout)
                .min()
                .filter(|at| *at <= end)
            else {
                break;
            };
            self.now = next.max(self.now);
            if timeout.is_some_and(|at| at <= self.now) {
                self.relay.handle_timeout(self.now);
            } else if let Some((_, flight)) = self.flights.pop_first() {
                self.arrive(flight);
            }
            self.carry_out();
        }
        self.now = end;
    }

    fn arrive(&mut self, flight: Flight) {
        match flight {
            Flight::Native(packet) if packet[24..28] == TeredoAddr::PREFIX => {
                self.relay.from_native(self.now, &packet, Hop::Done);
            }
            Flight::Native(packet) => self.host_receives(packet),
            Flight::Udp {
                from,
                to: RELAY,
                payload,
            } => {
                self.relay.from_client(self.now, from.into(), 0, &payload);
            }
            Flight::Udp {
                from,
                to: SERVER,
                payload,
            } => self.server_receives(from, &payload),
            Flight::Udp { from, to, payload } => self.client_receives(from, to, &payload),
        }
    }

    fn carry_out(&mut self) {
        while let Some(command) = self.relay.poll() {
            let flight = match command {
                Command::SendUdp { to, payload, .. } => Flight::Udp {
                    from: RELAY,
                    to,
                    payload: payload.to_vec(),
                },
                Command::Forward { packet } => Flight::Native(packet.to_vec()),
                Command::Icmp6 { error, quote, .. } => {
                    self.host_errors.push((self.now, error, quote.to_vec()));
                    continue;
                }
            };
            self.launch(flight);
        }
    }

    /// The native host answers echo requests.
    fn host_receives(&mut self, packet: Vec<u8>) {
        let (header, body, _) = ipv6::parse(&packet).unwrap();
        if let Some(echo) = Echo::parse(header, body) {
            let reply = Echo {
                kind: EchoKind::Reply,
                ..echo
            };
            let reply = reply.build(header.destination, header.source, 64).unwrap();
            self.launch(Flight::Native(reply));
        }
        self.host_received.push((self.now, packet));
    }

    /// S-14, S-15: native destinations by IPv6 routing, clients with the sender as the origin.
    fn server_receives(&mut self, from: Mapped, payload: &[u8]) {
        let (header, ..) = ipv6::parse(payload).unwrap();
        let Some(client) = TeredoAddr::from_octets(&header.destination) else {
            self.launch(Flight::Native(payload.to_vec()));
            return;
        };
        self.bubbles.push(self.now);
        let origin = Origin { mapped: from };
        let payload = [&origin.to_bytes()[..], payload].concat();
        self.launch(Flight::Udp {
            from: SERVER,
            to: client.mapped(),
            payload,
        });
    }

    fn client_receives(&mut self, from: Mapped, to: Mapped, datagram: &[u8]) {
        let now = self.now;
        let Some(client) = self
            .clients
            .first_mut()
            .filter(|client| client.nat.lets_in(from, to))
        else {
            return;
        };
        let received = payload::parse(datagram).unwrap();
        let header = received.header;
        assert_eq!(header.destination, client.address.octets());
        if !header.is_bubble() {
            client.received.push((now, from, received.packet.to_vec()));
            return;
        }
        let Some(origin) = received.origin.filter(|_| from == SERVER) else {
            return;
        };
        let trailers = Trailers::parse(received.tail).unwrap();
        let (destination, trailers) = match client.answers {
            Answers::Never => return,
            Answers::ToTheCookie => (header.source, Trailers::default()),
            Answers::Blankly => (HOST.octets(), Trailers::default()),
            Answers::WithTheNonce => (HOST.octets(), trailers),
        };
        let answer = bubble::build(client.address.octets(), destination, &trailers);
        self.client_transmits(origin.mapped, answer);
    }

    pub(crate) fn count(&self, fate: Fate) -> u64 {
        self.relay.tally().get(fate).packets
    }
}

/// A packet of no particular protocol with `data` in it.
pub(crate) fn packet(source: [u8; 16], destination: [u8; 16], data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap();
    let header = Ipv6Header::new(source, destination, 253, 64, len);
    [header.as_bytes(), data].concat()
}

/// The data of a packet.
pub(crate) fn data(packet: &[u8]) -> &[u8] {
    &packet[ipv6::HEADER_LEN..]
}

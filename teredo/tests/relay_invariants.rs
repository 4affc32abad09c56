//! Whatever happens in whatever order, the relay stays within its limits and loses count of nothing.

mod relay_model;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use relay_model::events::{DESTINATIONS_COUNT, Event, Outer, Proof, event, limits};
use relay_model::{Claim, Model, Table, coarse};
use teredo::addr::{Mapped, ServerV4, TeredoAddr};
use teredo::relay::{Config, Hop, Ipv4Net, Limits, Relay, Trusted};
use teredo::wire::ipv6::{self, Ipv6Header};
use teredo::wire::trailer::{NdKind, Trailers};
use teredo::{Instant, addr};
use zerocopy::IntoBytes;

const RELAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 9), 3545);
const OWN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
const BROADCAST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 255);
const SERVERS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 5)];
const NATS: [Ipv4Addr; 2] = [
    Ipv4Addr::new(198, 51, 100, 7),
    Ipv4Addr::new(198, 51, 100, 8),
];

/// Good peers, some of which share a mapping, and hostile ones.
fn peers() -> Vec<TeredoAddr> {
    let at =
        |server, flags, ip, port| TeredoAddr::new(ServerV4(server), flags, Mapped { ip, port });
    let [v, w] = SERVERS;
    let [m, n] = NATS;
    vec![
        at(v, 0x2093, m, 40000),
        at(v, 0x0000, m, 40000),
        at(v, 0x8000, m, 40000),
        at(v, 0x0001, n, 40000),
        at(w, 0x0000, m, 40000),
        at(w, 0x0000, n, 50000),
        at(v, 0, Ipv4Addr::new(10, 0, 0, 1), 1),
        at(Ipv4Addr::new(10, 0, 0, 1), 0, m, 1),
        at(v, 0, m, 0),
        at(v, 0, OWN, 1),
        at(OWN, 0, m, 1),
        at(v, 0, BROADCAST, 1),
        at(v, 0, Ipv4Addr::new(224, 0, 0, 1), 1),
        at(v, 0, *RELAY.ip(), RELAY.port()),
    ]
}

const DESTINATIONS: [&str; DESTINATIONS_COUNT] = [
    "2001:db8::80",
    "2001:0:c000:201::1",
    "fe80::1",
    "2002:a00:1::1",
    "ff02::1",
    "fc00::1",
    "2001:db8::5efe:cb00:710a",
];

struct Run {
    now: Instant,
    relay: Relay<Table>,
    model: Model,
    peers: Vec<TeredoAddr>,
}

impl Run {
    fn new(limits: Limits) -> Self {
        let mut config = Config::new(RELAY);
        config.limits = limits;
        config.allow_non_global = [SERVERS[0], NATS[0], OWN]
            .into_iter()
            .filter_map(|ip| Ipv4Net::new(ip, 24))
            .collect();
        let mut relay = Relay::new(config, Table::default(), [3; 32]);
        relay.set_own_ipv4(&[OWN], &[BROADCAST]);
        Self {
            now: Instant::from_nanos(1_000_000_000_000),
            relay,
            model: Model::new(limits, [SERVERS, NATS].concat()),
            peers: peers(),
        }
    }

    fn step(&mut self, event: &Event) {
        match *event {
            Event::Native { .. } => self.native(event),
            Event::Data {
                peer,
                outer,
                destination,
                tos,
            } => {
                let mut payload = packet(
                    self.peers[peer].octets(),
                    destination_of(destination),
                    17,
                    20,
                );
                payload[1] = tos << 4;
                self.client(peer, outer, tos, &payload);
            }
            Event::Bubble {
                peer,
                outer,
                proof,
                solicits,
            } => {
                let payload = self.bubble(peer, proof, solicits);
                self.client(peer, outer, 0, &payload);
            }
            Event::Garbage(ref bytes) => {
                let source = SocketAddrV4::new(NATS[0], 40000);
                self.model.given += 1;
                self.relay.from_client(self.now, source, 0, bytes);
                self.model.given += 1;
                self.relay.from_native(self.now, bytes, Hop::Pending);
                self.settle();
            }
            Event::Pass(ms) => self.pass(ms),
            Event::Stall(ms) => self.now = self.now + Duration::from_millis(ms.into()),
            Event::Timeout => self.timeout(),
            Event::Probe(peer) => {
                self.relay.probe(self.now, &self.peers[peer]);
                self.settle();
            }
            Event::FastPathHears(peer) => {
                let peer = self.peers[peer];
                if let Some(entry) = self.relay.table_mut().entries.get_mut(&peer) {
                    entry.last_rx = coarse(self.now);
                    self.model.heard(peer);
                }
            }
            Event::TableFull(is_full) => self.relay.table_mut().is_full = is_full,
            Event::Sweep => {
                let now = self.now;
                let entries = &mut self.relay.table_mut().entries;
                entries.retain(|_, entry| now.saturating_since(entry.last_rx).as_secs() < 60);
            }
            Event::ShutDown => {
                self.relay.shut_down();
                self.settle();
                assert_eq!(self.relay.gauges().queued_packets, 0);
            }
        }
    }

    fn native(&mut self, event: &Event) {
        let Event::Native {
            host,
            peer,
            len,
            hop_limit,
            pending,
            next_header,
        } = *event
        else {
            return;
        };
        let peer = self.peers[peer];
        let mut source = destination_of(0);
        source[7] = host;
        let mut packet = packet(source, peer.octets(), next_header, len.max(1).into());
        packet[7] = hop_limit;
        let hop = if pending { Hop::Pending } else { Hop::Done };
        let table = self.relay.table().entries.clone();
        self.model.given += 1;
        let fate = self.relay.from_native(self.now, &packet, hop);
        if fate.is_none() {
            packet[7] -= u8::from(pending);
            self.model.queued(peer, packet);
        }
        self.settle_with(&table);
    }

    fn bubble(&self, peer: usize, proof: Proof, solicits: bool) -> Vec<u8> {
        let peer = self.peers[peer];
        let (cookie, nonce) = self.model.proofs(&peer);
        let cookie = cookie.unwrap_or_default();
        let flipped = |bytes: [u8; 16]| bytes.map(|byte| byte ^ 1);
        let (destination, nonce) = match proof {
            Proof::Nothing => (destination_of(0), None),
            Proof::Cookie => (cookie, None),
            Proof::WrongCookie => (flipped(cookie), None),
            Proof::Nonce => (destination_of(0), nonce),
            Proof::WrongNonce => (
                destination_of(0),
                nonce.map(|nonce| nonce.map(|byte| !byte)),
            ),
        };
        let trailers = Trailers {
            nonce,
            nd: solicits.then_some(NdKind::Solicitation),
            ..Trailers::default()
        };
        teredo::wire::bubble::build(peer.octets(), destination, &trailers)
    }

    fn client(&mut self, peer: usize, outer: Outer, tos: u8, payload: &[u8]) {
        let peer = self.peers[peer];
        let right = peer.mapped();
        let at = |ip, port| Mapped { ip, port };
        let outer = match outer {
            Outer::Right => right,
            Outer::OtherPort => at(right.ip, 60001),
            Outer::OtherNat => at(NATS[1], 60002),
            Outer::Server => at(peer.server().0, addr::SERVER_PORT),
            Outer::Relay => RELAY.into(),
            Outer::Own => at(OWN, 7),
            Outer::Private => at(Ipv4Addr::new(192, 168, 0, 1), 7),
            Outer::PortZero => at(right.ip, 0),
        };
        let (header, _, tail) = ipv6::parse(payload).unwrap();
        let claim = Claim {
            peer,
            outer,
            is_bubble: header.is_bubble(),
            destination: header.destination,
            nonce: Trailers::parse(tail).unwrap().nonce,
        };
        let table = self.relay.table().entries.clone();
        self.model.given += 1;
        let fate = self.relay.from_client(self.now, outer.into(), tos, payload);
        self.model.judged(&claim, fate);
        self.settle_with(&table);
    }

    fn timeout(&mut self) {
        self.relay.handle_timeout(self.now);
        assert!(self.relay.poll_timeout().is_none_or(|at| at > self.now));
        self.settle();
    }

    fn pass(&mut self, ms: u32) {
        let end = self.now + Duration::from_millis(ms.into());
        while let Some(at) = self.relay.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.timeout();
        }
        self.now = end;
    }

    fn settle(&mut self) {
        let table = self.relay.table().entries.clone();
        self.settle_with(&table);
    }

    fn settle_with(&mut self, table: &HashMap<TeredoAddr, Trusted>) {
        self.model.sent(self.now, &mut self.relay, table);
        self.model.balance(&self.relay);
    }
}

fn destination_of(index: usize) -> [u8; 16] {
    DESTINATIONS[index]
        .parse::<std::net::Ipv6Addr>()
        .unwrap()
        .octets()
}

fn packet(source: [u8; 16], destination: [u8; 16], next_header: u8, len: usize) -> Vec<u8> {
    let header = Ipv6Header::new(
        source,
        destination,
        next_header,
        64,
        u16::try_from(len).unwrap(),
    );
    let mut packet = header.as_bytes().to_vec();
    // An ICMPv6 error about something, if the next header says so and the length is odd.
    packet.resize(packet.len() + len, if len % 2 == 1 { 1 } else { 128 });
    packet
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    /// and invariant 4, all at once.
    #[test]
    fn no_order_of_events_breaks_a_limit(limits in limits(), events in prop::collection::vec(event(), 1..150)) {
        let mut run = Run::new(limits);
        for event in &events {
            run.step(event);
        }
        run.step(&Event::ShutDown);
        let after = [Event::Native { host: 0, peer: 0, len: 9, hop_limit: 9, pending: false, next_header: 17 }, Event::Pass(400_000)];
        for event in &after {
            run.step(event);
        }
    }
}

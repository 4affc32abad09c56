//! What leaves for what nobody has vouched for: packets and bytes, alone and in a flood.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use teredo::addr::{Mapped, TeredoAddr};
use teredo::relay::{Config, Hop};
use teredo::wire::trailer::{NdKind, Trailers};
use teredo::wire::{bubble, ipv6, origin::Origin, payload};

use crate::document;
use crate::machine::{Machine, SERVER, SERVICE, Sent, client};
use crate::packet::{self, with_hop_limit};

/// Ten times the new peers a second that the relay below takes.
const FLOOD_PER_S: u32 = 2000;
const FLOOD_S: u32 = 40;
/// Three quarters of what it takes: no limit on new peers is met, and what bounds the factor is who pays for repeats.
const STREAM_PER_S: u32 = 150;
const STREAM_S: u32 = 100;
/// Longer than a relay remembers a client that did not answer.
const LONG: Duration = Duration::from_mins(6);
const IPV4_AND_UDP_LEN: usize = 28;

/// A relay with a tenth of the default rates, so that a flood beyond them is soon sent.
fn machine() -> Machine {
    let mut config = Config::new(SERVICE);
    let limits = &mut config.limits;
    limits.new_peers_per_s /= 10;
    limits.new_peers_burst /= 10;
    limits.server_bubbles_per_s /= 10;
    limits.server_bubbles_burst /= 10;
    limits.repeats_per_s /= 10;
    limits.repeats_burst /= 10;
    limits.icmp6_per_s /= 10;
    Machine::new(config)
}

/// A client that the relay trusts, one that it asks, and one that did not answer.
fn known() -> [TeredoAddr; 3] {
    [1, 2, 3].map(|port| client(SERVER, Ipv4Addr::new(7, 7, 7, 7), port))
}

fn attacker(n: u32) -> Ipv6Addr {
    let [high, low] = [n >> 16, n & 0xffff].map(|word| u16::try_from(word).unwrap());
    Ipv6Addr::new(0x2600, 0, high, low, 0, 0, 0, 1)
}

/// A client nobody has heard of, one for each `n`.
fn unknown(server: Ipv4Addr, n: u32) -> TeredoAddr {
    let ip = Ipv4Addr::from_bits(Ipv4Addr::new(6, 0, 0, 0).to_bits() + n);
    client(server, ip, 4000)
}

/// A packet that no peer has been heard for, number `n` of its kind.
enum Packet {
    Native(Vec<u8>),
    Datagram(Mapped, Vec<u8>),
}

impl Packet {
    fn bytes(&self) -> usize {
        match self {
            Self::Native(packet) => packet.len(),
            Self::Datagram(_, payload) => IPV4_AND_UDP_LEN + payload.len(),
        }
    }

    fn go(&self, machine: &mut Machine) {
        match self {
            Self::Native(packet) => {
                machine.relay.from_native(machine.now, packet, Hop::Pending);
            }
            Self::Datagram(from, payload) => {
                machine
                    .relay
                    .from_client(machine.now, (*from).into(), 0, payload);
            }
        }
    }
}

struct Kind {
    what: &'static str,
    packet: fn(u32) -> Packet,
}

/// An IPv6 packet of `len` bytes.
fn native(source: Ipv6Addr, to: TeredoAddr, len: usize) -> Packet {
    let next_header = if len == ipv6::HEADER_LEN {
        ipv6::NO_NEXT_HEADER
    } else {
        ipv6::UDP
    };
    let body = vec![0; len - ipv6::HEADER_LEN];
    Packet::Native(packet::ipv6(next_header, source, to.into(), &body))
}

fn said_by(peer: TeredoAddr, from: Mapped, trailers: &Trailers) -> Packet {
    let host = attacker(0).octets();
    Packet::Datagram(from, bubble::build(peer.octets(), host, trailers))
}

fn elsewhere(n: u32) -> Mapped {
    unknown(SERVER, n).mapped()
}

const KINDS: [Kind; 16] = [
    Kind {
        what: "native: 40 bytes to an unknown client",
        packet: |n| native(attacker(n), unknown(SERVER, n), 40),
    },
    Kind {
        what: "native: 80 bytes (a TCP SYN) to an unknown client",
        packet: |n| native(attacker(n), unknown(SERVER, n), 80),
    },
    Kind {
        what: "native: 1280 bytes to an unknown client",
        packet: |n| native(attacker(n), unknown(SERVER, n), 1280),
    },
    Kind {
        what: "native: 40 bytes to an unknown client, each of another server",
        packet: |n| {
            let server = Ipv4Addr::from_bits(Ipv4Addr::new(5, 0, 0, 0).to_bits() + n);
            native(attacker(n), unknown(server, n), 40)
        },
    },
    Kind {
        what: "native: 40 bytes to one client that is being asked",
        packet: |n| native(attacker(n), known()[1], 40),
    },
    Kind {
        what: "native: 40 bytes to one client that did not answer",
        packet: |n| native(attacker(n), known()[2], 40),
    },
    Kind {
        what: "native: 1500 bytes, too big for the tunnel",
        packet: |n| native(attacker(n), unknown(SERVER, n), 1500),
    },
    Kind {
        what: "native: 40 bytes with hop limit 1",
        packet: |n| match native(attacker(n), unknown(SERVER, n), 40) {
            Packet::Native(packet) => Packet::Native(with_hop_limit(packet, 1)),
            other @ Packet::Datagram(..) => other,
        },
    },
    Kind {
        what: "native: 40 bytes to a destination outside 2001::/32",
        packet: |n| {
            let packet = packet::ipv6(ipv6::NO_NEXT_HEADER, attacker(n), attacker(0), b"");
            Packet::Native(packet)
        },
    },
    Kind {
        what: "native: 40 bytes from or to an address that is refused",
        packet: |n| match n % 3 {
            0 => native(unknown(SERVER, n).into(), known()[0], 40),
            1 => native(
                attacker(n),
                client(SERVER, Ipv4Addr::new(10, 0, 0, 1), 1),
                40,
            ),
            _ => native(attacker(n), client(Ipv4Addr::BROADCAST, SERVER, 1), 40),
        },
    },
    Kind {
        what: "IPv4: data of an unknown client",
        packet: |n| {
            let peer = unknown(SERVER, n);
            let data = packet::udp(peer.into(), attacker(0), b"data");
            Packet::Datagram(peer.mapped(), data)
        },
    },
    Kind {
        what: "IPv4: bubble of an unknown client",
        packet: |n| {
            let peer = unknown(SERVER, n);
            said_by(peer, peer.mapped(), &Trailers::default())
        },
    },
    Kind {
        what: "IPv4: bubble with an origin indication",
        packet: |n| {
            let origin = Origin {
                mapped: elsewhere(n),
            };
            let bubble = bubble::build(
                known()[1].octets(),
                attacker(0).octets(),
                &Trailers::default(),
            );
            Packet::Datagram(elsewhere(n), payload::build(None, Some(&origin), &bubble))
        },
    },
    Kind {
        what: "IPv4: data or bubble of a known client from elsewhere",
        packet: |n| {
            let peer = known()[n as usize % 3];
            if n.is_multiple_of(2) {
                return said_by(peer, elsewhere(n), &Trailers::default());
            }
            let data = packet::udp(peer.into(), attacker(0), b"data");
            Packet::Datagram(elsewhere(n), data)
        },
    },
    Kind {
        what: "IPv4: what is not Teredo",
        packet: |n| Packet::Datagram(elsewhere(n), n.to_be_bytes().to_vec()),
    },
    Kind {
        what: "IPv4: neighbour solicitation of a trusted client, its address forged",
        packet: |_| {
            let solicitation = Trailers {
                nd: Some(NdKind::Solicitation),
                ..Trailers::default()
            };
            said_by(known()[0], known()[0].mapped(), &solicitation)
        },
    },
];

/// Packets and bytes.
#[derive(Clone, Copy, Default)]
struct Volume {
    packets: usize,
    bytes: usize,
}

impl Volume {
    fn add(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes;
    }
}

/// What went in and what came out.
struct Measured {
    input: Volume,
    output: Volume,
    what_left: BTreeMap<&'static str, usize>,
    /// What leaves without any attack, and has not yet: an error for the packet that waits.
    background: Vec<Sent>,
}

impl Measured {
    /// Packets out for each packet in, and bytes, in hundredths, rounded up.
    fn factors(&self) -> [usize; 2] {
        let factor = |out: usize, of: usize| (100 * out).div_ceil(of);
        [
            factor(self.output.packets, self.input.packets),
            factor(self.output.bytes, self.input.bytes),
        ]
    }

    fn left(&mut self, sent: Vec<Sent>) {
        for sent in sent {
            if let Some(at) = self.background.iter().position(|other| *other == sent) {
                self.background.swap_remove(at);
                continue;
            }
            self.output.add(sent.bytes());
            let what = match sent {
                Sent::Datagram(to, _) if to.port == teredo::addr::SERVER_PORT => {
                    "bubble to the server"
                }
                Sent::Datagram(..) => "bubble to the client",
                Sent::Native(_) => "data",
                Sent::Error(_) => "ICMPv6 error to the sender",
            };
            *self.what_left.entry(what).or_default() += 1;
        }
    }
}

/// A relay that knows three clients, and is at rest but for the one it asks.
fn prepared() -> Machine {
    let mut machine = machine();
    let [trusted, asked, silent] = known();
    native(attacker(0), silent, 80).go(&mut machine);
    machine.pass(Duration::from_secs(10));
    machine.trust(&trusted);
    native(attacker(0), asked, 80).go(&mut machine);
    // Its bubbles are spent, and the answer is still waited for.
    machine.pass(Duration::from_millis(6500));
    machine.sent();
    machine
}

fn measure(kind: &Kind, per_s: u32, packets: u32) -> Measured {
    let mut machine = prepared();
    let mut measured = Measured {
        input: Volume::default(),
        output: Volume::default(),
        what_left: BTreeMap::new(),
        background: prepared().pass(LONG),
    };
    for n in 0..packets {
        let packet = (kind.packet)(n);
        measured.input.add(packet.bytes());
        packet.go(&mut machine);
        let sent = machine.sent();
        measured.left(sent);
        let sent = machine.pass(Duration::from_secs(1) / per_s);
        measured.left(sent);
    }
    let sent = machine.pass(LONG);
    measured.left(sent);
    measured
}

fn hundredths(factor: usize) -> String {
    format!("{}.{:02}", factor / 100, factor % 100)
}

#[test]
fn no_flood_is_amplified_and_the_document_tells_the_factor_of_a_packet_alone() {
    const ONE: usize = 100;
    let mut table = String::from(
        "| what comes | alone: packets | bytes | stream: packets | bytes | flood: packets | bytes | what leaves |\n|---|---|---|---|---|---|---|---|\n",
    );
    for kind in &KINDS {
        let alone = measure(kind, FLOOD_PER_S, 1);
        let stream = measure(kind, STREAM_PER_S, STREAM_PER_S * STREAM_S);
        let flood = measure(kind, FLOOD_PER_S, FLOOD_PER_S * FLOOD_S);
        let ([packets, bytes], [many_packets, many_bytes]) = (alone.factors(), flood.factors());
        let [stream_packets, stream_bytes] = stream.factors();
        assert!(
            stream_packets <= ONE + ONE / 20 && stream_bytes <= 2 * ONE,
            "{}: {stream_packets} {stream_bytes}",
            kind.what
        );
        assert!(
            many_packets <= ONE && many_bytes <= ONE,
            "{}: {many_packets} {many_bytes}",
            kind.what
        );
        if kind.what.starts_with("IPv4") {
            assert!(
                packets <= ONE && bytes <= ONE,
                "{}: {packets} {bytes}",
                kind.what
            );
        }
        // four bubbles, and an error.
        assert!(packets <= 5 * ONE, "{}", kind.what);
        let left = alone
            .what_left
            .iter()
            .map(|(what, count)| format!("{count} × {what}"))
            .collect::<Vec<_>>()
            .join(", ");
        let [packets, bytes] = [packets, bytes].map(hundredths);
        let [stream_packets, stream_bytes] = [stream_packets, stream_bytes].map(hundredths);
        let [many_packets, many_bytes] = [many_packets, many_bytes].map(hundredths);
        let left = if left.is_empty() { "nothing" } else { &left };
        writeln!(
            table,
            "| {} | {packets} | {bytes} | {stream_packets} | {stream_bytes} | {many_packets} | {many_bytes} | {left} |",
            kind.what
        )
        .unwrap();
    }
    document::assert_block("amplification", &table);
}

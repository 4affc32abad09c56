//! Cases from a seed: peers, and frames aimed at each rule of PROTOCOL 3.2 and 3.4.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use crate::case::{Answer, Case, POLICIES, Patch, Peer, Policy, Port, Program, Rules, Step};
use crate::mutate::{Odd, mutate};
use crate::packets::{frame, headers, ipv6, trailers, udp4};
use crate::random::Random;

/// Where clients' NATs may be under every policy.
pub(crate) const GLOBAL: [u32; 4] = [0x5db8_d822, 0x0808_0808, 0x0101_0101, 0x5db8_d823];
/// 198.51.100.x: by what the route says. Opened by all policies but one.
pub(crate) const LAB_HOSTS: [u32; 16] = [
    7, 7, 7, 7, 8, 65, 97, 129, 145, 161, 177, 193, 193, 209, 225, 241,
];
/// Addresses nothing may be sent to, at least not by every relay.
pub(crate) const FORBIDDEN: [u32; 16] = [
    0x0a00_0001,
    0xc0a8_0101,
    0xe000_00fd,
    0xffff_ffff,
    0x0001_0203,
    0x6440_0001,
    0x7f00_0001,
    0xa9fe_0101,
    0xc058_6301,
    0xac10_0001,
    0xf000_0001,
    0xc612_0001,
    0xcb00_7109,
    0xc633_6409,
    0x0808_0404,
    0x0808_04ff,
];
/// Teredo servers.
const SERVERS: [u32; 3] = [0xc000_0201, 0x5db8_0001, 0x0202_0202];

/// Native hosts, by what the route to them says; the first ones have plain routes.
const HOSTS: [u16; 14] = [
    0, 0, 0, 0, 0x37, 0x10, 0x20, 0x30, 0x31, 0x33, 0x34, 0x35, 0x36, 1,
];

/// Who takes part in a case.
struct Cast<'a> {
    random: &'a mut Random,
    rules: Rules,
    policy: Policy,
    peers: Vec<Peer>,
    /// A client the relay has not heard of.
    stranger: [u8; 16],
}

/// The case of that number for one of `programs`.
pub(crate) fn case(random: &mut Random, programs: &[Program]) -> Case {
    let program = random.pick(programs);
    let policy = match random.below(10) {
        0..=4 => Policy::Lab,
        5 | 6 => Policy::Strict,
        _ => random.pick(&POLICIES),
    };
    let mut cast = Cast {
        rules: Rules::of(program, policy),
        policy,
        peers: Vec::new(),
        stranger: [0; 16],
        random,
    };
    cast.stranger = cast.client_address();
    for _ in 0..cast.random.below(3) {
        let peer = cast.peer();
        cast.peers.push(peer);
    }
    let steps = if cast.random.one_in(8) {
        cast.handshake()
    } else {
        (0..=cast.random.below(3)).map(|_| cast.step()).collect()
    };
    Case {
        program,
        policy,
        peers: cast.peers,
        steps,
    }
}

impl Cast<'_> {
    fn nat(&mut self) -> u32 {
        if self.policy == Policy::Strict || self.random.one_in(4) {
            self.random.pick(&GLOBAL)
        } else {
            0xc633_6400 | self.random.pick(&LAB_HOSTS)
        }
    }

    fn mapping(&mut self) -> (u32, u16) {
        (self.nat(), self.random.word().max(1))
    }

    fn client_address(&mut self) -> [u8; 16] {
        let server = self
            .random
            .pick(&SERVERS[usize::from(self.policy == Policy::Strict)..]);
        let flags = match self.random.below(4) {
            0 => 0,
            1 => 0x8000,
            2 => 0x2093,
            _ => self.random.word(),
        };
        let mapping = self.mapping();
        teredo(server, flags, mapping)
    }

    fn peer(&mut self) -> Peer {
        let address = self.client_address();
        let (ip, port) = if self.random.one_in(3) {
            self.mapping()
        } else {
            client(&address)
        };
        let age_ticks = match self.random.below(8) {
            0 => 72 + self.random.below(5),
            1 => 109 + self.random.below(5),
            2 => self.random.below(220),
            3 => 75 + self.random.below(34),
            _ => self.random.below(72),
        };
        Peer {
            address: Ipv6Addr::from(address),
            mapped: SocketAddrV4::new(Ipv4Addr::from(ip), port),
            age_ticks: age_ticks as u64,
        }
    }

    /// Somebody of 2001::/32 and where he is: a peer, most of the time.
    fn somebody(&mut self) -> ([u8; 16], (u32, u16)) {
        if self.peers.is_empty() || self.random.one_in(8) {
            return (self.stranger, client(&self.stranger));
        }
        let at = self.random.below(self.peers.len());
        let peer = &self.peers[at];
        let mapped = (u32::from(*peer.mapped.ip()), peer.mapped.port());
        (peer.address.octets(), mapped)
    }

    /// A native address: of a host, most of the time.
    fn host(&mut self) -> [u8; 16] {
        let subnet = self.random.pick(&HOSTS);
        let last = u16::from(self.random.byte()) | 0x80;
        match self.random.below(24) {
            0 => [&[0x2a], &self.random.bytes(15)[..]]
                .concat()
                .try_into()
                .expect("16 bytes"),
            // The port's own.
            1 => Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2).octets(),
            2 | 3 => self.odd_address(),
            _ => Ipv6Addr::new(0x2001, 0xdb8, subnet, 0, 0, 0, 0, last).octets(),
        }
    }

    fn inner(&mut self, ends: ([u8; 16], [u8; 16])) -> Vec<u8> {
        let first = match self.random.below(3) {
            0 => [0x60, 0, 0, 0],
            _ => [
                0x60 | self.random.byte() & 15,
                self.random.byte(),
                self.random.byte(),
                self.random.byte(),
            ],
        };
        let hop_limit = match self.random.below(16) {
            0 => 0,
            1 => 1,
            2 => 2,
            _ => 1 + self.random.byte() % 255,
        };
        let next = self
            .random
            .pick(&[6, 6, 17, 17, 17, 58, 58, 59, 0, 43, 44, 60, 50, 4]);
        let len = match self.random.below(24) {
            0 => self.rules.mtu - 43 + self.random.below(6),
            1 => self.rules.mtu + self.random.below(80),
            2 => self.random.below(1300),
            3 => 0,
            4 => 1440 - self.random.below(80),
            _ => self.random.below(64),
        };
        let mut payload = self.random.bytes(len);
        if let (58, Some(kind)) = (next, payload.first_mut()) {
            *kind = self.random.pick(&[128, 129, 1, 3, 137, 135]);
        }
        if let (0 | 43 | 60, true) = (next, len >= 16) {
            payload[0] = self.random.pick(&[43, 0, 60, 58, 6, 44]);
            payload[1] = self.random.pick(&[0, 0, 1, 40]);
            payload[2] = self.random.pick(&[0, 0, 4]);
            payload[8] = self.random.pick(&[43, 6, 58]);
            payload[10] = self.random.pick(&[0, 3]);
        }
        ipv6(ends, first, next, hop_limit, &payload)
    }

    fn bubble(&mut self, ends: ([u8; 16], [u8; 16])) -> Vec<u8> {
        let hop_limit = self.random.pick(&[0, 0, 1, 64, 255]);
        ipv6(ends, [0x60, 0, 0, 0], 59, hop_limit, &[])
    }

    fn step(&mut self) -> Step {
        let (client, mapped) = self.somebody();
        let host = self.host();
        let (packet, port) = match self.random.below(20) {
            0..=8 => (self.inner((host, client)), Port::Lan),
            9 => (self.bubble((host, client)), Port::Lan),
            number => {
                let inner = match number {
                    10 | 11 => {
                        let to = match self.random.below(3) {
                            0 => host,
                            _ => self.odd_address(),
                        };
                        self.bubble((client, to))
                    }
                    _ => self.inner((client, host)),
                };
                let from = match self.random.below(16) {
                    0 => self.mapping(),
                    1 => self::client(&client),
                    2 => (self.random.pick(&FORBIDDEN), self.random.word()),
                    3 => self.rules.service,
                    4 => (mapped.0, self.random.pick(&[0, 1, 3544])),
                    _ => mapped,
                };
                let mut payload = [headers(self.random), inner, trailers(self.random)].concat();
                if self.random.one_in(24) {
                    payload.truncate(self.random.below(70));
                }
                let tos = self.random.byte();
                (udp4(from, self.rules.service, tos, &payload), Port::Wan)
            }
        };
        let port = if self.random.one_in(8) {
            self.random.pick(&[Port::Wan, Port::Lan])
        } else {
            port
        };
        let (mut frame, at) = frame(self.random, &packet);
        if self.random.one_in(6) {
            let padding = self.random.below(20);
            let bytes = self.random.bytes(padding);
            frame.extend(bytes);
        }
        if self.random.one_in(3) {
            mutate(self, &mut frame, at);
        }
        Step {
            port,
            frame,
            patches: Vec::new(),
        }
    }

    /// A packet for somebody unknown, the answer to the bubble it makes, and data both ways.
    fn handshake(&mut self) -> Vec<Step> {
        let (client, host) = (self.stranger, self.host());
        let mapped = match self.random.below(3) {
            0 => self.mapping(),
            _ => self::client(&client),
        };
        let mut steps = Vec::new();
        for _ in 0..=self.random.below(2) {
            let packet = self.inner((host, client));
            steps.push(self.plain(Port::Lan, &packet));
        }
        steps.push(self.answer(client, mapped));
        let packet = self.inner((host, client));
        steps.push(self.plain(Port::Lan, &packet));
        let packet = self.inner((client, host));
        let datagram = udp4(mapped, self.rules.service, 0, &packet);
        steps.push(self.plain(Port::Wan, &datagram));
        steps
    }

    fn plain(&mut self, port: Port, packet: &[u8]) -> Step {
        let (frame, _) = frame(self.random, packet);
        Step {
            port,
            frame,
            patches: Vec::new(),
        }
    }

    /// A bubble to the cookie, or with the nonce, or neither.
    fn answer(&mut self, client: [u8; 16], mapped: (u32, u16)) -> Step {
        let mut to = [0; 16];
        to[..2].copy_from_slice(&[0xfe, 0x80]);
        let mut payload = self.bubble((client, to));
        payload.extend([1, 4, 0, 0, 0, 0]);
        let mut datagram = udp4(mapped, self.rules.service, 0, &payload);
        // What is patched in later would make it wrong.
        datagram[26..28].fill(0);
        let mut step = self.plain(Port::Wan, &datagram);
        let inner_at = step.frame.len() - payload.len();
        for (at, answer) in [(24, Answer::Cookie), (42, Answer::Nonce)] {
            if self.random.one_in(2) {
                step.patches.push(Patch {
                    at: inner_at + at,
                    answer,
                    peer: Ipv6Addr::from(client),
                });
            }
        }
        step
    }
}

impl Odd for Cast<'_> {
    fn random(&mut self) -> &mut Random {
        self.random
    }

    fn odd_address(&mut self) -> [u8; 16] {
        let tail = self.random.bytes(16);
        let with = |front: &[u8]| -> [u8; 16] {
            let mut address: [u8; 16] = tail[..].try_into().expect("16 bytes");
            address[..front.len()].copy_from_slice(front);
            address
        };
        let ip = match self.random.below(3) {
            0 => self.nat(),
            _ => self.random.pick(&FORBIDDEN),
        };
        let [a, b, c, d] = ip.to_be_bytes();
        let server = self.random.pick(&SERVERS);
        let isatap = |front: [u8; 8], u: u8| -> [u8; 16] {
            [&front[..], &[u, 0, 0x5e, 0xfe, a, b, c, d]]
                .concat()
                .try_into()
                .expect("16 bytes")
        };
        match self.random.below(20) {
            0 => [0; 16],
            1 => Ipv6Addr::LOCALHOST.octets(),
            2 => with(&[0xff, 2]),
            3 => with(&[0xfe, 0x80]),
            4 => with(&[0xfe, 0xbf]),
            5 => with(&[0xfe, 0xc0]),
            6 => Ipv4Addr::from(ip).to_ipv6_mapped().octets(),
            7 => Ipv6Addr::from_bits(ip.into()).octets(),
            8 => with(&[0x20, 0x02, a, b, c, d]),
            9 => isatap([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 9], 0),
            10 => isatap([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 9], 2),
            11 => isatap([0xfc, 0, 0, 0, 0, 0, 0, 9], 2),
            12 => with(&[0x20, 0x01, 0, 0]),
            13 => with(&[0x20, 0x01, 0, 1]),
            14 => teredo(server, self.random.word(), (ip, self.random.word())),
            15 => teredo(ip, self.random.word(), self.mapping()),
            16 => teredo(server, self.random.word(), (self.nat(), 0)),
            17 => with(&[0xfd]),
            18 => with(&[0x40]),
            _ => self.somebody().0,
        }
    }
}

/// A Teredo address by its parts (1.1).
pub(crate) fn teredo(server: u32, flags: u16, (ip, port): (u32, u16)) -> [u8; 16] {
    let parts: [&[u8]; 5] = [
        &[0x20, 0x01, 0, 0],
        &server.to_be_bytes(),
        &flags.to_be_bytes(),
        &(!port).to_be_bytes(),
        &(!ip).to_be_bytes(),
    ];
    parts.concat().try_into().expect("16 bytes")
}

/// The mapping in a Teredo address.
pub(crate) fn client(a: &[u8; 16]) -> (u32, u16) {
    let ip = u32::from_be_bytes([a[12], a[13], a[14], a[15]]);
    (!ip, !u16::from_be_bytes([a[10], a[11]]))
}

//! Cases from a seed: datagrams aimed at each rule of PROTOCOL 4.

use super::case::{Case, Program, RELAY_PORT};
use crate::case::{Port, Step};
use crate::generate::{FORBIDDEN, GLOBAL, LAB_HOSTS, client, teredo};
use crate::mutate::{Odd, mutate};
use crate::packets::{frame, headers, ipv6, trailers, udp4};
use crate::random::Random;
use crate::reference::server::{CREDENTIALS, Rules, SERVER_PORT, value};

/// ff02::2.
const ALL_ROUTERS: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
/// Servers of other clients.
const OTHER_SERVERS: [u32; 2] = [0xc000_0232, 0x0808_0101];

/// Who takes part in a case.
struct Cast<'a> {
    random: &'a mut Random,
    program: Program,
    rules: Rules,
    /// Clients of this server, most of them.
    clients: [[u8; 16]; 3],
}

/// The case of that number for one of `programs`.
pub(crate) fn case(random: &mut Random, programs: &[Program]) -> Case {
    let program = random.pick(programs);
    let mut cast = Cast {
        rules: program.rules(),
        program,
        clients: [[0; 16]; 3],
        random,
    };
    cast.clients = [(); 3].map(|()| cast.client_address());
    let steps = match program {
        Program::Scarce => 3 + cast.random.below(6),
        _ => 1 + cast.random.below(3),
    };
    Case {
        program,
        steps: (0..steps).map(|_| cast.step()).collect(),
    }
}

impl Cast<'_> {
    fn nat(&mut self) -> u32 {
        if self.program == Program::Strict || self.random.one_in(4) {
            self.random.pick(&GLOBAL)
        } else {
            0xc633_6400 | self.random.pick(&LAB_HOSTS)
        }
    }

    fn client_address(&mut self) -> [u8; 16] {
        let server = match self.random.below(8) {
            0 => self.random.pick(&OTHER_SERVERS),
            1 => self.rules.secondary,
            _ => self.rules.primary,
        };
        let flags = self.random.pick(&[0, 0x8000, 0x2093, 0x3cff]);
        let mapping = (self.nat(), self.random.word().max(1));
        teredo(server, flags, mapping)
    }

    /// A client, and often the same ones where buckets are small.
    fn somebody(&mut self) -> [u8; 16] {
        let one_of_two = self.random.below(2);
        if self.program == Program::Scarce && !self.random.one_in(4) {
            return self.clients[one_of_two];
        }
        self.random.pick(&self.clients)
    }

    fn server_address(&mut self) -> u32 {
        self.random
            .pick(&[self.rules.primary, self.rules.secondary])
    }

    /// The server's link-local address.
    fn link_local(&self) -> [u8; 16] {
        let mut address = [
            0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x80, 0, 0xf2, 0x27, 0, 0, 0, 0,
        ];
        address[12..].copy_from_slice(&(!self.rules.primary).to_be_bytes());
        address
    }

    fn host(&mut self) -> [u8; 16] {
        let mut address = [
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80,
        ];
        address[15] = self.random.byte();
        address
    }

    /// Source of what is said from `client`: his own, or that of a relay or host.
    fn source(&mut self, client: [u8; 16]) -> [u8; 16] {
        match self.random.below(12) {
            0 => self.host(),
            1 | 2 => {
                let mut cookie = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                cookie[8..].copy_from_slice(&self.random.bytes(8));
                cookie
            }
            3 => self.odd_address(),
            _ => client,
        }
    }

    fn destination(&mut self) -> [u8; 16] {
        match self.random.below(16) {
            0 | 1 => self.odd_address(),
            2..=4 => self.host(),
            5 => self.random.pick(&[ALL_ROUTERS, self.link_local()]),
            _ => self.somebody(),
        }
    }

    /// 2.6, and what is nearly one.
    fn solicitation(&mut self) -> Vec<u8> {
        let mut source = *b"\xfe\x80\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff";
        match self.random.below(8) {
            0 | 1 => source[8..].copy_from_slice(b"\x80\0TEREDO"),
            2 => source[8..].copy_from_slice(b"\0\0TEREDO"),
            3 => source[8..].copy_from_slice(&self.random.bytes(8)),
            _ => {}
        }
        if self.random.one_in(16) {
            source[1] = self.random.pick(&[0xbf, 0xc0, 0x7f, 0x90]);
        }
        let mut message = vec![133, 0, 0, 0, 0, 0, 0, 0];
        if self.random.one_in(16) {
            message[0] = self.random.pick(&[134, 128, 132, 135]);
        }
        if self.random.one_in(16) {
            let at = self.random.pick(&[1, 4, 7]);
            message[at] = self.random.byte();
        }
        if self.random.one_in(12) {
            let len = self.random.pick(&[8, 16, 24, 7, 1]);
            let mut options = self.random.bytes(len);
            if let Some(length) = options.get_mut(1) {
                *length = self.random.pick(&[0, 1, 1, 1, 2]);
            }
            message.extend(options);
        }
        if self.random.one_in(24) {
            let len = self.random.below(9);
            message.truncate(len);
        }
        let hop_limit = match self.random.below(16) {
            0 => self.random.pick(&[0, 1, 64, 254]),
            _ => 255,
        };
        let to = match self.random.below(16) {
            0 => self.link_local(),
            _ => ALL_ROUTERS,
        };
        let mut packet = ipv6((source, to), [0x60, 0, 0, 0], 58, hop_limit, &message);
        if self.random.one_in(16) {
            let at = 32 + self.random.below(packet.len() - 32);
            packet[at] ^= self.random.byte();
        }
        packet
    }

    /// Authentication header of a solicitation, its value right unless somebody errs.
    fn authentication(&mut self, origin: &[u8], packet: &[u8]) -> Vec<u8> {
        let mut end = self.random.bytes(9);
        if !self.random.one_in(4) {
            end[8] = 0;
        }
        let is_plain = match self.program {
            Program::Strict => self.random.one_in(3),
            _ => !self.random.one_in(6),
        };
        if is_plain {
            return [&[0, 1, 0, 0][..], &end].concat();
        }
        let (id, secret, _) = self.random.pick(&CREDENTIALS);
        let mut value = value(secret, &[&end, origin, packet]);
        let mut id = id.to_vec();
        match self.random.below(12) {
            0 => id[0] ^= 1,
            1 => id.clear(),
            2 => value[self.random.below(20)] ^= 1,
            3 => value.truncate(self.random.below(20)),
            4 => end[self.random.below(9)] ^= 1,
            _ => {}
        }
        let lens = [id.len(), value.len()].map(|len| len.to_le_bytes()[0]);
        [&[0, 1], &lens[..], &id, &value, &end].concat()
    }

    fn message(&mut self, ends: ([u8; 16], [u8; 16])) -> Vec<u8> {
        let next = match self.random.below(12) {
            0 => self.random.pick(&[6, 17, 44, 0, 59]),
            _ => 58,
        };
        let len = match self.random.below(12) {
            0 => self.random.below(9),
            1 => 86 + self.random.below(6),
            2 => self.random.below(600),
            _ => 8 + self.random.below(81),
        };
        let mut payload = self.random.bytes(len);
        if let Some(kind) = payload.first_mut() {
            *kind = match self.random.below(4) {
                0 => 130 + self.random.byte() % 10,
                1 => self.random.pick(&[1, 2, 3, 4, 127, 255]),
                _ => self.random.pick(&[128, 128, 129]),
            };
        }
        let hop_limit = self.random.pick(&[0, 1, 2, 64, 128, 255]);
        ipv6(ends, [0x60, 0, 0, 0], next, hop_limit, &payload)
    }

    /// What stands behind the packet: trailers, and what is no trailer.
    fn tail(&mut self) -> Vec<u8> {
        match self.random.below(16) {
            0 => {
                let len = 80 + self.random.below(16);
                self.random.bytes(len)
            }
            1 => {
                let len = self.random.below(400);
                self.random.bytes(len)
            }
            _ => trailers(self.random),
        }
    }

    fn payload(&mut self, from: [u8; 16]) -> Vec<u8> {
        let is_solicitation = self.random.one_in(3);
        let packet = if is_solicitation {
            self.solicitation()
        } else {
            let ends = (self.source(from), self.destination());
            if self.random.one_in(2) {
                let hop_limit = self.random.pick(&[0, 0, 1, 64]);
                ipv6(ends, [0x60, 0, 0, 0], 59, hop_limit, &[])
            } else {
                self.message(ends)
            }
        };
        let is_plain_solicitation = is_solicitation && !self.random.one_in(6);
        let (origin, tail) = if is_plain_solicitation {
            (Vec::new(), Vec::new())
        } else if self.random.one_in(6) {
            let origin = [&[0, 0][..], &self.random.bytes(6)].concat();
            (origin, self.tail())
        } else {
            (Vec::new(), self.tail())
        };
        let has_auth = if is_solicitation {
            !self.random.one_in(3)
        } else {
            self.random.one_in(6)
        };
        let auth = if has_auth {
            self.authentication(&origin, &packet)
        } else {
            headers(self.random)
        };
        let mut payload = [auth, origin, packet, tail].concat();
        if self.random.one_in(16) {
            // Where a header begins or ends, and anywhere.
            let edge = self.random.pick(&[0, 8, 13, 21]) + self.random.pick(&[0, 1, 2, 3, 4, 40]);
            let keep = self.random.below(90);
            payload.truncate(self.random.pick(&[edge, keep]));
        }
        payload
    }

    fn step(&mut self) -> Step {
        let sender = self.somebody();
        let mapped = client(&sender);
        let from = match self.random.below(24) {
            0 => (self.nat(), self.random.word()),
            1 => (self.random.pick(&FORBIDDEN), self.random.word()),
            2 => {
                let port = self.random.pick(&[0, SERVER_PORT, 40000]);
                (self.server_address(), port)
            }
            3 => (mapped.0, self.random.pick(&[0, 1, SERVER_PORT])),
            _ => mapped,
        };
        let port = match self.random.below(24) {
            0 => self.random.pick(&[RELAY_PORT, 53, 0]),
            _ => SERVER_PORT,
        };
        let to = (self.server_address(), port);
        let payload = self.payload(sender);
        let tos = self.random.byte();
        let mut packet = udp4(from, to, tos, &payload);
        if self.random.one_in(8) {
            packet[26..28].fill(0);
        }
        let (mut frame, at) = frame(self.random, &packet);
        if self.random.one_in(6) {
            let padding = self.random.below(20);
            let bytes = self.random.bytes(padding);
            frame.extend(bytes);
        }
        if self.random.one_in(4) {
            mutate(self, &mut frame, at);
        }
        Step {
            port: self
                .random
                .pick(&[Port::Wan, Port::Wan, Port::Wan, Port::Lan]),
            frame,
            patches: Vec::new(),
        }
    }
}

impl Odd for Cast<'_> {
    fn random(&mut self) -> &mut Random {
        self.random
    }

    fn odd_address(&mut self) -> [u8; 16] {
        let primary = self.rules.primary;
        let ip = match self.random.below(4) {
            0 => self.nat(),
            1 => self.server_address(),
            _ => self.random.pick(&FORBIDDEN),
        };
        let port = self.random.pick(&[0, 1, SERVER_PORT, 40000]);
        let mut any: [u8; 16] = self.random.bytes(16).try_into().expect("16 bytes");
        match self.random.below(16) {
            0..=3 => teredo(primary, self.random.word(), (ip, port)),
            4 => teredo(ip, self.random.word(), (self.nat(), port)),
            5 => self.somebody(),
            6 => {
                any[..2].copy_from_slice(&[0x20, 0x02]);
                any[2..6].copy_from_slice(&ip.to_be_bytes());
                any
            }
            7 => {
                let mut address = self.host();
                address[8..12].copy_from_slice(&[self.random.pick(&[0, 2]), 0, 0x5e, 0xfe]);
                address[12..].copy_from_slice(&ip.to_be_bytes());
                address
            }
            8 => [0; 16],
            9 => {
                let mut address = [0; 16];
                address[15] = 1;
                address
            }
            10 => {
                let mut address = [0; 16];
                address[10..12].fill(self.random.pick(&[0, 0xff]));
                address[12..].copy_from_slice(&ip.to_be_bytes());
                address
            }
            11 => ALL_ROUTERS,
            12 => self.link_local(),
            _ => {
                any[..2].copy_from_slice(&self.random.pick(&[
                    [0xff, 0x02],
                    [0xff, 0x0e],
                    [0xfe, 0x80],
                    [0xfe, 0xbf],
                    [0xfe, 0xc0],
                    [0xfd, 0],
                    [0x40, 0],
                    [0x20, 0x01],
                    [0x3f, 0xfe],
                ]));
                any
            }
        }
    }
}

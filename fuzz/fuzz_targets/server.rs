//! Datagrams from anybody to a server: at most one answer each, to a host of the internet, and one that says what came.
#![no_main]

use std::net::{Ipv4Addr, SocketAddrV4};

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use teredo::addr::{ServerV4, TeredoAddr, is_global_unicast};
use teredo::server::{Command, Config, KeyState, Local, Server};
use teredo::wire::rs_ra::{ALL_ROUTERS, CONE_SOURCE, RESTRICTED_SOURCE, RouterSolicitation};
use teredo::wire::{ipv6, payload};
use teredo::{Fate, Instant};

const PRIMARY: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 1);
const SECONDARY: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 2);

/// One datagram.
#[derive(Arbitrary, Debug)]
struct Datagram<'a> {
    is_at_secondary: bool,
    source: u8,
    port: u16,
    waited_ms: u16,
    what: What,
    /// All of it, or what stands before the packet.
    bytes: &'a [u8],
    tail: &'a [u8],
}

/// What is behind the bytes.
#[derive(Arbitrary, Debug)]
enum What {
    Nothing,
    Solicitation {
        is_cone: bool,
    },
    /// From the outer source, or from a relay, to a client.
    Packet {
        is_from_client: bool,
        next_header: u8,
        hop_limit: u8,
        to: u8,
        to_port: u16,
        kind: u8,
        len: u8,
    },
}

/// Hosts of the internet first, then what must never be sent to.
fn ip(choice: u8) -> Ipv4Addr {
    match choice % 8 {
        0 => PRIMARY,
        1 => SECONDARY,
        2 => Ipv4Addr::new(10, 1, 2, 3),
        3 => Ipv4Addr::new(224, 0, 0, 1),
        n => Ipv4Addr::new(8, 1, 2, n),
    }
}

impl Datagram<'_> {
    fn source(&self) -> SocketAddrV4 {
        SocketAddrV4::new(ip(self.source), self.port)
    }

    fn payload(&self) -> Vec<u8> {
        let client =
            |mapped: SocketAddrV4| TeredoAddr::new(ServerV4(PRIMARY), 0, mapped.into()).octets();
        let packet = match self.what {
            What::Nothing => Vec::new(),
            What::Solicitation { is_cone } => {
                let source = if is_cone {
                    CONE_SOURCE
                } else {
                    RESTRICTED_SOURCE
                };
                RouterSolicitation { source }.build()
            }
            What::Packet {
                is_from_client,
                next_header,
                hop_limit,
                to,
                to_port,
                kind,
                len,
            } => {
                let source = if is_from_client {
                    client(self.source())
                } else {
                    CONE_SOURCE
                };
                let destination = match to {
                    0 => ALL_ROUTERS,
                    1 => [0x2a; 16],
                    _ => client(SocketAddrV4::new(ip(to), to_port)),
                };
                let mut packet = vec![0x60, 0, 0, 0, 0, len, next_header, hop_limit];
                packet.extend_from_slice(&source);
                packet.extend_from_slice(&destination);
                packet.resize(40 + usize::from(len), kind);
                packet
            }
        };
        [self.bytes, &packet, self.tail].concat()
    }
}

fuzz_target!(|datagrams: Vec<Datagram>| {
    let mut config = Config::new(PRIMARY);
    assert_eq!(config.secondary, SECONDARY);
    config.limits.tracked_addresses = 4;
    config
        .credentials
        .insert(b"a", b"secret", KeyState::Retired)
        .expect("an identifier and a secret");
    let mut server = Server::new(config, [7; 32]);
    let mut now_ms = 0;
    for datagram in &datagrams {
        now_ms += u64::from(datagram.waited_ms);
        let local = if datagram.is_at_secondary {
            Local::Secondary
        } else {
            Local::Primary
        };
        let payload = datagram.payload();
        let now = Instant::from_nanos(now_ms * 1_000_000);
        let (fate, command) = server.receive(now, local, datagram.source(), &payload);
        match command {
            None => {}
            Some(Command::SendUdp {
                to, payload: sent, ..
            }) => {
                assert!(is_global_unicast(to.ip) && to.port != 0);
                let answer = payload::parse(sent).expect("we built it");
                if fate == Fate::Advertised {
                    assert_eq!(SocketAddrV4::from(to), datagram.source());
                } else {
                    assert!(to.ip != PRIMARY && to.ip != SECONDARY);
                    assert!(sent.len() <= payload.len() + 8);
                    let asked = payload::parse(&payload).expect("it was forwarded");
                    assert_eq!((answer.packet, answer.tail), (asked.packet, asked.tail));
                }
            }
            Some(Command::Forward { packet }) => {
                let (header, ..) = ipv6::parse(packet).expect("it was forwarded");
                assert_eq!(header.next_header, ipv6::ICMP6);
                assert!(packet.len() <= 128 && header.hop_limit > 0);
            }
        }
    }
    assert_eq!(server.tally().total().packets, datagrams.len() as u64);
    let gauges = server.gauges();
    assert!(gauges.source_buckets <= 4 && gauges.target_buckets <= 4);
});

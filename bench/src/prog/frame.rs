//! The frames that are measured.

use std::net::{Ipv4Addr, Ipv6Addr};

use relay_user::datapath::{ServerLimits, ServerRole};
use teredo::addr::{Mapped, SERVER_PORT, ServerV4, TeredoAddr};
use teredo::wire::checksum;
use teredo::wire::ipv6::{self, Ipv6Header};
use teredo::wire::rs_ra::{self, RouterSolicitation};
use zerocopy::IntoBytes as _;

use super::companion::Direction;

/// The service socket.
pub(super) const SERVICE: Mapped = Mapped {
    ip: Ipv4Addr::new(203, 0, 113, 9),
    port: 3545,
};
/// MAC address of the ports.
const PORT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// MAC address of the next hops.
const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

const NATIVE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
const SERVER: ServerV4 = ServerV4(Ipv4Addr::new(192, 0, 2, 1));
/// Of a whole inner packet where the case does not say: 56 bytes of data in UDP.
const USUAL_LEN: usize = 104;

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const ARP: [u8; 2] = [0x08, 0x06];

/// What an inner packet carries.
#[derive(Clone, Copy)]
pub(super) enum Protocol {
    Tcp,
    Udp,
    Icmp6,
}

/// The address of peer number `peer`: what the companion program makes of the same number.
pub(super) fn client(peer: u32) -> TeredoAddr {
    TeredoAddr::new(SERVER, 0, mapped(peer))
}

/// Where that peer is.
pub(super) fn mapped(peer: u32) -> Mapped {
    const BASE: u32 = u32::from_be_bytes([10, 64, 0x80, 0]);
    let step = peer >> 15;
    let [.., high, low] = (0x8000 | peer & 0x7fff).to_be_bytes();
    Mapped {
        ip: Ipv4Addr::from_bits(BASE + (step << 16) - step),
        port: u16::from_be_bytes([high, low]),
    }
}

/// The frame most cases are measured with.
pub(super) fn usual(direction: Direction) -> Vec<u8> {
    carried(direction, Protocol::Udp, USUAL_LEN)
}

/// A frame to or from peer 0 with an inner packet of `len` bytes.
pub(super) fn carried(direction: Direction, protocol: Protocol, len: usize) -> Vec<u8> {
    let peer = client(0).into();
    match direction {
        Direction::Encap => ethernet(IPV6, &inner(NATIVE, peer, protocol, len)),
        Direction::Decap => {
            let packet = inner(peer, NATIVE, protocol, len);
            ethernet(IPV4, &udp4(mapped(0), SERVICE, &packet))
        }
        Direction::ToServer => bubble(),
    }
}

/// The server beside the relay.
pub(super) fn server() -> ServerRole {
    ServerRole {
        primary: SERVER.0,
        secondary: Ipv4Addr::new(192, 0, 2, 2),
        require_credentials: false,
        allow_non_global: Vec::new(),
        // Never reached: what is measured is asking.
        limits: ServerLimits {
            source_per_s: u32::MAX,
            source_burst: u32::MAX,
            target_per_s: u32::MAX,
            target_burst: u32::MAX,
        },
    }
}

/// Where sender number `sender` of packets to the server is: a peer's address made global, as the companion makes it.
fn sender(sender: u32) -> Mapped {
    const GLOBAL: u32 = u32::from_be_bytes([30, 0, 0, 0]);
    let Mapped { ip, port } = mapped(sender);
    Mapped {
        ip: Ipv4Addr::from_bits(ip.to_bits() + GLOBAL),
        port,
    }
}

/// A solicitation of sender 0, without authentication header.
pub(super) fn solicitation() -> Vec<u8> {
    let source = rs_ra::RESTRICTED_SOURCE;
    to_server(&RouterSolicitation { source }.build())
}

/// A bubble of sender 0 to sender 1, with a trailer of eight bytes.
pub(super) fn bubble() -> Vec<u8> {
    const TRAILER: [u8; 8] = [0x82, 6, 0, 0, 0, 0, 0, 0];
    let [source, destination] = [0, 1].map(|i| TeredoAddr::new(SERVER, 0, sender(i)).octets());
    let header = Ipv6Header::new(source, destination, ipv6::NO_NEXT_HEADER, 0, 0);
    to_server(&[header.as_bytes(), &TRAILER].concat())
}

/// From sender 0 to the server, with a right UDP checksum.
fn to_server(data: &[u8]) -> Vec<u8> {
    let server = Mapped {
        ip: SERVER.0,
        port: SERVER_PORT,
    };
    let mut packet = udp4(sender(0), server, data);
    let checksum = checksum::udp_over_ipv4(sender(0).ip, server.ip, &packet[20..]);
    packet[26..28].copy_from_slice(&checksum::as_udp_field(checksum).to_be_bytes());
    ethernet(IPV4, &packet)
}

/// To a client nobody knows.
pub(super) fn to_stranger() -> Vec<u8> {
    let stranger = TeredoAddr::new(SERVER, 0x2093, mapped(0));
    ethernet(
        IPV6,
        &inner(NATIVE, stranger.into(), Protocol::Udp, USUAL_LEN),
    )
}

/// To the service port, from a source that is no Teredo address.
pub(super) fn not_from_teredo() -> Vec<u8> {
    let neighbour = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
    let packet = inner(neighbour, NATIVE, Protocol::Udp, USUAL_LEN);
    ethernet(IPV4, &udp4(mapped(0), SERVICE, &packet))
}

/// Native IPv6 that is none of the relay's business.
pub(super) fn foreign_ipv6() -> Vec<u8> {
    let neighbour = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
    ethernet(IPV6, &inner(NATIVE, neighbour, Protocol::Udp, USUAL_LEN))
}

/// An answer to a question of this machine's resolver.
pub(super) fn foreign_ipv4() -> Vec<u8> {
    let resolver = Mapped {
        ip: Ipv4Addr::new(198, 51, 100, 53),
        port: 53,
    };
    let question = Mapped {
        port: 50_000,
        ..SERVICE
    };
    ethernet(IPV4, &udp4(resolver, question, &[0; 56]))
}

/// A neighbour's question for this machine's MAC address, padded to the least an Ethernet carries.
pub(super) fn foreign_arp() -> Vec<u8> {
    let mut request = vec![0, 1, 8, 0, 6, 4, 0, 1];
    request.extend(GATEWAY_MAC);
    request.extend([203, 0, 113, 1]);
    request.extend([0; 6]);
    request.extend(SERVICE.ip.octets());
    request.resize(46, 0);
    ethernet(ARP, &request)
}

fn ethernet(ethertype: [u8; 2], packet: &[u8]) -> Vec<u8> {
    [&PORT_MAC[..], &GATEWAY_MAC, &ethertype, packet].concat()
}

/// An IPv6 packet of `len` bytes in all. Its transport checksum is right, until the companion puts in another peer;
/// nobody here looks at it.
fn inner(source: Ipv6Addr, destination: Ipv6Addr, protocol: Protocol, len: usize) -> Vec<u8> {
    let payload_len = len - ipv6::HEADER_LEN;
    let on_wire = u16::try_from(payload_len).unwrap_or(u16::MAX).to_be_bytes();
    let (next_header, checksum_at, start) = match protocol {
        // From port 0x1234 to 0x5678; an acknowledgement, 20 bytes of header.
        Protocol::Tcp => (
            ipv6::TCP,
            16,
            vec![
                0x12, 0x34, 0x56, 0x78, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff,
            ],
        ),
        Protocol::Udp => (
            ipv6::UDP,
            6,
            [&[0x12, 0x34, 0x56, 0x78][..], &on_wire].concat(),
        ),
        // An echo reply.
        Protocol::Icmp6 => (ipv6::ICMP6, 2, vec![129, 0]),
    };
    let mut payload = start;
    payload.resize(payload_len, 0);
    let (source, destination) = (source.octets(), destination.octets());
    let checksum = checksum::upper_layer(&source, &destination, next_header, &payload);
    payload[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
    let payload_len = u16::from_be_bytes(on_wire);
    let header = Ipv6Header::new(source, destination, next_header, 64, payload_len);
    [header.as_bytes(), &payload].concat()
}

fn udp4(source: Mapped, destination: Mapped, data: &[u8]) -> Vec<u8> {
    let len = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes();
    let mut header = [
        &[0x45, 0][..],
        &len(28 + data.len()),
        &[0x12, 0x34, 0, 0, 64, ipv6::UDP, 0, 0],
        &source.ip.octets(),
        &destination.ip.octets(),
    ]
    .concat();
    let checksum = checksum::ipv4_header(&header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    let ports = [source.port.to_be_bytes(), destination.port.to_be_bytes()].concat();
    [&header[..], &ports, &len(8 + data.len()), &[0, 0], data].concat()
}

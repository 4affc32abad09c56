//! The frames that are measured: 56 bytes of UDP data in IPv6.

use std::net::{Ipv4Addr, Ipv6Addr};

use teredo::addr::{Mapped, ServerV4, TeredoAddr};
use teredo::wire::checksum;
use teredo::wire::ipv6::{self, Ipv6Header};
use zerocopy::IntoBytes as _;

/// The service socket.
pub(crate) const SERVICE: Mapped = Mapped {
    ip: Ipv4Addr::new(203, 0, 113, 9),
    port: 3545,
};
/// MAC address of the ports.
pub(crate) const PORT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// MAC address of the next hops.
const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

const NATIVE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
const DATA_LEN: u16 = 56;

/// The address of peer number `peer`: what the companion program makes of the same number.
pub(crate) fn client(peer: u32) -> TeredoAddr {
    TeredoAddr::new(ServerV4(Ipv4Addr::new(192, 0, 2, 1)), 0, mapped(peer))
}

/// Where that peer is.
pub(crate) fn mapped(peer: u32) -> Mapped {
    const BASE: u32 = u32::from_be_bytes([10, 64, 0x80, 0]);
    let step = peer >> 15;
    let [.., high, low] = (0x8000 | peer & 0x7fff).to_be_bytes();
    Mapped {
        ip: Ipv4Addr::from_bits(BASE + (step << 16) - step),
        port: u16::from_be_bytes([high, low]),
    }
}

/// To a trusted peer.
pub(crate) fn to_client() -> Vec<u8> {
    ethernet([0x86, 0xdd], &udp6(NATIVE, client(0).into()))
}

/// From a trusted peer.
pub(crate) fn from_client() -> Vec<u8> {
    let inner = udp6(client(0).into(), NATIVE);
    ethernet([0x08, 0x00], &udp4(mapped(0), SERVICE, &inner))
}

/// To a client nobody knows.
pub(crate) fn to_stranger() -> Vec<u8> {
    let stranger = TeredoAddr::new(ServerV4(Ipv4Addr::new(192, 0, 2, 1)), 0x2093, mapped(0));
    ethernet([0x86, 0xdd], &udp6(NATIVE, stranger.into()))
}

/// Native IPv6 that is none of the relay's business.
pub(crate) fn foreign_ipv6() -> Vec<u8> {
    let neighbour = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
    ethernet([0x86, 0xdd], &udp6(NATIVE, neighbour))
}

/// An answer to a question of this machine's resolver.
pub(crate) fn foreign_ipv4() -> Vec<u8> {
    let resolver = Mapped {
        ip: Ipv4Addr::new(198, 51, 100, 53),
        port: 53,
    };
    let question = Mapped {
        port: 50_000,
        ..SERVICE
    };
    let data = [0; DATA_LEN as usize];
    ethernet([0x08, 0x00], &udp4(resolver, question, &data))
}

fn ethernet(ethertype: [u8; 2], packet: &[u8]) -> Vec<u8> {
    [&PORT_MAC[..], &GATEWAY_MAC, &ethertype, packet].concat()
}

/// UDP in IPv6. The checksum is there, and nobody looks whether it is right.
fn udp6(source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let len = 8 + DATA_LEN;
    let header = Ipv6Header::new(source.octets(), destination.octets(), ipv6::UDP, 64, len);
    let udp = [
        &[0x12, 0x34, 0x56, 0x78][..],
        &len.to_be_bytes(),
        &[0xab, 0xcd],
    ]
    .concat();
    [header.as_bytes(), &udp, &[0; DATA_LEN as usize]].concat()
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

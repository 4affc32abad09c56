//! Packets built byte by byte, right in everything that is not asked to be wrong.

use std::net::{Ipv4Addr, Ipv6Addr};

use lab::{Lab, RELAY_PORT};
use teredo::addr::Mapped;
use teredo::wire::checksum;
use teredo::wire::ipv6;

/// Hop limit of packets that are not about it.
pub(crate) const HOP_LIMIT: u8 = 64;
/// Port of the receiver of every UDP datagram and TCP segment.
pub(crate) const TO_PORT: u16 = 4001;
const IPV4_HEADER_LEN: usize = 20;
const UDP_HEADER_LEN: usize = 8;
const TCP_HEADER_LEN: usize = 20;
const DATA_OFFSET: u8 = 0x50;
const ACK: u8 = 0x10;

/// An IPv6 packet around `body`.
pub(crate) fn ipv6(
    next_header: u8,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    body: &[u8],
) -> Vec<u8> {
    let [high, low] = u16::try_from(body.len())
        .expect("short enough")
        .to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, high, low, next_header, HOP_LIMIT];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(body);
    packet
}

/// A UDP datagram, port 4000 to [`TO_PORT`].
pub(crate) fn udp(source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(UDP_HEADER_LEN + payload.len()).expect("short enough");
    let mut segment = [4000, TO_PORT, len, 0].map(u16::to_be_bytes).concat();
    segment.extend(payload);
    finish(ipv6::UDP, source, destination, segment, 6)
}

/// A TCP segment, port 4000 to [`TO_PORT`].
pub(crate) fn tcp(source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let mut segment = [4000, TO_PORT].map(u16::to_be_bytes).concat();
    segment.extend([
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        1,
        DATA_OFFSET,
        ACK,
        0xff,
        0xff,
        0,
        0,
        0,
        0,
    ]);
    assert_eq!(segment.len(), TCP_HEADER_LEN);
    segment.extend(payload);
    finish(ipv6::TCP, source, destination, segment, 16)
}

/// An ICMPv6 echo request.
pub(crate) fn echo(source: Ipv6Addr, destination: Ipv6Addr, data: &[u8]) -> Vec<u8> {
    let mut message = vec![128, 0, 0, 0, 0x47, 0x11, 0, 1];
    message.extend(data);
    finish(ipv6::ICMP6, source, destination, message, 2)
}

fn finish(
    protocol: u8,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    mut segment: Vec<u8>,
    checksum_at: usize,
) -> Vec<u8> {
    let sum = checksum::upper_layer(&source.octets(), &destination.octets(), protocol, &segment);
    segment[checksum_at..checksum_at + 2]
        .copy_from_slice(&checksum::as_udp_field(sum).to_be_bytes());
    ipv6(protocol, source, destination, &segment)
}

/// The hop limit of an IPv6 packet, to change.
pub(crate) fn with_hop_limit(mut packet: Vec<u8>, hop_limit: u8) -> Vec<u8> {
    packet[7] = hop_limit;
    packet
}

/// The outer header of a datagram to the relay's service port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outer {
    pub(crate) source: Mapped,
    pub(crate) tos: u8,
}

impl Outer {
    pub(crate) const fn from(source: Mapped) -> Self {
        Self { source, tos: 0 }
    }

    /// IPv4 and UDP around `payload`, checksums right.
    pub(crate) fn around(self, payload: &[u8]) -> Vec<u8> {
        let len = u16::try_from(UDP_HEADER_LEN + payload.len()).expect("short enough");
        let mut datagram = [self.source.port, RELAY_PORT, len, 0]
            .map(u16::to_be_bytes)
            .concat();
        datagram.extend(payload);
        let sum = checksum::udp_over_ipv4(self.source.ip, Lab::RELAY_V4, &datagram);
        datagram[6..8].copy_from_slice(&checksum::as_udp_field(sum).to_be_bytes());
        ipv4(self.source.ip, self.tos, &datagram)
    }
}

/// The IPv4 packet in two fragments, the first with `first_len` bytes of its payload, a multiple of 8.
pub(crate) fn in_two_fragments(packet: &[u8], first_len: usize) -> [Vec<u8>; 2] {
    const MORE_FRAGMENTS: u16 = 0x2000;
    let (header, payload) = packet.split_at(IPV4_HEADER_LEN);
    let (first, second) = payload.split_at(first_len);
    let offset = u16::try_from(first_len / 8).expect("short enough");
    [(MORE_FRAGMENTS, first), (offset, second)].map(|(fragment, part)| {
        let mut packet = [header, part].concat();
        let total = u16::try_from(packet.len()).expect("short enough");
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        with_header_checksum(packet, IPV4_HEADER_LEN)
    })
}

/// The IPv4 packet with four options of no operation.
pub(crate) fn with_options(packet: &[u8]) -> Vec<u8> {
    let mut packet = [
        &packet[..IPV4_HEADER_LEN],
        &[1; 4],
        &packet[IPV4_HEADER_LEN..],
    ]
    .concat();
    packet[0] += 1;
    let total = u16::try_from(packet.len()).expect("short enough");
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    with_header_checksum(packet, IPV4_HEADER_LEN + 4)
}

fn with_header_checksum(mut packet: Vec<u8>, header_len: usize) -> Vec<u8> {
    packet[10..12].fill(0);
    let sum = checksum::ipv4_header(&packet[..header_len]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn ipv4(source: Ipv4Addr, tos: u8, datagram: &[u8]) -> Vec<u8> {
    let total = u16::try_from(IPV4_HEADER_LEN + datagram.len())
        .expect("short enough")
        .to_be_bytes();
    let mut packet = vec![
        0x45,
        tos,
        total[0],
        total[1],
        0x12,
        0x34,
        0,
        0,
        64,
        ipv6::UDP,
        0,
        0,
    ];
    packet.extend(source.octets());
    packet.extend(Lab::RELAY_V4.octets());
    packet.extend(datagram);
    with_header_checksum(packet, IPV4_HEADER_LEN)
}

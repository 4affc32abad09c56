//! Frames and packets, byte by byte.

use std::net::{Ipv4Addr, Ipv6Addr};

use teredo::addr::Mapped;

use super::rig::{GATEWAY_MAC, PORT_MAC, SERVICE};

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMP6: u8 = 58;
pub(crate) const NO_NEXT_HEADER: u8 = 59;

/// Offset of the hop limit in an IPv6 packet.
pub(crate) const HOP_LIMIT: usize = 7;

/// A frame to a port, from its neighbour.
pub(crate) fn received(tags: &[[u8; 4]], packet: &[u8]) -> Vec<u8> {
    frame(PORT_MAC, GATEWAY_MAC, tags, packet)
}

/// A frame from a port to its next hop.
pub(crate) fn sent(tags: &[[u8; 4]], packet: &[u8]) -> Vec<u8> {
    frame(GATEWAY_MAC, PORT_MAC, tags, packet)
}

/// A frame around an IPv4 or IPv6 packet.
pub(crate) fn frame(to: [u8; 6], from: [u8; 6], tags: &[[u8; 4]], packet: &[u8]) -> Vec<u8> {
    let ethertype: [u8; 2] = if packet[0] >> 4 == 4 {
        [0x08, 0x00]
    } else {
        [0x86, 0xdd]
    };
    [&to[..], &from, &tags.concat(), &ethertype, packet].concat()
}

/// `len` bytes that are not all alike.
pub(crate) fn data(len: usize) -> Vec<u8> {
    (3..=250).cycle().step_by(7).take(len).collect()
}

/// An IPv6 packet.
#[derive(Clone, Debug)]
pub(crate) struct Inner {
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    pub(crate) class: u8,
    pub(crate) flow: u32,
    pub(crate) next_header: u8,
    pub(crate) hop_limit: u8,
    pub(crate) payload: Vec<u8>,
}

impl Inner {
    /// UDP with `data` in it.
    pub(crate) fn udp(source: Ipv6Addr, destination: Ipv6Addr, data: &[u8]) -> Self {
        let len = u16::try_from(8 + data.len()).unwrap();
        let header = [&[0x00, 0x35, 0x14, 0xe9][..], &len.to_be_bytes(), &[0, 0]].concat();
        Self::transport(source, destination, UDP, 6, [&header, data].concat())
    }

    /// A TCP segment with `data` in it.
    pub(crate) fn tcp(source: Ipv6Addr, destination: Ipv6Addr, data: &[u8]) -> Self {
        let mut segment = vec![0; 20];
        segment[..14].copy_from_slice(&[0, 80, 0xc0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x10]);
        segment.extend(data);
        Self::transport(source, destination, TCP, 16, segment)
    }

    /// An `ICMPv6` echo request with `data` in it.
    pub(crate) fn echo(source: Ipv6Addr, destination: Ipv6Addr, data: &[u8]) -> Self {
        let message = [&[128, 0, 0, 0, 0x12, 0x34, 0, 1][..], data].concat();
        Self::transport(source, destination, ICMP6, 2, message)
    }

    /// A packet with any payload.
    pub(crate) fn raw(
        source: Ipv6Addr,
        destination: Ipv6Addr,
        next_header: u8,
        payload: &[u8],
    ) -> Self {
        Self {
            source,
            destination,
            class: 0,
            flow: 0,
            next_header,
            hop_limit: 64,
            payload: payload.to_vec(),
        }
    }

    pub(crate) fn transport(
        source: Ipv6Addr,
        destination: Ipv6Addr,
        next_header: u8,
        field: usize,
        mut segment: Vec<u8>,
    ) -> Self {
        let len = u32::try_from(segment.len()).unwrap();
        let pseudo = [
            &source.octets()[..],
            &destination.octets(),
            &len.to_be_bytes(),
            &[0, 0, 0, next_header],
        ]
        .concat();
        let mut checksum = !sum(&[&pseudo, &segment]);
        if checksum == 0 && next_header == UDP {
            checksum = 0xffff;
        }
        segment[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
        Self::raw(source, destination, next_header, &segment)
    }

    pub(crate) fn class(self, class: u8) -> Self {
        Self { class, ..self }
    }

    pub(crate) fn hop_limit(self, hop_limit: u8) -> Self {
        Self { hop_limit, ..self }
    }

    /// As a router sends it on.
    pub(crate) fn one_hop_later(self) -> Self {
        let hop_limit = self.hop_limit - 1;
        self.hop_limit(hop_limit)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let first = 6 << 28 | u32::from(self.class) << 20 | self.flow;
        let len = u16::try_from(self.payload.len()).unwrap();
        [
            &first.to_be_bytes()[..],
            &len.to_be_bytes(),
            &[self.next_header, self.hop_limit],
            &self.source.octets(),
            &self.destination.octets(),
            &self.payload,
        ]
        .concat()
    }
}

/// Outer IPv4 and UDP around a UDP payload.
#[derive(Clone, Debug)]
pub(crate) struct Outer {
    pub(crate) from: Mapped,
    pub(crate) to: Mapped,
    pub(crate) tos: u8,
    pub(crate) identification: u16,
    pub(crate) has_checksum: bool,
}

impl Outer {
    /// From a client to the relay.
    pub(crate) fn from_client(from: Mapped) -> Self {
        Self {
            from,
            to: SERVICE,
            tos: 0,
            identification: 0x1234,
            has_checksum: true,
        }
    }

    /// From the relay to a client.
    pub(crate) fn to_client(to: Mapped) -> Self {
        Self {
            from: SERVICE,
            to,
            ..Self::from_client(SERVICE)
        }
    }

    pub(crate) fn tos(self, tos: u8) -> Self {
        Self { tos, ..self }
    }

    /// The IPv4 packet. DF is clear, TTL 64.
    pub(crate) fn around(&self, payload: &[u8]) -> Vec<u8> {
        let udp_len = u16::try_from(8 + payload.len()).unwrap();
        let mut udp = [
            &self.from.port.to_be_bytes()[..],
            &self.to.port.to_be_bytes(),
            &udp_len.to_be_bytes(),
            &[0, 0],
            payload,
        ]
        .concat();
        if self.has_checksum {
            let pseudo = [
                &self.from.ip.octets()[..],
                &self.to.ip.octets(),
                &[0, UDP],
                &udp_len.to_be_bytes(),
            ]
            .concat();
            let checksum = match !sum(&[&pseudo, &udp]) {
                0 => 0xffff,
                checksum => checksum,
            };
            udp[6..8].copy_from_slice(&checksum.to_be_bytes());
        }
        let mut header = [
            &[0x45, self.tos][..],
            &(20 + udp_len).to_be_bytes(),
            &self.identification.to_be_bytes(),
            &[0, 0, 64, UDP, 0, 0],
            &self.from.ip.octets(),
            &self.to.ip.octets(),
        ]
        .concat();
        fill_header_checksum(&mut header);
        [header, udp].concat()
    }
}

/// Makes the checksum of the IPv4 header at the beginning of `packet` right, options included.
pub(crate) fn fill_header_checksum(packet: &mut [u8]) {
    let len = usize::from(packet[0] & 0xf) * 4;
    packet[10..12].fill(0);
    let checksum = !sum(&[&packet[..len]]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// The one's complement sum of 16-bit words (RFC 1071), the plain way. Parts but the last are of even length.
pub(crate) fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            let word = [pair[0], pair.get(1).copied().unwrap_or(0)];
            sum += u32::from(u16::from_be_bytes(word));
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    u16::try_from(sum).unwrap()
}

/// Whether the UDP checksum of an IPv4 packet is right.
pub(crate) fn udp_checksum_is_right(packet: &[u8]) -> bool {
    let pseudo = [&packet[12..20], &[0, UDP], &packet[24..26]].concat();
    sum(&[&pseudo, &packet[20..]]) == 0xffff
}

/// A mapped address by its parts.
pub(crate) fn at(ip: [u8; 4], port: u16) -> Mapped {
    Mapped {
        ip: Ipv4Addr::from(ip),
        port,
    }
}

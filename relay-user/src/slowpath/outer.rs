//! Writing frames to clients, as the fast path does: link header, IPv4, UDP.

use std::net::SocketAddrV4;

use relay_common::{Egress, HopKey};
use teredo::addr::Mapped;
use teredo::wire::checksum::{self, Sum};

use super::frame::{
    ETHERTYPE_IPV4, IPV4_HEADER_MIN as IPV4_LEN, MACS_LEN, PROTOCOL_UDP, UDP_HEADER_LEN as UDP_LEN,
};

const TAG_LEN: usize = 4;
const LINK_LEN: usize = MACS_LEN + ETHERTYPE_IPV4.len();
const VERSION_AND_WORDS: u8 = 0x45;
/// As the fast path's.
const TTL: u8 = 64;

/// A datagram on its way to a client.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Outer source: the service.
    pub from: SocketAddrV4,
    /// Outer destination.
    pub to: Mapped,
    /// Outer TOS byte.
    pub tos: u8,
    /// IPv4 identification.
    pub identification: u16,
    /// UDP payload.
    pub payload: &'a [u8],
}

impl Datagram<'_> {
    /// Bytes from the IPv4 header on.
    #[must_use]
    pub const fn packet_len(&self) -> usize {
        IPV4_LEN + UDP_LEN + self.payload.len()
    }

    /// Bytes of the frame that leaves by `egress`.
    #[must_use]
    pub fn frame_len(&self, egress: &Egress) -> usize {
        LINK_LEN + TAG_LEN * tags(egress).len() + self.packet_len()
    }

    /// Writes the frame that leaves by `hop` and `egress` into `frame`, which is as long as [`frame_len`](Self::frame_len)
    /// says: DF clear (RFC 4380 5.1.2), with both checksums. `None` if a length is out of range.
    pub fn write(&self, hop: &HopKey, egress: &Egress, frame: &mut [u8]) -> Option<()> {
        let udp_len = u16::try_from(UDP_LEN + self.payload.len()).ok()?;
        let total_len = u16::try_from(self.packet_len()).ok()?;

        let (macs, rest) = frame.split_first_chunk_mut::<MACS_LEN>()?;
        macs[..6].copy_from_slice(&hop.destination_mac);
        macs[6..].copy_from_slice(&hop.source_mac);
        let mut rest = rest;
        for tag in tags(egress) {
            let (to, behind) = rest.split_first_chunk_mut::<TAG_LEN>()?;
            to[..2].copy_from_slice(&tag.protocol);
            to[2..].copy_from_slice(&tag.tci);
            rest = behind;
        }
        let (ethertype, rest) = rest.split_first_chunk_mut()?;
        *ethertype = ETHERTYPE_IPV4;

        let (ipv4, datagram) = rest.split_first_chunk_mut::<IPV4_LEN>()?;
        ipv4[0] = VERSION_AND_WORDS;
        ipv4[1] = self.tos;
        ipv4[2..4].copy_from_slice(&total_len.to_be_bytes());
        ipv4[4..6].copy_from_slice(&self.identification.to_be_bytes());
        ipv4[6..12].copy_from_slice(&[0, 0, TTL, PROTOCOL_UDP, 0, 0]);
        ipv4[12..16].copy_from_slice(&self.from.ip().octets());
        ipv4[16..].copy_from_slice(&self.to.ip.octets());
        let sum = Sum::new().add_bytes(ipv4).finish();
        ipv4[10..12].copy_from_slice(&sum.to_be_bytes());

        let (udp, payload) = datagram.split_first_chunk_mut::<UDP_LEN>()?;
        udp[..2].copy_from_slice(&self.from.port().to_be_bytes());
        udp[2..4].copy_from_slice(&self.to.port.to_be_bytes());
        udp[4..6].copy_from_slice(&udp_len.to_be_bytes());
        udp[6..].fill(0);
        if payload.len() != self.payload.len() {
            return None;
        }
        payload.copy_from_slice(self.payload);
        let sum = checksum::udp_over_ipv4(*self.from.ip(), self.to.ip, datagram);
        datagram[6..8].copy_from_slice(&checksum::as_udp_field(sum).to_be_bytes());
        Some(())
    }
}

fn tags(egress: &Egress) -> &[relay_common::VlanTag] {
    let count = usize::try_from(egress.tag_count).unwrap_or(usize::MAX);
    egress.tags.get(..count).unwrap_or(&egress.tags)
}

#[cfg(test)]
mod tests {
    use super::super::frame::{self, Frame};
    use super::*;
    use proptest::prelude::*;
    use relay_common::VlanTag;

    const HOP: HopKey = HopKey {
        ifindex: 3,
        mtu: 1500,
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 0, 2],
        family: 2,
    };

    fn egress(tag_count: u32) -> Egress {
        let tag = |protocol, low| VlanTag {
            protocol,
            tci: [0, low],
        };
        Egress {
            port: 1,
            tag_count,
            tags: [tag([0x88, 0xa8], 20), tag([0x81, 0], 10)],
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            (tags, tos, identification) in (0..=2_u32, any::<u8>(), any::<u16>()),
            (from, to) in (any::<[u8; 4]>(), any::<([u8; 4], u16)>()),
            payload in prop::collection::vec(any::<u8>(), 0..1400),
        ) {
            let from = SocketAddrV4::new(from.into(), 3545);
            let to = Mapped { ip: to.0.into(), port: to.1 };
            let datagram = Datagram { from, to, tos, identification, payload: &payload };
            let egress = egress(tags);
            let mut frame = vec![0xee; datagram.frame_len(&egress)];
            prop_assert_eq!(datagram.write(&HOP, &egress, &mut frame), Some(()));
            prop_assert_eq!(frame::read(&frame), Ok(Frame::Client { source: from, tos, payload: &payload }));
            prop_assert_eq!(&frame[..12], &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
            let ipv4 = &frame[14 + 4 * tags as usize..];
            prop_assert_eq!(&ipv4[4..6], &identification.to_be_bytes());
            prop_assert_eq!(&ipv4[6..9], &[0, 0, 64], "DF clear");
            prop_assert_eq!(&ipv4[16..20], &to.ip.octets());
            prop_assert_eq!(&ipv4[22..24], &to.port.to_be_bytes());
            prop_assert_ne!(&ipv4[26..28], &[0, 0], "a checksum there is");
        }

        #[test]
        fn a_frame_of_another_length_is_not_written(len in 0..200_usize) {
            let datagram = Datagram {
                from: "203.0.113.18:3545".parse().unwrap(),
                to: Mapped { ip: [198, 51, 100, 7].into(), port: 4000 },
                tos: 0,
                identification: 1,
                payload: b"a payload",
            };
            let egress = egress(1);
            let written = datagram.write(&HOP, &egress, &mut vec![0; len]);
            prop_assert_eq!(written.is_some(), len == datagram.frame_len(&egress));
        }
    }
}

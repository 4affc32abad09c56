//! The frames of the live benches: UDP in IPv6, native or from a client of the farm.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};
use relay_common::farm::{self, FRONT_BYTES, Order};
use teredo::addr::{Mapped, SERVER_PORT, TeredoAddr};
use teredo::wire::auth::Auth;
use teredo::wire::ipv6::{self, Ipv6Header};
use teredo::wire::payload;
use teredo::wire::rs_ra::{RESTRICTED_SOURCE, RouterSolicitation};
use zerocopy::IntoBytes as _;

/// The service socket of the relay under test.
pub(crate) const SERVICE: Mapped = Mapped {
    ip: Ipv4Addr::new(203, 0, 113, 9),
    port: 3545,
};
/// The primary address of the server under test.
pub(crate) const SERVER: Mapped = Mapped {
    ip: SERVICE.ip,
    port: SERVER_PORT,
};
/// The native host.
const NATIVE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x80);
/// Bytes of an IPv6 and a UDP header.
const INNER_HEADERS: usize = ipv6::HEADER_LEN + 8;

/// MAC addresses of the ends of a cable.
#[derive(Clone, Copy)]
pub(crate) struct Cable {
    /// The far end, where traffic begins and ends.
    pub(crate) far: [u8; 6],
    /// The end at the device under test.
    pub(crate) near: [u8; 6],
}

/// Which way packets go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// Native IPv6 to clients.
    Encap,
    /// Clients to native IPv6.
    Decap,
    /// Clients to their server: router solicitations.
    Solicit,
}

/// Bytes of an inner packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct InnerBytes(pub(crate) usize);

impl InnerBytes {
    /// 56 bytes of data: a native frame of 118 bytes.
    pub(crate) const SMALL: Self = Self(104);
    /// What a tunnel of the usual MTU carries at most.
    pub(crate) const FULL: Self = Self(1280);
}

/// A frame and the order that makes the generator send it for every peer.
pub(crate) struct Template {
    pub(crate) frame: Vec<u8>,
    pub(crate) order: Order,
}

impl Template {
    /// The frame in `direction` on `cable`, with an inner packet of `inner` bytes where its length is free.
    pub(crate) fn new(direction: Direction, cable: Cable, inner: InnerBytes) -> Result<Self> {
        let (client, blank) = (farm::address(0), blank(farm::address(0)));
        let (payload, udp_sum) = match direction {
            Direction::Encap => {
                let blank = udp6(NATIVE, blank, inner)?;
                (udp6(NATIVE, client.into(), inner)?, datagram_sum(&blank)?)
            }
            Direction::Decap => {
                let blank = udp6(blank, NATIVE, inner)?;
                (udp6(client.into(), NATIVE, inner)?, datagram_sum(&blank)?)
            }
            Direction::Solicit => (solicitation(), 0),
        };
        let (ethertype, outer): (_, Vec<u8>) = match direction {
            Direction::Encap => ([0x86, 0xdd], Vec::new()),
            Direction::Decap => ([0x08, 0x00], outer(payload.len(), SERVICE)?),
            Direction::Solicit => ([0x08, 0x00], outer(payload.len(), SERVER)?),
        };
        let mut frame = [&cable.near[..], &cable.far, &ethertype, &outer, &payload].concat();
        // Ethernet padding, where the frame is shorter than what the generator writes.
        frame.resize(frame.len().max(FRONT_BYTES), 0);
        let front: [u8; FRONT_BYTES] = *frame.first_chunk().context("a frame of ours is long")?;
        let (words, _) = front.as_chunks();
        let mut order = Order {
            front: [0; FRONT_BYTES / 8],
            udp_sum,
            ipv4_sum: words_sum(outer.get(..20).unwrap_or_default()),
            first: 0,
            mask: 0,
            random: 0,
            timed: 0,
            cursor: 0,
            reserved: 0,
        };
        for (to, from) in order.front.iter_mut().zip(words) {
            *to = u64::from_ne_bytes(*from);
        }
        Ok(Self { frame, order })
    }
}

/// `client` without its mapped address, which the generator adds to the sums.
fn blank(client: TeredoAddr) -> Ipv6Addr {
    let mut octets = client.octets();
    octets[10..].fill(0);
    octets.into()
}

/// What clients send: a solicitation behind an authentication header without credentials (RFC 4380 5.2.1).
fn solicitation() -> Vec<u8> {
    let auth = Auth::with_nonce(*b"a nonce.");
    let solicitation = RouterSolicitation {
        source: RESTRICTED_SOURCE,
    };
    payload::build(Some(&auth), None, &solicitation.build())
}

/// UDP in IPv6 whose checksum field is 0: the generator writes it.
fn udp6(source: Ipv6Addr, destination: Ipv6Addr, inner: InnerBytes) -> Result<Vec<u8>> {
    let data_len = inner
        .0
        .checked_sub(INNER_HEADERS)
        .context("an inner packet has its headers")?;
    let len = u16::try_from(8 + data_len)?;
    let header = Ipv6Header::new(source.octets(), destination.octets(), ipv6::UDP, 64, len);
    let udp = [[0x12, 0x34], [0x56, 0x78], len.to_be_bytes(), [0; 2]].concat();
    Ok([header.as_bytes(), &udp, &vec![0; data_len]].concat())
}

/// IPv4 and UDP in front of `len` bytes, without mapped address and checksums: the IPv4 one is
/// the generator's to write, the UDP one stays away, which IPv4 allows.
fn outer(len: usize, to: Mapped) -> Result<Vec<u8>> {
    let udp_len = u16::try_from(8 + len)?;
    let total_len = udp_len + 20;
    Ok([
        &[0x45, 0][..],
        &total_len.to_be_bytes(),
        &[0x12, 0x34, 0, 0, 64, ipv6::UDP, 0, 0],
        &[0; 4],
        &to.ip.octets(),
        &[0; 2],
        &to.port.to_be_bytes(),
        &udp_len.to_be_bytes(),
        &[0; 2],
    ]
    .concat())
}

/// The sum of a packet's UDP datagram and pseudo-header.
fn datagram_sum(packet: &[u8]) -> Result<u32> {
    let (header, datagram) = packet
        .split_at_checked(ipv6::HEADER_LEN)
        .context("a packet has a header")?;
    let addresses = header.get(8..).context("addresses end the header")?;
    let len = u32::try_from(datagram.len())?;
    Ok(fold(
        words_sum(addresses) + words_sum(datagram) + len + u32::from(ipv6::UDP),
    ))
}

/// The one's complement sum of 16-bit words, folded to 16 bits.
fn words_sum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |byte| u32::from(*byte) << 8);
    fold(
        words
            .iter()
            .map(|word| u32::from(u16::from_be_bytes(*word)))
            .sum::<u32>()
            + last,
    )
}

const fn fold(sum: u32) -> u32 {
    let once = (sum & 0xffff) + (sum >> 16);
    (once & 0xffff) + (once >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use teredo::wire::checksum;

    const CABLE: Cable = Cable {
        far: [2, 0, 0, 0, 1, 0],
        near: [2, 0, 0, 0, 0, 0],
    };

    /// The generator's arithmetic for `peer`, on the host.
    fn inner_checksum(order: &Order, peer: u32) -> u16 {
        let mapped = farm::mapped(peer);
        let ip = !mapped.ip.to_bits();
        let sum = order.udp_sum + u32::from(!mapped.port) + (ip >> 16) + (ip & 0xffff);
        checksum::as_udp_field(farm::checksum_field(sum))
    }

    #[test]
    fn the_sums_of_an_order_give_every_peers_packet_its_right_checksum() {
        for inner in [InnerBytes::SMALL, InnerBytes::FULL] {
            for direction in [Direction::Encap, Direction::Decap] {
                let order = Template::new(direction, CABLE, inner).unwrap().order;
                for peer in [0, 1, 77, 0x1_ffff, 0x12_3456, u32::MAX] {
                    let client = farm::address(peer).into();
                    let packet = match direction {
                        Direction::Encap => udp6(NATIVE, client, inner).unwrap(),
                        _ => udp6(client, NATIVE, inner).unwrap(),
                    };
                    let (source, rest) = packet[8..].split_first_chunk().unwrap();
                    let (destination, datagram) = rest.split_first_chunk().unwrap();
                    let right = checksum::upper_layer(source, destination, ipv6::UDP, datagram);
                    assert_eq!(inner_checksum(&order, peer), checksum::as_udp_field(right));
                }
            }
        }
    }

    #[test]
    fn the_outer_header_gets_its_right_checksum_from_the_order() {
        let order = Template::new(Direction::Decap, CABLE, InnerBytes::SMALL)
            .unwrap()
            .order;
        let ip = farm::mapped(5).ip;
        let mut header = outer(InnerBytes::SMALL.0, SERVICE).unwrap()[..20].to_vec();
        header[12..16].copy_from_slice(&ip.octets());
        let sum = order.ipv4_sum + (ip.to_bits() >> 16) + (ip.to_bits() & 0xffff);
        let field = farm::checksum_field(sum);
        assert_eq!(field, checksum::ipv4_header(&header));
    }

    #[test]
    fn small_frames_have_the_lengths_the_comparison_is_stated_for() {
        let len = |direction, inner| Template::new(direction, CABLE, inner).unwrap().frame.len();
        assert_eq!(len(Direction::Encap, InnerBytes::SMALL), 118);
        assert_eq!(len(Direction::Decap, InnerBytes::SMALL), 146);
        assert_eq!(len(Direction::Encap, InnerBytes::FULL), 1294);
        assert_eq!(len(Direction::Solicit, InnerBytes::SMALL), FRONT_BYTES);
    }
}

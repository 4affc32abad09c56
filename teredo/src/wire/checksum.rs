//! The Internet checksum (RFC 1071) over IPv4 headers, pseudo-headers and segments, and the
//! outer UDP checksum that needs no look at the payload.

use core::net::Ipv4Addr;

use super::ipv6::{self, Ipv6Header};
use crate::addr::Mapped;

/// A one's complement sum of 16-bit words in network order.
///
/// The accumulator has 64 bits, so carries are folded once at the end and 16 GiB of input
/// cannot overflow it. `a + b` of 32-bit words folds to the same value as that of their halves
/// (RFC 1071 2 (C)), and words are summed as the machine reads them: the sum of swapped words is the swapped sum
/// (RFC 1071 2 (B)).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// The empty sum.
    #[inline(always)]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds bytes; an odd last byte counts as if a zero followed. Only the last call for one
    /// message may have an odd length.
    #[inline(always)]
    #[must_use]
    pub fn add_bytes(mut self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        for word in words {
            self.0 += u64::from(u32::from_ne_bytes(*word));
        }
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        self.0 += u64::from(u32::from_ne_bytes(last));
        self
    }

    /// Adds one word.
    #[inline(always)]
    #[must_use]
    pub const fn add_u16(self, word: u16) -> Self {
        Self(self.0 + word.to_be() as u64)
    }

    /// Adds two words.
    #[inline(always)]
    #[must_use]
    pub const fn add_u32(self, words: u32) -> Self {
        Self(self.0 + words.to_be() as u64)
    }

    /// The checksum: the sum folded to 16 bits and inverted. Over a message whose checksum is
    /// in place and right it is 0.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // Three folds of the low 33 bits leave 16.
    pub const fn finish(self) -> u16 {
        let mut s = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        s = (s & 0xffff) + (s >> 16);
        s = (s & 0xffff) + (s >> 16);
        s = (s & 0xffff) + (s >> 16);
        u16::from_be(!(s as u16))
    }
}

/// The checksum as UDP sends it: 0 means "none", so a computed 0 goes out as ffff (RFC 768).
#[inline(always)]
pub const fn as_udp_field(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// Checksum of a segment over IPv6 with its pseudo-header: source (16), destination (16),
/// length (4), three zero bytes, next header (1) (RFC 8200 8.1).
///
/// With the segment's checksum field 0 this is the value to write there (UDP: through
/// [`as_udp_field`]); with a right checksum in place it is 0.
pub fn upper_layer(
    source: &[u8; 16],
    destination: &[u8; 16],
    next_header: u8,
    segment: &[u8],
) -> u16 {
    Sum::new()
        .add_bytes(source)
        .add_bytes(destination)
        .add_u32(low_32_bits(segment.len()))
        .add_u16(u16::from(next_header))
        .add_bytes(segment)
        .finish()
}

/// Checksum of an IPv4 header, options included; 0 over a header whose checksum is right
/// (RFC 791 3.1).
#[inline(always)]
pub fn ipv4_header(header: &[u8]) -> u16 {
    Sum::new().add_bytes(header).finish()
}

/// Checksum of a UDP datagram (header and payload) over IPv4 with its pseudo-header: source (4),
/// destination (4), zero, protocol 17, UDP length (2) (RFC 768).
///
/// With the checksum field 0 this is the value to write there through [`as_udp_field`]; with a
/// right checksum in place it is 0.
pub fn udp_over_ipv4(source: Ipv4Addr, destination: Ipv4Addr, datagram: &[u8]) -> u16 {
    Sum::new()
        .add_u32(source.to_bits())
        .add_u32(destination.to_bits())
        .add_u16(u16::from(ipv6::UDP))
        .add_u32(low_32_bits(datagram.len()))
        .add_bytes(datagram)
        .finish()
}

/// The outer UDP checksum of a simply encapsulated packet, from its IPv6 header alone
/// (invariant 6). Never 0.
///
/// Where the inner transport checksum is right, addresses, length and segment sum to minus the
/// next header, so of the whole payload only the header's first word and
/// `next header << 8 | hop limit` remain, minus the next header.
///
/// `inner` is the header as it is sent (hop limit decremented), `udp_len` that of the outer UDP
/// header. The inner packet must be TCP, UDP with a checksum, or ICMPv6 directly behind the
/// header, whole, and with no trailer behind it; otherwise the checksum to send is 0. A packet
/// whose inner checksum is wrong gets an outer checksum that is wrong by as much: the damage is
/// not hidden.
#[inline(always)]
pub const fn outer_udp(
    inner: &Ipv6Header,
    source: Mapped,
    destination: Mapped,
    udp_len: u16,
) -> u16 {
    let checksum = Sum::new()
        .add_u32(source.ip.to_bits())
        .add_u32(destination.ip.to_bits())
        .add_u16(ipv6::UDP as u16)
        .add_u16(udp_len)
        .add_u16(source.port)
        .add_u16(destination.port)
        .add_u16(udp_len)
        .add_u32(u32::from_be_bytes(inner.version_class_flow))
        .add_u16(u16::from_be_bytes([inner.next_header, inner.hop_limit]))
        .add_u16(!(inner.next_header as u16))
        .finish();
    as_udp_field(checksum)
}

/// Lengths of packets fit; what a longer slice would lose is beyond any IPv6 payload.
#[allow(clippy::cast_possible_truncation)]
const fn low_32_bits(len: usize) -> u32 {
    len as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    #[test]
    fn the_example_of_rfc_1071_gives_220d() {
        let sum = Sum::new().add_bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.finish(), 0x220d);
    }

    #[test]
    fn an_odd_last_byte_counts_as_if_a_zero_followed() {
        for len in 0..9 {
            let bytes = vec![0xa5; len];
            let mut padded = bytes.clone();
            padded.resize(len.next_multiple_of(2), 0);
            let by_words = padded.chunks(2).fold(Sum::new(), |sum, w| {
                sum.add_u16(u16::from_be_bytes([w[0], w[1]]))
            });
            assert_eq!(
                Sum::new().add_bytes(&bytes).finish(),
                by_words.finish(),
                "{len}"
            );
        }
    }

    #[test]
    fn the_fullest_sum_still_folds_to_sixteen_bits() {
        assert_eq!(Sum(u64::MAX).finish(), 0);
        assert_eq!(Sum(u64::MAX - 1).finish(), 1_u16.to_be());
        assert_eq!(Sum(0x1_ffff_ffff).finish(), !1_u16.to_be());
    }

    #[test]
    fn a_computed_zero_is_sent_as_ffff() {
        assert_eq!(as_udp_field(0), 0xffff);
        assert_eq!(as_udp_field(1), 1);
    }

    /// Offset of the checksum field in a segment of `next_header`.
    const fn checksum_offset(next_header: u8) -> usize {
        match next_header {
            ipv6::TCP => 16,
            ipv6::UDP => 6,
            _ => 2,
        }
    }

    /// A packet of random content whose transport checksum is right.
    fn packet(header: Ipv6Header, mut segment: Vec<u8>) -> Vec<u8> {
        let at = checksum_offset(header.next_header);
        segment[at..at + 2].fill(0);
        let mut sum = upper_layer(
            &header.source,
            &header.destination,
            header.next_header,
            &segment,
        );
        if header.next_header == ipv6::UDP {
            sum = as_udp_field(sum);
        }
        segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        [header.as_bytes(), &segment].concat()
    }

    /// The datagram around `payload` with `checksum`, as a receiver sums it.
    fn received(source: Mapped, destination: Mapped, checksum: u16, payload: &[u8]) -> u16 {
        let len = u16::try_from(8 + payload.len()).unwrap();
        let mut datagram = Vec::new();
        for field in [source.port, destination.port, len, checksum] {
            datagram.extend(field.to_be_bytes());
        }
        datagram.extend(payload);
        udp_over_ipv4(source.ip, destination.ip, &datagram)
    }

    fn mapped() -> impl Strategy<Value = Mapped> {
        any::<(u32, u16)>().prop_map(|(ip, port)| Mapped {
            ip: ip.into(),
            port,
        })
    }

    fn inner() -> impl Strategy<Value = (Ipv6Header, Vec<u8>)> {
        let segment = prop::collection::vec(any::<u8>(), 20..1241);
        let next_header = prop::sample::select(&[ipv6::TCP, ipv6::UDP, ipv6::ICMP6][..]);
        let addresses = any::<([u8; 16], [u8; 16])>();
        (addresses, next_header, any::<(u8, [u8; 3])>(), segment).prop_map(
            |((source, destination), next_header, (hop_limit, [a, b, c]), segment)| {
                let len = u16::try_from(segment.len()).unwrap();
                let mut header = Ipv6Header::new(source, destination, next_header, hop_limit, len);
                header.version_class_flow = [0x60 | a >> 4, a, b, c];
                (header, segment)
            },
        )
    }

    proptest! {
        #[test]
        fn the_outer_checksum_of_any_valid_packet_is_right(
            (header, segment) in inner(), source in mapped(), destination in mapped(),
        ) {
            let packet = packet(header, segment);
            let udp_len = u16::try_from(8 + packet.len()).unwrap();
            let checksum = outer_udp(&header, source, destination, udp_len);
            prop_assert_ne!(checksum, 0);
            prop_assert_eq!(received(source, destination, checksum, &packet), 0);
            // Equal to full computation, not only congruent.
            let full = received(source, destination, 0, &packet);
            prop_assert_eq!(checksum, as_udp_field(full));
        }

        #[test]
        fn a_corrupted_inner_packet_stays_detectably_wrong(
            (header, segment) in inner(), source in mapped(), destination in mapped(),
            at in any::<prop::sample::Index>(), flip in 1_u8..,
        ) {
            let mut packet = packet(header, segment);
            let at = 40 + at.index(packet.len() - 40);
            packet[at] ^= flip;
            let udp_len = u16::try_from(8 + packet.len()).unwrap();
            let checksum = outer_udp(&header, source, destination, udp_len);
            prop_assert_ne!(received(source, destination, checksum, &packet), 0);
        }
    }
}

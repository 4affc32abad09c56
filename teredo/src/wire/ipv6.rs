//! The IPv6 header (RFC 8200 3).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Fate;

/// Next header: hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// Next header: TCP.
pub const TCP: u8 = 6;
/// Next header: UDP.
pub const UDP: u8 = 17;
/// Next header: routing header.
pub const ROUTING: u8 = 43;
/// Next header: fragment header.
pub const FRAGMENT: u8 = 44;
/// Next header: ICMPv6.
pub const ICMP6: u8 = 58;
/// Next header: none. With payload length 0 it makes a bubble (RFC 4380 2.8).
pub const NO_NEXT_HEADER: u8 = 59;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 40;

/// An IPv6 header as on the wire.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
pub struct Ipv6Header {
    /// Version (4 bits), traffic class (8), flow label (20).
    pub version_class_flow: [u8; 4],
    /// Bytes after the header, network order.
    pub payload_len: [u8; 2],
    /// Protocol of what follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
}

const _: () = assert!(size_of::<Ipv6Header>() == HEADER_LEN);

impl Ipv6Header {
    /// A header with traffic class and flow label 0.
    pub const fn new(
        source: [u8; 16],
        destination: [u8; 16],
        next_header: u8,
        hop_limit: u8,
        payload_len: u16,
    ) -> Self {
        Self {
            version_class_flow: [0x60, 0, 0, 0],
            payload_len: payload_len.to_be_bytes(),
            next_header,
            hop_limit,
            source,
            destination,
        }
    }

    /// IP version.
    #[inline(always)]
    pub const fn version(&self) -> u8 {
        self.version_class_flow[0] >> 4
    }

    /// Traffic class: DSCP (6 bits) and ECN (2 bits).
    #[inline(always)]
    pub const fn traffic_class(&self) -> u8 {
        self.version_class_flow[0] << 4 | self.version_class_flow[1] >> 4
    }

    /// Replaces the traffic class.
    #[inline(always)]
    pub const fn set_traffic_class(&mut self, class: u8) {
        self.version_class_flow[0] = self.version_class_flow[0] & 0xf0 | class >> 4;
        self.version_class_flow[1] = self.version_class_flow[1] & 0x0f | class << 4;
    }

    /// Bytes after the header.
    #[inline(always)]
    pub const fn payload_len(&self) -> u16 {
        u16::from_be_bytes(self.payload_len)
    }

    /// Bytes of the whole packet, header included.
    #[inline(always)]
    pub const fn packet_len(&self) -> usize {
        HEADER_LEN + self.payload_len() as usize
    }

    /// Payload length 0 and no next header. The hop limit means nothing here: miredo sends 0.
    #[inline(always)]
    pub const fn is_bubble(&self) -> bool {
        self.payload_len() == 0 && self.next_header == NO_NEXT_HEADER
    }
}

/// Splits `bytes` into header, payload and what lies behind the packet.
///
/// # Errors
/// [`Fate::InnerTruncated`] if the header or the payload it announces is not all there,
/// [`Fate::InnerVersionNot6`].
pub fn parse(bytes: &[u8]) -> Result<(&Ipv6Header, &[u8], &[u8]), Fate> {
    let (header, rest) = Ipv6Header::ref_from_prefix(bytes).map_err(|_| Fate::InnerTruncated)?;
    if header.version() != 6 {
        return Err(Fate::InnerVersionNot6);
    }
    let (payload, tail) = rest
        .split_at_checked(usize::from(header.payload_len()))
        .ok_or(Fate::InnerTruncated)?;
    Ok((header, payload, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(payload_len: u16, next_header: u8) -> Ipv6Header {
        Ipv6Header::new([0x11; 16], [0x22; 16], next_header, 7, payload_len)
    }

    #[test]
    fn fields_stand_where_rfc_8200_puts_them() {
        let mut expected = vec![0x60, 0, 0, 0, 0x01, 0x02, 17, 7];
        expected.extend([0x11; 16]);
        expected.extend([0x22; 16]);
        let header = header(0x0102, UDP);
        assert_eq!(header.as_bytes(), expected);
        assert_eq!(header.version(), 6);
        assert_eq!(header.payload_len(), 0x0102);
        assert_eq!(header.packet_len(), 40 + 0x0102);
    }

    #[test]
    fn a_traffic_class_touches_neither_version_nor_flow_label() {
        for class in 0..=u8::MAX {
            let mut header = header(0, UDP);
            header.version_class_flow = [0x6a, 0xbc, 0xde, 0xf0];
            header.set_traffic_class(class);
            assert_eq!(header.traffic_class(), class);
            assert_eq!(header.version(), 6);
            assert_eq!(header.version_class_flow[1] & 0x0f, 0x0c);
            assert_eq!(header.version_class_flow[2..], [0xde, 0xf0]);
        }
    }

    /// RFC 4380 2.8; hop limits do not count.
    #[test]
    fn a_bubble_has_no_payload_and_no_next_header() {
        for hop_limit in [0, 1, 64, 255] {
            let mut bubble = header(0, NO_NEXT_HEADER);
            bubble.hop_limit = hop_limit;
            assert!(bubble.is_bubble());
        }
        assert!(!header(1, NO_NEXT_HEADER).is_bubble());
        assert!(!header(256, NO_NEXT_HEADER).is_bubble());
        assert!(!header(0, UDP).is_bubble());
        assert!(!header(0, HOP_BY_HOP).is_bubble());
    }

    ///
    #[test]
    fn a_packet_is_split_where_its_payload_length_says() {
        let bytes = [header(3, UDP).as_bytes(), b"abcde"].concat();
        let (found, payload, tail) = parse(&bytes).unwrap();
        assert_eq!(*found, header(3, UDP));
        assert_eq!((payload, tail), (&b"abc"[..], &b"de"[..]));
        for len in 0..43 {
            assert_eq!(parse(&bytes[..len]), Err(Fate::InnerTruncated));
        }
        assert!(parse(&bytes[..43]).is_ok());
        let longest = header(u16::MAX, UDP);
        assert_eq!(parse(longest.as_bytes()), Err(Fate::InnerTruncated));
    }

    #[test]
    fn only_version_6_is_ipv6() {
        for version in (0..16).filter(|v| *v != 6) {
            let mut header = header(0, NO_NEXT_HEADER);
            header.version_class_flow[0] = version << 4;
            assert_eq!(parse(header.as_bytes()), Err(Fate::InnerVersionNot6));
        }
    }
}

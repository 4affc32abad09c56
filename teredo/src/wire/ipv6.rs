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

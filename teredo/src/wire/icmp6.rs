//! ICMPv6 errors and echo (RFC 4443).

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

#[cfg(feature = "alloc")]
use zerocopy::IntoBytes;

use super::checksum;
use super::ipv6::{self, Ipv6Header};

/// Hop limit of the errors we send.
pub const ERROR_HOP_LIMIT: u8 = 64;

/// Largest ICMPv6 error in bytes: the minimum MTU, headers included (RFC 4443 2.4 c).
pub const ERROR_MAX_LEN: usize = 1280;

/// Most bytes of the invoking packet an error quotes: what 40 bytes of IPv6 and 8 of ICMPv6 leave.
pub const QUOTE_MAX_LEN: usize = ERROR_MAX_LEN - ipv6::HEADER_LEN - 8;

/// Type of an echo request (RFC 4443 4.1).
pub const ECHO_REQUEST: u8 = 128;
/// Type of an echo reply (RFC 4443 4.2).
pub const ECHO_REPLY: u8 = 129;
/// Type of a router solicitation, the first of neighbour discovery (RFC 4861 4.1).
pub const ROUTER_SOLICITATION: u8 = 133;
/// Type of a router advertisement (RFC 4861 4.2).
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Type of a redirect, the last of neighbour discovery (RFC 4861 4.5).
pub const REDIRECT: u8 = 137;

/// Errors a relay sends towards native IPv6 (R-12, R-19, R-20, R-27).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmp6Error {
    /// Type 1 code 3: no answer to the bubbles, or not a destination of this relay.
    AddressUnreachable,
    /// Type 2 code 0.
    PacketTooBig {
        /// MTU of the tunnel.
        mtu: u32,
    },
    /// Type 3 code 0.
    HopLimitExceeded,
}

impl Icmp6Error {
    /// Type and code.
    pub const fn type_and_code(self) -> (u8, u8) {
        match self {
            Self::AddressUnreachable => (1, 3),
            Self::PacketTooBig { .. } => (2, 0),
            Self::HopLimitExceeded => (3, 0),
        }
    }

    /// The four bytes behind the checksum: the MTU, or zero.
    pub const fn parameter(self) -> u32 {
        match self {
            Self::PacketTooBig { mtu } => mtu,
            Self::AddressUnreachable | Self::HopLimitExceeded => 0,
        }
    }
}

/// As much of the invoking packet as an error may quote, [`QUOTE_MAX_LEN`] bytes.
pub fn quote(invoking: &[u8]) -> &[u8] {
    invoking.get(..QUOTE_MAX_LEN).unwrap_or(invoking)
}

/// The whole IPv6 packet of an ICMPv6 error, at most [`ERROR_MAX_LEN`] bytes (R-50).
///
/// ```text
/// IPv6 header (40), hop limit 64
/// type 1 | code 1 | checksum 2 | MTU or zero 4 | as much of the invoking packet as fits
/// ```
#[cfg(feature = "alloc")]
pub fn build_error(
    source: [u8; 16],
    destination: [u8; 16],
    error: Icmp6Error,
    invoking: &[u8],
) -> Vec<u8> {
    let (kind, code) = error.type_and_code();
    build_message(
        source,
        destination,
        ERROR_HOP_LIMIT,
        [kind, code],
        &[&error.parameter().to_be_bytes(), quote(invoking)],
    )
}

/// An IPv6 packet with the ICMPv6 message of `parts` behind type, code and checksum.
/// `parts` together must fit an IPv6 payload.
#[cfg(feature = "alloc")]
#[allow(clippy::cast_possible_truncation)]
pub(super) fn build_message(
    source: [u8; 16],
    destination: [u8; 16],
    hop_limit: u8,
    type_and_code: [u8; 2],
    parts: &[&[u8]],
) -> Vec<u8> {
    let len = 4 + parts.iter().map(|part| part.len()).sum::<usize>();
    debug_assert!(u16::try_from(len).is_ok());
    let header = Ipv6Header::new(source, destination, ipv6::ICMP6, hop_limit, len as u16);
    let mut packet = Vec::with_capacity(ipv6::HEADER_LEN + len);
    packet.extend_from_slice(header.as_bytes());
    packet.extend_from_slice(&type_and_code);
    packet.extend_from_slice(&[0; 2]);
    for part in parts {
        packet.extend_from_slice(part);
    }
    let message = packet.split_at(ipv6::HEADER_LEN).1;
    let sum = checksum::upper_layer(&source, &destination, ipv6::ICMP6, message);
    if let Some(field) = packet.get_mut(ipv6::HEADER_LEN + 2..ipv6::HEADER_LEN + 4) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// Whether RFC 4443 2.4 e forbids answering `invoking` with `error` (R-50).
///
/// Forbidden are errors about an ICMPv6 error or a redirect, about a packet from an unspecified
/// or multicast source, and about one to a multicast destination unless it is Packet Too Big.
/// A packet in which an ICMPv6 error cannot be ruled out (cut short, a later fragment of
/// ICMPv6, endless extension headers) is treated as one.
pub fn forbids_error(error: Icmp6Error, invoking: &[u8]) -> bool {
    let Ok((header, body, _)) = ipv6::parse(invoking) else {
        return true;
    };
    let to_multicast = header.destination[0] == 0xff;
    header.source == [0; 16]
        || header.source[0] == 0xff
        || (to_multicast && !matches!(error, Icmp6Error::PacketTooBig { .. }))
        || may_be_error_or_redirect(header.next_header, body)
}

/// Extension headers followed in search of ICMPv6. More occur in no legitimate packet.
const EXTENSION_HEADERS_MAX: usize = 8;

fn may_be_error_or_redirect(mut next_header: u8, mut rest: &[u8]) -> bool {
    const AUTHENTICATION: u8 = 51;
    const DESTINATION_OPTIONS: u8 = 60;
    for _ in 0..=EXTENSION_HEADERS_MAX {
        let header_len = match (next_header, rest) {
            (ipv6::ICMP6, &[kind, ..]) => return kind < ECHO_REQUEST || kind == REDIRECT,
            (ipv6::FRAGMENT, &[next, _, offset_high, offset_low, ..]) => {
                if u16::from_be_bytes([offset_high, offset_low]) & 0xfff8 != 0 {
                    return next == ipv6::ICMP6;
                }
                8
            }
            (ipv6::HOP_BY_HOP | ipv6::ROUTING | DESTINATION_OPTIONS, &[_, len, ..]) => {
                8 * (usize::from(len) + 1)
            }
            (AUTHENTICATION, &[_, len, ..]) => 4 * (usize::from(len) + 2),
            (
                ipv6::ICMP6
                | ipv6::FRAGMENT
                | ipv6::HOP_BY_HOP
                | ipv6::ROUTING
                | DESTINATION_OPTIONS
                | AUTHENTICATION,
                _,
            ) => return true,
            _ => return false,
        };
        let (Some(&next), Some(behind)) = (rest.first(), rest.get(header_len..)) else {
            return true;
        };
        next_header = next;
        rest = behind;
    }
    true
}

/// Whether an [`Echo`] asks or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoKind {
    /// Type 128.
    Request,
    /// Type 129.
    Reply,
}

/// An echo request or reply (RFC 4443 4.1, 4.2).
///
/// ```text
/// type 1 | code 1 (0) | checksum 2 | identifier 2 | sequence 2 | data
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo<'a> {
    /// Request or reply.
    pub kind: EchoKind,
    /// Identifier.
    pub identifier: u16,
    /// Sequence number.
    pub sequence: u16,
    /// What the reply repeats; a Teredo client's connectivity nonce lives here.
    pub data: &'a [u8],
}

impl<'a> Echo<'a> {
    /// The echo message in the packet of `header` and `body`; `None` if there is none, or its checksum is wrong.
    pub fn parse(header: &Ipv6Header, body: &'a [u8]) -> Option<Self> {
        if header.next_header != ipv6::ICMP6 {
            return None;
        }
        let (&[kind, code, _, _, i0, i1, s0, s1], data) = body.split_first_chunk()?;
        let kind = match (kind, code) {
            (ECHO_REQUEST, 0) => EchoKind::Request,
            (ECHO_REPLY, 0) => EchoKind::Reply,
            _ => return None,
        };
        if checksum::upper_layer(&header.source, &header.destination, ipv6::ICMP6, body) != 0 {
            return None;
        }
        Some(Self {
            kind,
            identifier: u16::from_be_bytes([i0, i1]),
            sequence: u16::from_be_bytes([s0, s1]),
            data,
        })
    }

    /// The whole IPv6 packet; `None` if the data does not fit an IPv6 payload.
    #[cfg(feature = "alloc")]
    pub fn build(&self, source: [u8; 16], destination: [u8; 16], hop_limit: u8) -> Option<Vec<u8>> {
        if self.data.len() > usize::from(u16::MAX) - 8 {
            return None;
        }
        let kind = match self.kind {
            EchoKind::Request => ECHO_REQUEST,
            EchoKind::Reply => ECHO_REPLY,
        };
        Some(build_message(
            source,
            destination,
            hop_limit,
            [kind, 0],
            &[
                &self.identifier.to_be_bytes(),
                &self.sequence.to_be_bytes(),
                self.data,
            ],
        ))
    }
}

#[cfg(all(test, feature = "alloc"))]
#[path = "icmp6_tests.rs"]
mod tests;

//! Outer headers, and what stands in a payload in front of and behind the inner packet (2.1).

use super::bytes::{ipv4_header_is_right, u16_at, u32_at, udp4_is_right};
use super::{Ended, Eyes};

/// A UDP datagram to one of this machine's sockets, its outer headers found right.
pub(crate) struct Udp<'a> {
    pub(crate) from: (u32, u16),
    pub(crate) to: (u32, u16),
    pub(super) tos: u8,
    pub(crate) payload: &'a [u8],
}

/// Reads the IPv4 packet at the beginning of `data` if it is for one of `sockets`.
pub(super) fn udp<'a>(
    data: &'a [u8],
    sockets: &[(u32, u16)],
    is_to_port: bool,
    eyes: Eyes,
) -> Result<Udp<'a>, Ended> {
    let is_here = data.len() >= 20
        && data[0] >> 4 == 4
        && data[9] == 17
        && sockets.iter().any(|socket| socket.0 == u32_at(data, 16));
    if !is_here || !is_to_port {
        return Err("NotOurs");
    }
    if u16_at(data, 6) & 0x3fff != 0 {
        return Err("OuterFragment");
    }
    if data[0] != 0x45 {
        return Err("OuterOptions");
    }
    if data.len() < 28 {
        return Err("NotOurs");
    }
    let to = (u32_at(data, 16), u16_at(data, 22));
    if !sockets.contains(&to) {
        return Err("NotOurs");
    }
    if !ipv4_header_is_right(data) {
        return Err("OuterChecksumWrong");
    }
    let (total_len, udp_len) = (usize::from(u16_at(data, 2)), usize::from(u16_at(data, 24)));
    if total_len > data.len() || udp_len < 8 || 20 + udp_len > total_len {
        return Err("OuterLengthMismatch");
    }
    let udp = &data[20..20 + udp_len];
    if eyes == Eyes::All && u16_at(udp, 6) != 0 && !udp4_is_right(data, udp) {
        return Err("OuterUdpChecksumWrong");
    }
    Ok(Udp {
        from: (u32_at(data, 12), u16_at(udp, 0)),
        to,
        tos: data[1],
        payload: &udp[8..],
    })
}

/// An authentication header (2.3).
pub(super) struct Auth<'a> {
    pub(super) id: &'a [u8],
    pub(super) value: &'a [u8],
    /// Nonce and confirmation, nine bytes.
    pub(super) end: &'a [u8],
}

/// A payload taken apart.
pub(super) struct Payload<'a> {
    pub(super) auth: Option<Auth<'a>>,
    /// All eight bytes of the origin indication.
    pub(super) origin: Option<&'a [u8]>,
    /// The IPv6 packet, exactly.
    pub(super) packet: &'a [u8],
    pub(super) tail: &'a [u8],
}

fn begins(bytes: &[u8], kind: u8) -> bool {
    bytes.len() >= 2 && bytes[0] == 0 && bytes[1] == kind
}

/// Whether an authentication header or an origin indication begins here.
pub(super) fn is_header(bytes: &[u8]) -> bool {
    begins(bytes, 0) || begins(bytes, 1)
}

/// The parser of 2.1.
pub(super) fn payload(bytes: &[u8]) -> Result<Payload<'_>, Ended> {
    if bytes.len() < 2 || (bytes[0] >> 4 != 6 && !is_header(bytes)) {
        return Err("PayloadNotTeredo");
    }
    let (mut rest, mut auth, mut origin) = (bytes, None, None);
    if begins(rest, 1) {
        let [_, _, id_len, value_len, ..] = *rest else {
            return Err("AuthenticationTruncated");
        };
        let value_at = 4 + usize::from(id_len);
        let end_at = value_at + usize::from(value_len);
        if rest.len() < end_at + 9 {
            return Err("AuthenticationTruncated");
        }
        auth = Some(Auth {
            id: &rest[4..value_at],
            value: &rest[value_at..end_at],
            end: &rest[end_at..end_at + 9],
        });
        rest = &rest[end_at + 9..];
    }
    if begins(rest, 0) {
        if rest.len() < 8 {
            return Err("OriginTruncated");
        }
        origin = Some(&rest[..8]);
        rest = &rest[8..];
    }
    if is_header(rest) {
        return Err("HeaderOutOfOrder");
    }
    if rest.len() < 40 {
        return Err("InnerTruncated");
    }
    if rest[0] >> 4 != 6 {
        return Err("InnerVersionNot6");
    }
    let len = 40 + usize::from(u16_at(rest, 4));
    if len > rest.len() {
        return Err("InnerTruncated");
    }
    let (packet, tail) = rest.split_at(len);
    Ok(Payload {
        auth,
        origin,
        packet,
        tail,
    })
}

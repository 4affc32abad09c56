//! The UDP payload of a Teredo datagram (RFC 4380 5.1.1, RFC 6081 4).
//!
//! ```text
//! [ authentication (13 + ID + AU) ] [ origin indication (8) ] IPv6 packet [ trailer ]*
//! ```

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use super::auth::{AUTH_TYPE, Auth};
use super::ipv6::{self, Ipv6Header};
use super::origin::{ORIGIN_TYPE, Origin};
use crate::Fate;

/// A parsed payload; everything borrows from the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    /// Authentication header.
    pub auth: Option<Auth<'a>>,
    /// Origin indication.
    pub origin: Option<Origin>,
    /// The IPv6 packet: exactly 40 bytes and its payload length.
    pub packet: &'a [u8],
    /// The packet's header.
    pub header: &'a Ipv6Header,
    /// The packet behind its header.
    pub body: &'a [u8],
    /// What stands behind the packet, for [`Trailers::parse`](super::trailer::Trailers::parse).
    pub tail: &'a [u8],
}

/// Parses a payload (R-31).
///
/// # Errors
/// * [`Fate::PayloadNotTeredo`]: shorter than two bytes, or begins with neither a header nor IPv6
/// * [`Fate::AuthenticationTruncated`], [`Fate::OriginTruncated`]
/// * [`Fate::HeaderOutOfOrder`]: a header repeated, or authentication after origin
/// * [`Fate::InnerTruncated`], [`Fate::InnerVersionNot6`]: what follows the headers is no whole IPv6 packet
pub fn parse(payload: &[u8]) -> Result<Payload<'_>, Fate> {
    match payload {
        [0x60..=0x6f, _, ..] | [0x00, 0x00 | 0x01, ..] => {}
        _ => return Err(Fate::PayloadNotTeredo),
    }
    let (auth, rest) = match Auth::parse(payload)? {
        Some((auth, rest)) => (Some(auth), rest),
        None => (None, payload),
    };
    let (origin, rest) = match Origin::parse(rest)? {
        Some((origin, rest)) => (Some(origin), rest),
        None => (None, rest),
    };
    if rest.starts_with(&AUTH_TYPE) || rest.starts_with(&ORIGIN_TYPE) {
        return Err(Fate::HeaderOutOfOrder);
    }
    let (header, body, tail) = ipv6::parse(rest)?;
    let packet = rest
        .get(..header.packet_len())
        .ok_or(Fate::InnerTruncated)?;
    Ok(Payload {
        auth,
        origin,
        packet,
        header,
        body,
        tail,
    })
}

/// A payload of the given headers and packet. Trailers, if any, are appended by
/// [`Trailers::write`](super::trailer::Trailers::write).
#[cfg(feature = "alloc")]
pub fn build(auth: Option<&Auth<'_>>, origin: Option<&Origin>, packet: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    if let Some(auth) = auth {
        auth.write(&mut payload);
    }
    if let Some(origin) = origin {
        payload.extend_from_slice(&origin.to_bytes());
    }
    payload.extend_from_slice(packet);
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: [u8; 8] = [0x00, 0x00, 0xf2, 0x26, 0x34, 0xff, 0x8e, 0xf6];
    const AUTH: [u8; 13] = [0x00, 0x01, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0];
    const BUBBLE: [u8; 40] = {
        let mut b = [0; 40];
        b[0] = 0x60;
        b[6] = 0x3b;
        b
    };

    fn fate(parts: &[&[u8]]) -> Option<Fate> {
        parse(&parts.concat()).err()
    }

    #[test]
    fn only_a_header_or_ipv6_may_begin_a_payload() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                let mut payload = BUBBLE;
                payload[0] = first;
                payload[1] = second;
                let teredo = first >> 4 == 6 || (first == 0 && second < 2);
                assert_eq!(
                    parse(&payload).err() == Some(Fate::PayloadNotTeredo),
                    !teredo
                );
            }
        }
        for short in [&[][..], &[0x00], &[0x60]] {
            assert_eq!(fate(&[short]), Some(Fate::PayloadNotTeredo));
        }
    }

    #[test]
    fn headers_stand_once_and_authentication_first() {
        assert_eq!(fate(&[&AUTH, &BUBBLE]), None);
        assert_eq!(fate(&[&ORIGIN, &BUBBLE]), None);
        assert_eq!(fate(&[&AUTH, &ORIGIN, &BUBBLE]), None);
        for wrong in [
            &[&AUTH[..], &AUTH, &BUBBLE][..],
            &[&ORIGIN, &ORIGIN, &BUBBLE],
            &[&ORIGIN, &AUTH, &BUBBLE],
            &[&AUTH, &ORIGIN, &AUTH, &BUBBLE],
            &[&AUTH, &ORIGIN, &ORIGIN, &BUBBLE],
        ] {
            assert_eq!(fate(wrong), Some(Fate::HeaderOutOfOrder), "{wrong:02x?}");
        }
    }

    #[test]
    fn a_payload_cut_anywhere_says_what_is_missing() {
        let whole = [&AUTH[..], &ORIGIN, &BUBBLE].concat();
        for len in 0..whole.len() {
            let expected = match len {
                0..2 => Fate::PayloadNotTeredo,
                2..13 => Fate::AuthenticationTruncated,
                15..21 => Fate::OriginTruncated,
                // Of bytes 13 and 14, one zero alone could begin anything.
                _ => Fate::InnerTruncated,
            };
            assert_eq!(parse(&whole[..len]).err(), Some(expected), "{len}");
        }
    }

    #[test]
    fn behind_a_header_another_ip_version_is_named() {
        let mut ipv4 = BUBBLE;
        ipv4[0] = 0x45;
        assert_eq!(fate(&[&ORIGIN, &ipv4]), Some(Fate::InnerVersionNot6));
        assert_eq!(fate(&[&ipv4]), Some(Fate::PayloadNotTeredo));
    }

    #[test]
    fn the_packet_ends_where_its_payload_length_says() {
        let mut packet = [BUBBLE.as_slice(), b"data"].concat();
        packet[5] = 4;
        let bytes = [&ORIGIN[..], &packet, b"tail"].concat();
        let payload = parse(&bytes).unwrap();
        assert_eq!(payload.packet, packet);
        assert_eq!(payload.body, b"data");
        assert_eq!(payload.tail, b"tail");
        packet[5] = 5;
        assert_eq!(fate(&[&packet]), Some(Fate::InnerTruncated));
    }
}

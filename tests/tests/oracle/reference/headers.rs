//! Link headers, extension headers and trailers.

use super::Ended;
use super::bytes::{u16_at, u32_at};

/// What the link layer says of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// EtherType.
    pub(crate) kind: u16,
    /// Where the network layer begins.
    pub(crate) at: usize,
}

/// Looks behind up to two VLAN tags.
pub(crate) fn link(frame: &[u8]) -> Option<Link> {
    let mut at = 12;
    loop {
        let kind = u16_at(frame.get(..at + 2)?, at);
        if !matches!(kind, 0x8100 | 0x88a8) || at == 20 {
            return Some(Link { kind, at: at + 2 });
        }
        at += 4;
    }
}

/// Whether a routing header of type 0 is among the headers a router may see.
pub(super) fn is_source_routed(packet: &[u8]) -> bool {
    let (mut next, mut at) = (packet[6], 40);
    while matches!(next, 0 | 43 | 60) && at + 3 <= packet.len() && at < MOST_EXTENSIONS_END {
        if next == 43 && packet[at + 2] == 0 {
            return true;
        }
        next = packet[at];
        at += 8 * (1 + usize::from(packet[at + 1]));
    }
    false
}

/// A chain of extension headers nobody sends ends here, whatever comes behind. Generated chains are shorter.
const MOST_EXTENSIONS_END: usize = 4096;

/// Whether RFC 4443 2.4 (e) forbids an error about `packet`: it is an ICMPv6 error or a redirect, or may be one
/// for all that can be seen.
pub(super) fn may_be_error(packet: &[u8]) -> bool {
    let (mut next, mut at) = (packet[6], 40);
    loop {
        let rest = packet.get(at..).unwrap_or_default();
        let len = match next {
            58 => return rest.first().is_none_or(|kind| *kind < 128 || *kind == 137),
            0 | 43 | 60 if rest.len() >= 2 => 8 * (1 + usize::from(rest[1])),
            51 if rest.len() >= 2 => 4 * (2 + usize::from(rest[1])),
            44 if rest.len() >= 4 && u16_at(rest, 2) >> 3 != 0 => return rest[0] == 58,
            44 if rest.len() >= 4 => 8,
            0 | 43 | 44 | 51 | 60 => return true,
            _ => return false,
        };
        if rest.len() < len {
            return true;
        }
        next = rest[0];
        at += len;
    }
}

/// What matters to a relay in the trailers of a datagram (2.4).
#[derive(Debug, Default)]
pub(super) struct Trailers {
    pub(super) nonce: Option<[u8; 4]>,
    pub(super) is_solicitation: bool,
    pub(super) alternate_is_malformed: bool,
}

/// Reads the trailers in order of appearance. Of a repeated type the first counts.
pub(super) fn trailers(mut tail: &[u8]) -> Result<Trailers, Ended> {
    let mut found = Trailers::default();
    let mut has_discovery = false;
    while tail.len() >= 2 && tail.len() >= 2 + usize::from(tail[1]) {
        let (value, rest) = tail[2..].split_at(usize::from(tail[1]));
        match tail[0] {
            1 if value.len() == 4 && found.nonce.is_none() => {
                found.nonce = value.try_into().ok();
            }
            3 if !is_alternate_list(value) => found.alternate_is_malformed = true,
            4 if value.len() == 4 && value[0] < 2 && !has_discovery => {
                has_discovery = true;
                found.is_solicitation = value[0] == 0;
            }
            0x40..=0x7f => return Err("TrailerDiscards"),
            _ => {}
        }
        tail = rest;
    }
    Ok(found)
}

/// One to four unicast addresses with their ports behind two bytes.
fn is_alternate_list(value: &[u8]) -> bool {
    matches!(value.len(), 8 | 14 | 20 | 26)
        && value[2..].chunks(6).all(|entry| {
            let (ip, port) = (u32_at(entry, 0), u16_at(entry, 4));
            port != 0 && ip != 0 && ip != u32::MAX && ip >> 28 != 0xe
        })
}

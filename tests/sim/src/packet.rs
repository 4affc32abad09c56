//! Application packets that know which flow they belong to.

use teredo::wire::ipv6::{self, Ipv6Header};
use zerocopy::IntoBytes;

/// Next header for experiments (RFC 3692): no host makes anything else of it.
const EXPERIMENT: u8 = 253;

/// Marks a payload as ours.
const MAGIC: [u8; 4] = *b"ship";

/// Which packet of which flow.
///
/// ```text
/// byte 0..4   "ship"
/// byte 4..8   flow, network order
/// byte 8..12  sequence number, network order
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// Number of the flow; [`ATTACK`] for what nobody may ever receive.
    pub flow: u32,
    /// Sequence number in the flow.
    pub seq: u32,
}

/// Flow of packets an attacker forges.
pub const ATTACK: u32 = u32::MAX;

/// The packet of `tag` from `source` to `destination`, 52 bytes.
pub fn build(source: [u8; 16], destination: [u8; 16], tag: Tag) -> Vec<u8> {
    let header = Ipv6Header::new(source, destination, EXPERIMENT, 64, 12);
    [
        header.as_bytes(),
        &MAGIC,
        &tag.flow.to_be_bytes(),
        &tag.seq.to_be_bytes(),
    ]
    .concat()
}

/// The tag of an IPv6 packet, if it has one.
pub fn tag(packet: &[u8]) -> Option<Tag> {
    let (header, body, _) = ipv6::parse(packet).ok()?;
    let rest = body.strip_prefix(&MAGIC)?;
    let (&flow, rest) = rest.split_first_chunk()?;
    let (&seq, _) = rest.split_first_chunk()?;
    (header.next_header == EXPERIMENT).then_some(Tag {
        flow: u32::from_be_bytes(flow),
        seq: u32::from_be_bytes(seq),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_gives_back_its_tag_and_others_have_none() {
        let sent = Tag { flow: 7, seq: 9 };
        let packet = build([1; 16], [2; 16], sent);
        assert_eq!(tag(&packet), Some(sent));
        assert_eq!(tag(&packet[..51]), None);
        let mut other = packet;
        other[6] = ipv6::UDP;
        assert_eq!(tag(&other), None);
    }
}

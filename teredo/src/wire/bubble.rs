//! Bubbles: an IPv6 header alone, to keep or open mappings of NATs (RFC 4380 2.8).
//!
//! ```text
//! 60 00 00 00 | 00 00 | 3b | hop limit | source (16) | destination (16) | trailers
//! ```
//!
//! [`Ipv6Header::is_bubble`] recognises one.

use alloc::vec::Vec;

use zerocopy::IntoBytes;

use super::ipv6::{self, Ipv6Header};
use super::trailer::Trailers;

/// Hop limit of the bubbles we send. Receivers must accept any: others send 0.
pub const BUBBLE_HOP_LIMIT: u8 = 64;

/// The UDP payload of a bubble from `source` to `destination`, followed by `trailers`.
pub fn build(source: [u8; 16], destination: [u8; 16], trailers: &Trailers) -> Vec<u8> {
    let mut payload = Vec::new();
    write(source, destination, trailers, &mut payload);
    payload
}

/// Appends what [`build`] gives.
pub fn write(source: [u8; 16], destination: [u8; 16], trailers: &Trailers, out: &mut Vec<u8>) {
    let header = Ipv6Header::new(
        source,
        destination,
        ipv6::NO_NEXT_HEADER,
        BUBBLE_HOP_LIMIT,
        0,
    );
    out.extend_from_slice(header.as_bytes());
    trailers.write(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bubble_is_forty_bytes_and_knows_itself() {
        let payload = build([1; 16], [2; 16], &Trailers::default());
        let (header, body, tail) = ipv6::parse(&payload).unwrap();
        assert_eq!(payload.len(), ipv6::HEADER_LEN);
        assert!(header.is_bubble() && body.is_empty() && tail.is_empty());
        assert_eq!((header.source, header.destination), ([1; 16], [2; 16]));
    }

    #[test]
    fn trailers_stand_behind_the_packet() {
        let trailers = Trailers {
            nonce: Some([1, 2, 3, 4]),
            ..Trailers::default()
        };
        let payload = build([1; 16], [2; 16], &trailers);
        let (_, _, tail) = ipv6::parse(&payload).unwrap();
        assert_eq!(Trailers::parse(tail), Ok(trailers));
    }
}

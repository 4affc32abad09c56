//! The origin indication (RFC 4380 5.1.1).

use core::net::Ipv4Addr;

use crate::Fate;
use crate::addr::Mapped;

/// First two bytes of an origin indication.
pub const ORIGIN_TYPE: [u8; 2] = [0x00, 0x00];

/// Length in bytes.
pub const ORIGIN_LEN: usize = 8;

/// Where a datagram came from, as told by the server that forwards it.
///
/// ```text
/// byte 0..2   00 00
/// byte 2..4   UDP port  XOR ffff
/// byte 4..8   IPv4      XOR ffffffff
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The sender, de-obfuscated.
    pub mapped: Mapped,
}

impl Origin {
    /// Reads the indication at the beginning of `bytes`; gives it and what follows it. `None` if the first
    /// two bytes are not [`ORIGIN_TYPE`].
    ///
    /// # Errors
    /// [`Fate::OriginTruncated`].
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, &[u8])>, Fate> {
        if !bytes.starts_with(&ORIGIN_TYPE) {
            return Ok(None);
        }
        let (&[_, _, p0, p1, a, b, c, d], rest) = bytes
            .split_first_chunk::<ORIGIN_LEN>()
            .ok_or(Fate::OriginTruncated)?;
        let mapped = Mapped {
            ip: Ipv4Addr::new(!a, !b, !c, !d),
            port: !u16::from_be_bytes([p0, p1]),
        };
        Ok(Some((Self { mapped }, rest)))
    }

    /// The eight bytes as on the wire.
    pub const fn to_bytes(&self) -> [u8; ORIGIN_LEN] {
        let [t0, t1] = ORIGIN_TYPE;
        let [p0, p1] = (!self.mapped.port).to_be_bytes();
        let [a, b, c, d] = self.mapped.ip.octets();
        [t0, t1, p0, p1, !a, !b, !c, !d]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Port 337 and IPv4 1.2.3.4, the example of RFC 4380 5.1.1.
    const EXAMPLE: [u8; 8] = [0x00, 0x00, 0xfe, 0xae, 0xfe, 0xfd, 0xfc, 0xfb];

    #[test]
    fn the_example_of_rfc_4380_reads_and_writes() {
        let origin = Origin {
            mapped: Mapped {
                ip: Ipv4Addr::new(1, 2, 3, 4),
                port: 337,
            },
        };
        assert_eq!(origin.to_bytes(), EXAMPLE);
        assert_eq!(Origin::parse(&EXAMPLE), Ok(Some((origin, &[][..]))));
    }

    #[test]
    fn an_origin_cut_short_is_told_from_none() {
        for len in 2..ORIGIN_LEN {
            assert_eq!(Origin::parse(&EXAMPLE[..len]), Err(Fate::OriginTruncated));
        }
        assert_eq!(Origin::parse(&[0x00, 0x01]), Ok(None));
        assert_eq!(Origin::parse(&[0x00]), Ok(None));
        assert_eq!(Origin::parse(&[]), Ok(None));
    }
}

//! Trailers behind the IPv6 packet of a Teredo datagram (RFC 6081 4).
//!
//! ```text
//! byte 0      type
//! byte 1      length of the value
//! byte 2..    value
//! ```
//!
//! | type | value |
//! |---|---|
//! | 01 Nonce | 4 random bytes |
//! | 03 Alternate Address | 2 reserved bytes, then 1 to 4 times IPv4 (4) and port (2), in clear |
//! | 04 Neighbor Discovery Option | 0 solicitation or 1 advertisement, 3 reserved bytes |
//! | 05 Random Port | predicted external port (2) |

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

use crate::Fate;
use crate::addr::Mapped;

const NONCE: u8 = 0x01;
/// Random Port in the IANA section of RFC 6081, against 0x05 in its format section.
const RANDOM_PORT_IANA: u8 = 0x02;
const ALTERNATE_ADDRESS: u8 = 0x03;
const NEIGHBOR_DISCOVERY: u8 = 0x04;
const RANDOM_PORT: u8 = 0x05;

/// Entries an Alternate Address Trailer has room for (RFC 6081 4.3).
pub const ALTERNATE_ADDRESSES_MAX: usize = 4;

/// What a Neighbor Discovery Option Trailer says (RFC 6081 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NdKind {
    /// `DiscoveryType` 0: asks for an advertisement.
    Solicitation,
    /// `DiscoveryType` 1: the answer.
    Advertisement,
}

/// The entries of an Alternate Address Trailer, at most [`ALTERNATE_ADDRESSES_MAX`].
#[derive(Clone, Copy)]
pub struct AlternateAddresses {
    entries: [Mapped; ALTERNATE_ADDRESSES_MAX],
    len: usize,
}

impl AlternateAddresses {
    /// No entry.
    pub const NONE: Self = Self {
        entries: [Mapped {
            ip: Ipv4Addr::UNSPECIFIED,
            port: 0,
        }; ALTERNATE_ADDRESSES_MAX],
        len: 0,
    };

    /// The given entries; `None` if there are too many, or one is not a unicast address with a port.
    pub fn new(entries: &[Mapped]) -> Option<Self> {
        let mut list = Self::NONE;
        for entry in entries {
            list.push(*entry)?;
        }
        Some(list)
    }

    fn push(&mut self, entry: Mapped) -> Option<()> {
        if entry.port == 0 || !is_unicast(entry.ip) {
            return None;
        }
        *self.entries.get_mut(self.len)? = entry;
        self.len += 1;
        Some(())
    }

    /// The entries in the order of the wire.
    pub fn as_slice(&self) -> &[Mapped] {
        self.entries.get(..self.len).unwrap_or_default()
    }

    /// The list in the value of a trailer: 8, 14, 20 or 26 bytes. `None` if it is malformed.
    fn parse(value: &[u8]) -> Option<Self> {
        let (_reserved, list) = value.split_first_chunk::<2>()?;
        let (entries, []) = list.as_chunks::<6>() else {
            return None;
        };
        if entries.is_empty() {
            return None;
        }
        let mut parsed = Self::NONE;
        for &[a, b, c, d, p0, p1] in entries {
            parsed.push(Mapped {
                ip: Ipv4Addr::new(a, b, c, d),
                port: u16::from_be_bytes([p0, p1]),
            })?;
        }
        Some(parsed)
    }
}

/// Private addresses are welcome here: two clients behind one NAT find each other by them.
const fn is_unicast(ip: Ipv4Addr) -> bool {
    !(ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast())
}

impl Default for AlternateAddresses {
    fn default() -> Self {
        Self::NONE
    }
}

impl PartialEq for AlternateAddresses {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for AlternateAddresses {}

impl fmt::Debug for AlternateAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

/// The trailers of one datagram. Where a type repeats, the first one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Trailers {
    /// Nonce Trailer (RFC 6081 4.2).
    pub nonce: Option<[u8; 4]>,
    /// Alternate Address Trailer (RFC 6081 4.3).
    pub alternate_addresses: AlternateAddresses,
    /// Neighbor Discovery Option Trailer (RFC 6081 4.4).
    pub nd: Option<NdKind>,
    /// Random Port Trailer (RFC 6081 4.5).
    pub random_port: Option<u16>,
    /// An Alternate Address Trailer was there but malformed: a bubble that carries it is to be
    /// dropped as [`Fate::TrailerMalformed`]. Never written.
    pub alternate_address_malformed: bool,
}

impl Trailers {
    /// Reads what stands behind the IPv6 packet, in order of appearance.
    ///
    /// A trailer that does not fit ends the reading; what came before it counts. Unknown types,
    /// and known ones with a value of the wrong length, are skipped.
    ///
    /// # Errors
    /// [`Fate::TrailerDiscards`]: an unknown type whose top bits are 01 asks for that.
    pub fn parse(mut tail: &[u8]) -> Result<Self, Fate> {
        let mut trailers = Self::default();
        while let Some((&[kind, len], rest)) = tail.split_first_chunk() {
            let Some((value, rest)) = rest.split_at_checked(usize::from(len)) else {
                break;
            };
            trailers.take(kind, value)?;
            tail = rest;
        }
        Ok(trailers)
    }

    fn take(&mut self, kind: u8, value: &[u8]) -> Result<(), Fate> {
        match (kind, value) {
            (NONCE, &[a, b, c, d]) => {
                self.nonce.get_or_insert([a, b, c, d]);
            }
            (ALTERNATE_ADDRESS, value) => match AlternateAddresses::parse(value) {
                None => self.alternate_address_malformed = true,
                Some(list) if self.alternate_addresses.len == 0 => self.alternate_addresses = list,
                Some(_) => {}
            },
            (NEIGHBOR_DISCOVERY, &[0, _, _, _]) => {
                self.nd.get_or_insert(NdKind::Solicitation);
            }
            (NEIGHBOR_DISCOVERY, &[1, _, _, _]) => {
                self.nd.get_or_insert(NdKind::Advertisement);
            }
            (RANDOM_PORT | RANDOM_PORT_IANA, &[p0, p1]) => {
                self.random_port.get_or_insert(u16::from_be_bytes([p0, p1]));
            }
            (0x40..=0x7f, _) => return Err(Fate::TrailerDiscards),
            _ => {}
        }
        Ok(())
    }

    /// Appends the trailers in the order nonce, alternate addresses, neighbour discovery, random port.
    #[cfg(feature = "alloc")]
    #[allow(clippy::cast_possible_truncation)] // A list of four has 26 bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        if let Some(nonce) = self.nonce {
            out.extend_from_slice(&[NONCE, 4]);
            out.extend_from_slice(&nonce);
        }
        let entries = self.alternate_addresses.as_slice();
        if !entries.is_empty() {
            out.extend_from_slice(&[ALTERNATE_ADDRESS, (2 + 6 * entries.len()) as u8, 0, 0]);
            for entry in entries {
                out.extend_from_slice(&entry.ip.octets());
                out.extend_from_slice(&entry.port.to_be_bytes());
            }
        }
        if let Some(kind) = self.nd {
            out.extend_from_slice(&[NEIGHBOR_DISCOVERY, 4, kind as u8, 0, 0, 0]);
        }
        if let Some(port) = self.random_port {
            out.extend_from_slice(&[RANDOM_PORT, 2]);
            out.extend_from_slice(&port.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: [u8; 6] = [1, 4, 0xa1, 0xb2, 0xc3, 0xd4];

    fn parse(parts: &[&[u8]]) -> Result<Trailers, Fate> {
        Trailers::parse(&parts.concat())
    }

    fn nonce() -> Trailers {
        Trailers {
            nonce: Some([0xa1, 0xb2, 0xc3, 0xd4]),
            ..Trailers::default()
        }
    }

    #[test]
    fn nothing_behind_the_packet_is_no_trailer() {
        assert_eq!(Trailers::parse(&[]), Ok(Trailers::default()));
    }

    #[test]
    fn unknown_types_are_skipped_or_discard_the_packet_by_their_top_bits() {
        for kind in 0..=u8::MAX {
            if matches!(kind, 1..=5) {
                continue;
            }
            let expected = if kind >> 6 == 0b01 {
                Err(Fate::TrailerDiscards)
            } else {
                Ok(nonce())
            };
            assert_eq!(parse(&[&[kind, 2, 0xbe, 0xef], &N]), expected, "{kind:02x}");
            assert_eq!(parse(&[&N, &[kind, 0]]), expected, "{kind:02x}");
        }
    }

    #[test]
    fn a_trailer_that_does_not_fit_ends_the_reading_and_keeps_what_was_read() {
        for cut in [
            &[5][..],
            &[5, 2],
            &[5, 2, 0],
            &[0x42, 3, 0, 0],
            &[5, 255, 0],
        ] {
            assert_eq!(parse(&[&N, cut]), Ok(nonce()), "{cut:02x?}");
        }
    }

    #[test]
    fn random_port_is_accepted_under_both_of_its_numbers() {
        for kind in [2, 5] {
            let got = parse(&[&[kind, 2, 0x04, 0xb1]]).unwrap();
            assert_eq!(got.random_port, Some(1201));
        }
    }

    #[test]
    fn known_types_of_a_wrong_length_are_skipped() {
        for skipped in [
            &[1, 3, 0, 0, 0][..],
            &[1, 5, 0, 0, 0, 0, 0],
            &[2, 1, 0],
            &[2, 3, 0, 0, 0],
            &[4, 3, 0, 0, 0],
            &[4, 5, 0, 0, 0, 0, 0],
            &[4, 4, 2, 0, 0, 0],
            &[5, 0],
            &[5, 3, 0, 0, 0],
        ] {
            assert_eq!(parse(&[skipped, &N]), Ok(nonce()), "{skipped:02x?}");
        }
    }

    #[test]
    fn of_a_repeated_type_the_first_counts() {
        assert_eq!(parse(&[&N, &[1, 4, 9, 9, 9, 9]]), Ok(nonce()));
        let got = parse(&[&[4, 4, 1, 0, 0, 0], &[4, 4, 0, 0, 0, 0]]).unwrap();
        assert_eq!(got.nd, Some(NdKind::Advertisement));
    }

    #[test]
    fn alternate_addresses_number_one_to_four() {
        let entry = |i: u8| Mapped {
            ip: Ipv4Addr::new(192, 168, 0, i),
            port: 1000 + u16::from(i),
        };
        for n in 1..=4_u8 {
            let list: Vec<_> = (1..=n).map(entry).collect();
            let mut bytes = vec![3, 2 + 6 * n, 0, 0];
            for m in &list {
                bytes.extend(m.ip.octets());
                bytes.extend(m.port.to_be_bytes());
            }
            let got = Trailers::parse(&bytes).unwrap();
            assert_eq!(got.alternate_addresses.as_slice(), list);
            assert!(!got.alternate_address_malformed);
        }
        let five: Vec<_> = (1..=5).map(entry).collect();
        assert!(AlternateAddresses::new(&five).is_none());
    }

    #[test]
    fn a_malformed_alternate_address_trailer_is_reported_and_reading_goes_on() {
        for malformed in [
            &[3, 0][..],
            &[3, 2, 0, 0],
            &[3, 7, 0, 0, 198, 51, 100, 7, 1],
            &[3, 8, 0, 0, 198, 51, 100, 7, 0, 0],
            &[3, 8, 0, 0, 0, 0, 0, 0, 0, 1],
            &[3, 8, 0, 0, 224, 0, 0, 1, 0, 1],
            &[3, 8, 0, 0, 255, 255, 255, 255, 0, 1],
            &[&[3, 32, 0, 0][..], &[1; 30]].concat(),
        ] {
            let got = parse(&[malformed, &N]).unwrap();
            let expected = Trailers {
                alternate_address_malformed: true,
                ..nonce()
            };
            assert_eq!(got, expected, "{malformed:02x?}");
        }
    }
}

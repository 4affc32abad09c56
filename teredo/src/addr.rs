//! Teredo addresses and the IPv4 addresses inside them (RFC 4380 4, RFC 5991 3.1).

use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

/// UDP port of Teredo servers (RFC 4380 2.7).
pub const SERVER_PORT: u16 = 3544;

/// Cone bit of the flags. Peers ignore it, servers do not (RFC 5991 3.1).
pub const FLAG_CONE: u16 = 0x8000;

/// The twelve bits RFC 5991 asks clients to fill at random.
pub const FLAG_RANDOM_MASK: u16 = 0x3cff;

/// A client's address and port as the IPv4 internet sees them: behind its NAT (RFC 4380 2.9).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mapped {
    /// IPv4 address.
    pub ip: Ipv4Addr,
    /// UDP port.
    pub port: u16,
}

impl From<SocketAddrV4> for Mapped {
    fn from(a: SocketAddrV4) -> Self {
        Self {
            ip: *a.ip(),
            port: a.port(),
        }
    }
}

impl From<Mapped> for SocketAddrV4 {
    fn from(m: Mapped) -> Self {
        Self::new(m.ip, m.port)
    }
}

impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.ip, self.port)
    }
}

impl fmt::Display for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.ip, self.port)
    }
}

/// The primary IPv4 address of a Teredo server; its port is always [`SERVER_PORT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerV4(pub Ipv4Addr);

/// An IPv6 address in 2001::/32.
///
/// ```text
/// byte  0..4   2001:0000
/// byte  4..8   server IPv4, in clear
/// byte  8..10  flags
/// byte 10..12  mapped port  XOR ffff
/// byte 12..16  mapped IPv4  XOR ffffffff
/// ```
///
/// Flags are part of the identity: addresses that differ in them alone are different peers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TeredoAddr([u8; 16]);

impl Hash for TeredoAddr {
    /// Sixteen bytes at once: the derived implementation adds the length, which is always the same.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl TeredoAddr {
    /// The service prefix, 2001:0000::/32 (RFC 4380 2.6). 32 bits: 2001:db8:: is not Teredo.
    pub const PREFIX: [u8; 4] = [0x20, 0x01, 0x00, 0x00];

    /// Whether `octets` is an address of 2001::/32.
    #[inline(always)]
    pub fn is_teredo(octets: &[u8; 16]) -> bool {
        [octets[0], octets[1], octets[2], octets[3]] == Self::PREFIX
    }

    /// The address, if `octets` lies in 2001::/32.
    #[inline(always)]
    pub fn from_octets(octets: &[u8; 16]) -> Option<Self> {
        if Self::is_teredo(octets) {
            Some(Self(*octets))
        } else {
            None
        }
    }

    /// Builds the address of a client of `server` mapped to `mapped`. `flags` is taken as it is.
    pub fn new(server: ServerV4, flags: u16, mapped: Mapped) -> Self {
        let mut o = [0; 16];
        o[..4].copy_from_slice(&Self::PREFIX);
        o[4..8].copy_from_slice(&server.0.octets());
        o[8..10].copy_from_slice(&flags.to_be_bytes());
        o[10..12].copy_from_slice(&(!mapped.port).to_be_bytes());
        o[12..].copy_from_slice(&(!u32::from(mapped.ip)).to_be_bytes());
        Self(o)
    }

    /// The sixteen bytes as on the wire.
    #[inline(always)]
    pub const fn octets(&self) -> [u8; 16] {
        self.0
    }

    /// The client's server.
    #[inline(always)]
    pub const fn server(&self) -> ServerV4 {
        let o = &self.0;
        ServerV4(Ipv4Addr::new(o[4], o[5], o[6], o[7]))
    }

    /// The flags; never a reason to refuse an address.
    #[inline(always)]
    pub const fn flags(&self) -> u16 {
        u16::from_be_bytes([self.0[8], self.0[9]])
    }

    /// The client's mapped address, de-obfuscated.
    #[inline(always)]
    pub const fn mapped(&self) -> Mapped {
        let o = &self.0;
        Mapped {
            ip: Ipv4Addr::new(!o[12], !o[13], !o[14], !o[15]),
            port: !u16::from_be_bytes([o[10], o[11]]),
        }
    }
}

impl From<TeredoAddr> for Ipv6Addr {
    fn from(a: TeredoAddr) -> Self {
        Self::from(a.0)
    }
}

impl TryFrom<Ipv6Addr> for TeredoAddr {
    type Error = NotTeredo;

    fn try_from(a: Ipv6Addr) -> Result<Self, NotTeredo> {
        Self::from_octets(&a.octets()).ok_or(NotTeredo)
    }
}

/// The address lies outside 2001::/32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTeredo;

impl fmt::Display for NotTeredo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an address of 2001::/32")
    }
}

impl core::error::Error for NotTeredo {}

impl fmt::Debug for TeredoAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Ipv6Addr::from(self.0), f)
    }
}

impl fmt::Display for TeredoAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Ipv6Addr::from(self.0), f)
    }
}

/// Whether an IPv4 address may be sent to: the strict column of the relay's table of ranges.
///
/// Stricter than RFC 4380 5.2.4: shared (100.64/10), documentation, benchmark and reserved
/// ranges are refused as well. Laboratories open ranges with `--allow-non-global`. Directed
/// broadcasts of attached subnets are the caller's to know.
#[inline(always)]
pub const fn is_global_unicast(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

#[cfg(test)]
#[path = "addr_tests.rs"]
mod tests;

//! Prefixes.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

/// An IPv4 prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Net {
    addr: Ipv4Addr,
    prefix_len: u8,
}

impl Ipv4Net {
    /// The prefix, unless `prefix_len` exceeds 32. Host bits are ignored.
    pub const fn new(addr: Ipv4Addr, prefix_len: u8) -> Option<Self> {
        if prefix_len > 32 {
            return None;
        }
        Some(Self { addr, prefix_len })
    }

    /// Its first address.
    pub const fn network(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.addr.to_bits() & self.mask())
    }

    /// Bits that count.
    pub const fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// Whether `ip` lies in the prefix.
    pub const fn contains(&self, ip: Ipv4Addr) -> bool {
        (self.addr.to_bits() ^ ip.to_bits()) & self.mask() == 0
    }

    const fn mask(self) -> u32 {
        match self.prefix_len {
            0 => 0,
            n => u32::MAX << (32 - n),
        }
    }
}

impl fmt::Display for Ipv4Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix_len)
    }
}

/// An IPv6 prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Net {
    addr: Ipv6Addr,
    prefix_len: u8,
}

impl Ipv6Net {
    /// The prefix, unless `prefix_len` exceeds 128. Host bits are ignored.
    pub const fn new(addr: Ipv6Addr, prefix_len: u8) -> Option<Self> {
        if prefix_len > 128 {
            return None;
        }
        Some(Self { addr, prefix_len })
    }

    /// Its first address.
    pub const fn network(&self) -> Ipv6Addr {
        let mask = match self.prefix_len {
            0 => 0,
            n => u128::MAX << (128 - n),
        };
        Ipv6Addr::from_bits(self.addr.to_bits() & mask)
    }

    /// Bits that count.
    pub const fn prefix_len(&self) -> u8 {
        self.prefix_len
    }
}

impl fmt::Display for Ipv6Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix_len)
    }
}

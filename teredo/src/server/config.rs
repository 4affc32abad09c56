//! Settings and bounds of the server.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::credentials::Credentials;
use crate::Ipv4Net;

/// Settings of a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address clients are told, in their prefix and in theirs (S-1, S-2).
    pub primary: Ipv4Addr,
    /// The address that answers solicitations of clients that ask whether their NAT is a cone (S-1, S-10).
    pub secondary: Ipv4Addr,
    /// Ranges outside global unicast that may be sent to all the same; for laboratories.
    pub allow_non_global: Vec<Ipv4Net>,
    /// Keys of secure qualification (S-20).
    pub credentials: Credentials,
    /// Answer no solicitation without credentials (S-5).
    pub require_credentials: bool,
    /// Bounds.
    pub limits: Limits,
}

impl Config {
    /// Defaults for a server on `primary` and the address behind it, which is where clients look for the other (S-1).
    pub fn new(primary: Ipv4Addr) -> Self {
        Self {
            primary,
            secondary: Ipv4Addr::from_bits(primary.to_bits().wrapping_add(1)),
            allow_non_global: Vec::new(),
            credentials: Credentials::default(),
            require_credentials: false,
            limits: Limits::default(),
        }
    }
}

/// Every bound of the server (invariant 9, S-17). A rate or a burst of 0 lets nothing through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Packets a second forwarded to clients for one outer IPv4 source: a relay has one for all its bubbles.
    pub source_per_s: u32,
    /// Those of one source that may come at once.
    pub source_burst: u32,
    /// Packets a second for one client's IPv4 address: advertisements and forwarded ones to it, echoes to native IPv6 from it.
    pub target_per_s: u32,
    /// Those for one address that may come at once.
    pub target_burst: u32,
    /// Echoes a second forwarded to native IPv6, all together.
    pub native_per_s: u32,
    /// Echoes to native IPv6 that may go at once.
    pub native_burst: u32,
    /// Addresses whose rate is known at the same time: sources, and as many targets. An address whose bucket is full is
    /// forgotten, so by default it takes 13 million packets a second to know this many. One more address then takes over
    /// the bucket of another as it stands: nobody is refused for being new, and a flood of addresses gets no more than
    /// this many of them would.
    pub tracked_addresses: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            source_per_s: 1000,
            source_burst: 20_000,
            target_per_s: 200,
            target_burst: 400,
            native_per_s: 1000,
            native_burst: 2000,
            tracked_addresses: 65_536,
        }
    }
}

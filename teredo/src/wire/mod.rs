//! What stands in a Teredo datagram, and the IPv6 and ICMPv6 around it: parse and build.

pub mod checksum;
pub mod ecn;
pub mod ipv6;

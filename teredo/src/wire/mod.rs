//! What stands in a Teredo datagram, and the IPv6 and ICMPv6 around it: parse and build.
//!
//! Parsers borrow and need no allocator; builders do, and come with the `alloc` feature.

pub mod auth;
#[cfg(feature = "alloc")]
pub mod bubble;
pub mod checksum;
pub mod ecn;
pub mod icmp6;
pub mod ipv6;
pub mod origin;
pub mod payload;
pub mod rs_ra;
pub mod trailer;

//! What the relay asks its caller to do.

use core::net::Ipv6Addr;

use crate::addr::Mapped;
pub use crate::wire::icmp6::Icmp6Error;

/// Something for the caller to send. Commands leave [`Relay::poll`](super::Relay::poll) in the order they must be
/// carried out. Their bytes are the relay's, until it is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Send a datagram from the service socket.
    SendUdp {
        /// Where to.
        to: Mapped,
        /// TOS byte of the outer header: DSCP and ECN (RFC 6040).
        tos: u8,
        /// UDP payload.
        payload: &'a [u8],
        /// What it carries.
        kind: UdpKind,
    },
    /// Hand an IPv6 packet to native routing. The receiver decrements the hop limit.
    Forward {
        /// The whole packet, trailers stripped.
        packet: &'a [u8],
    },
    /// Send an ICMPv6 error from the relay's native address.
    Icmp6 {
        /// Source of the packet in error.
        to: Ipv6Addr,
        /// Which error.
        error: Icmp6Error,
        /// As much of the packet in error as fits into 1280 bytes with the headers.
        quote: &'a [u8],
    },
}

/// What a datagram to the IPv4 side carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpKind {
    /// A bubble.
    Bubble,
    /// A data packet that arrived just now.
    Data,
    /// A data packet that waited in a queue.
    Queued,
}

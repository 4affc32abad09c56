//! Checks of the relay's inner addresses and of what a server carries (S-6, S-7,
//! S-14, S-16), shared by the XDP program and the slow path.
//!
//! What they cannot judge without a list (own IPv4 addresses, opened ranges) they hand back as an [`Embedded`] address.

use core::net::Ipv4Addr;

use crate::Fate;
use crate::addr::{Mapped, ServerV4, TeredoAddr};
use crate::wire::icmp6;
use crate::wire::ipv6::Ipv6Header;

/// An IPv4 address inside an inner address of another tunnel (RFC 6324 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Embedded {
    /// None.
    None,
    /// 2002::/16, bytes 2 to 5.
    SixToFour(Ipv4Addr),
    /// Interface identifier 0000:5efe or 0200:5efe, bytes 12 to 15.
    Isatap(Ipv4Addr),
}

/// An address as two numbers: comparing words is what keeps the fast path fast.
#[derive(Clone, Copy)]
struct Halves {
    high: u64,
    low: u64,
}

impl Halves {
    #[inline(always)]
    fn of(a: &[u8; 16]) -> Self {
        let [high, low]: [[u8; 8]; 2] = zerocopy::transmute!(*a);
        Self {
            high: u64::from_be_bytes(high),
            low: u64::from_be_bytes(low),
        }
    }

    #[inline(always)]
    const fn is_multicast(self) -> bool {
        self.high >> 56 == 0xff
    }

    /// fe80::/10.
    #[inline(always)]
    const fn is_link_local(self) -> bool {
        self.high >> 54 == 0xfe80 >> 6
    }

    /// Unspecified, loopback, IPv4-compatible (all in ::/96) or IPv4-mapped (::ffff:0:0/96).
    #[inline(always)]
    const fn is_unspecified_loopback_or_ipv4(self) -> bool {
        self.high == 0 && matches!(self.low >> 32, 0 | 0xffff)
    }

    #[inline(always)]
    const fn is_teredo(self) -> bool {
        self.high >> 32 == u32::from_be_bytes(TeredoAddr::PREFIX) as u64
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // The lower half of a word.
    const fn embedded(self) -> Embedded {
        /// The universal/local bit, which may be either.
        const UNIVERSAL: u64 = 0x0200_0000;
        const ISATAP: u64 = 0x0000_5efe;
        if self.high >> 48 == 0x2002 {
            return Embedded::SixToFour(Ipv4Addr::from_bits((self.high >> 16) as u32));
        }
        if (self.low >> 32) & !UNIVERSAL == ISATAP {
            return Embedded::Isatap(Ipv4Addr::from_bits(self.low as u32));
        }
        Embedded::None
    }
}

/// The IPv4 address another tunnel would send packets for `a` to, whatever else speaks against `a`.
#[inline(always)]
pub fn embedded(a: &[u8; 16]) -> Embedded {
    Halves::of(a).embedded()
}

/// Destination of a packet from the native side.
///
/// # Errors
/// [`Fate::DestinationMulticast`], [`Fate::DestinationNotTeredo`].
#[inline(always)]
pub fn native_destination(d: &[u8; 16]) -> Result<(), Fate> {
    if d[0] == 0xff {
        return Err(Fate::DestinationMulticast);
    }
    if !TeredoAddr::is_teredo(d) {
        return Err(Fate::DestinationNotTeredo);
    }
    Ok(())
}

/// Source of a packet from the native side.
///
/// # Errors
/// [`Fate::SourceNotGlobal`], [`Fate::SourceTeredo`]. The caller judges an embedded address.
#[inline(always)]
pub fn native_source(s: &[u8; 16]) -> Result<Embedded, Fate> {
    let s = Halves::of(s);
    if s.is_multicast() || s.is_link_local() || s.is_unspecified_loopback_or_ipv4() {
        return Err(Fate::SourceNotGlobal);
    }
    if s.is_teredo() {
        return Err(Fate::SourceTeredo);
    }
    Ok(s.embedded())
}

/// Destination of data from a client.
///
/// # Errors
/// [`Fate::DestinationMulticast`], [`Fate::DestinationNotGlobal`],
/// [`Fate::DestinationTeredo`], [`Fate::DestinationNotServed`] (R-44: outside 2000::/3).
/// The caller judges an embedded address.
#[inline(always)]
pub fn client_destination(d: &[u8; 16]) -> Result<Embedded, Fate> {
    let d = Halves::of(d);
    if d.is_multicast() {
        return Err(Fate::DestinationMulticast);
    }
    if d.is_link_local() || d.is_unspecified_loopback_or_ipv4() {
        return Err(Fate::DestinationNotGlobal);
    }
    if d.is_teredo() {
        return Err(Fate::DestinationTeredo);
    }
    if d.high >> 61 != 0x2000 >> 13 {
        return Err(Fate::DestinationNotServed);
    }
    Ok(d.embedded())
}

/// Largest payload in bytes of an ICMPv6 packet a server carries: enough for connectivity tests, too little for data (S-14).
pub const SERVER_ICMP6_MAX_LEN: u16 = 88;

/// Most bytes behind a packet a server sends on: trailers of RFC 6081 take 44 at most, and more would carry data (S-16, S-18).
pub const SERVER_TRAILERS_MAX_LEN: usize = 88;

/// Source of a packet to the server with primary address `primary`, which came from `outer`.
///
/// Nothing is accepted from the very address it would be forwarded to: an echo service there sends back what the server
/// forwards, and the server would forward it again, for ever.
///
/// # Errors
/// [`Fate::OuterSourceMismatch`] (S-6, S-8), [`Fate::ClientOfAnotherServer`] (S-7).
#[inline(always)]
pub fn server_source(header: &Ipv6Header, outer: Mapped, primary: ServerV4) -> Result<(), Fate> {
    let source = TeredoAddr::from_octets(&header.source);
    let destination = TeredoAddr::from_octets(&header.destination);
    match (source, destination) {
        (Some(source), _) if source.mapped() != outer => Err(Fate::OuterSourceMismatch),
        (None, Some(client)) if client.server() != primary => Err(Fate::ClientOfAnotherServer),
        (None, None) => Err(Fate::ClientOfAnotherServer),
        (_, Some(client)) if client.mapped() == outer => Err(Fate::OuterSourceMismatch),
        _ => Ok(()),
    }
}

/// What a server carries of bubbles and ICMPv6, `kind` being the first byte behind the header if there is one.
///
/// # Errors
/// [`Fate::Icmp6TooLarge`], [`Fate::Icmp6NotCarried`] (S-14, S-16).
#[inline(always)]
pub const fn server_content(
    header: &Ipv6Header,
    kind: Option<u8>,
    to_native: bool,
) -> Result<(), Fate> {
    if header.payload_len() > SERVER_ICMP6_MAX_LEN {
        return Err(Fate::Icmp6TooLarge);
    }
    let carried = match kind {
        Some(icmp6::ECHO_REQUEST | icmp6::ECHO_REPLY) => true,
        Some(icmp6::ROUTER_SOLICITATION..=icmp6::REDIRECT) => false,
        Some(_) => !to_native,
        None => header.is_bubble() && !to_native,
    };
    if carried {
        Ok(())
    } else {
        Err(Fate::Icmp6NotCarried)
    }
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;

//! Address checks of the relay, shared by the XDP program
//! and the slow path.
//!
//! They judge the inner addresses alone. What they cannot judge without a list (own IPv4
//! addresses, opened ranges) they hand back as an [`Embedded`] address.

use core::net::Ipv4Addr;

use crate::Fate;
use crate::addr::TeredoAddr;

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

impl Embedded {
    #[inline(always)]
    fn of(a: &[u8; 16]) -> Self {
        if a[0] == 0x20 && a[1] == 0x02 {
            return Self::SixToFour(Ipv4Addr::new(a[2], a[3], a[4], a[5]));
        }
        if (a[8] == 0x00 || a[8] == 0x02) && a[9] == 0x00 && a[10] == 0x5e && a[11] == 0xfe {
            return Self::Isatap(Ipv4Addr::new(a[12], a[13], a[14], a[15]));
        }
        Self::None
    }
}

#[inline(always)]
fn first_ten_zero(a: &[u8; 16]) -> bool {
    (a[0] | a[1] | a[2] | a[3] | a[4] | a[5] | a[6] | a[7] | a[8] | a[9]) == 0
}

/// Unspecified, loopback, IPv4-compatible (all in ::/96) or IPv4-mapped (::ffff:0:0/96).
#[inline(always)]
fn is_unspecified_loopback_or_ipv4(a: &[u8; 16]) -> bool {
    first_ten_zero(a) && ((a[10] == 0 && a[11] == 0) || (a[10] == 0xff && a[11] == 0xff))
}

#[inline(always)]
fn is_link_local(a: &[u8; 16]) -> bool {
    a[0] == 0xfe && a[1] & 0xc0 == 0x80
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
    if s[0] == 0xff || is_link_local(s) || is_unspecified_loopback_or_ipv4(s) {
        return Err(Fate::SourceNotGlobal);
    }
    if TeredoAddr::is_teredo(s) {
        return Err(Fate::SourceTeredo);
    }
    Ok(Embedded::of(s))
}

/// Destination of data from a client.
///
/// # Errors
/// [`Fate::DestinationMulticast`], [`Fate::DestinationNotGlobal`],
/// [`Fate::DestinationTeredo`], [`Fate::DestinationNotServed`] (R-44: outside 2000::/3).
/// The caller judges an embedded address.
#[inline(always)]
pub fn client_destination(d: &[u8; 16]) -> Result<Embedded, Fate> {
    if d[0] == 0xff {
        return Err(Fate::DestinationMulticast);
    }
    if is_link_local(d) || is_unspecified_loopback_or_ipv4(d) {
        return Err(Fate::DestinationNotGlobal);
    }
    if TeredoAddr::is_teredo(d) {
        return Err(Fate::DestinationTeredo);
    }
    if d[0] & 0xe0 != 0x20 {
        return Err(Fate::DestinationNotServed);
    }
    Ok(Embedded::of(d))
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;

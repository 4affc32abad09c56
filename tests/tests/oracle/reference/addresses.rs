//! PROTOCOL 1.1, 1.6 and the addresses that rules speak of.

use super::bytes::{u16_at, u32_at};
use crate::case::Served;

/// Table 1.6, strict column: what is no host of the IPv4 internet.
const NOT_GLOBAL: [(u32, u32); 16] = [
    (0x0000_0000, 8),
    (0x0a00_0000, 8),
    (0x6440_0000, 10),
    (0x7f00_0000, 8),
    (0xa9fe_0000, 16),
    (0xac10_0000, 12),
    (0xc000_0000, 24),
    (0xc000_0200, 24),
    (0xc058_6300, 24),
    (0xc0a8_0000, 16),
    (0xc612_0000, 15),
    (0xc633_6400, 24),
    (0xcb00_7100, 24),
    (0xe000_0000, 4),
    (0xf000_0000, 4),
    (0xffff_ffff, 32),
];

/// Whether `ip` lies in `prefix`/`len`.
pub(crate) fn is_in(ip: u32, (prefix, len): (u32, u32)) -> bool {
    (ip ^ prefix)
        .checked_shr(32 - len)
        .is_none_or(|rest| rest == 0)
}

/// Whether `ip` is global unicast by the strict column of 1.6.
fn is_global(ip: u32) -> bool {
    !NOT_GLOBAL.iter().any(|range| is_in(ip, *range))
}

/// Whether `ip` may be a host of the IPv4 internet where the ranges of `opened` are; those reach no multicast, 0/8 or broadcast.
pub(super) fn is_host(ip: u32, opened: &[(u32, u32)]) -> bool {
    let is_host = ip >> 28 != 0xe && ip >> 24 != 0 && ip != u32::MAX;
    is_host && (is_global(ip) || opened.iter().any(|range| is_in(ip, *range)))
}

/// Whether the address of `bits` bits is served: the longest prefix that holds it decides, and where none does, whether
/// there is one that is served.
pub(super) fn is_served<A: Copy + Into<u128>>(address: A, bits: u8, list: &[Served<A>]) -> bool {
    let holds = |(first, len, _): &&Served<A>| {
        let differing: u128 = address.into() ^ (*first).into();
        differing.checked_shr(u32::from(bits - len)) == Some(0) || *len == 0
    };
    match list.iter().filter(holds).max_by_key(|(_, len, _)| *len) {
        Some((.., is_served)) => *is_served,
        None => !list.iter().any(|(.., is_served)| *is_served),
    }
}

/// 2001:0000::/32.
pub(crate) fn is_teredo(a: &[u8; 16]) -> bool {
    u32_at(a, 0) == 0x2001_0000
}

/// The mapped IPv4 address and port in a Teredo address.
pub(crate) fn client(a: &[u8; 16]) -> (u32, u16) {
    (!u32_at(a, 12), !u16_at(a, 10))
}

/// The server's IPv4 address in a Teredo address.
pub(crate) fn server(a: &[u8; 16]) -> u32 {
    u32_at(a, 4)
}

/// ff00::/8.
pub(crate) fn is_multicast(a: &[u8; 16]) -> bool {
    a[0] == 0xff
}

/// Unspecified, loopback, link-local, IPv4-mapped; and IPv4-compatible, which only R-41 names but which no
/// router has a route to either.
pub(crate) fn is_no_host(a: &[u8; 16]) -> bool {
    let link_local = a[0] == 0xfe && a[1] & 0xc0 == 0x80;
    let zeros = a.iter().take_while(|byte| **byte == 0).count();
    let compatible = zeros >= 12;
    let mapped = zeros == 10 && a[10] == 0xff && a[11] == 0xff;
    link_local || compatible || mapped
}

/// The IPv4 address in one of 6to4: 2002::/16, bytes 2 to 5.
pub(crate) fn in_6to4(a: &[u8; 16]) -> Option<u32> {
    (u16_at(a, 0) == 0x2002).then(|| u32_at(a, 2))
}

/// The IPv4 address behind an ISATAP interface identifier, 0000:5efe or 0200:5efe.
pub(crate) fn in_isatap(a: &[u8; 16]) -> Option<u32> {
    matches!(u32_at(a, 8), 0x0000_5efe | 0x0200_5efe).then(|| u32_at(a, 12))
}

//! What the topology's routes say, as the reference knows them.

use crate::case::Port;
use crate::rig::{CUSTOMER_TAG, SERVICE_TAG};

/// The answer to a packet's destination.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route {
    /// Through a port, behind these tags, if it is no longer than the MTU.
    Through {
        port: Port,
        tags: &'static [[u8; 4]],
        mtu: usize,
    },
    /// No way the fast path may take.
    Nowhere,
}

/// Reasons of the fast path that speak of the route.
pub(crate) const ROUTE_REASONS: [&str; 4] = [
    "PuntNoNeighbour",
    "PuntLocal",
    "PuntNoRoute",
    "PuntNextHopMtu",
];

const ONE: &[[u8; 4]] = &[CUSTOMER_TAG];
const TWO: &[[u8; 4]] = &[SERVICE_TAG, CUSTOMER_TAG];

/// What is added to the topology: a way to everybody else.
pub(crate) const DEFAULT_ROUTES: [&str; 2] = [
    "route add default via 203.0.113.1",
    "-6 route add default via 2001:db8:1::1",
];

/// The route to an IPv4 address.
pub(crate) fn ipv4(ip: u32) -> Route {
    let narrow = |tags, mtu| Route::Through {
        port: Port::Wan,
        tags,
        mtu,
    };
    let through = |tags| narrow(tags, 1500);
    match (ip >> 8, ip & 0xff) {
        // Of 203.0.113.0/24 the neighbours.
        (0x00c6_3364, 0..=63 | 240..=255) | (0x00cb_0071, 1) => through(&[]),
        (0x00c6_3364, 64..=95) | (0x00cb_0071, 17) => through(ONE),
        (0x00c6_3364, 96..=127) | (0x00cb_0071, 33) => through(TWO),
        (0x00c6_3364, 192..=207) => narrow(&[], 1000),
        // The rest of the one, attached subnets of the other, this machine.
        (0x00c6_3364 | 0x007f_0000..=0x007f_ffff, _) | (0x00cb_0071, 0..=79) => Route::Nowhere,
        _ => through(&[]),
    }
}

/// The route to an IPv6 address.
pub(crate) fn ipv6(d: &[u8; 16]) -> Route {
    let through = |port, tags, mtu| Route::Through { port, tags, mtu };
    if d[..4] != [0x20, 0x01, 0x0d, 0xb8] {
        return through(Port::Lan, &[], 9000);
    }
    let is_attached = (d[4], d[6], d[7]) == (0, 0, 0) && (1..=6).contains(&d[5]);
    let is_neighbour = d[8..] == [0, 0, 0, 0, 0, 0, 0, 1];
    match (d[4], d[5]) {
        (_, 1) if is_attached && is_neighbour => through(Port::Lan, &[], 9000),
        (_, 2) if is_attached && is_neighbour => through(Port::Lan, ONE, 1500),
        (_, 3) if is_attached && is_neighbour => through(Port::Lan, TWO, 1500),
        (_, 6) if is_attached && is_neighbour => through(Port::Wan, &[], 1500),
        _ if is_attached => Route::Nowhere,
        (0, 0x10) => through(Port::Lan, ONE, 1500),
        (0, 0x20) => through(Port::Lan, TWO, 1500),
        (0, 0x34) => through(Port::Lan, &[], 1280),
        (0, 0x37) => through(Port::Wan, &[], 1500),
        (0, 0x30..=0x33 | 0x35 | 0x36) => Route::Nowhere,
        _ => through(Port::Lan, &[], 9000),
    }
}

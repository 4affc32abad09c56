//! Where a packet goes next: a route and a neighbour of the kernel, and the port behind its device.
//!
//! Everything is decided before the packet changes, so that a punted frame is as it came.

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_NOT_FWDED,
    BPF_FIB_LKUP_RET_SUCCESS, xdp_action,
};
use relay_common::{Egress, Reason};
use teredo::wire::ipv6::{self, Ipv6Header};

use crate::config;
use crate::fib::{AF_INET, AF_INET6, Query};
use crate::frame::{Frame, LinkHeader};
use crate::maps::{DEVICES, EGRESS};

/// A resolved next hop.
pub(crate) struct NextHop {
    /// What the program returns once the frame is rewritten.
    pub(crate) action: u32,
    source_mac: [u8; 6],
    destination_mac: [u8; 6],
    egress: &'static Egress,
}

impl NextHop {
    /// The next hop of an outer packet of `len` bytes.
    ///
    /// # Errors
    /// The punt reasons of [`resolve`].
    #[inline(always)]
    pub(crate) fn ipv4(
        frame: &Frame,
        destination: [u8; 4],
        destination_port: [u8; 2],
        tos: u8,
        len: usize,
    ) -> Result<Self, Reason> {
        let query = Query {
            family: AF_INET,
            protocol: ipv6::UDP,
            source_port: config::service_port(),
            destination_port,
            len,
            flow: [tos, 0, 0, 0],
            source: word_of_ipv4(config::service_ipv4()),
            destination: word_of_ipv4(destination),
        };
        resolve(frame, query)
    }

    /// The next hop of an inner packet.
    ///
    /// # Errors
    /// The punt reasons of [`resolve`].
    #[inline(always)]
    pub(crate) fn ipv6(frame: &Frame, header: &Ipv6Header) -> Result<Self, Reason> {
        let [first, flow @ ..] = header.version_class_flow;
        let query = Query {
            family: AF_INET6,
            protocol: header.next_header,
            source_port: [0; 2],
            destination_port: [0; 2],
            len: header.packet_len(),
            flow: [first & 0x0f, flow[0], flow[1], flow[2]],
            source: words_of_ipv6(&header.source),
            destination: words_of_ipv6(&header.destination),
        };
        resolve(frame, query)
    }

    /// VLAN tags of the frame that leaves: 0, 1 or 2.
    #[inline(always)]
    pub(crate) fn tag_count(&self) -> u32 {
        self.egress.tag_count
    }

    /// The link header of the frame that leaves.
    #[inline(always)]
    pub(crate) fn link_header<const TAGS: usize>(&self, ethertype: [u8; 2]) -> LinkHeader<TAGS> {
        let mut tags = [[0; 4]; TAGS];
        for (tag, from) in tags.iter_mut().zip(&self.egress.tags) {
            let ([p0, p1], [t0, t1]) = (from.protocol, from.tci);
            *tag = [p0, p1, t0, t1];
        }
        LinkHeader {
            destination: self.destination_mac,
            source: self.source_mac,
            tags,
            ethertype,
        }
    }
}

#[inline(always)]
fn word_of_ipv4([a, b, c, d]: [u8; 4]) -> [u64; 2] {
    [u64::from_ne_bytes([a, b, c, d, 0, 0, 0, 0]), 0]
}

#[inline(always)]
fn words_of_ipv6(a: &[u8; 16]) -> [u64; 2] {
    [
        u64::from_ne_bytes([a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]]),
        u64::from_ne_bytes([a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]]),
    ]
}

/// Asks the kernel for the route, then finds the port behind the device it names.
///
/// # Errors
/// [`Reason::PuntNoNeighbour`], [`Reason::PuntLocal`], [`Reason::PuntNextHopMtu`], [`Reason::PuntNoRoute`].
#[inline(always)]
fn resolve(frame: &Frame, query: Query) -> Result<NextHop, Reason> {
    let answer = query.ask(frame);
    match answer.code {
        BPF_FIB_LKUP_RET_SUCCESS => {}
        BPF_FIB_LKUP_RET_NO_NEIGH => return Err(Reason::PuntNoNeighbour),
        BPF_FIB_LKUP_RET_NOT_FWDED => return Err(Reason::PuntLocal),
        BPF_FIB_LKUP_RET_FRAG_NEEDED => return Err(Reason::PuntNextHopMtu),
        // Blackhole, unreachable, prohibit, forwarding off, lightweight tunnels, and a negative
        // errno when the TUN device is gone.
        _ => return Err(Reason::PuntNoRoute),
    }
    let egress = EGRESS.get_ptr(answer.ifindex).ok_or(Reason::PuntNoRoute)?;
    // SAFETY: map values stay readable for the whole run of the program.
    let egress = unsafe { &*egress };
    let action = if egress.port_ifindex == frame.ingress_ifindex() {
        xdp_action::XDP_TX
    } else {
        DEVICES
            .redirect(egress.port_ifindex, 0)
            .map_err(|_| Reason::PuntNoRoute)?
    };
    Ok(NextHop {
        action,
        source_mac: answer.source_mac,
        destination_mac: answer.destination_mac,
        egress,
    })
}

//! Where a packet goes next: the kernel's routes and neighbours, seen from the relay's TUN device.
//!
//! Everything is decided before the packet changes, so that a punted frame is as it came.

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_NOT_FWDED,
    BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup, bpf_fib_lookup__bindgen_ty_1,
    bpf_fib_lookup__bindgen_ty_2, bpf_fib_lookup__bindgen_ty_3, bpf_fib_lookup__bindgen_ty_4,
    bpf_fib_lookup__bindgen_ty_5, bpf_fib_lookup__bindgen_ty_5__bindgen_ty_1, xdp_action,
};
use aya_ebpf::helpers;
use relay_common::{Egress, Reason};
use teredo::wire::ipv6::{self, Ipv6Header};

use crate::config;
use crate::frame::{Frame, LinkHeader};
use crate::maps::{DEVICES, EGRESS};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// A resolved next hop.
pub(crate) struct NextHop {
    /// What the program returns once the frame is rewritten.
    pub(crate) action: u32,
    source_mac: [u8; 6],
    destination_mac: [u8; 6],
    egress: &'static Egress,
}

impl NextHop {
    /// The next hop of an outer packet of `total_len` bytes.
    ///
    /// # Errors
    /// The punt reasons of [`resolve`].
    #[inline(always)]
    pub(crate) fn ipv4(
        frame: &Frame,
        destination: [u8; 4],
        destination_port: [u8; 2],
        tos: u8,
        total_len: usize,
    ) -> Result<Self, Reason> {
        let mut query = Query {
            family: AF_INET,
            l4_protocol: ipv6::UDP,
            sport: config::service_port(),
            dport: destination_port,
            flow: [tos, 0, 0, 0],
            source: [u32::from_ne_bytes(config::service_ipv4()), 0, 0, 0],
            destination: [u32::from_ne_bytes(destination), 0, 0, 0],
        }
        .with_len(total_len);
        resolve(frame, &mut query)
    }

    /// The next hop of an inner packet.
    ///
    /// # Errors
    /// The punt reasons of [`resolve`].
    #[inline(always)]
    pub(crate) fn ipv6(frame: &Frame, header: &Ipv6Header) -> Result<Self, Reason> {
        let [first, flow @ ..] = header.version_class_flow;
        let mut query = Query {
            family: AF_INET6,
            l4_protocol: header.next_header,
            sport: [0; 2],
            dport: [0; 2],
            flow: [first & 0x0f, flow[0], flow[1], flow[2]],
            source: words(&header.source),
            destination: words(&header.destination),
        }
        .with_len(header.packet_len());
        resolve(frame, &mut query)
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

/// The inputs of `bpf_fib_lookup`, by name.
struct Query {
    family: u8,
    l4_protocol: u8,
    sport: [u8; 2],
    dport: [u8; 2],
    flow: [u8; 4],
    source: [u32; 4],
    destination: [u32; 4],
}

impl Query {
    /// The helper's parameter block. Filled field by field: `mem::zeroed` would call a `memset`.
    #[inline(always)]
    fn with_len(self, len: usize) -> bpf_fib_lookup {
        bpf_fib_lookup {
            family: self.family,
            l4_protocol: self.l4_protocol,
            sport: u16::from_ne_bytes(self.sport),
            dport: u16::from_ne_bytes(self.dport),
            __bindgen_anon_1: bpf_fib_lookup__bindgen_ty_1 {
                tot_len: len as u16,
            },
            ifindex: config::fib_ifindex(),
            __bindgen_anon_2: bpf_fib_lookup__bindgen_ty_2 {
                flowinfo: u32::from_ne_bytes(self.flow),
            },
            __bindgen_anon_3: bpf_fib_lookup__bindgen_ty_3 {
                ipv6_src: self.source,
            },
            __bindgen_anon_4: bpf_fib_lookup__bindgen_ty_4 {
                ipv6_dst: self.destination,
            },
            __bindgen_anon_5: bpf_fib_lookup__bindgen_ty_5 {
                __bindgen_anon_1: bpf_fib_lookup__bindgen_ty_5__bindgen_ty_1 {
                    h_vlan_proto: 0,
                    h_vlan_TCI: 0,
                },
            },
            smac: [0; 6],
            dmac: [0; 6],
        }
    }
}

#[inline(always)]
fn words(a: &[u8; 16]) -> [u32; 4] {
    [
        u32::from_ne_bytes([a[0], a[1], a[2], a[3]]),
        u32::from_ne_bytes([a[4], a[5], a[6], a[7]]),
        u32::from_ne_bytes([a[8], a[9], a[10], a[11]]),
        u32::from_ne_bytes([a[12], a[13], a[14], a[15]]),
    ]
}

/// Asks the kernel's routing table, then where the device it names leads.
///
/// # Errors
/// [`Reason::PuntNoNeighbour`], [`Reason::PuntLocal`], [`Reason::PuntNextHopMtu`], [`Reason::PuntNoRoute`].
#[inline(always)]
fn resolve(frame: &Frame, query: &mut bpf_fib_lookup) -> Result<NextHop, Reason> {
    // SAFETY: the context is the one this program was entered with, the block is as long as said.
    let answer = unsafe {
        helpers::generated::bpf_fib_lookup(
            frame.context().ctx.cast(),
            query,
            size_of::<bpf_fib_lookup>() as i32,
            0,
        )
    };
    match answer as u32 {
        BPF_FIB_LKUP_RET_SUCCESS => {}
        BPF_FIB_LKUP_RET_NO_NEIGH => return Err(Reason::PuntNoNeighbour),
        BPF_FIB_LKUP_RET_NOT_FWDED => return Err(Reason::PuntLocal),
        BPF_FIB_LKUP_RET_FRAG_NEEDED => return Err(Reason::PuntNextHopMtu),
        // Blackhole, unreachable, prohibit, forwarding off, lightweight tunnels, and a negative
        // errno when the TUN device is gone.
        _ => return Err(Reason::PuntNoRoute),
    }
    let egress = EGRESS.get_ptr(query.ifindex).ok_or(Reason::PuntNoRoute)?;
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
        source_mac: query.smac,
        destination_mac: query.dmac,
        egress,
    })
}

//! Where a packet goes next: a next hop that was kept, or a route and a neighbour of the kernel and the port
//! behind its device.
//!
//! Everything is decided before the packet changes, so that a punted frame is as it came.

use core::mem::offset_of;
use core::ptr::read_volatile;

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_NOT_FWDED,
    BPF_FIB_LKUP_RET_SUCCESS, xdp_action,
};
use relay_common::{
    AF_INET, AF_INET6, Egress, HOP_LIVE, HopKey, MappedWord, NextHop as Kept, Port, Reason, Ticks,
};
use teredo::wire::ipv6::{self, Ipv6Header};

use crate::config;
use crate::fib::{Answer, Query};
use crate::frame::{Frame, LinkHeader, Macs};
use crate::kept_routes::KeptSlot;
use crate::learn;
use crate::maps::{DEVICES, EGRESS, NEXT_HOPS};
use crate::peers::Peer;

/// A resolved next hop.
pub(crate) struct NextHop {
    /// What the program returns once the frame is rewritten.
    pub(crate) action: u32,
    macs: Macs,
    egress: &'static Egress,
}

impl NextHop {
    /// The next hop of an outer packet of `len` bytes to `peer`.
    ///
    /// # Errors
    /// [`Reason::PuntNoNeighbour`], [`Reason::PuntLocal`], [`Reason::PuntNextHopMtu`], [`Reason::PuntNoRoute`].
    #[inline(always)]
    pub(crate) fn ipv4(
        frame: &Frame,
        port: &Port,
        peer: &Peer,
        tos: u8,
        len: usize,
    ) -> Result<Self, Reason> {
        if let Some((kept, _)) = live(u32::from(peer.hop()), peer.now)
            && len <= kept.key.mtu as usize
        {
            return Self::through(port, macs_of(&kept.key), &kept.egress);
        }
        let query = Query {
            family: AF_INET,
            protocol: ipv6::UDP,
            source_port: config::service_port(),
            destination_port: peer.mapped.port(),
            len,
            flow: u32::from_ne_bytes([tos, 0, 0, 0]),
            source: [config::service_ipv4().into(), 0],
            destination: [peer.mapped.ip().into(), 0],
        };
        let answer = ask(frame, query)?;
        if let Some((hop, _)) = learn::number_of(AF_INET, &answer)
            && hop as u8 != peer.hop()
        {
            peer.keep_hop(hop as u8);
        }
        Self::answered(port, &answer)
    }

    /// Number and version of the kept next hop towards `target`, if the kernel leads there by one; for user space.
    #[inline(always)]
    pub(crate) fn kept_towards(frame: &Frame, target: MappedWord) -> Option<(u32, u32)> {
        let query = Query {
            family: AF_INET,
            protocol: ipv6::UDP,
            source_port: config::service_port(),
            destination_port: target.port(),
            // Whoever sends knows how long the packet is, and the next hop what it takes.
            len: 0,
            flow: 0,
            source: [config::service_ipv4().into(), 0],
            destination: [target.ip().into(), 0],
        };
        learn::number_of(AF_INET, &ask(frame, query).ok()?)
    }

    /// The next hop of a datagram of `len` bytes, headers included, from the server to `target`.
    ///
    /// # Errors
    /// [`Reason::PuntNoNeighbour`], [`Reason::PuntLocal`], [`Reason::PuntNextHopMtu`], [`Reason::PuntNoRoute`].
    #[inline(always)]
    pub(crate) fn of_server(
        frame: &Frame,
        port: &Port,
        source: MappedWord,
        target: MappedWord,
        len: usize,
    ) -> Result<Self, Reason> {
        let (slot, destination) = KeptSlot::of_target(target);
        if let Some((hop, version)) = slot.as_ref().and_then(|slot| slot.get(destination))
            && let Some((kept, current)) = live(hop, config::now())
            && version == current
            && len <= kept.key.mtu as usize
        {
            return Self::through(port, macs_of(&kept.key), &kept.egress);
        }
        let query = Query {
            family: AF_INET,
            protocol: ipv6::UDP,
            source_port: source.port(),
            destination_port: target.port(),
            len,
            flow: 0,
            source: [source.ip().into(), 0],
            destination: [target.ip().into(), 0],
        };
        let answer = ask(frame, query)?;
        if let (Some((hop, version)), Some(slot)) = (learn::number_of(AF_INET, &answer), slot) {
            slot.put(destination, hop, version);
        }
        Self::answered(port, &answer)
    }

    /// The next hop of an inner packet.
    ///
    /// # Errors
    /// [`Reason::PuntNoNeighbour`], [`Reason::PuntLocal`], [`Reason::PuntNextHopMtu`], [`Reason::PuntNoRoute`].
    #[inline(always)]
    pub(crate) fn ipv6(
        frame: &Frame,
        port: &Port,
        header: &Ipv6Header,
        now: Ticks,
    ) -> Result<Self, Reason> {
        let destination: [u64; 2] = zerocopy::transmute!(header.destination);
        let slot = KeptSlot::of_native(destination);
        if let Some((hop, version)) = slot.as_ref().and_then(|slot| slot.get(destination))
            && let Some((kept, current)) = live(hop, now)
            && version == current
            && header.packet_len() <= kept.key.mtu as usize
        {
            return Self::through(port, macs_of(&kept.key), &kept.egress);
        }
        let [first, a, b, c] = header.version_class_flow;
        let query = Query {
            family: AF_INET6,
            protocol: header.next_header,
            source_port: 0,
            destination_port: 0,
            len: header.packet_len(),
            flow: u32::from_ne_bytes([first & 0x0f, a, b, c]),
            source: zerocopy::transmute!(header.source),
            destination,
        };
        let answer = ask(frame, query)?;
        if let (Some((hop, version)), Some(slot)) = (learn::number_of(AF_INET6, &answer), slot) {
            slot.put(destination, hop, version);
        }
        Self::answered(port, &answer)
    }

    /// The port behind the device the kernel named.
    #[inline(always)]
    fn answered(port: &Port, answer: &Answer) -> Result<Self, Reason> {
        let egress = EGRESS.get_ptr(answer.ifindex).ok_or(Reason::PuntNoRoute)?;
        // SAFETY: map values stay readable for the whole run of the program.
        let egress = unsafe { &*egress };
        Self::through(port, answer.macs, egress)
    }

    #[inline(always)]
    fn through(port: &Port, macs: Macs, egress: &'static Egress) -> Result<Self, Reason> {
        let action = if egress.port == port.number {
            xdp_action::XDP_TX
        } else {
            DEVICES
                .redirect(egress.port, 0)
                .map_err(|_| Reason::PuntNoRoute)?
        };
        Ok(Self {
            action,
            macs,
            egress,
        })
    }

    /// VLAN tags of the frame that leaves: 0, 1 or 2.
    #[inline(always)]
    pub(crate) fn tag_count(&self) -> u32 {
        self.egress.tag_count
    }

    /// The link header of the frame that leaves.
    #[inline(always)]
    pub(crate) fn link_header<const TAGS: usize>(&self, ethertype: u16) -> LinkHeader<TAGS> {
        let mut tags = [0; TAGS];
        for (tag, from) in tags.iter_mut().zip(&self.egress.tags) {
            let ([p0, p1], [t0, t1]) = (from.protocol, from.tci);
            *tag = u32::from_ne_bytes([p0, p1, t0, t1]);
        }
        LinkHeader {
            macs: self.macs,
            tags,
            ethertype,
        }
    }
}

/// The addresses as they follow each other in the key.
#[inline(always)]
fn macs_of(key: &HopKey) -> Macs {
    const { assert!(offset_of!(HopKey, source_mac) == offset_of!(HopKey, destination_mac) + 6) };
    // SAFETY: twelve bytes of the key, at a whole word.
    unsafe { *(&raw const key.destination_mac).cast::<Macs>() }
}

/// The next hop of that number, if it may be used, and its version.
#[inline(always)]
fn live(hop: u32, now: Ticks) -> Option<(&'static Kept, u32)> {
    // Number 0 stands for none and is never live.
    let kept = NEXT_HOPS.get_ptr(hop)?;
    // SAFETY: map values stay readable for the whole run of the program. User space writes nothing else in a slot
    // while a program that saw it live may still run.
    unsafe {
        (read_volatile(&raw const (*kept).state) == HOP_LIVE
            && now <= read_volatile(&raw const (*kept).good_until))
        .then(|| (&*kept, (*kept).version))
    }
}

/// Asks the kernel for the route.
#[inline(always)]
fn ask(frame: &Frame, query: Query) -> Result<Answer, Reason> {
    let answer = query.ask(frame);
    match answer.code {
        BPF_FIB_LKUP_RET_SUCCESS => Ok(answer),
        BPF_FIB_LKUP_RET_NO_NEIGH => Err(Reason::PuntNoNeighbour),
        BPF_FIB_LKUP_RET_NOT_FWDED => Err(Reason::PuntLocal),
        BPF_FIB_LKUP_RET_FRAG_NEEDED => Err(Reason::PuntNextHopMtu),
        // Blackhole, unreachable, prohibit, forwarding off, lightweight tunnels, and a negative
        // errno when the TUN device is gone.
        _ => Err(Reason::PuntNoRoute),
    }
}

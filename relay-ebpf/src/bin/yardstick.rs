//! The textbook relay: the yardstick of the benchmarks.
//!
//! What a straightforward XDP program for this job does: an LRU hash of peers by Teredo address, the
//! kernel's route lookup for every packet, the clock read for every packet and written for every
//! one received, no outer UDP checksum. Of the protocol it has what carrying data takes; it
//! filters no sources, knows no VLAN tags, no ECN and no bubbles, and its IPv4 identification
//! is always 0. All of that would cost it time, so a comparison with it is in its favour.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "lengths are bounded by 65575 before they are narrowed; helper results are kernel ABI"
)]
#![allow(
    clippy::needless_pass_by_value,
    reason = "the entry of a program owns its context"
)]

use core::mem::offset_of;
use core::ptr::read_volatile;

use aya_ebpf::bindings::{bpf_fib_lookup, xdp_action};
use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_redirect, bpf_xdp_adjust_head, generated};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{LruHashMap, PerCpuArray};
use aya_ebpf::programs::XdpContext;
use teredo::wire::checksum;
use teredo::wire::ipv6::{self, Ipv6Header};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A peer is fresh for 30 s after the last reception.
const FRESH_NS: u64 = 30_000_000_000;
/// Bytes of the outer headers.
const OUTER_LEN: usize = 28;
/// Bytes of an Ethernet header.
const LINK_LEN: usize = 14;
/// `BPF_FIB_LKUP_RET_SUCCESS`.
const FOUND: i64 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// IPv4 address of the service socket, as on the wire. The loader sets it.
#[unsafe(no_mangle)]
static SERVICE_IPV4: u32 = 0;
/// Its UDP port, as on the wire. The loader sets it.
#[unsafe(no_mangle)]
static SERVICE_PORT: u16 = 0;

/// A Teredo address.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Key([u64; 2]);

/// A trusted peer.
#[repr(C)]
#[derive(Clone, Copy)]
struct Peer {
    mapped_ipv4: [u8; 4],
    mapped_port: [u8; 2],
    reserved: [u8; 2],
    /// Last reception, nanoseconds of `CLOCK_MONOTONIC`.
    last_rx: u64,
}

/// As many as the loader says.
#[map]
static PEERS: LruHashMap<Key, Peer> = LruHashMap::with_max_entries(1, 0);

/// Packets encapsulated, decapsulated, and passed.
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(3, 0);
const ENCAPSULATED: u32 = 0;
const DECAPSULATED: u32 = 1;
const PASSED: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
struct LinkHeader {
    destination: [u8; 6],
    source: [u8; 6],
    ethertype: [u8; 2],
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
struct Ipv4Header {
    version_ihl: u8,
    tos: u8,
    total_len: [u8; 2],
    identification: [u8; 2],
    flags_fragment: [u8; 2],
    ttl: u8,
    protocol: u8,
    checksum: [u8; 2],
    source: [u8; 4],
    destination: [u8; 4],
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
struct UdpHeader {
    source: [u8; 2],
    destination: [u8; 2],
    len: [u8; 2],
    checksum: [u8; 2],
}

/// A packet in the tunnel.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
struct Tunnelled {
    link: LinkHeader,
    ipv4: Ipv4Header,
    udp: UdpHeader,
    inner: Ipv6Header,
}

/// A native packet.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
struct Native {
    link: LinkHeader,
    inner: Ipv6Header,
}

/// The program's entry.
#[xdp(frags)]
fn textbook(ctx: XdpContext) -> u32 {
    let carried = match front::<LinkHeader>(&ctx).map(|link| link.ethertype) {
        Some(IPV6) => encapsulate(&ctx).map(|action| (ENCAPSULATED, action)),
        Some(IPV4) => decapsulate(&ctx).map(|action| (DECAPSULATED, action)),
        _ => None,
    };
    let (counter, action) = carried.unwrap_or((PASSED, xdp_action::XDP_PASS));
    if let Some(counter) = COUNTERS.get_ptr_mut(counter) {
        // SAFETY: the element is this CPU's own.
        unsafe { *counter += 1 };
    }
    action
}

#[inline(always)]
fn encapsulate(ctx: &XdpContext) -> Option<u32> {
    let inner = front::<Native>(ctx)?.inner;
    let len = inner.packet_len();
    if inner.version() != 6
        || inner.destination[..4] != [0x20, 0x01, 0, 0]
        || inner.hop_limit <= 1
        || len > ctx.data_end() - ctx.data() - LINK_LEN
    {
        return None;
    }
    let key = key(&inner.destination);
    let peer = PEERS.get_ptr(key)?;
    // SAFETY: map values stay readable for the whole run of the program.
    let peer = unsafe { *peer };
    // SAFETY: the helper has no precondition.
    let now = unsafe { bpf_ktime_get_ns() };
    if now - peer.last_rx >= FRESH_NS {
        return None;
    }
    let route = Query {
        family: AF_INET,
        protocol: ipv6::UDP,
        len: len + OUTER_LEN,
        source: [u64::from(service_ipv4()), 0],
        destination: [u64::from(u32::from_ne_bytes(peer.mapped_ipv4)), 0],
    }
    .ask(ctx)?;

    let udp_len = len + size_of::<UdpHeader>();
    let mut ipv4 = Ipv4Header {
        version_ihl: 0x45,
        tos: inner.traffic_class(),
        total_len: ((udp_len + size_of::<Ipv4Header>()) as u16).to_be_bytes(),
        identification: [0; 2],
        flags_fragment: [0; 2],
        ttl: 64,
        protocol: ipv6::UDP,
        checksum: [0; 2],
        source: service_ipv4().to_ne_bytes(),
        destination: peer.mapped_ipv4,
    };
    ipv4.checksum = checksum::ipv4_header(ipv4.as_bytes()).to_be_bytes();
    move_head(ctx, -(OUTER_LEN as i32))?;
    let sent = front::<Tunnelled>(ctx)?;
    sent.link = route.link_header(IPV4);
    sent.ipv4 = ipv4;
    sent.udp = UdpHeader {
        source: service_port(),
        destination: peer.mapped_port,
        len: (udp_len as u16).to_be_bytes(),
        checksum: [0; 2],
    };
    sent.inner.hop_limit -= 1;
    Some(redirect(route.ifindex))
}

#[inline(always)]
fn decapsulate(ctx: &XdpContext) -> Option<u32> {
    let received = *front::<Tunnelled>(ctx)?;
    let Tunnelled {
        ipv4, udp, inner, ..
    } = &received;
    if ipv4.version_ihl != 0x45
        || ipv4.protocol != ipv6::UDP
        || u16::from_be_bytes(ipv4.flags_fragment) & 0x3fff != 0
        || ipv4.destination != service_ipv4().to_ne_bytes()
        || udp.destination != service_port()
        || checksum::ipv4_header(ipv4.as_bytes()) != 0
    {
        return None;
    }
    let len = inner.packet_len();
    if inner.version() != 6
        || inner.source[..4] != [0x20, 0x01, 0, 0]
        || inner.hop_limit <= 1
        || len + size_of::<UdpHeader>() != usize::from(u16::from_be_bytes(udp.len))
        || len + OUTER_LEN > ctx.data_end() - ctx.data() - LINK_LEN
    {
        return None;
    }
    let key = key(&inner.source);
    let peer = PEERS.get_ptr_mut(key)?;
    // SAFETY: map values stay readable for the whole run of the program, and any value another CPU stores at
    // the same time is as good.
    unsafe {
        if (ipv4.source, udp.source) != ((*peer).mapped_ipv4, (*peer).mapped_port) {
            return None;
        }
        (*peer).last_rx = bpf_ktime_get_ns();
    }
    let route = Query {
        family: AF_INET6,
        protocol: inner.next_header,
        len,
        source: words(&inner.source),
        destination: words(&inner.destination),
    }
    .ask(ctx)?;
    move_head(ctx, OUTER_LEN as i32)?;
    let sent = front::<Native>(ctx)?;
    sent.link = route.link_header(IPV6);
    sent.inner.hop_limit -= 1;
    Some(redirect(route.ifindex))
}

/// What to look up.
struct Query {
    family: u8,
    protocol: u8,
    /// Bytes of the packet from its IP header on.
    len: usize,
    /// IPv4 in the first four bytes.
    source: [u64; 2],
    /// IPv4 in the first four bytes.
    destination: [u64; 2],
}

/// Where the packet goes.
struct Route {
    ifindex: u32,
    source_mac: [u8; 6],
    destination_mac: [u8; 6],
}

impl Query {
    /// Asks the kernel, as if the packet went on from the port it came in by. The block is made of whole words, because
    /// no kernel accepts unaligned access to the stack.
    #[inline(always)]
    fn ask(self, ctx: &XdpContext) -> Option<Route> {
        let [l0, l1] = (self.len as u16).to_ne_bytes();
        let mut block = [
            u64::from_ne_bytes([self.family, self.protocol, 0, 0, 0, 0, l0, l1]),
            ctx.ingress_ifindex() as u64,
            self.source[0],
            self.source[1],
            self.destination[0],
            self.destination[1],
            0,
            0,
        ];
        // SAFETY: the context is the one this program was entered with, the block as long as said.
        let code = unsafe {
            generated::bpf_fib_lookup(
                ctx.ctx.cast(),
                block.as_mut_ptr().cast(),
                size_of_val(&block) as i32,
                0,
            )
        };
        if code != FOUND {
            return None;
        }
        let word = |index: usize| {
            // SAFETY: a reference to an initialised word. Volatile, or the compiler would narrow the
            // load to an unaligned part.
            unsafe { read_volatile(&raw const block[index]) }.to_ne_bytes()
        };
        let [i0, i1, i2, i3, ..] = word(1);
        let [.., s0, s1, s2, s3] = word(6);
        let [s4, s5, d0, d1, d2, d3, d4, d5] = word(7);
        Some(Route {
            ifindex: u32::from_ne_bytes([i0, i1, i2, i3]),
            source_mac: [s0, s1, s2, s3, s4, s5],
            destination_mac: [d0, d1, d2, d3, d4, d5],
        })
    }
}

/// Where the words above take the block's fields to be.
const _: () = assert!(
    size_of::<bpf_fib_lookup>() == 64
        && offset_of!(bpf_fib_lookup, __bindgen_anon_1) == 6
        && offset_of!(bpf_fib_lookup, ifindex) == 8
        && offset_of!(bpf_fib_lookup, __bindgen_anon_3) == 16
        && offset_of!(bpf_fib_lookup, __bindgen_anon_4) == 32
        && offset_of!(bpf_fib_lookup, smac) == 52
        && offset_of!(bpf_fib_lookup, dmac) == 58
);

impl Route {
    #[inline(always)]
    fn link_header(&self, ethertype: [u8; 2]) -> LinkHeader {
        LinkHeader {
            destination: self.destination_mac,
            source: self.source_mac,
            ethertype,
        }
    }
}

#[inline(always)]
fn redirect(ifindex: u32) -> u32 {
    // SAFETY: the helper has no precondition.
    (unsafe { bpf_redirect(ifindex, 0) }) as u32
}

#[inline(always)]
fn key(address: &[u8; 16]) -> Key {
    Key(words(address))
}

#[inline(always)]
fn words(a: &[u8; 16]) -> [u64; 2] {
    [
        u64::from_ne_bytes([a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]]),
        u64::from_ne_bytes([a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]]),
    ]
}

/// The front of the frame, if it is that long.
#[inline(always)]
#[allow(clippy::mut_from_ref, reason = "the context stands for the packet")]
fn front<T: FromBytes + IntoBytes + Unaligned>(ctx: &XdpContext) -> Option<&mut T> {
    let start = ctx.data();
    if start + size_of::<T>() > ctx.data_end() {
        return None;
    }
    // SAFETY: the bytes were just found inside the packet, `T` takes any bytes at any alignment,
    // and callers keep one such reference at a time, none of them over `move_head`.
    Some(unsafe { &mut *(start as *mut T) })
}

#[inline(always)]
fn move_head(ctx: &XdpContext, delta: i32) -> Option<()> {
    // SAFETY: the context is the one this program was entered with.
    (unsafe { bpf_xdp_adjust_head(ctx.ctx, delta) } == 0).then_some(())
}

#[inline(always)]
fn service_ipv4() -> u32 {
    // SAFETY: an initialised static. Volatile, because the compiler would fold the zero.
    unsafe { read_volatile(&raw const SERVICE_IPV4) }
}

#[inline(always)]
fn service_port() -> [u8; 2] {
    // SAFETY: as above.
    unsafe { read_volatile(&raw const SERVICE_PORT) }.to_ne_bytes()
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Helpers such as the route lookup are open to GPL-compatible programs alone.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

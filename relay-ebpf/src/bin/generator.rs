//! Both ends of the live benches: the generator of traffic, and the farm of Teredo clients where it ends.
//!
//! The generator runs under `BPF_PROG_TEST_RUN` with live frames, one processor at a time. It writes the whole
//! front of every frame, because a page comes back as the last packet's journey left it.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]
#![allow(
    clippy::needless_pass_by_value,
    reason = "the entry of a program owns its context"
)]

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::{bpf_get_prandom_u32, bpf_ktime_get_ns};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, DevMap, PerCpuArray};
use aya_ebpf::programs::XdpContext;
use relay_common::farm::{
    BUCKETS, DATA_FRAME_MIN_BYTES, FRONT_BYTES, Interval, Order, SILENT_FROM, TIMED_PEERS, Tally,
    bucket, checksum_field, mapped, peer,
};
use teredo::addr::{Mapped, SERVER_PORT, TeredoAddr};
use teredo::wire::checksum;
use teredo::wire::ipv6::{self, Ipv6Header};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

#[map]
static ORDER: Array<Order> = Array::with_max_entries(1, 0);
#[map]
static OUT: DevMap = DevMap::with_max_entries(1, 0);
#[map]
static TALLIES: PerCpuArray<u64> = PerCpuArray::with_max_entries(Tally::COUNT, 0);
#[map]
static HISTOGRAMS: PerCpuArray<u64> = PerCpuArray::with_max_entries(BUCKETS * Interval::COUNT, 0);
#[map]
static SENT: Array<u64> = Array::with_max_entries(TIMED_PEERS, 0);
#[map]
static ANSWERED: Array<u64> = Array::with_max_entries(TIMED_PEERS, 0);

/// Bytes of an Ethernet header.
const LINK: usize = 14;
/// Bytes of the outer IPv4 and UDP headers.
const OUTER: usize = 28;
/// Where the mapped port and address stand in a Teredo address.
const MAPPED_AT: usize = 10;

/// Sends a native packet to a client.
#[xdp(frags)]
fn send_native(ctx: XdpContext) -> u32 {
    const UDP_CHECKSUM_AT: usize = LINK + ipv6::HEADER_LEN + 6;
    const CLIENT_AT: usize = LINK + 24 + MAPPED_AT;
    let Some((start, order, peer)) = make(&ctx) else {
        return xdp_action::XDP_ABORTED;
    };
    let client = mapped(peer);
    // SAFETY: all lie in the front, which `make` found inside the packet.
    unsafe {
        put_client(start + CLIENT_AT, client);
        put(start + UDP_CHECKSUM_AT, udp_checksum(order.udp_sum, client));
    }
    leave()
}

/// Sends a client's packet to the relay.
#[xdp(frags)]
fn send_client(ctx: XdpContext) -> u32 {
    const UDP_CHECKSUM_AT: usize = LINK + OUTER + ipv6::HEADER_LEN + 6;
    const CLIENT_AT: usize = LINK + OUTER + 8 + MAPPED_AT;
    let Some((start, order, peer)) = make(&ctx) else {
        return xdp_action::XDP_ABORTED;
    };
    let client = mapped(peer);
    // SAFETY: all lie in the front, which `make` found inside the packet.
    unsafe {
        put_outer_source(start, order, client);
        put_client(start + CLIENT_AT, client);
        put(start + UDP_CHECKSUM_AT, udp_checksum(order.udp_sum, client));
    }
    leave()
}

/// Sends a client's solicitation to its server.
#[xdp(frags)]
fn send_solicitation(ctx: XdpContext) -> u32 {
    let Some((start, order, peer)) = make(&ctx) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: all of it lies in the front, which `make` found inside the packet.
    unsafe { put_outer_source(start, order, mapped(peer)) };
    leave()
}

/// Forwards everything, as fast as the kernel can.
#[xdp(frags)]
fn redirect(_: XdpContext) -> u32 {
    leave()
}

/// Counts UDP and ends everything: an ICMPv6 error is no delivery.
#[xdp(frags)]
fn sink(ctx: XdpContext) -> u32 {
    const ETHERTYPE_AT: usize = 12;
    const NEXT_HEADER_AT: usize = LINK + 6;
    const PROTOCOL_AT: usize = LINK + 9;
    let start = ctx.data();
    if start + DATA_FRAME_MIN_BYTES > ctx.data_end() {
        return xdp_action::XDP_DROP;
    }
    // SAFETY: every offset here lies in the part just found inside the packet; a byte has no alignment.
    let byte = |at: usize| unsafe { *((start + at) as *const u8) };
    let protocol = match byte(ETHERTYPE_AT) {
        0x86 => byte(NEXT_HEADER_AT),
        _ => byte(PROTOCOL_AT),
    };
    if protocol == ipv6::UDP {
        count(Tally::Delivered);
    }
    xdp_action::XDP_DROP
}

/// The clients: answer bubbles, count data.
#[xdp(frags)]
fn farm(ctx: XdpContext) -> u32 {
    tend::<false>(&ctx)
}

/// The clients, taking times.
#[xdp(frags)]
fn farm_timed(ctx: XdpContext) -> u32 {
    tend::<true>(&ctx)
}

/// Writes the frame's front and gives its beginning, the order and the peer's number. `None`: a broken rig.
#[inline(always)]
fn make(ctx: &XdpContext) -> Option<(usize, &'static Order, u32)> {
    let order = ORDER.get_ptr_mut(0)?;
    // SAFETY: the map's value lives as long as the program; one processor at a time runs the generator.
    let order = unsafe { &mut *order };
    let start = ctx.data();
    if start + FRONT_BYTES > ctx.data_end() {
        return None;
    }
    for (i, word) in order.front.iter().enumerate() {
        // SAFETY: the front was just found inside the packet. Volatile, or the compiler would
        // make it a call to a `memcpy` that the verifier does not get through.
        unsafe { ((start + 8 * i) as *mut Word).write_volatile(Word(*word)) };
    }
    let step = if order.random == 0 {
        order.cursor
    } else {
        // SAFETY: the helper has no precondition.
        unsafe { bpf_get_prandom_u32() }
    };
    let peer = order.first.wrapping_add(step & order.mask);
    order.cursor = order.cursor.wrapping_add(1);
    if order.timed != 0 {
        note(&SENT, peer);
    }
    Some((start, order, peer))
}

/// Eight bytes at any alignment.
#[repr(C, packed)]
#[derive(Clone, Copy)]
struct Word(u64);

#[inline(always)]
fn leave() -> u32 {
    OUT.redirect(0, 0).unwrap_or_else(|action| action)
}

/// `sum` covers all but the mapped address, which the Teredo address holds complemented.
#[inline(always)]
fn udp_checksum(sum: u32, client: Mapped) -> [u8; 2] {
    let ip = !client.ip.to_bits();
    let sum = sum + u32::from(!client.port) + (ip >> 16) + (ip & 0xffff);
    checksum::as_udp_field(checksum_field(sum)).to_be_bytes()
}

/// # Safety
/// The outer headers of the frame at `start` are in the packet.
#[inline(always)]
unsafe fn put_outer_source(start: usize, order: &Order, client: Mapped) {
    const IPV4_CHECKSUM_AT: usize = LINK + 10;
    const IPV4_SOURCE_AT: usize = LINK + 12;
    const UDP_SOURCE_AT: usize = LINK + 20;
    let ip = client.ip.to_bits();
    let ipv4_checksum = checksum_field(order.ipv4_sum + (ip >> 16) + (ip & 0xffff));
    // SAFETY: by the caller's word.
    unsafe {
        put(start + IPV4_CHECKSUM_AT, ipv4_checksum.to_be_bytes());
        put(start + IPV4_SOURCE_AT, client.ip.octets());
        put(start + UDP_SOURCE_AT, client.port.to_be_bytes());
    }
}

/// # Safety
/// Six bytes at `at` are in the packet.
#[inline(always)]
unsafe fn put_client(at: usize, client: Mapped) {
    // SAFETY: by the caller's word.
    unsafe {
        put(at, (!client.port).to_be_bytes());
        put(at + 2, (!client.ip.to_bits()).to_be_bytes());
    }
}

/// # Safety
/// `N` bytes at `at` are in the packet.
#[inline(always)]
unsafe fn put<const N: usize>(at: usize, bytes: [u8; N]) {
    // SAFETY: by the caller's word; an array of bytes has no alignment.
    unsafe { *(at as *mut [u8; N]) = bytes };
}

/// A bubble or data in UDP over IPv4, from the relay.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
struct Tunnelled {
    to_mac: [u8; 6],
    from_mac: [u8; 6],
    ethertype: [u8; 2],
    version_ihl_tos: [u8; 2],
    total_len: [u8; 2],
    identification_fragment: [u8; 4],
    ttl_protocol: [u8; 2],
    ipv4_checksum: [u8; 2],
    source: [u8; 4],
    destination: [u8; 4],
    source_port: [u8; 2],
    destination_port: [u8; 2],
    udp_len: [u8; 2],
    udp_checksum: [u8; 2],
    inner: Ipv6Header,
}

#[inline(always)]
fn tend<const TIMED: bool>(ctx: &XdpContext) -> u32 {
    let len = ctx.data_end() - ctx.data();
    if len >= DATA_FRAME_MIN_BYTES {
        count(Tally::Delivered);
        if !TIMED {
            return xdp_action::XDP_DROP;
        }
    }
    let start = ctx.data();
    if start + size_of::<Tunnelled>() > ctx.data_end() {
        return xdp_action::XDP_DROP;
    }
    // SAFETY: just found inside the packet, takes any bytes at any alignment, and is the only reference.
    let frame = unsafe { &mut *(start as *mut Tunnelled) };
    let client = TeredoAddr::from_octets(&frame.inner.destination).map(|client| client.mapped());
    let Some((client, number)) = client.and_then(|client| Some((client, peer(client)?))) else {
        return xdp_action::XDP_DROP;
    };
    if len >= DATA_FRAME_MIN_BYTES {
        record(&ANSWERED, number, Interval::AnswerToQueue);
        return xdp_action::XDP_DROP;
    }
    if frame.destination_port != SERVER_PORT.to_be_bytes() || !frame.inner.is_bubble() {
        return xdp_action::XDP_DROP;
    }
    if TIMED {
        record(&SENT, number, Interval::FrameToBubble);
    }
    if number >= SILENT_FROM {
        count(Tally::Unanswered);
        return xdp_action::XDP_DROP;
    }
    answer(frame, client);
    count(Tally::Answered);
    if TIMED {
        note(&ANSWERED, number);
    }
    xdp_action::XDP_TX
}

/// Makes of the relay's bubble the client's direct answer: the same way back, the trailers untouched
/// (RFC 4380 5.2.3, RFC 6081 5.2.4.4). Without an outer UDP checksum, which IPv4 allows.
#[inline(always)]
fn answer(frame: &mut Tunnelled, client: Mapped) {
    (frame.to_mac, frame.from_mac) = (frame.from_mac, frame.to_mac);
    frame.destination = frame.source;
    frame.source = client.ip.octets();
    frame.destination_port = frame.source_port;
    frame.source_port = client.port.to_be_bytes();
    frame.udp_checksum = [0; 2];
    (frame.inner.source, frame.inner.destination) = (frame.inner.destination, frame.inner.source);
    frame.ipv4_checksum = [0; 2];
    let header = frame.as_bytes().get(LINK..LINK + 20).unwrap_or_default();
    frame.ipv4_checksum = checksum::ipv4_header(header).to_be_bytes();
}

#[inline(always)]
fn count(tally: Tally) {
    if let Some(count) = TALLIES.get_ptr_mut(tally as u32) {
        // SAFETY: this processor's own value.
        unsafe { *count += 1 };
    }
}

/// Notes the time in `times` for `peer`.
#[inline(always)]
fn note(times: &Array<u64>, peer: u32) {
    if let Some(time) = times.get_ptr_mut(peer % TIMED_PEERS) {
        // SAFETY: a value of its own; a peer has one packet on the way at a time.
        unsafe { *time = bpf_ktime_get_ns() };
    }
}

/// Records the time since the one noted for `peer`, once.
#[inline(always)]
fn record(times: &Array<u64>, peer: u32, interval: Interval) {
    let Some(time) = times.get_ptr_mut(peer % TIMED_PEERS) else {
        return;
    };
    // SAFETY: as in `note`.
    let since = unsafe { core::mem::take(&mut *time) };
    if since == 0 {
        return;
    }
    // SAFETY: the helper has no precondition.
    let ns = unsafe { bpf_ktime_get_ns() }.saturating_sub(since);
    if let Some(count) = HISTOGRAMS.get_ptr_mut(interval as u32 * BUCKETS + bucket(ns)) {
        // SAFETY: this processor's own value.
        unsafe { *count += 1 };
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

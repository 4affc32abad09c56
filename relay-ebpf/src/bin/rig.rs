//! Programs that stand in front of the relay under `BPF_PROG_TEST_RUN`, for tests and benchmarks
//! alone: each ends in a tail call to the shipped program, loaded from its own object.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "lengths of test frames"
)]
#![allow(
    clippy::needless_pass_by_value,
    reason = "the entry of a program owns its context"
)]

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_get_buff_len};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, ProgramArray};
use aya_ebpf::programs::XdpContext;

/// Bytes at the front of a frame that a program may change, at most.
const FRONT: usize = 96;
/// The same from the native side: link header and IPv6 header, in whole words.
const NATIVE_FRONT: usize = 56;
/// The same from a client: link header, outer headers and inner IPv6 header, in whole words.
const CLIENT_FRONT: usize = 88;
/// The same to the server, whose last bytes are zeros.
const SERVER_FRONT: usize = 90;
/// What a frame has in front under `BPF_PROG_TEST_RUN`: 256 bytes less the kernel's `xdp_frame`.
/// Less than the smallest outer header is left after this.
const CROWDED: usize = 204;
/// `BPF_F_MMAPABLE`: the elements begin on a page.
const MMAPABLE: u32 = 1 << 10;

/// How numbers are drawn: `state * multiplier + increment`, of which the upper half is the number.
///
/// The factors of a linear congruential generator of 64 bits give random numbers, 1 and 2^32 count.
/// Either costs the same.
#[repr(C)]
#[derive(Clone, Copy)]
struct Draw {
    state: u64,
    multiplier: u64,
    increment: u64,
}

/// The frame as it was, and whose it is.
#[repr(C)]
#[derive(Clone, Copy)]
struct Original {
    front: [u64; FRONT / 8],
    draw: Draw,
    len: u32,
    /// A power of two less one: what the number drawn is cut to.
    mask: u32,
}

/// Slot 0: the program under test, or [`empty`].
#[map]
static NEXT: ProgramArray = ProgramArray::with_max_entries(1, 0);

#[map]
static ORIGINAL: Array<Original> = Array::with_max_entries(1, 0);

/// Peers in an order made beforehand. As long as the loader makes it.
#[map]
static SEQUENCE: Array<u32> = Array::with_max_entries(1, 0);

/// A cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u64; 8]);

/// Lines to be read at random. As many as the loader makes.
#[map]
static LINES: Array<Line> = Array::with_max_entries(1, MMAPABLE);

/// Does nothing: what the harness itself costs.
#[xdp(frags)]
fn empty(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// The least a program does that sends a frame back.
#[xdp(frags)]
fn parse_swap_tx(ctx: XdpContext) -> u32 {
    swap(&ctx)
}

/// The same, with a number drawn: what [`cold_line`] is held against.
#[xdp(frags)]
fn parse_draw_swap_tx(ctx: XdpContext) -> u32 {
    let Some(original) = original() else {
        return xdp_action::XDP_ABORTED;
    };
    draw(original);
    swap(&ctx)
}

/// The same, with the line of that number read.
#[xdp(frags)]
fn cold_line(ctx: XdpContext) -> u32 {
    let Some(original) = original() else {
        return xdp_action::XDP_ABORTED;
    };
    match LINES.get(draw(original)) {
        // Every line is zero; the comparison makes the packet wait for it.
        Some(Line([0, ..])) => swap(&ctx),
        _ => xdp_action::XDP_ABORTED,
    }
}

/// Exchanges the MAC addresses of an IPv6 frame and sends it back.
#[inline(always)]
fn swap(ctx: &XdpContext) -> u32 {
    const ETHERTYPE_AT: usize = 12;
    const MAC_LEN: usize = 6;
    let start = ctx.data();
    if start + NATIVE_FRONT > ctx.data_end() {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: everything read and written lies in the front that was just found in the packet.
    unsafe {
        if *((start + ETHERTYPE_AT) as *const [u8; 3]) != [0x86, 0xdd, 0x60] {
            return xdp_action::XDP_ABORTED;
        }
        let destination = *(start as *const [u8; MAC_LEN]);
        let source = *((start + MAC_LEN) as *const [u8; MAC_LEN]);
        put(start, source);
        put(start + MAC_LEN, destination);
    }
    xdp_action::XDP_TX
}

/// Undoes what encapsulation did to the frame, addresses it to a random peer and calls on.
#[xdp(frags)]
fn restore_native(ctx: XdpContext) -> u32 {
    native::<false>(&ctx)
}

/// Like [`restore_native`], with the peers of [`SEQUENCE`].
#[xdp(frags)]
fn restore_native_in_sequence(ctx: XdpContext) -> u32 {
    native::<true>(&ctx)
}

/// Undoes what decapsulation did to the frame, makes it a random peer's and calls on.
#[xdp(frags)]
fn restore_client(ctx: XdpContext) -> u32 {
    client::<false>(&ctx)
}

/// Like [`restore_client`], with the peers of [`SEQUENCE`].
#[xdp(frags)]
fn restore_client_in_sequence(ctx: XdpContext) -> u32 {
    client::<true>(&ctx)
}

/// Undoes what the server did to the frame, makes it one of a random sender's and calls on.
#[xdp(frags)]
fn restore_sender(ctx: XdpContext) -> u32 {
    const OUTER_IP_AT: usize = 14 + 12;
    const OUTER_PORT_AT: usize = 14 + 20;
    /// From the addresses of peers to such as are global.
    const GLOBAL: u32 = u32::from_be_bytes([30, 0, 0, 0]);
    let Some((start, (ip, port))) = restore::<CLIENT_FRONT, false>(&ctx) else {
        return xdp_action::XDP_ABORTED;
    };
    if start + SERVER_FRONT > ctx.data_end() {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: all of them lie in the front that was just found in the packet.
    unsafe {
        put(start + OUTER_IP_AT, (ip + GLOBAL).to_be_bytes());
        put(start + OUTER_PORT_AT, port.to_be_bytes());
        put(start + CLIENT_FRONT, [0; SERVER_FRONT - CLIENT_FRONT]);
    }
    call_on(&ctx)
}

#[inline(always)]
fn native<const SEQUENCE: bool>(ctx: &XdpContext) -> u32 {
    /// Mapped port and IPv4 address in the inner destination.
    const PORT_AT: usize = 14 + 24 + 10;
    let Some((start, (ip, port))) = restore::<NATIVE_FRONT, SEQUENCE>(ctx) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: both lie in the front that was just restored.
    unsafe {
        put(start + PORT_AT, (!port).to_be_bytes());
        put(start + PORT_AT + 2, (!ip).to_be_bytes());
    }
    call_on(ctx)
}

#[inline(always)]
fn client<const SEQUENCE: bool>(ctx: &XdpContext) -> u32 {
    const OUTER_IP_AT: usize = 14 + 12;
    const OUTER_PORT_AT: usize = 14 + 20;
    /// Mapped port and IPv4 address in the inner source.
    const PORT_AT: usize = 14 + 28 + 8 + 10;
    let Some((start, (ip, port))) = restore::<CLIENT_FRONT, SEQUENCE>(ctx) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: all of them lie in the front that was just restored.
    unsafe {
        put(start + OUTER_IP_AT, ip.to_be_bytes());
        put(start + OUTER_PORT_AT, port.to_be_bytes());
        put(start + PORT_AT, (!port).to_be_bytes());
        put(start + PORT_AT + 2, (!ip).to_be_bytes());
    }
    call_on(ctx)
}

/// Makes the frame what it was and gives its beginning and its peer. `None`: a broken rig.
#[inline(always)]
fn restore<const LEN: usize, const IN_SEQUENCE: bool>(
    ctx: &XdpContext,
) -> Option<(usize, (u32, u16))> {
    let original = original()?;
    // SAFETY: the context is the one this program was entered with.
    let delta = unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as i64 - i64::from(original.len);
    // Also where nothing has moved: in front of the empty program this must cost the same.
    // SAFETY: as above.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, delta as i32) } != 0 {
        return None;
    }
    let start = ctx.data();
    if start + LEN > ctx.data_end() {
        return None;
    }
    // SAFETY: the bytes were just found inside the packet, and the map's value is apart from it.
    unsafe { copy_front::<LEN>(start, original.front.as_ptr() as usize) };
    let number = draw(original);
    let peer = if IN_SEQUENCE {
        *SEQUENCE.get(number)?
    } else {
        number
    };
    Some((start, mapped(peer)))
}

#[inline(always)]
fn original() -> Option<&'static mut Original> {
    let original = ORIGINAL.get_ptr_mut(0)?;
    // SAFETY: the rig runs on one CPU, one program at a time, and takes the reference once a run.
    Some(unsafe { &mut *original })
}

/// The next number.
#[inline(always)]
fn draw(original: &mut Original) -> u32 {
    let Draw {
        state,
        multiplier,
        increment,
    } = &mut original.draw;
    *state = state.wrapping_mul(*multiplier).wrapping_add(*increment);
    (*state >> 32) as u32 & original.mask
}

/// Address and port of peer number `peer`. The two halves of the address always have the same sum, so
/// that the IPv4 header checksum holds for all.
#[inline(always)]
fn mapped(peer: u32) -> (u32, u16) {
    const BASE: u32 = u32::from_be_bytes([10, 64, 0x80, 0]);
    let step = peer >> 15;
    (BASE + (step << 16) - step, 0x8000 | (peer & 0x7fff) as u16)
}

/// # Safety
/// `at` is in the packet.
#[inline(always)]
unsafe fn put<const N: usize>(at: usize, bytes: [u8; N]) {
    // SAFETY: by the caller's word; an array of bytes has no alignment.
    unsafe { *(at as *mut [u8; N]) = bytes };
}

/// Leaves too little room in front of the frame for another header, then calls on.
#[xdp(frags)]
fn crowd(ctx: XdpContext) -> u32 {
    // SAFETY: the context is the one this program was entered with.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, -(CROWDED as i32)) } != 0 {
        return xdp_action::XDP_ABORTED;
    }
    let (to, from) = (ctx.data(), ctx.data() + CROWDED);
    if from + FRONT > ctx.data_end() {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: both lie inside the packet and do not overlap.
    unsafe { copy_front::<FRONT>(to, from) };
    call_on(&ctx)
}

/// Copies word by word: volatile, or the compiler would make it a call to a `memmove` that the
/// verifier does not get through.
///
/// # Safety
/// `LEN` bytes lie at either address, and they do not overlap.
#[inline(always)]
unsafe fn copy_front<const LEN: usize>(to: usize, from: usize) {
    /// Eight bytes at any alignment.
    #[repr(C, packed)]
    #[derive(Clone, Copy)]
    struct Word(u64);

    let (to, from) = (to as *mut Word, from as *const Word);
    for i in 0..LEN / 8 {
        // SAFETY: by the caller's word.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) };
    }
}

#[inline(always)]
fn call_on(ctx: &XdpContext) -> u32 {
    // SAFETY: the map holds XDP programs alone. A call that succeeds does not come back.
    unsafe { NEXT.tail_call(ctx, 0) };
    xdp_action::XDP_ABORTED
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

//! Programs that stand in front of the relay under `BPF_PROG_TEST_RUN`, for tests and benchmarks
//! alone: each ends in a tail call to the shipped program, loaded from its own object.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "lengths of test frames"
)]

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_get_buff_len};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, ProgramArray};
use aya_ebpf::programs::XdpContext;

/// Bytes at the front of a frame that the relay may change.
const FRONT: usize = 96;
/// What a frame has in front under `BPF_PROG_TEST_RUN`: 256 bytes less the kernel's `xdp_frame`.
/// Less than the smallest outer header is left after this.
const CROWDED: usize = 204;

/// The frame as it was.
#[repr(C)]
#[derive(Clone, Copy)]
struct Original {
    front: [u64; FRONT / 8],
    len: u64,
}

/// Slot 0: the shipped program, or [`empty`].
#[map]
static NEXT: ProgramArray = ProgramArray::with_max_entries(1, 0);

#[map]
static ORIGINAL: Array<Original> = Array::with_max_entries(1, 0);

/// Does nothing: what the harness itself costs.
#[xdp(frags)]
fn empty(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Undoes what the last run did to the frame, then calls on.
#[xdp(frags)]
fn restore(ctx: XdpContext) -> u32 {
    let Some(original) = ORIGINAL.get(0) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: the context is the one this program was entered with.
    let delta = unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as i64 - original.len as i64;
    // SAFETY: as above.
    if delta != 0 && unsafe { bpf_xdp_adjust_head(ctx.ctx, delta as i32) } != 0 {
        return xdp_action::XDP_ABORTED;
    }
    let start = ctx.data();
    if start + FRONT > ctx.data_end() {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: the bytes were just found inside the packet, and the map's value is apart from it.
    unsafe { copy_front(start, original.front.as_ptr() as usize) };
    call_on(&ctx)
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
    unsafe { copy_front(to, from) };
    call_on(&ctx)
}

/// Copies word by word: volatile, or the compiler would make it a call to a `memmove` that the
/// verifier does not get through.
///
/// # Safety
/// [`FRONT`] bytes lie at either address, and they do not overlap.
#[inline(always)]
unsafe fn copy_front(to: usize, from: usize) {
    /// Eight bytes at any alignment.
    #[repr(C, packed)]
    #[derive(Clone, Copy)]
    struct Word(u64);

    let (to, from) = (to as *mut Word, from as *const Word);
    for i in 0..FRONT / 8 {
        // SAFETY: by the caller's word.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) };
    }
}

#[inline(always)]
fn call_on(ctx: &XdpContext) -> u32 {
    // SAFETY: the map holds XDP programs alone. A call that succeeds does not come back.
    let _ = unsafe { NEXT.tail_call(ctx, 0) };
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

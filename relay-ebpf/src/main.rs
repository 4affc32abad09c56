//! The XDP program of relay and server: one for every port and every direction.
//!
//! ```text
//! frame ─ link ─┬ IPv6 to 2001::/32       ─ encap ──┬ next hop ─ rewritten, sent
//!               ├ IPv4/UDP to the service ─ decap ──┤
//!               ├ IPv4/UDP to the server ─┬ forward ┘
//!               │                         └ advertise ─ turned around, sent
//!               └ anything else ─ passed, untouched
//! ```
//!
//! It carries packets of fresh trusted peers and hands every other decision to the slow path
//! with the frame unmodified; of what is sent to the server it answers and forwards what is settled by looking at it, and
//! leaves the rest to the server's sockets. Each frame ends in one [`Reason`], counted once.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "lengths are bounded by 65575 before they are narrowed; helper results are kernel ABI"
)]
#![allow(
    clippy::inline_always,
    reason = "a call spills registers and loses the verifier's bounds"
)]

mod access;
mod clock;
mod config;
mod counters;
mod datagram;
mod decap;
mod encap;
mod fib;
mod frame;
mod kept_routes;
mod learn;
mod maps;
mod nexthop;
mod outer;
mod peers;
mod port;
mod punt;
mod server;
mod trace;
mod way_back;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use relay_common::{Kind, Reason};

use datagram::Socket;
use frame::Frame;

/// A packet that was rewritten and leaves.
struct Carried {
    reason: Reason,
    /// Length of the inner packet.
    bytes: usize,
    action: u32,
}

/// The program's entry. Inlined: as a function of its own it would cost every frame a call and a return, some 10 ns where the
/// processor must be kept from speculating on returns.
#[xdp(frags)]
#[inline(always)]
fn relay(ctx: XdpContext) -> u32 {
    let mut frame = Frame::new(ctx);
    let (reason, bytes, action) = match carry(&mut frame) {
        Ok(carried) => (carried.reason, carried.bytes, carried.action),
        // Its length is asked for where somebody may want it: a call costs as much as all that was decided so far.
        Err(Reason::NotOurs) => (Reason::NotOurs, frame.linear_len(), xdp_action::XDP_PASS),
        Err(reason) => {
            let len = frame.len();
            let (reason, action) = match reason.kind() {
                Kind::Passed => (reason, xdp_action::XDP_PASS),
                Kind::Punted => punt::to_slow_path(&mut frame, len, reason),
                Kind::Dropped | Kind::Forwarded | Kind::Consumed => (reason, xdp_action::XDP_DROP),
            };
            (reason, len, action)
        }
    };
    trace::trace!(frame, reason, bytes);
    counters::count(reason, bytes);
    action
}

/// Carries the packet if everything about it is settled; else says why not.
#[inline(always)]
fn carry(frame: &mut Frame) -> Result<Carried, Reason> {
    let link = frame.link().ok_or(Reason::NotOurs)?;
    match link.ethertype {
        frame::IPV6 if config::has_relay() => encap::encapsulate(frame, link),
        frame::IPV4 => match datagram::addressed(frame, link)? {
            (Socket::Relay, port) => decap::decapsulate(frame, link, port),
            (Socket::Server, port) => server::serve(frame, link, port),
        },
        _ => Err(Reason::NotOurs),
    }
}

/// The workspace is checked for the host too; the program exists for `bpfel-unknown-none` alone.
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

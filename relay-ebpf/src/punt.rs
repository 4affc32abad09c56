//! The way to the slow path. The frame is handed over as it came.

use aya_ebpf::bindings::xdp_action;
use relay_common::{Port, Reason};

use crate::frame::Frame;
use crate::maps::SOCKETS;
use crate::{config, port};

/// Hands `frame`, of `len` bytes, to the `AF_XDP` socket of its receive queue, or, where there is none, to the
/// kernel, which brings it to the slow path's other front end. Gives the reason to count and
/// the action to return.
#[inline(always)]
pub(crate) fn to_slow_path(frame: &Frame, len: usize, reason: Reason) -> (Reason, u32) {
    if len > config::punt_frame_max() {
        return (Reason::FrameTooLargeToPunt, xdp_action::XDP_PASS);
    }
    let queue = frame.context().rx_queue_index();
    let action = match port::of(frame) {
        Some(port) => socket(port, queue),
        None => xdp_action::XDP_PASS,
    };
    (reason, action)
}

#[inline(always)]
fn socket(port: &Port, queue: u32) -> u32 {
    if queue >= port.xsk_queues {
        return xdp_action::XDP_PASS;
    }
    // An empty slot answers with the action in the flags.
    match SOCKETS.redirect(port.xsk_base + queue, u64::from(xdp_action::XDP_PASS)) {
        Ok(action) | Err(action) => action,
    }
}

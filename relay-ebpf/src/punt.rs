//! The way to the slow path. The frame is handed over as it came, a bubble with a note of the way back.

use aya_ebpf::bindings::xdp_action;
use relay_common::Reason;

use crate::frame::Frame;
use crate::maps::SOCKETS;
use crate::{config, port, way_back};

/// Hands `frame`, of `len` bytes, to the `AF_XDP` socket of its receive queue, or, where there is none, to the
/// kernel, which brings it to the slow path's other front end. Gives the reason to count and
/// the action to return.
#[inline(always)]
pub(crate) fn to_slow_path(frame: &mut Frame, len: usize, reason: Reason) -> (Reason, u32) {
    if len > config::punt_frame_max() {
        return (Reason::FrameTooLargeToPunt, xdp_action::XDP_PASS);
    }
    let queue = frame.context().rx_queue_index();
    let action = match port::of(frame) {
        Some(port) if queue < port.xsk_queues => {
            if matches!(reason, Reason::PuntBubble) {
                way_back::note(frame);
            }
            socket(port.xsk_base + queue)
        }
        _ => xdp_action::XDP_PASS,
    };
    (reason, action)
}

#[inline(always)]
fn socket(slot: u32) -> u32 {
    // An empty slot answers with the action in the flags.
    match SOCKETS.redirect(slot, u64::from(xdp_action::XDP_PASS)) {
        Ok(action) | Err(action) => action,
    }
}

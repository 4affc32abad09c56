//! The server's side of captures of real nodes.

use super::case::{Case, Program};
use crate::captures::{frames, names};
use crate::case::{Port, Step};
use crate::reference::link;
use crate::rig::PORT_MAC;

/// Every capture, as frames that arrive at the server whose addresses are those of the captured one.
pub(crate) fn all() -> Vec<(String, Case)> {
    let replayed = |name: String| {
        let frames = frames(&name).into_iter().map(|(_, frame)| frame);
        let ipv4 = frames.filter(|frame| link(frame).is_some_and(|link| link.kind == 0x0800));
        let steps = ipv4.map(step).collect();
        let program = Program::Lab;
        (name, Case { program, steps })
    };
    names().into_iter().map(replayed).collect()
}

fn step(mut frame: Vec<u8>) -> Step {
    frame[..6].copy_from_slice(&PORT_MAC);
    Step {
        port: Port::Wan,
        frame,
        patches: Vec::new(),
    }
}

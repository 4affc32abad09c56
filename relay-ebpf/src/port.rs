//! The port a frame came in on.

use core::mem::offset_of;

use relay_common::{PORT_PROBES, PORT_SLOTS, Port, Reason, port_home};

use crate::frame::Frame;
use crate::maps::PORTS;

/// The port that received the frame, if that is whom the frame was sent to.
///
/// # Errors
/// [`Reason::NotOurs`]: a multicast or a frame flooded to another host, which must not notice us.
#[inline(always)]
pub(crate) fn addressee(frame: &Frame) -> Result<&'static Port, Reason> {
    let port = of(frame).ok_or(Reason::NotOurs)?;
    let destination = frame.destination_mac().ok_or(Reason::NotOurs)?;
    const {
        assert!(
            offset_of!(Port, mac) % 8 == 0
                && offset_of!(Port, reserved) == offset_of!(Port, mac) + 6
        );
    };
    // SAFETY: the address and the zeros behind it, an aligned word.
    let own = unsafe {
        *(&raw const *port)
            .byte_add(offset_of!(Port, mac))
            .cast::<u64>()
    };
    if destination == own {
        Ok(port)
    } else {
        Err(Reason::NotOurs)
    }
}

/// The port that received the frame.
#[inline(always)]
pub(crate) fn of(frame: &Frame) -> Option<&'static Port> {
    let ifindex = frame.ingress_ifindex();
    let home = port_home(ifindex);
    for probe in 0..PORT_PROBES {
        // SAFETY: map values stay readable for the whole run of the program.
        let port = unsafe { &*PORTS.get_ptr((home + probe) & (PORT_SLOTS - 1))? };
        if port.ifindex == ifindex {
            return Some(port);
        }
    }
    None
}

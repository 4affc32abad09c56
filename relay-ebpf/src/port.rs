//! The port a frame came in on.

use relay_common::Reason;

use crate::frame::Frame;
use crate::maps::PORTS;

/// Whether the frame was sent to the port that received it.
///
/// # Errors
/// [`Reason::NotOurs`]: a multicast or a frame flooded to another host, which must not notice us.
#[inline(always)]
pub(crate) fn is_addressee(frame: &Frame) -> Result<(), Reason> {
    let port = PORTS
        .get_ptr(frame.ingress_ifindex())
        .ok_or(Reason::NotOurs)?;
    let destination = frame.destination_mac().ok_or(Reason::NotOurs)?;
    // SAFETY: map values stay readable for the whole run of the program.
    if *destination == unsafe { (*port).mac } {
        Ok(())
    } else {
        Err(Reason::NotOurs)
    }
}

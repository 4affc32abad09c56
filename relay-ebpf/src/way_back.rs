//! A note of the way back, for user space to send by what waits for the sender of a bubble.

use relay_common::{MappedWord, WayBack};

use crate::frame::Frame;
use crate::nexthop::NextHop;
use crate::outer::Outer;

/// Notes in front of `frame`, a datagram to the service, by which kept next hop its sender is reached. Where none is kept,
/// user space asks the kernel as ever.
#[inline(always)]
pub(crate) fn note(frame: &mut Frame) {
    let Some(link) = frame.link() else {
        return;
    };
    let Some(outer) = frame.at::<Outer>(link.len) else {
        return;
    };
    let to = MappedWord(u64::from(outer.ipv4.source) | u64::from(outer.udp.source) << 32);
    if let Some((hop, version)) = NextHop::kept_towards(frame, to) {
        frame.put_in_front(WayBack { to, hop, version }.words());
    }
}

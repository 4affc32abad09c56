//! Both clocks at one moment: user space asks once, before the program is loaded.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use crate::frame::{Frame, Wire};

/// Writes the jiffies and the coarse monotonic clock, which change together, to the front of the frame.
#[xdp]
fn clock(ctx: XdpContext) -> u32 {
    let mut frame = Frame::new(ctx);
    let Some(front) = frame.at_mut::<Wire<[u64; 2]>>(0) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: the helpers have no precondition.
    front.0 = unsafe { [bpf_jiffies64(), bpf_ktime_get_coarse_ns()] };
    xdp_action::XDP_PASS
}

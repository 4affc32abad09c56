//! Shared layouts as aya wants them.

use relay_common::{
    Counter, Egress, Line, NextHop, PeerKey, Port, RelayConfig, Routing, Succession,
};

/// A value that may be copied into and out of BPF maps byte by byte.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Pod<T>(pub(super) T);

macro_rules! pod {
    ($($layout:ty)+) => {
        $(
            // SAFETY: `repr(C)` of integers and byte arrays; the sizes asserted beside the
            // definitions leave no padding, and every bit pattern is a value.
            unsafe impl aya::Pod for Pod<$layout> {}
        )+
    };
}

pod!(Counter Egress Line NextHop PeerKey Port RelayConfig Routing Succession);

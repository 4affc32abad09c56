//! The slow path: everything that needs a decision, memory or a timer.
//!
//! ```text
//! AF_XDP (xsk, frame) ─┐                                   ┌─► service socket (udp)
//! service socket (udp) ┼─► inlet ─► relay thread ─► commands ┼─► TUN device (tun)
//! TUN device (tun)     ─┤            owns teredo::relay      └─► ICMPv6 socket (icmp6)
//! probe requests       ─┘
//! ```

pub mod clock;
pub mod frame;
pub mod front_ends;
pub mod icmp6;
pub mod inlet;
pub mod latency;
pub mod poll;
pub mod relay_thread;
pub mod tally;
pub mod tun;
pub mod udp;
pub mod xsk;

//! The slow path: everything that needs a decision, memory or a timer.
//!
//! ```text
//! AF_XDP (xsk, frame) ─┐              ┌─ shards, engine ┐      ┌─► service socket (udp), or AF_XDP (bypass, outer, xsk_out)
//! service socket (udp) ┼─ front_ends ─► teredo::relay    ├─ send ┼─► TUN device (tun)
//! TUN device (tun)     ─┤              │ under its lock   │      └─► ICMPv6 socket (icmp6)
//! probe requests       ─┘              └─────────────────┘
//! ```

pub mod bypass;
pub mod clock;
pub mod engine;
pub mod frame;
pub mod front_ends;
pub mod icmp6;
pub mod latency;
pub mod native;
pub mod outer;
pub mod poll;
pub mod send;
pub mod server;
pub mod shards;
pub mod tun;
pub mod udp;
pub mod xsk;
pub mod xsk_counters;
pub mod xsk_out;

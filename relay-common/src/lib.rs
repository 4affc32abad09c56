//! What the XDP program and user space share: map layouts, the configuration block and the
//! names of everything that can happen to a packet.
//!
//! `no_std`, no build script, no dependency beyond `teredo`: sharing a type must not pull the
//! eBPF tool chain into a build. Fields that hold wire values are byte arrays in network
//! order; everything else is native.
#![cfg_attr(not(test), no_std)]

mod config;
pub mod farm;
mod peer;
mod port;
mod reason;

pub use config::RelayConfig;
pub use peer::{PEER_FRESH_TICKS, PROBE_AFTER_TICKS, PeerEntry, PeerKey, TICK_NS_SHIFT, Ticks};
pub use port::{Egress, MAX_TAGS, Port, VlanTag};
pub use reason::{Counter, Kind, Reason};

/// Names and capacities of the maps, one place for both sides.
pub mod maps {
    /// HASH: [`PeerKey`](crate::PeerKey) to [`PeerEntry`](crate::PeerEntry). User space inserts and removes,
    /// the program refreshes `last_rx` and `probe_asked`. Capacity: `--max-peers`.
    pub const PEERS: &str = "PEERS";
    /// PERCPU_ARRAY: [`Reason`](crate::Reason) to [`Counter`](crate::Counter). Written by the program alone.
    pub const COUNTERS: &str = "COUNTERS";
    /// HASH: ifindex of an attached port to [`Port`](crate::Port). Written by user space.
    pub const PORTS: &str = "PORTS";
    /// HASH: ifindex a route may name (a port or a VLAN device on one) to [`Egress`](crate::Egress). Written by user space.
    pub const EGRESS: &str = "EGRESS";
    /// DEVMAP_HASH: ifindex of a port to that port. Written by user space.
    pub const DEVICES: &str = "DEVICES";
    /// XSKMAP: slot `port.xsk_base + rx queue` to an AF_XDP socket. Written by user space.
    pub const SOCKETS: &str = "SOCKETS";
    /// RINGBUF of [`PeerKey`](crate::PeerKey): peers whose one-way flow wants an early probe.
    pub const PROBES: &str = "PROBES";

    /// Most interfaces one relay attaches to.
    pub const MAX_PORTS: u32 = 64;
    /// Most egress devices (ports and VLAN devices on them).
    pub const MAX_EGRESS: u32 = 4096;
    /// Most AF_XDP sockets (all queues of all ports).
    pub const MAX_SOCKETS: u32 = 1024;
    /// Bytes of the ring of probe requests.
    pub const PROBES_BYTES: u32 = 1 << 16;
    /// Peers when nothing else is asked for (`--max-peers`).
    pub const DEFAULT_MAX_PEERS: u32 = 1 << 20;
}

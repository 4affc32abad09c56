//! What the XDP program and user space share: map layouts, the configuration block and the
//! names of everything that can happen to a packet.
//!
//! `no_std`, no build script, no dependency beyond `teredo`: sharing a type must not pull the
//! eBPF tool chain into a build. Fields that hold wire values are byte arrays in network
//! order; everything else is native.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![allow(
    clippy::many_single_char_names,
    reason = "the bytes of an address have no better names"
)]

mod config;
pub mod farm;
mod identification;
mod lookup;
mod nexthop;
mod peer;
mod port;
mod rate;
mod reason;
mod succession;
mod table;
mod way_back;

pub use config::{RelayConfig, access};
pub use identification::identification;
pub use lookup::{Found, ReadLine, differs, find};
pub use nexthop::{
    AF_INET, AF_INET6, HOP_LIVE, HOP_PROBES, HOP_RETIRED, HOPS, HopKey, KeptRoute, NextHop, Routing,
};
pub use peer::{PEER_FRESH_TICKS, PROBE_AFTER_TICKS, PeerEntry, PeerKey, TICK_NS_SHIFT, Ticks};
pub use port::{Egress, MAX_TAGS, PORT_PROBES, PORT_SLOTS, Port, VlanTag, port_home};
pub use rate::{
    RATE_KINDS, RATE_LINES, RATE_WAYS, Rate, RateLine, Taken, rate_line, rate_time, take,
    take_again,
};
pub use reason::{Counter, Kind, Reason};
pub use succession::{LAYOUT, Succession};
pub use table::{
    BLOCK_BUCKETS, BLOCK_LINES, BLOCK_PEERS, BLOCK_SIDE_LINES, KeyWords, Line, MappedWord,
    SIDE_WAYS, SIDE_WORDS, TableShape, Tail, WAYS,
};
pub use way_back::WayBack;

/// Names and capacities of the maps, one place for both sides.
pub mod maps {
    /// ARRAY, mmap-able, of [`Line`](crate::Line): the peer table. User space inserts and removes, the program
    /// refreshes a peer's tick and keeps its next hop. Capacity: [`TableShape::lines`](crate::TableShape::lines).
    pub const PEERS: &str = "PEERS";
    /// PERCPU_ARRAY: [`Reason`](crate::Reason) to [`Counter`](crate::Counter). Written by the program alone.
    pub const COUNTERS: &str = "COUNTERS";
    /// ARRAY of [`Port`](crate::Port), by [`port_home`](crate::port_home). Written by user space.
    pub const PORTS: &str = "PORTS";
    /// HASH: ifindex a route may name (a port or a VLAN device on one) to [`Egress`](crate::Egress). Written by user space.
    pub const EGRESS: &str = "EGRESS";
    /// DEVMAP: [`Port::number`](crate::Port::number) to that port. Written by user space.
    pub const DEVICES: &str = "DEVICES";
    /// XSKMAP: slot `port.xsk_base + rx queue` to an AF_XDP socket. Written by user space.
    pub const SOCKETS: &str = "SOCKETS";
    /// RINGBUF of [`PeerKey`](crate::PeerKey): peers whose one-way flow wants an early probe.
    pub const PROBES: &str = "PROBES";
    /// ARRAY, mmap-able, of [`NextHop`](crate::NextHop), by [`HopKey::home`](crate::HopKey::home). Written by user space.
    pub const NEXT_HOPS: &str = "NEXT_HOPS";
    /// ARRAY, mmap-able, of one [`Routing`](crate::Routing). Written by user space.
    pub const ROUTING: &str = "ROUTING";
    /// PERCPU_ARRAY of [`KeptRoute`](crate::KeptRoute), by a keyed hash of the destination: those to native hosts, then those of the server. Written by the program alone.
    pub const KEPT_ROUTES: &str = "KEPT_ROUTES";
    /// ARRAY of one [`Succession`](crate::Succession): what a successor of this daemon must know. For user space alone.
    pub const SUCCESSION: &str = "SUCCESSION";
    /// PERCPU_ARRAY of one u64: when each CPU last reported a wanted next hop. Written by the program alone.
    pub const REPORTED: &str = "REPORTED";
    /// RINGBUF of [`HopKey`](crate::HopKey): answers of the kernel that are in no slot of [`NEXT_HOPS`].
    pub const WANTED_HOPS: &str = "WANTED_HOPS";

    /// LPM_TRIE of native IPv6 prefixes to one of [`access`](crate::access). Written by user space.
    pub const NATIVE_ACCESS: &str = "NATIVE_ACCESS";
    /// LPM_TRIE of IPv4 prefixes of clients to one of [`access`](crate::access). Written by user space.
    pub const CLIENT_ACCESS: &str = "CLIENT_ACCESS";
    /// LPM_TRIE of IPv4 prefixes of servers to one of [`access`](crate::access). Written by user space.
    pub const SERVER_ACCESS: &str = "SERVER_ACCESS";

    /// ARRAY, mmap-able for its alignment, of [`RateLine`](crate::RateLine): the server's token buckets. Written by the program alone.
    /// Capacity: [`RATE_KINDS`](crate::RATE_KINDS) times [`RATE_LINES`](crate::RATE_LINES) for each CPU, which has its own.
    pub const RATES: &str = "RATES";
    /// LPM_TRIE of IPv4 prefixes the server sends to although they are not global unicast. Written by user space.
    pub const SERVER_OPENED: &str = "SERVER_OPENED";

    /// Most interfaces one relay attaches to.
    pub const MAX_PORTS: u32 = 64;
    /// Most egress devices (ports and VLAN devices on them).
    pub const MAX_EGRESS: u32 = 4096;
    /// Most AF_XDP sockets (all queues of all ports).
    pub const MAX_SOCKETS: u32 = 1024;
    /// Bytes of the ring of probe requests.
    pub const PROBES_BYTES: u32 = 1 << 16;
    /// Kept routes of one CPU and one kind.
    pub const MAX_KEPT_ROUTES: u32 = 1024;
    /// Bytes of the ring of wanted next hops.
    pub const WANTED_HOPS_BYTES: u32 = 1 << 12;
    /// Prefixes in each of the maps of who is served, allowed and denied together.
    pub const MAX_ACCESS: u32 = 8192;
    /// Prefixes in the map of opened ones.
    pub const MAX_OPENED: u32 = 1024;
    /// Peers when nothing else is asked for (`--max-peers`).
    pub const DEFAULT_MAX_PEERS: u32 = 1 << 20;
}

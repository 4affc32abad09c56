//! The configuration block of the XDP program.

use crate::{Rate, TableShape};

/// Read-only data of the program, set before it is loaded.
///
/// The verifier sees the values as constants, so branches on them cost nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RelayConfig {
    /// Where peers stand in the peer table.
    pub table: TableShape,
    /// Key of the IPv4 identification generator (invariant 7: not predictable from outside).
    pub id_key: u64,
    /// Key of the cache of routes by destination: nobody outside can aim at one slot.
    pub route_key: u64,
    /// Nanoseconds of a jiffy. Reading the jiffies costs the program nothing, a clock a call.
    pub jiffy_ns: u64,
    /// What is to be added to the jiffies' nanoseconds, wrapping, to get `CLOCK_MONOTONIC`: both stand still and are
    /// corrected together.
    pub clock_offset_ns: u64,
    /// Interface whose point of view `bpf_fib_lookup` takes: the relay's TUN device. Forwarding
    /// is enabled there, whatever the ports' own settings, and policy rules on it hold for both paths.
    /// A server alone takes the loopback device's: from there the kernel routes what its own sockets send.
    pub fib_ifindex: u32,
    /// IPv4 address of the relay's service socket.
    pub service_ipv4: [u8; 4],
    /// UDP port of the relay's service socket, network order. 0: there is no relay.
    pub service_port: [u8; 2],
    /// Largest inner packet the tunnel carries, native order.
    pub tunnel_mtu: u16,
    /// Largest frame an AF_XDP socket can take; longer ones are left to the kernel.
    pub punt_frame_max: u32,
    /// Native hosts that are served: one of [`access`].
    pub native_access: u8,
    /// Clients that are served: one of [`access`].
    pub client_access: u8,
    /// Servers whose clients the relay serves: one of [`access`].
    pub server_access: u8,
    /// 1: the server answers no solicitation without credentials (S-5).
    pub server_requires_credentials: u8,
    /// 1: the server also sends to the prefixes of the map of opened ones, which are not global unicast.
    pub server_opened: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Key of the server's buckets: nobody outside can aim at one line.
    pub rate_key: u64,
    /// Packets of one source to the server, on one CPU (S-17).
    pub server_source_rate: Rate,
    /// Packets through the server to one target, on one CPU (S-17).
    pub server_target_rate: Rate,
    /// Primary IPv4 address of the server (S-1). Zeros: there is no server.
    pub server_primary: [u8; 4],
    /// Secondary IPv4 address of the server.
    pub server_secondary: [u8; 4],
}

/// How the program judges addresses of one kind. What a prefix of the map says is one of these as well.
pub mod access {
    /// Every address is served, and the map is not asked.
    pub const UNRESTRICTED: u8 = 0;
    /// Addresses are served unless the longest prefix that holds them says otherwise.
    pub const ALLOWED: u8 = 1;
    /// Addresses are not served unless the longest prefix that holds them says otherwise.
    pub const DENIED: u8 = 2;
}

const _: () = assert!(size_of::<RelayConfig>() == 128);

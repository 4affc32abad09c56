//! What the program is loaded with.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use relay_common::{LAYOUT, Succession, TableShape};
use teredo::relay::{Access, Ipv4Net};

/// How the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Native: the driver runs it (`--datapath xdp`).
    Xdp,
    /// Generic: the kernel's stack runs it, on any device and slowly (`--datapath xdp-generic`).
    XdpGeneric,
}

impl Mode {
    /// The name by which `--datapath` knows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp-generic",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the program is loaded with: a relay, a server, or both in one program.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How it will be attached.
    pub mode: Mode,
    /// The interface from whose point of view routes are looked up, where forwarding must be on: the relay's TUN
    /// device, or [`LOOPBACK`] where there is none. Where forwarding is off, nothing is lost: the sockets send it.
    pub fib_ifindex: u32,
    /// The relay, if there is one.
    pub relay: Option<RelayRole>,
    /// The server, if there is one.
    pub server: Option<ServerRole>,
    /// What nobody outside may know.
    pub secrets: Secrets,
}

/// The index of the loopback device in every network namespace. Routes looked up from there are those of packets of the
/// machine's own sockets, and nothing of others is forwarded there.
pub const LOOPBACK: u32 = 1;

/// The relay's part of the program.
#[derive(Clone, Debug)]
pub struct RelayRole {
    /// The service socket; its port is not 0 and not [`SERVER_PORT`](teredo::addr::SERVER_PORT).
    pub service: SocketAddrV4,
    /// Largest inner packet in bytes.
    pub tunnel_mtu: u16,
    /// Capacity of the peer table.
    pub max_peers: u32,
    /// Whom the relay serves.
    pub access: Access,
}

/// The server's part of the program.
#[derive(Clone, Debug)]
pub struct ServerRole {
    /// Primary IPv4 address (S-1).
    pub primary: Ipv4Addr,
    /// Secondary IPv4 address.
    pub secondary: Ipv4Addr,
    /// Solicitations without credentials are not answered (S-5). Those with credentials are the server's socket's in any case.
    pub require_credentials: bool,
    /// Ranges outside global unicast that are sent to and heard all the same; for laboratories. At most
    /// [`MAX_OPENED`](relay_common::maps::MAX_OPENED).
    pub allow_non_global: Vec<Ipv4Net>,
    /// Rates of what the program itself answers and forwards.
    pub limits: ServerLimits,
}

/// Rates of the server (S-17), on each CPU: what arrives for one address on another receive queue has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Packets a second sent on for one IPv4 address.
    pub source_per_s: u32,
    /// Packets at once for one IPv4 address.
    pub source_burst: u32,
    /// Packets a second to one IPv4 address, advertisements included.
    pub target_per_s: u32,
    /// Packets at once to one IPv4 address, advertisements included.
    pub target_burst: u32,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            source_per_s: 1000,
            source_burst: 20_000,
            target_per_s: 200,
            target_burst: 400,
        }
    }
}

/// Random keys, drawn anew at each start.
#[derive(Clone, Copy)]
pub struct Secrets {
    /// Of the IPv4 identification (invariant 7).
    pub identification: u64,
    /// Of the peer table's hash.
    pub table: [u64; 4],
    /// Of the hash of the cache of routes.
    pub routes: u64,
    /// Of the hash of the server's buckets.
    pub rates: u64,
}

impl Secrets {
    /// Draws them from the system's random source.
    ///
    /// # Errors
    /// The source's failure.
    pub fn draw() -> io::Result<Self> {
        let mut words = [0; 7];
        for word in &mut words {
            *word = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        }
        let [identification, table @ .., routes, rates] = words;
        Ok(Self {
            identification,
            table,
            routes,
            rates,
        })
    }
}

impl Settings {
    /// Capacity of the peer table. Without a relay it is as small as can be.
    pub(super) fn max_peers(&self) -> u32 {
        self.relay.as_ref().map_or(1, |relay| relay.max_peers)
    }

    /// What a successor must know.
    pub(super) fn succession(&self, table: TableShape) -> Succession {
        Succession {
            layout: LAYOUT,
            table,
            max_peers: self.max_peers(),
            generic: u32::from(self.mode == Mode::XdpGeneric),
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

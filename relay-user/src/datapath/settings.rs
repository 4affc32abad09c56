//! What the program is loaded with.

use std::fmt;
use std::io;
use std::net::SocketAddrV4;

use relay_common::{LAYOUT, Succession, TableShape};
use teredo::relay::Access;

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

/// What the program is loaded with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How it will be attached.
    pub mode: Mode,
    /// The service socket.
    pub service: SocketAddrV4,
    /// Largest inner packet in bytes.
    pub tunnel_mtu: u16,
    /// The interface from whose point of view routes are looked up: the relay's TUN device.
    pub fib_ifindex: u32,
    /// Capacity of the peer table.
    pub max_peers: u32,
    /// Whom the relay serves.
    pub access: Access,
    /// What nobody outside may know.
    pub secrets: Secrets,
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
}

impl Secrets {
    /// Draws them from the system's random source.
    ///
    /// # Errors
    /// The source's failure.
    pub fn draw() -> io::Result<Self> {
        let mut words = [0; 6];
        for word in &mut words {
            *word = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        }
        let [identification, table @ .., routes] = words;
        Ok(Self {
            identification,
            table,
            routes,
        })
    }
}

impl Settings {
    /// What a successor must know.
    pub(super) fn succession(&self, table: TableShape) -> Succession {
        Succession {
            layout: LAYOUT,
            table,
            max_peers: self.max_peers,
            generic: u32::from(self.mode == Mode::XdpGeneric),
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

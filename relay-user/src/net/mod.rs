//! The machine's links, their addresses and how VLAN devices stack on them.
//!
//! [`Snapshot`] is the machine at one moment, [`watch`] says when to take another. Nothing is
//! remembered in between: whoever keeps something reconciles it with the newest snapshot.

mod ethtool;
mod netlink;
pub mod routing;
mod topology;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

pub use ethtool::{driver, rx_queues};
pub use netlink::watch;
pub use topology::PortPath;

/// What a link is, as far as the relay cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// A network card (or whatever has no software kind).
    Physical,
    /// One end of a virtual cable.
    Veth,
    /// A VLAN device on another link of this namespace.
    Vlan {
        /// Interface index of the link it stands on.
        parent: u32,
        /// TPID, 0x8100 or 0x88a8.
        protocol: u16,
        /// VLAN identifier, 0 to 4095.
        id: u16,
    },
    /// Any other kind by the kernel's name for it: `loopback`, `bond`, `tun`, `bridge` ...
    Other(String),
}

/// An IPv6 address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkIpv6 {
    /// The address.
    pub addr: Ipv6Addr,
    /// Length of its on-link prefix.
    pub prefix_len: u8,
    /// Of universe scope: not link-local, not host.
    pub global: bool,
    /// Duplicate address detection has not passed yet or has failed; nothing can be bound to it.
    pub tentative: bool,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// MAC address; zeros where there is none.
    pub mac: [u8; 6],
    /// MTU in bytes, without link-layer header.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// What it is.
    pub kind: LinkKind,
    /// IPv4 addresses with the length of their prefix, in the kernel's order.
    pub ipv4: Vec<(Ipv4Addr, u8)>,
    /// IPv6 addresses in the kernel's order.
    pub ipv6: Vec<LinkIpv6>,
    /// The XDP program attached to it.
    pub xdp_prog_id: Option<u32>,
}

/// All links of the calling thread's network namespace at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The links in order of their index.
    pub links: Vec<Link>,
}

impl Snapshot {
    /// Asks the kernel, blocking. For start-up and tests; inside an async runtime use [`Self::take_async`].
    ///
    /// # Errors
    /// The kernel's refusal to dump links or addresses.
    pub fn take() -> io::Result<Self> {
        tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?
            .block_on(netlink::dump())
    }

    /// Asks the kernel from within a tokio runtime.
    ///
    /// # Errors
    /// The kernel's refusal to dump links or addresses.
    pub async fn take_async() -> io::Result<Self> {
        netlink::dump().await
    }
}

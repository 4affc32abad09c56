//! One change of the machine, read from one message of the kernel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use relay_common::{AF_INET, AF_INET6};

use super::message::Message;
use super::route::{self, Judge};

/// A family of addresses, and of the routes to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The clients' side.
    Ipv4,
    /// The native side.
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// `AF_INET` or `AF_INET6`.
    pub const fn number(self) -> u8 {
        match self {
            Self::Ipv4 => AF_INET,
            Self::Ipv6 => AF_INET6,
        }
    }

    /// The family of that number, if it is one of the two.
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.number() == number)
    }
}

/// One family or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// That one alone.
    One(Family),
    /// Both.
    Both,
}

impl Families {
    /// Whether `family` is among them.
    pub fn contains(self, family: Family) -> bool {
        self == Self::Both || self == Self::One(family)
    }
}

/// What of a link decides about routes and frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Administratively up.
    pub up: bool,
    /// With a carrier.
    pub running: bool,
    /// MAC address; zeros where there is none.
    pub mac: [u8; 6],
    /// MTU in bytes.
    pub mtu: u32,
    /// Interface index of the VRF, bridge or bond it belongs to; 0 for none.
    pub master: u32,
}

/// A neighbour whose MAC address the kernel uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Found by ARP or neighbour discovery, and forgotten when it falls silent. False: entered by somebody who looks after
    /// it himself.
    pub discovered: bool,
}

/// A change of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Routes, rules, next-hop objects or the addresses behind them have changed.
    Routes {
        /// Whose.
        families: Families,
        /// Whether what is there now is plain; true for what went.
        plain: bool,
    },
    /// Forwarding settings of a device, or of all (0).
    Settings {
        /// Whose.
        family: Family,
        /// The device; 0 for all.
        ifindex: u32,
    },
    /// A link came, changed, or went.
    Link {
        /// The link.
        ifindex: u32,
        /// What it is now; `None`: gone.
        now: Option<Link>,
    },
    /// A neighbour came, changed, or went.
    Neighbour {
        /// On that link.
        ifindex: u32,
        /// Its address.
        address: IpAddr,
        /// What it is now; `None`: not to be sent to.
        now: Option<Neighbour>,
    },
    /// Messages were lost: everything may have changed.
    Lost,
}

// From linux/rtnetlink.h, linux/netconf.h and linux/neighbour.h.
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const RTM_NEWNEXTHOPBUCKET: u16 = 116;
const RTM_DELNEXTHOPBUCKET: u16 = 117;
const NETCONFA_IFINDEX: u16 = 1;
const NDA_FLAGS_EXT: u16 = 15;
const NTF_EXT_LEARNED: u8 = 0x10;
/// In the attribute of further flags.
const NTF_EXT_MANAGED: u32 = 1;
/// States that end by somebody's hand alone.
const FIXED: u16 = libc::NUD_PERMANENT | libc::NUD_NOARP;
/// States in which the kernel sends.
const VALID: u16 =
    FIXED | libc::NUD_REACHABLE | libc::NUD_STALE | libc::NUD_DELAY | libc::NUD_PROBE;

impl Event {
    /// Reads a message. `None` if it says nothing about routes.
    pub(super) fn read(message: &Message<'_>, judge: &Judge) -> Option<Self> {
        match message.kind {
            libc::RTM_NEWLINK | libc::RTM_DELLINK => Self::link(message),
            libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH => Self::neighbour(message),
            libc::RTM_NEWROUTE | libc::RTM_NEWRULE => {
                route::is_plain(message, judge).and_then(|plain| Self::routes(message, plain))
            }
            libc::RTM_DELROUTE => {
                route::is_plain(message, judge).and_then(|_| Self::routes(message, true))
            }
            // An address takes routes with it of which the kernel does not tell.
            libc::RTM_DELRULE | libc::RTM_DELADDR => Self::routes(message, true),
            RTM_NEWNEXTHOP | RTM_DELNEXTHOP | RTM_NEWNEXTHOPBUCKET | RTM_DELNEXTHOPBUCKET => {
                // A group has no family. The routes through it say themselves whether they are plain.
                Some(Self::Routes {
                    families: message.family().map_or(Families::Both, Families::One),
                    plain: true,
                })
            }
            libc::RTM_NEWNETCONF => Some(Self::Settings {
                family: message.family()?,
                ifindex: message
                    .attribute(NETCONFA_IFINDEX)
                    .and_then(u32_of)
                    .filter(|index| i32::try_from(*index).is_ok())
                    .unwrap_or(0),
            }),
            _ => None,
        }
    }

    fn routes(message: &Message<'_>, plain: bool) -> Option<Self> {
        let families = Families::One(message.family()?);
        Some(Self::Routes { families, plain })
    }

    /// `struct ifinfomsg`.
    fn link(message: &Message<'_>) -> Option<Self> {
        let flags = message.u32_at(8)?;
        let is_set = |flag: libc::c_int| flags & flag.cast_unsigned() != 0;
        // What a bridge tells of its ports has a family.
        if message.first_byte()? != 0 {
            return None;
        }
        let number = |kind| message.attribute(kind).and_then(u32_of).unwrap_or(0);
        let link = Link {
            up: is_set(libc::IFF_UP),
            running: is_set(libc::IFF_RUNNING),
            mac: message
                .attribute(libc::IFLA_ADDRESS)
                .and_then(|mac| mac.try_into().ok())
                .unwrap_or_default(),
            mtu: number(libc::IFLA_MTU),
            master: number(libc::IFLA_MASTER),
        };
        Some(Self::Link {
            ifindex: message.u32_at(4)?,
            now: (message.kind == libc::RTM_NEWLINK).then_some(link),
        })
    }

    /// `struct ndmsg`.
    fn neighbour(message: &Message<'_>) -> Option<Self> {
        message.family()?;
        let (state, flags) = (message.u16_at(8)?, message.u8_at(10)?);
        if flags & libc::NTF_PROXY != 0 {
            return None;
        }
        let more_flags = message.attribute(NDA_FLAGS_EXT).and_then(u32_of);
        let looked_after = state & FIXED != 0
            || flags & NTF_EXT_LEARNED != 0
            || more_flags.unwrap_or(0) & NTF_EXT_MANAGED != 0;
        let valid = message.kind == libc::RTM_NEWNEIGH && state & VALID != 0;
        let mac = message
            .attribute(libc::NDA_LLADDR)
            .and_then(|mac| mac.try_into().ok())
            .filter(|_| valid);
        Some(Self::Neighbour {
            ifindex: message.u32_at(4)?,
            address: message.attribute(libc::NDA_DST).and_then(ip_of)?,
            now: mac.map(|mac| Neighbour {
                mac,
                discovered: !looked_after,
            }),
        })
    }
}

fn u32_of(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
}

fn ip_of(value: &[u8]) -> Option<IpAddr> {
    let ipv4 = <[u8; 4]>::try_from(value).map(|octets| Ipv4Addr::from(octets).into());
    let ipv6 = <[u8; 16]>::try_from(value).map(|octets| Ipv6Addr::from(octets).into());
    ipv4.or(ipv6).ok()
}

#[cfg(test)]
mod tests;

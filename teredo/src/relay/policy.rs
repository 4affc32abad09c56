//! Which addresses the relay serves and may send to (R-16 to R-18, PROTOCOL 1.6).

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::access::Access;
use super::config::Ipv4Net;
use crate::Fate;
use crate::addr::{TeredoAddr, is_global_unicast};
use crate::filter::Embedded;

/// Global unicast, widened by the laboratory's ranges, narrowed by this machine's own addresses and the operator's lists.
pub(super) struct Policy {
    opened: Vec<Ipv4Net>,
    service: Ipv4Addr,
    own: Vec<Ipv4Addr>,
    broadcasts: Vec<Ipv4Addr>,
    access: Access,
}

impl Policy {
    pub(super) fn new(service: Ipv4Addr, opened: Vec<Ipv4Net>, access: Access) -> Self {
        Self {
            opened,
            service,
            own: Vec::new(),
            broadcasts: Vec::new(),
            access,
        }
    }

    pub(super) fn set_own(&mut self, own: &[Ipv4Addr], broadcasts: &[Ipv4Addr]) {
        self.own = sorted(own);
        self.broadcasts = sorted(broadcasts);
    }

    /// Whether `ip` is an address of this machine.
    pub(super) fn is_own(&self, ip: Ipv4Addr) -> bool {
        ip == self.service || self.own.binary_search(&ip).is_ok()
    }

    /// Whether `ip` is a host of the IPv4 internet (1.6). Opened ranges never reach what is no
    /// host at all: multicast, 0.0.0.0/8, the limited and the directed broadcasts.
    pub(super) fn is_global(&self, ip: Ipv4Addr) -> bool {
        let host = !ip.is_multicast() && !ip.is_broadcast() && ip.octets()[0] != 0;
        let open = is_global_unicast(ip) || self.opened.iter().any(|net| net.contains(ip));
        host && open && self.broadcasts.binary_search(&ip).is_err()
    }

    /// Whether a datagram may leave towards `ip`.
    pub(super) fn may_send(&self, ip: Ipv4Addr) -> bool {
        self.is_global(ip) && !self.is_own(ip)
    }

    /// Whether the operator serves this native host.
    pub(super) fn judge_native(&self, ip: [u8; 16]) -> Result<(), Fate> {
        if self.access.native.allows_ipv6(Ipv6Addr::from(ip)) {
            return Ok(());
        }
        Err(Fate::NativeDenied)
    }

    /// Whether the operator serves clients at this address: the one in their Teredo address, and the one learned.
    pub(super) fn judge_client(&self, ip: Ipv4Addr) -> Result<(), Fate> {
        if self.access.clients.allows_ipv4(ip) {
            return Ok(());
        }
        Err(Fate::ClientDenied)
    }

    /// Whether the operator serves this client and its server.
    pub(super) fn judge_access(&self, peer: &TeredoAddr) -> Result<(), Fate> {
        self.judge_client(peer.mapped().ip)?;
        if self.access.servers.allows_ipv4(peer.server().0) {
            return Ok(());
        }
        Err(Fate::ServerDenied)
    }

    /// The addresses inside a destination: the operator's lists, then in this order.
    pub(super) fn judge_peer(&self, peer: &TeredoAddr) -> Result<(), Fate> {
        self.judge_access(peer)?;
        let (mapped, server) = (peer.mapped(), peer.server().0);
        if !self.is_global(mapped.ip) {
            return Err(Fate::MappedAddressNotGlobal);
        }
        if !self.is_global(server) {
            return Err(Fate::ServerAddressNotGlobal);
        }
        if mapped.port == 0 {
            return Err(Fate::MappedPortZero);
        }
        if self.is_own(mapped.ip) {
            return Err(Fate::MappedAddressOwn);
        }
        if self.is_own(server) {
            return Err(Fate::ServerAddressOwn);
        }
        Ok(())
    }

    /// The address embedded in a native source.
    pub(super) fn judge_source(&self, embedded: Embedded) -> Result<(), Fate> {
        match embedded {
            Embedded::SixToFour(ip) | Embedded::Isatap(ip) if self.is_own(ip) => {
                Err(Fate::SourceEmbedsOwnAddress)
            }
            _ => Ok(()),
        }
    }

    /// The address embedded in a client's destination. An ISATAP identifier usually holds
    /// a site's private address, so that one is refused only if it is ours.
    pub(super) fn judge_destination(&self, embedded: Embedded) -> Result<(), Fate> {
        let forbidden = match embedded {
            Embedded::None => false,
            Embedded::SixToFour(ip) => !self.may_send(ip),
            Embedded::Isatap(ip) => self.is_own(ip),
        };
        if forbidden {
            return Err(Fate::DestinationEmbedsForbiddenAddress);
        }
        Ok(())
    }
}

fn sorted(addresses: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
    let mut sorted = addresses.to_vec();
    sorted.sort_unstable();
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 9);

    #[test]
    fn opened_ranges_never_reach_multicast_or_broadcast() {
        let policy = Policy::new(
            SERVICE,
            Ipv4Net::new(Ipv4Addr::UNSPECIFIED, 0).into_iter().collect(),
            Access::default(),
        );
        assert!(policy.may_send(Ipv4Addr::new(10, 0, 0, 1)));
        for ip in [[224, 0, 0, 253], [255; 4], [0, 0, 0, 0], [0, 1, 2, 3]] {
            assert!(!policy.may_send(ip.into()), "{ip:?}");
        }
    }

    /// R-18 and the last row of table 1.6.
    #[test]
    fn own_addresses_and_directed_broadcasts_are_never_sent_to() {
        let mut policy = Policy::new(SERVICE, Vec::new(), Access::default());
        let (own, broadcast) = (Ipv4Addr::new(8, 8, 4, 4), Ipv4Addr::new(8, 8, 4, 255));
        assert!(policy.may_send(own) && policy.may_send(broadcast) && !policy.may_send(SERVICE));
        policy.set_own(&[own], &[broadcast]);
        assert!(!policy.may_send(own) && !policy.may_send(broadcast));
        assert!(policy.is_global(own) && !policy.is_global(broadcast));
    }
}

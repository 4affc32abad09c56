//! Which IPv4 addresses are hosts of the internet, and which are this machine's (PROTOCOL 1.6, R-15, R-18, S-4, S-8, S-15).

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use crate::Ipv4Net;
use crate::addr::is_global_unicast;

/// Global unicast, widened by the laboratory's ranges, narrowed by this machine's own addresses.
pub(crate) struct Hosts {
    opened: Vec<Ipv4Net>,
    /// Where the role itself is reached, whatever the machine says of its addresses.
    service: Vec<Ipv4Addr>,
    own: Vec<Ipv4Addr>,
    broadcasts: Vec<Ipv4Addr>,
}

impl Hosts {
    pub(crate) const fn new(service: Vec<Ipv4Addr>, opened: Vec<Ipv4Net>) -> Self {
        Self {
            opened,
            service,
            own: Vec::new(),
            broadcasts: Vec::new(),
        }
    }

    pub(crate) fn set_own(&mut self, own: &[Ipv4Addr], broadcasts: &[Ipv4Addr]) {
        self.own = sorted(own);
        self.broadcasts = sorted(broadcasts);
    }

    /// Whether `ip` is an address of this machine.
    pub(crate) fn is_own(&self, ip: Ipv4Addr) -> bool {
        self.service.contains(&ip) || self.own.binary_search(&ip).is_ok()
    }

    /// Whether `ip` is a host of the IPv4 internet (1.6). Opened ranges never reach what is no
    /// host at all: multicast, 0.0.0.0/8, the limited and the directed broadcasts.
    pub(crate) fn is_global(&self, ip: Ipv4Addr) -> bool {
        let host = !ip.is_multicast() && !ip.is_broadcast() && ip.octets()[0] != 0;
        let open = is_global_unicast(ip) || self.opened.iter().any(|net| net.contains(ip));
        host && open && self.broadcasts.binary_search(&ip).is_err()
    }

    /// Whether a datagram may leave towards `ip`.
    pub(crate) fn may_send(&self, ip: Ipv4Addr) -> bool {
        self.is_global(ip) && !self.is_own(ip)
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

    fn hosts(opened: Vec<Ipv4Net>) -> Hosts {
        Hosts::new(vec![SERVICE], opened)
    }

    #[test]
    fn opened_ranges_never_reach_multicast_or_broadcast() {
        let hosts = hosts(Ipv4Net::new(Ipv4Addr::UNSPECIFIED, 0).into_iter().collect());
        assert!(hosts.may_send(Ipv4Addr::new(10, 0, 0, 1)));
        for ip in [[224, 0, 0, 253], [255; 4], [0, 0, 0, 0], [0, 1, 2, 3]] {
            assert!(!hosts.may_send(ip.into()), "{ip:?}");
        }
    }

    /// R-18 and the last row of table 1.6.
    #[test]
    fn own_addresses_and_directed_broadcasts_are_never_sent_to() {
        let mut hosts = hosts(Vec::new());
        let (own, broadcast) = (Ipv4Addr::new(8, 8, 4, 4), Ipv4Addr::new(8, 8, 4, 255));
        assert!(hosts.may_send(own) && hosts.may_send(broadcast) && !hosts.may_send(SERVICE));
        hosts.set_own(&[own], &[broadcast]);
        assert!(!hosts.may_send(own) && !hosts.may_send(broadcast));
        assert!(hosts.is_global(own) && !hosts.is_global(broadcast));
    }
}

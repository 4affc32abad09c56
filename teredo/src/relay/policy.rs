//! Which addresses the relay serves and may send to (R-16 to R-18, PROTOCOL 1.6).

use core::net::{Ipv4Addr, Ipv6Addr};

use super::access::Access;
use super::config::Config;
use crate::Fate;
use crate::addr::TeredoAddr;
use crate::filter::Embedded;
use crate::shared::hosts::Hosts;

/// Hosts of the internet that are not ours, narrowed by the operator's lists.
pub(super) struct Policy {
    hosts: Hosts,
    access: Access,
    /// The server on this machine: the one own address that bubbles may go to.
    own_server: Option<Ipv4Addr>,
}

impl Policy {
    pub(super) fn new(config: &Config) -> Self {
        let service = *config.service.ip();
        Self {
            hosts: Hosts::new([service].into(), config.allow_non_global.clone()),
            access: config.access.clone(),
            own_server: config.own_server,
        }
    }

    pub(super) fn set_own(&mut self, own: &[Ipv4Addr], broadcasts: &[Ipv4Addr]) {
        self.hosts.set_own(own, broadcasts);
    }

    /// Whether `ip` is a host of the IPv4 internet (1.6).
    pub(super) fn is_global(&self, ip: Ipv4Addr) -> bool {
        self.hosts.is_global(ip)
    }

    /// Whether a datagram may leave towards `ip`.
    pub(super) fn may_send(&self, ip: Ipv4Addr) -> bool {
        self.hosts.may_send(ip)
    }

    /// Whether bubbles may leave towards the server at `ip`.
    pub(super) fn may_ask(&self, ip: Ipv4Addr) -> bool {
        self.is_global(ip) && !self.is_forbidden_server(ip)
    }

    /// Whether `ip` is this machine's, and no server runs there.
    fn is_forbidden_server(&self, ip: Ipv4Addr) -> bool {
        self.hosts.is_own(ip) && self.own_server != Some(ip)
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
        if self.hosts.is_own(mapped.ip) {
            return Err(Fate::MappedAddressOwn);
        }
        if self.is_forbidden_server(server) {
            return Err(Fate::ServerAddressOwn);
        }
        Ok(())
    }

    /// The address embedded in a native source.
    pub(super) fn judge_source(&self, embedded: Embedded) -> Result<(), Fate> {
        match embedded {
            Embedded::SixToFour(ip) | Embedded::Isatap(ip) if self.hosts.is_own(ip) => {
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
            Embedded::Isatap(ip) => self.hosts.is_own(ip),
        };
        if forbidden {
            return Err(Fate::DestinationEmbedsForbiddenAddress);
        }
        Ok(())
    }
}

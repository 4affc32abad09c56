//! NATs in the terms of RFC 4787: what they map, and what they let in.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use teredo::addr::Mapped;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NatKind {
    /// One mapping, open to all.
    Cone,
    /// One mapping, open to addresses written to.
    AddressRestricted,
    /// One mapping, open to addresses and ports written to.
    PortRestricted,
    /// A mapping for each address and port written to, open to that alone.
    Symmetric,
}

impl NatKind {
    pub(crate) const ALL: [Self; 4] = [
        Self::Cone,
        Self::AddressRestricted,
        Self::PortRestricted,
        Self::Symmetric,
    ];
}

/// A NAT in front of one client's service port.
pub(crate) struct Nat {
    kind: NatKind,
    ip: Ipv4Addr,
    /// The mapped port used towards each remote.
    ports: BTreeMap<Mapped, u16>,
}

const FIRST_PORT: u16 = 40000;

impl Nat {
    pub(crate) const fn new(kind: NatKind, ip: Ipv4Addr) -> Self {
        Self {
            kind,
            ip,
            ports: BTreeMap::new(),
        }
    }

    /// The source a datagram to `remote` leaves with.
    pub(crate) fn outbound(&mut self, remote: Mapped) -> Mapped {
        let next = match self.kind {
            NatKind::Symmetric => FIRST_PORT + u16::try_from(self.ports.len()).unwrap(),
            _ => FIRST_PORT,
        };
        let port = *self.ports.entry(remote).or_insert(next);
        Mapped { ip: self.ip, port }
    }

    /// Whether a datagram from `remote` to the mapped address `to` reaches the client.
    pub(crate) fn lets_in(&self, remote: Mapped, to: Mapped) -> bool {
        let mut mapped = self
            .ports
            .iter()
            .filter(|(_, port)| to.ip == self.ip && **port == to.port);
        mapped.any(|(known, _)| match self.kind {
            NatKind::Cone => true,
            NatKind::AddressRestricted => known.ip == remote.ip,
            NatKind::PortRestricted | NatKind::Symmetric => *known == remote,
        })
    }
}

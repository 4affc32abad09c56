//! NATs in the terms of RFC 4787, one kind for each row of RFC 6081 figure 1 (PROTOCOL 5.10).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use teredo::Instant;
use teredo::addr::Mapped;

/// On what part of the remote endpoint something depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depends {
    /// On nothing: endpoint-independent.
    Nothing,
    /// On its address.
    Address,
    /// On its address and port.
    AddressAndPort,
}

/// How external ports are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// The internal one when it is free.
    Preserved,
    /// The next one.
    Sequential,
    /// Any.
    Random,
}

/// A row of RFC 6081 figure 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The names of RFC 6081.
pub enum NatKind {
    Cone,
    AddressRestricted,
    PortRestricted,
    UpnpPortRestricted,
    UpnpSymmetric,
    PortPreservingSymmetric,
    SequentialSymmetric,
    PortSymmetric,
    AddressSymmetric,
}

impl NatKind {
    /// Every row.
    pub const ALL: [Self; 9] = [
        Self::Cone,
        Self::AddressRestricted,
        Self::PortRestricted,
        Self::UpnpPortRestricted,
        Self::UpnpSymmetric,
        Self::PortPreservingSymmetric,
        Self::SequentialSymmetric,
        Self::PortSymmetric,
        Self::AddressSymmetric,
    ];

    /// Those a carrier has, which does nothing its customers' machines ask for.
    pub const CARRIERS: [Self; 7] = [
        Self::Cone,
        Self::AddressRestricted,
        Self::PortRestricted,
        Self::PortPreservingSymmetric,
        Self::SequentialSymmetric,
        Self::PortSymmetric,
        Self::AddressSymmetric,
    ];

    /// On what a mapping depends.
    pub const fn mapping(self) -> Depends {
        match self {
            Self::Cone
            | Self::AddressRestricted
            | Self::PortRestricted
            | Self::UpnpPortRestricted => Depends::Nothing,
            Self::AddressSymmetric => Depends::Address,
            _ => Depends::AddressAndPort,
        }
    }

    /// On what admission depends.
    pub const fn filtering(self) -> Depends {
        match self {
            Self::Cone => Depends::Nothing,
            Self::AddressRestricted | Self::AddressSymmetric => Depends::Address,
            _ => Depends::AddressAndPort,
        }
    }

    /// How ports are chosen.
    pub const fn ports(self) -> Ports {
        match self {
            Self::PortPreservingSymmetric => Ports::Preserved,
            Self::SequentialSymmetric => Ports::Sequential,
            _ => Ports::Random,
        }
    }

    /// Whether clients may ask for a forwarded port.
    pub const fn has_upnp(self) -> bool {
        matches!(self, Self::UpnpPortRestricted | Self::UpnpSymmetric)
    }
}

/// What a mapping belongs to: the internal endpoint and the part of the remote one it depends on.
type Key = (Mapped, Option<(Ipv4Addr, u16)>);

#[derive(Clone, Debug)]
struct Session {
    local: Mapped,
    key: Key,
    last_out: Instant,
    /// Remotes written to, and when.
    written: BTreeMap<Mapped, Instant>,
}

/// A NAT box.
#[derive(Clone, Debug)]
pub struct Nat {
    kind: NatKind,
    ip: Ipv4Addr,
    /// Whether packets to its own external address come back in.
    hairpin: bool,
    /// How long a mapping or a permission outlives the last packet outward.
    timeout: Duration,
    by_key: BTreeMap<Key, u16>,
    by_port: BTreeMap<u16, Session>,
    forwarded: BTreeMap<u16, Mapped>,
    next_port: u16,
    rng: fastrand::Rng,
}

/// External ports begin here.
const FIRST_PORT: u16 = 1024;

impl Nat {
    /// A box of `kind` with external address `ip`.
    pub fn new(kind: NatKind, ip: Ipv4Addr, hairpin: bool, timeout: Duration, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        Self {
            kind,
            ip,
            hairpin,
            timeout,
            by_key: BTreeMap::new(),
            by_port: BTreeMap::new(),
            forwarded: BTreeMap::new(),
            next_port: rng.u16(FIRST_PORT..),
            rng,
        }
    }

    /// Its external address.
    pub const fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Its kind.
    pub const fn kind(&self) -> NatKind {
        self.kind
    }

    /// Mappings and permissions held.
    pub fn sessions(&self) -> usize {
        self.by_port.len()
    }

    /// Forwards external port `local.port` to `local` for every remote, if it speaks UPnP.
    pub fn forward(&mut self, local: Mapped) {
        if self.kind.has_upnp() {
            self.forwarded.insert(local.port, local);
        }
    }

    /// Forgets everything it learned; what was configured stays.
    pub fn reboot(&mut self) {
        self.by_key.clear();
        self.by_port.clear();
        self.next_port = self.rng.u16(FIRST_PORT..);
    }

    /// Gets another external address; everything learned is void.
    pub fn move_to(&mut self, ip: Ipv4Addr) {
        self.reboot();
        self.ip = ip;
    }

    /// The source a datagram from `local` to `remote` leaves with; `None` when no port is left.
    pub fn outbound(&mut self, now: Instant, local: Mapped, remote: Mapped) -> Option<Mapped> {
        let depends = match self.kind.mapping() {
            Depends::Nothing => None,
            Depends::Address => Some((remote.ip, 0)),
            Depends::AddressAndPort => Some((remote.ip, remote.port)),
        };
        let key = (local, depends);
        let known = self.by_key.get(&key).copied();
        let port = match known.filter(|port| self.is_alive(now, *port)) {
            Some(port) => port,
            None => self.open(now, key)?,
        };
        let session = self.by_port.get_mut(&port)?;
        session.last_out = now;
        session.written.insert(remote, now);
        Some(Mapped { ip: self.ip, port })
    }

    /// Whom a datagram from `remote` to external port `port` reaches.
    pub fn inbound(&self, now: Instant, remote: Mapped, port: u16) -> Option<Mapped> {
        if remote.ip == self.ip && !self.hairpin {
            return None;
        }
        if let Some(local) = self.forwarded.get(&port) {
            return Some(*local);
        }
        let session = self.by_port.get(&port)?;
        let is_fresh = |at: Instant| now.saturating_since(at) < self.timeout;
        let may_enter = match self.kind.filtering() {
            Depends::Nothing => is_fresh(session.last_out),
            Depends::Address => session
                .written
                .iter()
                .any(|(to, at)| to.ip == remote.ip && is_fresh(*at)),
            Depends::AddressAndPort => session.written.get(&remote).is_some_and(|at| is_fresh(*at)),
        };
        may_enter.then_some(session.local)
    }

    fn is_alive(&self, now: Instant, port: u16) -> bool {
        let session = self.by_port.get(&port);
        session.is_some_and(|session| now.saturating_since(session.last_out) < self.timeout)
    }

    fn open(&mut self, now: Instant, key: Key) -> Option<u16> {
        let (local, depends) = key;
        let forwarded = depends.is_none() && self.forwarded.get(&local.port) == Some(&local);
        let wanted = match self.kind.ports() {
            _ if forwarded => local.port,
            Ports::Preserved => local.port,
            Ports::Sequential => self.next_port,
            Ports::Random => self.rng.u16(FIRST_PORT..),
        };
        let port = (0..u16::MAX)
            .map(|n| wanted.wrapping_add(n).max(FIRST_PORT))
            .find(|port| {
                !self.is_alive(now, *port)
                    && self
                        .forwarded
                        .get(port)
                        .is_none_or(|to| forwarded && *to == local)
            })?;
        self.next_port = port.wrapping_add(1).max(FIRST_PORT);
        let session = Session {
            local,
            key,
            last_out: now,
            written: BTreeMap::new(),
        };
        if let Some(dead) = self.by_port.insert(port, session) {
            self.by_key.remove(&dead.key);
        }
        if let Some(old) = self.by_key.insert(key, port).filter(|old| *old != port) {
            self.by_port.remove(&old);
        }
        Some(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: Mapped = at(10, 0, 4000);
    const SERVER: Mapped = at(192, 1, 3544);
    const RELAY: Mapped = at(203, 9, 3545);

    const fn at(a: u8, d: u8, port: u16) -> Mapped {
        let ip = Ipv4Addr::new(a, 0, 2, d);
        Mapped { ip, port }
    }

    fn s(n: u64) -> Instant {
        Instant::default() + Duration::from_secs(n)
    }

    fn nat(kind: NatKind) -> Nat {
        let ip = Ipv4Addr::new(198, 51, 100, 1);
        Nat::new(kind, ip, false, Duration::from_mins(1), 1)
    }

    #[test]
    fn each_kind_maps_and_filters_as_its_row_says() {
        for kind in NatKind::ALL {
            let mut nat = nat(kind);
            let mapped = nat.outbound(s(0), LOCAL, SERVER).unwrap();
            let other_port = Mapped { port: 9, ..SERVER };
            let reached = |nat: &Nat, from| nat.inbound(s(1), from, mapped.port).is_some();
            assert!(reached(&nat, SERVER), "{kind:?}");
            let filtering = kind.filtering();
            assert_eq!(
                reached(&nat, other_port),
                filtering != Depends::AddressAndPort
            );
            assert_eq!(reached(&nat, RELAY), filtering == Depends::Nothing);
            let again = nat.outbound(s(1), LOCAL, other_port).unwrap();
            assert_eq!(again == mapped, kind.mapping() != Depends::AddressAndPort);
            let third = nat.outbound(s(1), LOCAL, RELAY).unwrap();
            assert_eq!(
                third == mapped,
                kind.mapping() == Depends::Nothing,
                "{kind:?}"
            );
        }
    }

    #[test]
    fn ports_are_preserved_counted_up_or_forwarded() {
        let mut preserving = nat(NatKind::PortPreservingSymmetric);
        assert_eq!(preserving.outbound(s(0), LOCAL, SERVER).unwrap().port, 4000);
        let mut sequential = nat(NatKind::SequentialSymmetric);
        let first = sequential.outbound(s(0), LOCAL, SERVER).unwrap().port;
        assert_eq!(
            sequential.outbound(s(0), LOCAL, RELAY).unwrap().port,
            first + 1
        );
        let mut upnp = nat(NatKind::UpnpPortRestricted);
        upnp.forward(LOCAL);
        assert_eq!(upnp.outbound(s(0), LOCAL, SERVER).unwrap().port, 4000);
        assert_eq!(upnp.inbound(s(0), RELAY, 4000), Some(LOCAL));
    }

    #[test]
    fn a_mapping_ends_with_silence_a_reboot_or_a_new_address() {
        let mut nat = nat(NatKind::Cone);
        let port = nat.outbound(s(0), LOCAL, SERVER).unwrap().port;
        assert!(nat.inbound(s(59), SERVER, port).is_some());
        assert!(nat.inbound(s(60), SERVER, port).is_none());
        let port = nat.outbound(s(60), LOCAL, SERVER).unwrap().port;
        nat.reboot();
        assert!(nat.inbound(s(61), SERVER, port).is_none());
        let moved = Ipv4Addr::new(198, 18, 0, 1);
        nat.move_to(moved);
        assert_eq!(nat.outbound(s(62), LOCAL, SERVER).unwrap().ip, moved);
    }

    #[test]
    fn only_a_hairpinning_box_lets_its_own_address_in() {
        for hairpin in [false, true] {
            let ip = Ipv4Addr::new(198, 51, 100, 1);
            let mut nat = Nat::new(NatKind::Cone, ip, hairpin, Duration::from_mins(1), 1);
            let mapped = nat.outbound(s(0), LOCAL, SERVER).unwrap();
            assert_eq!(nat.inbound(s(0), mapped, mapped.port).is_some(), hairpin);
        }
    }
}

//! The peer table's key and value.

use core::net::Ipv4Addr;

use teredo::Instant;
use teredo::addr::{Mapped, TeredoAddr};

/// A tick is 2^28 ns (0.27 s): fine enough for the 30 s rule, coarse enough that a busy peer's
/// line is written four times a second and not once a packet (invariant 2).
pub const TICK_NS_SHIFT: u32 = 28;

/// A peer is fresh for 30 s after the last reception (R-36, invariant 3).
#[allow(clippy::cast_possible_truncation)] // About a hundred.
pub const PEER_FRESH_TICKS: u32 = (30_000_000_000_u64 >> TICK_NS_SHIFT) as u32;

/// A peer still spoken to asks for an early probe 20 s after the last reception.
#[allow(clippy::cast_possible_truncation)] // About a hundred.
pub const PROBE_AFTER_TICKS: u32 = (20_000_000_000_u64 >> TICK_NS_SHIFT) as u32;

/// A point on `CLOCK_MONOTONIC` in ticks.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticks(pub u32);

impl Ticks {
    /// The tick `nanos` falls in. 32 bits last 36 years of uptime.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self((nanos >> TICK_NS_SHIFT) as u32)
    }

    /// Ticks since `earlier`; zero when `earlier` lies ahead, as it may between two CPUs.
    #[inline(always)]
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<Instant> for Ticks {
    fn from(at: Instant) -> Self {
        Self::from_nanos(at.as_nanos())
    }
}

impl From<Ticks> for Instant {
    /// The beginning of the tick.
    fn from(ticks: Ticks) -> Self {
        Self::from_nanos(u64::from(ticks.0) << TICK_NS_SHIFT)
    }
}

/// Key of a peer: its Teredo address without the constant prefix (server, flags, port, IPv4, as on the wire).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct PeerKey(pub [u8; 12]);

impl From<&TeredoAddr> for PeerKey {
    #[inline(always)]
    fn from(addr: &TeredoAddr) -> Self {
        let o = addr.octets();
        Self([
            o[4], o[5], o[6], o[7], o[8], o[9], o[10], o[11], o[12], o[13], o[14], o[15],
        ])
    }
}

impl From<PeerKey> for TeredoAddr {
    fn from(key: PeerKey) -> Self {
        let mut octets = [0; 16];
        octets[..4].copy_from_slice(&TeredoAddr::PREFIX);
        octets[4..].copy_from_slice(&key.0);
        TeredoAddr::from_octets(&octets).expect("the prefix was just written")
    }
}

/// A trusted peer, as user space speaks of it. In the table it is a [`Tail`](crate::Tail) and what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PeerEntry {
    /// Where data goes: IPv4 address, as on the wire.
    pub mapped_ipv4: [u8; 4],
    /// Where data goes: UDP port, network order.
    pub mapped_port: [u8; 2],
    /// Tick of the last accepted reception.
    pub last_rx: Ticks,
}

impl PeerEntry {
    /// An entry heard at `last_rx` whose data goes to `mapped`.
    pub fn new(mapped: Mapped, last_rx: Ticks) -> Self {
        Self {
            mapped_ipv4: mapped.ip.octets(),
            mapped_port: mapped.port.to_be_bytes(),
            last_rx,
        }
    }

    /// Whether it was heard within the last 30 s.
    pub const fn is_fresh(&self, now: Ticks) -> bool {
        now.since(self.last_rx) < PEER_FRESH_TICKS
    }

    /// The address data goes to.
    pub fn mapped(&self) -> Mapped {
        Mapped {
            ip: Ipv4Addr::from(self.mapped_ipv4),
            port: u16::from_be_bytes(self.mapped_port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_address_convert_both_ways() {
        let addr: core::net::Ipv6Addr = "2001:0:c000:201:2093:63bf:39cc:9bf8".parse().unwrap();
        let addr = TeredoAddr::from_octets(&addr.octets()).unwrap();
        assert_eq!(TeredoAddr::from(PeerKey::from(&addr)), addr);
    }

    #[test]
    fn an_entry_gives_back_its_mapped_address() {
        let mapped = Mapped {
            ip: Ipv4Addr::new(198, 51, 100, 7),
            port: 40000,
        };
        assert_eq!(PeerEntry::new(mapped, Ticks(7)).mapped(), mapped);
    }

    #[test]
    fn freshness_is_thirty_seconds_to_the_tick() {
        let tick_ns = 1_u64 << TICK_NS_SHIFT;
        let fresh_ns = u64::from(PEER_FRESH_TICKS) * tick_ns;
        assert!(fresh_ns <= 30_000_000_000 && fresh_ns + tick_ns > 30_000_000_000);
    }
}

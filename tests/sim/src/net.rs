//! What moves in the world, and how links treat it.

use std::net::Ipv4Addr;
use std::time::Duration;

use teredo::addr::{Mapped, is_global_unicast};

/// Something a node sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A UDP datagram over IPv4.
    V4 {
        /// Outer source.
        from: Mapped,
        /// Outer destination.
        to: Mapped,
        /// UDP payload.
        payload: Vec<u8>,
    },
    /// A native IPv6 packet.
    V6(Vec<u8>),
}

/// The documentation and benchmark ranges the world's nodes live in, opened as in a laboratory: first address, prefix length.
pub const OPENED: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
];

/// Whether a host may be at `ip`: global unicast, or one of [`OPENED`].
pub fn may_be_sent_to(ip: Ipv4Addr) -> bool {
    let opened = |(net, len): &(Ipv4Addr, u8)| (net.to_bits() ^ ip.to_bits()) >> (32 - len) == 0;
    is_global_unicast(ip) || OPENED.iter().any(opened)
}

/// How every link treats what crosses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Weather {
    /// Packets lost, of a thousand.
    pub lost_per_mille: u16,
    /// Packets that arrive twice, of a thousand.
    pub doubled_per_mille: u16,
    /// Longest extra delay. Packets overtake each other when it is not zero.
    pub jitter: Duration,
}

/// What a link did with one packet: when its copies arrive, after its constant delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// It does not arrive.
    Lost,
    /// It arrives once, this much late.
    Once(Duration),
    /// It arrives twice.
    Twice(Duration, Duration),
}

impl Weather {
    /// Draws what becomes of one packet.
    pub fn cross(&self, rng: &mut fastrand::Rng) -> Crossing {
        if self.lost_per_mille > 0 && rng.u16(..1000) < self.lost_per_mille {
            return Crossing::Lost;
        }
        let mut late = || match u64::try_from(self.jitter.as_micros()) {
            Ok(0) | Err(_) => Duration::ZERO,
            Ok(most) => Duration::from_micros(rng.u64(..most)),
        };
        let first = late();
        let second = late();
        if self.doubled_per_mille > 0 && rng.u16(..1000) < self.doubled_per_mille {
            return Crossing::Twice(first, second);
        }
        Crossing::Once(first)
    }
}

/// The constant delay between two places, 5 to 60 ms: order is kept on every path.
pub fn delay(seed: u64, from: u64, to: u64) -> Duration {
    let mixed =
        (seed ^ from.rotate_left(17) ^ to.rotate_left(41)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Duration::from_micros(5_000 + (mixed >> 32) % 55_000)
}

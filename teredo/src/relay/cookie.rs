//! What a bubble carries for its answer to bring back: the cookie (R-24) and the nonce (R-25).

use core::time::Duration;

use hmac::Mac;

use crate::Instant;
use crate::addr::TeredoAddr;
use crate::shared::seed::{HmacSha256, derive, keyed};

/// Link-local sources of bubbles, which only somebody who saw the bubble can answer to.
///
/// ```text
/// fe80::/64 | first 8 bytes of HMAC-SHA256(key, epoch (8) | peer (16)), first byte AND fc
/// ```
///
/// The peer's whole address goes in, flags included, and an epoch, so that a cookie seen once
/// does not allow a mapping to be rebound for ever. 62 bits.
pub(super) struct Cookies {
    mac: HmacSha256,
    epoch: Duration,
}

impl Cookies {
    pub(super) fn new(seed: [u8; 32], epoch: Duration) -> Self {
        Self {
            mac: keyed(derive(seed, b"cookie")),
            epoch: epoch.max(Duration::from_secs(1)),
        }
    }

    /// The source of bubbles to `peer` now.
    pub(super) fn current(&self, now: Instant, peer: &TeredoAddr) -> [u8; 16] {
        self.at(self.epoch_at(now), peer)
    }

    /// Whether `destination` is the current or the previous cookie of `peer` (R-36 c).
    pub(super) fn is_answered(
        &self,
        now: Instant,
        peer: &TeredoAddr,
        destination: &[u8; 16],
    ) -> bool {
        if destination[..8] != PREFIX {
            return false;
        }
        let epoch = self.epoch_at(now);
        equal(&self.at(epoch, peer), destination)
            || equal(&self.at(epoch.saturating_sub(1), peer), destination)
    }

    fn epoch_at(&self, now: Instant) -> u64 {
        let epoch_ns = u64::try_from(self.epoch.as_nanos()).unwrap_or(u64::MAX);
        now.as_nanos() / epoch_ns
    }

    fn at(&self, epoch: u64, peer: &TeredoAddr) -> [u8; 16] {
        let mac = self
            .mac
            .clone()
            .chain_update(epoch.to_be_bytes())
            .chain_update(peer.octets());
        let mut cookie = [0; 16];
        cookie[..8].copy_from_slice(&PREFIX);
        cookie[8..].copy_from_slice(&mac.finalize().into_bytes()[..8]);
        cookie[8] &= 0xfc;
        cookie
    }
}

const PREFIX: [u8; 8] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0];

/// Comparison whose time does not tell how much was right.
fn equal(a: &[u8; 16], b: &[u8; 16]) -> bool {
    a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// Nonces one HMAC gives.
const NONCES_A_BLOCK: usize = 8;

/// Random numbers from the seed: HMAC-SHA256 in counter mode, a block ahead of need.
pub(super) struct Nonces {
    mac: HmacSha256,
    counter: u64,
    block: [u8; 4 * NONCES_A_BLOCK],
    drawn: usize,
}

impl Nonces {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        let mut nonces = Self {
            mac: keyed(derive(seed, b"nonce")),
            counter: 0,
            block: [0; 4 * NONCES_A_BLOCK],
            drawn: 0,
        };
        nonces.refill();
        nonces
    }

    /// Four bytes nobody can predict.
    pub(super) fn draw(&mut self) -> [u8; 4] {
        if self.drawn == NONCES_A_BLOCK {
            self.refill();
        }
        let (nonces, _) = self.block.as_chunks();
        let nonce = nonces[self.drawn];
        self.drawn += 1;
        nonce
    }

    fn refill(&mut self) {
        self.counter += 1;
        let mac = self.mac.clone().chain_update(self.counter.to_be_bytes());
        self.block = mac.finalize().into_bytes().into();
        self.drawn = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Mapped, ServerV4};
    use core::net::Ipv4Addr;

    const EPOCH: Duration = Duration::from_mins(5);

    fn peer(flags: u16) -> TeredoAddr {
        let mapped = Mapped {
            ip: Ipv4Addr::new(198, 51, 100, 7),
            port: 40000,
        };
        TeredoAddr::new(ServerV4(Ipv4Addr::new(192, 0, 2, 1)), flags, mapped)
    }

    fn at(s: u64) -> Instant {
        Instant::default() + Duration::from_secs(s)
    }

    /// R-24.
    #[test]
    fn a_cookie_is_link_local_with_u_and_g_zero_and_depends_on_the_flags() {
        let cookies = Cookies::new([7; 32], EPOCH);
        let cookie = cookies.current(at(0), &peer(0x2093));
        assert_eq!(cookie[..8], PREFIX);
        assert_eq!(cookie[8] & 0x03, 0);
        assert_ne!(cookie, cookies.current(at(0), &peer(0x8000)));
        assert_ne!(
            cookie,
            Cookies::new([8; 32], EPOCH).current(at(0), &peer(0x2093))
        );
    }

    /// R-24: current and previous are accepted.
    #[test]
    fn a_cookie_is_accepted_in_its_epoch_and_the_next() {
        let cookies = Cookies::new([7; 32], EPOCH);
        let cookie = cookies.current(at(299), &peer(0));
        for (s, accepted) in [
            (0, true),
            (299, true),
            (300, true),
            (599, true),
            (600, false),
        ] {
            assert_eq!(
                cookies.is_answered(at(s), &peer(0), &cookie),
                accepted,
                "{s} s"
            );
        }
        assert!(!cookies.is_answered(at(299), &peer(1), &cookie));
    }

    /// R-25.
    #[test]
    fn nonces_differ_and_follow_the_seed() {
        let (mut a, mut b, mut c) = (
            Nonces::new([1; 32]),
            Nonces::new([1; 32]),
            Nonces::new([2; 32]),
        );
        let first = a.draw();
        assert_eq!(first, b.draw());
        assert_ne!(first, a.draw());
        assert_ne!(first, c.draw());
    }
}

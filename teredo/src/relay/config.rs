//! Settings and bounds of the relay.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddrV4};
use core::num::NonZeroUsize;
use core::time::Duration;

use super::access::Access;
use super::peer::BUBBLE_INTERVAL;
use crate::Ipv4Net;

/// How a native packet reached the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Straight from the wire: the relay decrements the hop limit.
    Pending,
    /// Through the kernel's forwarding, which has decremented it.
    Done,
}

/// Settings of a relay.
#[derive(Clone, Debug)]
pub struct Config {
    /// The one address and port everything leaves from.
    pub service: SocketAddrV4,
    /// Largest inner packet, at least 1280.
    pub tunnel_mtu: u16,
    /// Ranges outside global unicast that may be sent to all the same; for laboratories.
    pub allow_non_global: Vec<Ipv4Net>,
    /// Whom the relay serves.
    pub access: Access,
    /// The primary address of a server on this machine, whose clients are served like those of any other.
    pub own_server: Option<Ipv4Addr>,
    /// Append a Nonce Trailer to bubbles.
    pub nonce_trailer: bool,
    /// Bounds.
    pub limits: Limits,
}

impl Config {
    /// Defaults for a relay on `service`.
    pub fn new(service: SocketAddrV4) -> Self {
        Self {
            service,
            tunnel_mtu: 1280,
            allow_non_global: Vec::new(),
            access: Access::default(),
            own_server: None,
            nonce_trailer: true,
            limits: Limits::default(),
        }
    }
}

/// Every bound of the relay (invariant 9). When one is reached, probing loses and established traffic wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Peers being probed or remembered as blocked.
    pub pending_peers: usize,
    /// Packets waiting for one peer.
    pub queue_packets_per_peer: usize,
    /// Bytes waiting for one peer.
    pub queue_bytes_per_peer: usize,
    /// Bytes waiting for all peers.
    pub queue_bytes_total: usize,
    /// New peers a second, all together.
    pub new_peers_per_s: u32,
    /// New peers that may come at once.
    pub new_peers_burst: u32,
    /// Bubbles a second to one server.
    pub server_bubbles_per_s: u32,
    /// Bubbles to one server that may go at once.
    pub server_bubbles_burst: u32,
    /// Repeats of bubbles to new peers a second, beyond what packets and answers pay for; see
    /// [`repeats_burst`](Self::repeats_burst).
    pub repeats_per_s: u32,
    /// Repeats of bubbles to new peers while none is answered. Each answer pays for as many as one peer may get, and each
    /// packet that waits beside the first for one: a relay that is made to ask those who do not exist soon sends one packet
    /// for each that came.
    pub repeats_burst: u32,
    /// Unanswered peers one native /64 may hold.
    pub unanswered_per_source_prefix: u32,
    /// ICMPv6 errors a second.
    pub icmp6_per_s: u32,
    /// ICMPv6 errors that may go at once.
    pub icmp6_burst: u32,
    /// How long a link-local cookie is given out; it is accepted as long again.
    pub cookie_epoch: Duration,
}

impl Limits {
    /// Bubbles that can be younger than [`BUBBLE_INTERVAL`](super::BUBBLE_INTERVAL): those of new peers, and one
    /// for each peer that is being probed.
    pub(super) fn recent_bubbles(&self) -> usize {
        let per_interval = BUBBLE_INTERVAL
            .as_secs()
            .saturating_mul(self.new_peers_per_s.into())
            .saturating_add(self.new_peers_burst.into());
        usize::try_from(per_interval)
            .unwrap_or(usize::MAX)
            .saturating_add(self.pending_peers)
    }

    /// The part of each bound that one of `shards` relays gets which serve different peers beside each other, so that
    /// together they keep the bound, rounded up to a whole for each. What holds for a single peer stays.
    #[must_use]
    pub fn shared_by(&self, shards: NonZeroUsize) -> Self {
        let size = |total: usize| total.div_ceil(shards.get());
        let ways = u32::try_from(shards.get()).unwrap_or(u32::MAX);
        let rate = |total: u32| total.div_ceil(ways);
        Self {
            pending_peers: size(self.pending_peers),
            queue_bytes_total: size(self.queue_bytes_total),
            new_peers_per_s: rate(self.new_peers_per_s),
            new_peers_burst: rate(self.new_peers_burst),
            server_bubbles_per_s: rate(self.server_bubbles_per_s),
            server_bubbles_burst: rate(self.server_bubbles_burst),
            repeats_per_s: rate(self.repeats_per_s),
            repeats_burst: rate(self.repeats_burst),
            unanswered_per_source_prefix: rate(self.unanswered_per_source_prefix),
            icmp6_per_s: rate(self.icmp6_per_s),
            icmp6_burst: rate(self.icmp6_burst),
            ..*self
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pending_peers: 65_536,
            queue_packets_per_peer: 16,
            queue_bytes_per_peer: 16 << 10,
            queue_bytes_total: 8 << 20,
            new_peers_per_s: 2_000,
            new_peers_burst: 20_000,
            server_bubbles_per_s: 100,
            server_bubbles_burst: 20_000,
            repeats_per_s: 10,
            repeats_burst: 200,
            unanswered_per_source_prefix: 64,
            icmp6_per_s: 10,
            icmp6_burst: 10,
            cookie_epoch: Duration::from_mins(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_together_keep_every_bound_and_one_alone_has_all_of_it() {
        let limits = Limits::default();
        let ways = |n| NonZeroUsize::new(n).expect("not zero");
        assert_eq!(limits.shared_by(ways(1)), limits);
        let third = limits.shared_by(ways(3));
        assert_eq!(third.new_peers_per_s, 667);
        assert_eq!(third.pending_peers, 21_846);
        assert_eq!(third.queue_bytes_per_peer, limits.queue_bytes_per_peer);
        let none = Limits {
            icmp6_per_s: 0,
            ..limits
        };
        assert_eq!(
            none.shared_by(ways(3)).icmp6_per_s,
            0,
            "nothing stays nothing"
        );
    }
}

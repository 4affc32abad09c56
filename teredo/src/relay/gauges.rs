//! The relay's state in figures.

use core::ops::AddAssign;

/// The relay's state in figures, and counts of what it sent on its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Gauges {
    /// Peers being probed while their packets wait.
    pub probing: usize,
    /// Trusted peers being probed early, while their data still flows.
    pub early_probes: usize,
    /// Peers whose bubbles are spent: no answer, remembered until 300 s after the first.
    pub blocked: usize,
    /// Packets waiting in queues.
    pub queued_packets: usize,
    /// Bytes waiting in queues.
    pub queued_bytes: usize,
    /// Servers whose token bucket is not full.
    pub server_buckets: usize,
    /// Bubbles sent, in all.
    pub bubbles_sent: u64,
    /// Repeats put off for one turn because a token bucket was empty, in all.
    pub bubbles_deferred: u64,
    /// Repeats put off for one turn because neither packets nor answers had paid for them, in all.
    pub repeats_unpaid: u64,
    /// Neighbour advertisements sent in direct bubbles, in all.
    pub advertisements_sent: u64,
    /// ICMPv6 errors sent, in all.
    pub icmp6_sent: u64,
    /// ICMPv6 errors not sent because the rate was exceeded, in all.
    pub icmp6_suppressed: u64,
    /// ICMPv6 errors not sent because RFC 4443 2.4 forbids them, in all.
    pub icmp6_forbidden: u64,
    /// Blocked peers forgotten early to make room, in all.
    pub blocked_evicted: u64,
    /// Peers that answered but found the peer table full, in all.
    pub peer_table_full: u64,
}

impl AddAssign for Gauges {
    /// The sum over relays that serve different peers.
    fn add_assign(&mut self, other: Self) {
        *self = Self {
            probing: self.probing + other.probing,
            early_probes: self.early_probes + other.early_probes,
            blocked: self.blocked + other.blocked,
            queued_packets: self.queued_packets + other.queued_packets,
            queued_bytes: self.queued_bytes + other.queued_bytes,
            server_buckets: self.server_buckets + other.server_buckets,
            bubbles_sent: self.bubbles_sent + other.bubbles_sent,
            bubbles_deferred: self.bubbles_deferred + other.bubbles_deferred,
            repeats_unpaid: self.repeats_unpaid + other.repeats_unpaid,
            advertisements_sent: self.advertisements_sent + other.advertisements_sent,
            icmp6_sent: self.icmp6_sent + other.icmp6_sent,
            icmp6_suppressed: self.icmp6_suppressed + other.icmp6_suppressed,
            icmp6_forbidden: self.icmp6_forbidden + other.icmp6_forbidden,
            blocked_evicted: self.blocked_evicted + other.blocked_evicted,
            peer_table_full: self.peer_table_full + other.peer_table_full,
        };
    }
}

//! The relay as a state machine without I/O (rules R-1 to R-57).
//!
//! ```text
//! from_native / from_client / handle_timeout ──► Relay ──► poll() ─► Command
//!                                                 │  ▲
//!                                   PeerTable ◄───┘  └── now, random bytes: arguments
//! ```
//!
//! Trusted peers live in the caller's [`PeerTable`] and nowhere else. The relay itself keeps the
//! peers it is probing, with the packets that wait for them, and those that did not answer.

mod access;
mod client;
mod command;
mod config;
mod cookie;
mod gauges;
mod native;
mod outbox;
mod peer;
mod pending;
mod policy;
mod prefixes;
mod probing;
mod queue;
mod table;
#[cfg(test)]
mod tests;

use core::net::{Ipv4Addr, Ipv6Addr};

pub use crate::net::{Ipv4Net, Ipv6Net};
pub use crate::shared::tally::{Count, Tally};
pub use access::{Access, AccessList, Rule};
pub use command::{Command, Icmp6Error, UdpKind};
pub use config::{Config, Hop, Limits};
pub use gauges::Gauges;
pub use peer::{
    BUBBLE_INTERVAL, BUBBLE_WINDOW, BUBBLES_MAX, PEER_FRESH, PROBE_AFTER, PendingPeer, PendingState,
};
pub use table::{PeerTable, TableFull, Trusted};

use crate::addr::{ServerV4, TeredoAddr};
use crate::shared::keyed::Keyed;
use crate::shared::limits::{Bucket, Buckets, Rate};
use crate::shared::seed::derive;
use crate::wire::icmp6;
use crate::wire::ipv6;
use crate::{Fate, Instant};
use cookie::{Cookies, Nonces};
use outbox::{Order, Outbox};
use pending::PendingPeers;
use policy::Policy;
use queue::QueueMemory;

/// Deadlines one call of [`Relay::handle_timeout`] serves, so that its output is bounded.
const DEADLINES_PER_CALL: usize = 1024;

/// Peers, packets and buckets for which memory stays when a burst is over.
const KEPT_PLACES: usize = 4096;

/// A Teredo relay (RFC 4380 5.4) over a table of trusted peers.
///
/// Feed it with [`from_native`](Self::from_native), [`from_client`](Self::from_client) and, when
/// [`poll_timeout`](Self::poll_timeout) has come, [`handle_timeout`](Self::handle_timeout). After
/// each call carry out what [`poll`](Self::poll) yields. `now` never goes back.
pub struct Relay<T> {
    config: Config,
    table: T,
    policy: Policy,
    cookies: Cookies,
    nonces: Nonces,
    pending: PendingPeers,
    memory: QueueMemory,
    new_peers: Bucket,
    /// What pays for repeats to new peers.
    repeats: Bucket,
    servers: Buckets<ServerV4>,
    /// By Teredo address with flags 0: peers that differ in flags share one NAT mapping.
    mappings: Buckets<TeredoAddr>,
    advertisements: Buckets<TeredoAddr>,
    icmp6: Bucket,
    outbox: Outbox,
    tally: Tally,
    /// Only the counts over all time; the rest is filled in when asked for.
    counts: Gauges,
    is_shut_down: bool,
}

impl<T: PeerTable> Relay<T> {
    /// A relay over `table`. `seed` comes from the system's random source and must be new at each start: it
    /// keys the cookies (R-24), the nonces (R-25) and the places in memory of what comes from packets.
    pub fn new(config: Config, table: T, seed: [u8; 32]) -> Self {
        let limits = &config.limits;
        let keyed = |purpose: &[u8]| Keyed::new(derive(seed, purpose));
        let server_bubbles =
            Rate::per_second(limits.server_bubbles_per_s, limits.server_bubbles_burst);
        let mapping_bubbles = Rate::every(BUBBLE_INTERVAL, u32::from(BUBBLES_MAX));
        let advertisements = Rate::every(BUBBLE_INTERVAL, 1);
        Self {
            policy: Policy::new(&config),
            cookies: Cookies::new(seed, limits.cookie_epoch),
            nonces: Nonces::new(seed),
            pending: PendingPeers::new(limits.pending_peers, keyed(b"pending"), keyed(b"prefixes")),
            memory: QueueMemory::new(limits),
            new_peers: Bucket::new(Rate::per_second(
                limits.new_peers_per_s,
                limits.new_peers_burst,
            )),
            repeats: Bucket::new(Rate::per_second(limits.repeats_per_s, limits.repeats_burst)),
            servers: Buckets::new(server_bubbles, limits.pending_peers, keyed(b"servers")),
            mappings: Buckets::new(mapping_bubbles, limits.recent_bubbles(), keyed(b"mappings")),
            advertisements: Buckets::new(
                advertisements,
                limits.pending_peers,
                keyed(b"advertisements"),
            ),
            icmp6: Bucket::new(Rate::per_second(limits.icmp6_per_s, limits.icmp6_burst)),
            outbox: Outbox::default(),
            tally: Tally::default(),
            counts: Gauges::default(),
            is_shut_down: false,
            table,
            config,
        }
    }

    /// Tells the relay this machine's IPv4 addresses, and the broadcast addresses of its subnets
    /// (R-15, R-18, R-43). Nothing is sent to any of them. The service address is known already.
    pub fn set_own_ipv4(&mut self, own: &[Ipv4Addr], broadcasts: &[Ipv4Addr]) {
        self.policy.set_own(own, broadcasts);
    }

    /// Repeats bubbles, gives up on peers that did not answer (R-26) and forgets blocked ones.
    ///
    /// One call serves a bounded number of deadlines; if more are due,
    /// [`poll_timeout`](Self::poll_timeout) says so.
    pub fn handle_timeout(&mut self, now: Instant) {
        for _ in 0..DEADLINES_PER_CALL {
            let Some(place) = self.pending.due(now) else {
                return;
            };
            self.turn(now, place);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.pending.next_deadline()
    }

    /// The next thing to send. To be asked until there is none: only then is the memory of its output used again.
    pub fn poll(&mut self) -> Option<Command<'_>> {
        self.outbox.take()
    }

    /// Drops every queue, counted as [`Fate::ShutDown`], and forgets all probing (R-55). Trusted
    /// peers keep working; a packet for any other meets the same fate.
    pub fn shut_down(&mut self) {
        self.is_shut_down = true;
        while let Some(place) = self.pending.first() {
            let mut queue = self.pending.remove(place).queue;
            while self.memory.pop(&mut queue, self.outbox.pen()).is_some() {
                self.tally.add(Fate::ShutDown, self.outbox.draft().len());
                self.outbox.discard();
            }
        }
    }

    /// What became of every packet so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The table of trusted peers.
    pub fn table(&self) -> &T {
        &self.table
    }

    /// The table of trusted peers, for sweeping and publishing.
    pub fn table_mut(&mut self) -> &mut T {
        &mut self.table
    }

    /// Peers being probed, then those that are blocked, each in the order of their deadlines.
    pub fn pending(&self) -> impl Iterator<Item = PendingPeer> + '_ {
        self.pending.iter()
    }

    /// Gives memory of a burst back once the burst is over, and says whether there was any. To be called now and then: what
    /// a small relay uses stays.
    pub fn give_back_memory(&mut self, now: Instant) -> bool {
        self.pending.give_back(KEPT_PLACES)
            | self.memory.give_back(KEPT_PLACES)
            | self.outbox.give_back(KEPT_PLACES)
            | self.servers.give_back(now, KEPT_PLACES)
            | self.mappings.give_back(now, KEPT_PLACES)
            | self.advertisements.give_back(now, KEPT_PLACES)
    }

    /// The relay's state in figures.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            probing: self.pending.probing(),
            early_probes: self.pending.early(),
            blocked: self.pending.blocked(),
            queued_packets: self.memory.packets(),
            queued_bytes: self.memory.bytes(),
            server_buckets: self.servers.len(),
            ..self.counts
        }
    }

    /// Answers `packet`, which is whole and as received, with an ICMPv6 error unless RFC 4443
    /// forbids it (R-50) or too many were sent lately (R-51).
    fn answer_with_error(&mut self, now: Instant, packet: &[u8], error: Icmp6Error) {
        self.outbox.pen().extend_from_slice(packet);
        self.answer_draft_with_error(now, error);
    }

    /// Answers the packet that is the outbox's draft.
    fn answer_draft_with_error(&mut self, now: Instant, error: Icmp6Error) {
        let packet = self.outbox.draft();
        let quoted = icmp6::quote(packet).len();
        let to = match ipv6::parse(packet) {
            Ok((header, ..)) if !icmp6::forbids_error(error, packet) => header.source,
            _ => {
                self.counts.icmp6_forbidden += 1;
                return self.outbox.discard();
            }
        };
        if !self.icmp6.take(now) {
            self.counts.icmp6_suppressed += 1;
            return self.outbox.discard();
        }
        self.counts.icmp6_sent += 1;
        self.outbox.shorten(quoted);
        let to = Ipv6Addr::from(to);
        self.outbox.order(Order::Icmp6 { to, error });
    }
}

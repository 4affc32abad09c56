//! One peer that is not trusted, or whose trust is being renewed (PROTOCOL 3.7, 3.8).

use core::time::Duration;

use super::prefixes::SourcePrefix;
use super::queue::Queue;
use crate::Instant;
use crate::addr::TeredoAddr;

/// A peer is fresh this long after the last reception.
pub const PEER_FRESH: Duration = Duration::from_secs(30);

/// A peer still spoken to is probed early when it was not heard for this long.
pub const PROBE_AFTER: Duration = Duration::from_secs(20);

/// Least time between two bubbles to one peer, and how long an answer is waited for.
pub const BUBBLE_INTERVAL: Duration = Duration::from_secs(2);

/// Bubbles to a peer that does not answer, within [`BUBBLE_WINDOW`].
pub const BUBBLES_MAX: u8 = 4;

/// How long the bubbles to a peer count against [`BUBBLES_MAX`], from the first one.
pub const BUBBLE_WINDOW: Duration = Duration::from_mins(5);

/// How long a peer is asked in vain.
pub(super) const ATTEMPT: Duration =
    Duration::from_secs(BUBBLE_INTERVAL.as_secs() * BUBBLES_MAX as u64);

/// Repeats put off for want of tokens do not hold a queue longer than this.
pub(super) const GIVE_UP_AFTER: Duration = Duration::from_secs(16);

/// Where the probing of a peer stands.
///
/// | state of PROTOCOL 3.8 | peer table | phase |
/// |---|---|---|
/// | NONE | no entry | none |
/// | PROBING(n) | no entry | `Probing` |
/// | TRUSTED | heard <= 30 s ago | none; `Early` while R-53 probes; `Blocked` when that had no answer |
/// | STALE | heard > 30 s ago | none; `Early` until the next packet asks for the peer |
/// | STALE, being re-probed | heard > 30 s ago: the old mapping stays good (R-38) | `Probing` |
/// | BLOCKED | no entry | `Blocked` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Packets wait for the answer.
    Probing,
    /// Data flows still; the answer renews the trust.
    Early,
    /// All bubbles are spent. Only the count is kept, until the window ends.
    Blocked,
}

/// What is known of the probing of one peer.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) phase: Phase,
    /// Sent since the last direct answer.
    pub(super) bubbles: u8,
    /// When the window of R-26 began.
    pub(super) first_bubble: Instant,
    pub(super) last_bubble: Instant,
    /// Nonce of the last bubble.
    pub(super) nonce: Option<[u8; 4]>,
    pub(super) queue: Queue,
    /// The native /64 that asked for a peer never heard; none for a known one, which is not
    /// held against anybody when it goes away.
    pub(super) origin: Option<SourcePrefix>,
}

impl Pending {
    pub(super) fn new(now: Instant, phase: Phase, origin: Option<SourcePrefix>) -> Self {
        Self {
            phase,
            bubbles: 0,
            first_bubble: now,
            last_bubble: now,
            nonce: None,
            queue: Queue::default(),
            origin,
        }
    }

    /// Whether no bubble may be sent any more before the window ends.
    pub(super) fn is_spent(&self, now: Instant) -> bool {
        self.bubbles >= BUBBLES_MAX || now.saturating_since(self.first_bubble) >= GIVE_UP_AFTER
    }

    /// When the next round may begin: 300 s after the first bubble, and later by as much as late
    /// timers or missing tokens stretched this round, so that the bubbles of two rounds never
    /// make five in any 300 s.
    pub(super) fn window_end(&self) -> Instant {
        let next_round = BUBBLE_INTERVAL * u32::from(BUBBLES_MAX - 1);
        (self.first_bubble + BUBBLE_WINDOW).max(self.last_bubble + BUBBLE_WINDOW - next_round)
    }
}

/// A peer that is not, or not only, in the peer table; for listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingPeer {
    /// Its address.
    pub peer: TeredoAddr,
    /// Where its probing stands.
    pub state: PendingState,
    /// When its first bubble was sent.
    pub since: Instant,
    /// Packets waiting.
    pub queued_packets: usize,
    /// Bytes waiting.
    pub queued_bytes: usize,
}

/// Where the probing of a peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingState {
    /// Its packets wait for an answer.
    Probing {
        /// Bubbles sent since the last answer, 0 to 4. 0: it answered but the peer table was full.
        bubbles: u8,
    },
    /// Trusted and probed early, while data flows.
    Early {
        /// Bubbles sent since the last answer, 1 to 4.
        bubbles: u8,
    },
    /// Did not answer. No bubble is sent before 300 s after the first.
    Blocked,
}

impl PendingPeer {
    pub(super) fn of(peer: TeredoAddr, pending: &Pending) -> Self {
        let bubbles = pending.bubbles;
        Self {
            peer,
            state: match pending.phase {
                Phase::Probing => PendingState::Probing { bubbles },
                Phase::Early => PendingState::Early { bubbles },
                Phase::Blocked => PendingState::Blocked,
            },
            since: pending.first_bubble,
            queued_packets: pending.queue.len(),
            queued_bytes: pending.queue.bytes(),
        }
    }
}

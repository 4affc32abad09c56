//! The store of trusted peers (invariant 1): in the kernel with a fast path, in memory without.

use relay_common::{PEER_FRESH_TICKS, PeerEntry, PeerKey, TICK_NS_SHIFT, Ticks};
use teredo::relay::TableFull;

use super::{BpfPeers, MemoryPeers};

/// A peer not heard for this long is removed. Between 30 s and this it is stale: its mapping
/// is still good for an answer to a new probe.
pub const PEER_EXPIRE_S: u64 = 60;

/// [`PEER_EXPIRE_S`] in ticks.
#[allow(clippy::cast_possible_truncation)] // 60 s are 223 ticks.
pub const PEER_EXPIRE_TICKS: u32 = ((PEER_EXPIRE_S * 1_000_000_000) >> TICK_NS_SHIFT) as u32;

/// What a peer's silence makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// The fast path uses it.
    Fresh,
    /// The fast path punts it.
    Stale,
    /// To be removed.
    Expired,
}

impl Age {
    /// Of a peer last heard so many ticks ago.
    pub(super) const fn of(silence: u32) -> Self {
        match silence {
            silence if silence > PEER_EXPIRE_TICKS => Self::Expired,
            silence if silence > PEER_FRESH_TICKS => Self::Stale,
            _ => Self::Fresh,
        }
    }
}

/// What one step of a sweep met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepStep {
    /// Peers heard within 30 s.
    pub seen_fresh: usize,
    /// Peers silent for longer, which stay.
    pub seen_stale: usize,
    /// Peers removed.
    pub removed: usize,
    /// The end of the table was reached; the next step begins anew. Between two such steps
    /// every peer that stayed was seen once, so the sums are the table's state.
    pub wrapped: bool,
}

impl SweepStep {
    /// Peers looked at.
    pub fn seen(&self) -> usize {
        self.seen_fresh + self.seen_stale + self.removed
    }
}

/// The store of trusted peers. Clones are handles on the same store.
///
/// One thread alone may write to an entry at a time: the one that runs its shard. Any may read. The fast
/// path creates and removes nothing, it only refreshes when a
/// peer was heard.
#[derive(Clone, Debug)]
pub enum Peers {
    /// The BPF map the fast path reads.
    Bpf(BpfPeers),
    /// `--datapath userspace`.
    Memory(MemoryPeers),
}

impl Peers {
    /// The entry of `key`, fresh or stale.
    pub fn get(&self, key: PeerKey) -> Option<PeerEntry> {
        match self {
            Self::Bpf(peers) => peers.get(key),
            Self::Memory(peers) => peers.get(key),
        }
    }

    /// Inserts or replaces the entry of `key`, visible to the fast path at once.
    ///
    /// # Errors
    /// [`TableFull`].
    pub fn insert(&mut self, key: PeerKey, entry: PeerEntry) -> Result<(), TableFull> {
        match self {
            Self::Bpf(peers) => peers.insert(key, entry),
            Self::Memory(peers) => peers.insert(key, entry),
        }
    }

    /// Removes the entry of `key`, if there is one.
    pub fn remove(&mut self, key: PeerKey) {
        match self {
            Self::Bpf(peers) => peers.remove(key),
            Self::Memory(peers) => peers.remove(key),
        }
    }

    /// Which of `shards` shards `key` belongs to. Peers cannot choose theirs.
    pub fn shard_of(&self, key: PeerKey, shards: usize) -> usize {
        match self {
            Self::Bpf(peers) => peers.shard_of(key, shards),
            Self::Memory(peers) => peers.shard_of(key, shards),
        }
    }

    /// A handle that sweeps the part of shard `shard` of `shards`, and may write to its entries alone.
    /// Counts and lists are those of the whole table.
    #[must_use]
    pub fn for_shard(&self, shard: usize, shards: usize) -> Self {
        match self {
            Self::Bpf(peers) => Self::Bpf(peers.for_shard(shard, shards)),
            Self::Memory(peers) => Self::Memory(peers.for_shard(shard)),
        }
    }

    /// Entries now.
    pub fn len(&self) -> usize {
        match self {
            Self::Bpf(peers) => peers.len(),
            Self::Memory(peers) => peers.len(),
        }
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Most entries there can be (`--max-peers`).
    pub fn capacity(&self) -> usize {
        match self {
            Self::Bpf(peers) => peers.capacity(),
            Self::Memory(peers) => peers.capacity(),
        }
    }

    /// Up to `limit` entries in no particular order, for listings.
    pub fn list(&self, limit: usize) -> Vec<(PeerKey, PeerEntry)> {
        match self {
            Self::Bpf(peers) => peers.list(limit),
            Self::Memory(peers) => peers.list(limit),
        }
    }

    /// Looks at about `budget` peers, going on where the last step of this handle ended, and
    /// removes those silent for more than [`PEER_EXPIRE_S`].
    ///
    /// Only the one writer may call it. A peer the fast path refreshes in that instant stays.
    pub fn sweep_step(&mut self, now: Ticks, budget: usize) -> SweepStep {
        match self {
            Self::Bpf(peers) => peers.sweep_step(now, budget),
            Self::Memory(peers) => peers.sweep_step(now, budget),
        }
    }
}

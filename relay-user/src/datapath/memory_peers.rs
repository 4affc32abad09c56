//! The peer table of a relay without a fast path.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use relay_common::{PeerEntry, PeerKey, Ticks};
use teredo::relay::TableFull;

use super::peers::{Age, SweepStep};

/// A bounded table in this process's memory, with the interface of the one in the kernel.
/// Clones are handles on the same table.
#[derive(Clone, Debug)]
pub struct MemoryPeers {
    entries: Arc<Mutex<IndexMap<PeerKey, PeerEntry>>>,
    capacity: usize,
    /// Chooses the shards.
    hasher: RandomState,
    /// Whether this handle sweeps. One does it for all shards: writing takes the lock in any case.
    sweeps: bool,
    /// Entries this handle's sweep still has in front of it: it walks from the end to the
    /// beginning, so that the entry a removal moves into the gap is one already seen.
    ahead: usize,
}

impl MemoryPeers {
    /// An empty table for at most `capacity` peers.
    pub fn new(capacity: u32) -> Self {
        Self {
            entries: Arc::default(),
            capacity: capacity as usize,
            hasher: RandomState::new(),
            sweeps: true,
            ahead: 0,
        }
    }

    fn entries(&self) -> MutexGuard<'_, IndexMap<PeerKey, PeerEntry>> {
        // Every operation leaves the map whole, so a panic elsewhere does not spoil it.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which of `shards` shards `key` belongs to.
    #[allow(clippy::cast_possible_truncation)] // Any bits of the hash will do.
    pub fn shard_of(&self, key: PeerKey, shards: usize) -> usize {
        self.hasher.hash_one(key) as usize % shards.max(1)
    }

    /// A handle for shard `shard`.
    #[must_use]
    pub fn for_shard(&self, shard: usize) -> Self {
        Self {
            sweeps: shard == 0,
            ..self.clone()
        }
    }

    /// The entry of `key`.
    pub fn get(&self, key: PeerKey) -> Option<PeerEntry> {
        self.entries().get(&key).copied()
    }

    /// Inserts or replaces the entry of `key`.
    ///
    /// # Errors
    /// [`TableFull`].
    pub fn insert(&mut self, key: PeerKey, entry: PeerEntry) -> Result<(), TableFull> {
        let mut entries = self.entries();
        if entries.len() >= self.capacity && !entries.contains_key(&key) {
            return Err(TableFull);
        }
        entries.insert(key, entry);
        Ok(())
    }

    /// Removes the entry of `key`, if there is one.
    pub fn remove(&mut self, key: PeerKey) {
        self.entries().swap_remove(&key);
    }

    /// Entries now.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Most entries there can be.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Up to `limit` entries in no particular order.
    pub fn list(&self, limit: usize) -> Vec<(PeerKey, PeerEntry)> {
        let entries = self.entries();
        entries.iter().take(limit).map(|(k, v)| (*k, *v)).collect()
    }

    /// See [`Peers::sweep_step`](super::Peers::sweep_step).
    pub fn sweep_step(&mut self, now: Ticks, budget: usize) -> SweepStep {
        let mut step = SweepStep::default();
        if !self.sweeps {
            step.wrapped = true;
            return step;
        }
        let mut entries = self.entries();
        let mut at = match self.ahead {
            0 => entries.len(),
            ahead => ahead.min(entries.len()),
        };
        while at > 0 && step.seen() < budget {
            at -= 1;
            let Some((_, entry)) = entries.get_index(at) else {
                break;
            };
            match Age::of(now.since(entry.last_rx)) {
                Age::Fresh => step.seen_fresh += 1,
                Age::Stale => step.seen_stale += 1,
                Age::Expired => {
                    entries.swap_remove_index(at);
                    step.removed += 1;
                }
            }
        }
        drop(entries);
        step.wrapped = at == 0;
        self.ahead = at;
        step
    }
}

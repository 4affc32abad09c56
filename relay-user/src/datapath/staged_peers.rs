//! Writes to the peer table that the fast path does not see yet.

use std::cell::Cell;
use std::collections::HashMap;

use relay_common::{PeerEntry, PeerKey, Ticks};
use teredo::addr::TeredoAddr;
use teredo::relay::{PeerTable, TableFull, Trusted};
use tracing::debug;

use super::peers::{Peers, SweepStep};

/// The relay's view of the peer table: what it inserts it sees at once, the fast path after
/// [`publish`](Self::publish).
///
/// When a peer answers, its queued packets must leave before the fast path opens for it,
/// or packets that arrive meanwhile overtake them. The caller sends what the relay asked for,
/// then publishes. Removals take effect at once: a closed fast path reorders nothing.
#[derive(Debug)]
pub struct StagedPeers {
    store: Peers,
    staged: HashMap<PeerKey, Staged>,
    /// The key the store was last asked for, and whether it was there: an answer is looked up before it is
    /// inserted, and each look into a BPF map is a system call.
    asked: Cell<Option<(PeerKey, bool)>>,
    /// Staged entries that will take a new place in the store.
    new: usize,
}

#[derive(Clone, Copy, Debug)]
struct Staged {
    entry: PeerEntry,
    is_new: bool,
}

impl StagedPeers {
    /// A view on `store`; nobody else may write to the entries this one writes to.
    pub fn new(store: Peers) -> Self {
        Self {
            store,
            staged: HashMap::new(),
            asked: Cell::new(None),
            new: 0,
        }
    }

    fn ask(&self, key: PeerKey) -> Option<PeerEntry> {
        let entry = if self.store.is_empty() {
            None
        } else {
            self.store.get(key)
        };
        self.asked.set(Some((key, entry.is_some())));
        entry
    }

    /// Whether `key` is in the store, by the last look if that was for it.
    fn is_stored(&self, key: PeerKey) -> bool {
        match self.asked.get() {
            Some((asked, stored)) if asked == key => stored,
            _ => self.ask(key).is_some(),
        }
    }

    /// Opens the fast path for everything inserted since the last call.
    pub fn publish(&mut self) {
        self.asked.set(None);
        for (key, staged) in self.staged.drain() {
            // Where no place is left, or another shard took the last, the peer is unknown again.
            if self.store.insert(key, staged.entry).is_err() {
                debug!(peer = %TeredoAddr::from(key), "the peer table has no place for a peer");
            }
        }
        self.new = 0;
    }

    /// Whether there is something to [`publish`](Self::publish).
    pub fn has_staged(&self) -> bool {
        !self.staged.is_empty()
    }

    /// See [`Peers::sweep_step`].
    pub fn sweep_step(&mut self, now: Ticks, budget: usize) -> SweepStep {
        self.asked.set(None);
        self.store.sweep_step(now, budget)
    }

    /// What is published.
    pub fn store(&self) -> &Peers {
        &self.store
    }
}

impl PeerTable for StagedPeers {
    fn get(&self, peer: &TeredoAddr) -> Option<Trusted> {
        let key = PeerKey::from(peer);
        let entry = match self.staged.get(&key) {
            Some(staged) => staged.entry,
            None => self.ask(key)?,
        };
        Some(Trusted {
            mapped: entry.mapped(),
            last_rx: entry.last_rx.into(),
        })
    }

    fn insert(&mut self, peer: &TeredoAddr, entry: Trusted) -> Result<(), TableFull> {
        let key = PeerKey::from(peer);
        let entry = PeerEntry::new(entry.mapped, entry.last_rx.into());
        if let Some(staged) = self.staged.get_mut(&key) {
            staged.entry = entry;
            return Ok(());
        }
        let is_new = !self.is_stored(key);
        if is_new {
            if self.store.len() + self.new >= self.store.capacity() {
                return Err(TableFull);
            }
            self.new += 1;
        }
        self.staged.insert(key, Staged { entry, is_new });
        Ok(())
    }

    fn remove(&mut self, peer: &TeredoAddr) {
        let key = PeerKey::from(peer);
        if let Some(staged) = self.staged.remove(&key)
            && staged.is_new
        {
            self.new -= 1;
        }
        self.asked.set(None);
        self.store.remove(key);
    }
}

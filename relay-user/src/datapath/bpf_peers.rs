//! The peer table in the kernel.

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use aya::maps::{HashMap, IterableMap as _, MapData};
use relay_common::{PeerEntry, PeerKey, Ticks};
use teredo::relay::TableFull;
use tracing::warn;

use super::peer_map::{Cursor, PeerMap, Update};
use super::peers::{Age, SweepStep};
use super::pod::Pod;

/// Entries read by one system call.
const BATCH_MAX: usize = 4096;

/// The BPF map the fast path reads. Clones are handles on the same map.
#[derive(Clone)]
pub struct BpfPeers {
    shared: Arc<Shared>,
    hasher: std::hash::RandomState,
    sweeps: bool,
    /// Where this handle's sweep goes on.
    cursor: Option<Cursor>,
}

struct Shared {
    map: PeerMap,
    capacity: usize,
    /// Entries, counted here because the kernel does not say. Exact as long as there is one writer.
    len: AtomicUsize,
}

impl BpfPeers {
    /// The table behind `map`, whose entries are counted once.
    ///
    /// # Errors
    /// The map's descriptor cannot be duplicated or the map not be read.
    pub(super) fn new(map: &HashMap<MapData, Pod<PeerKey>, Pod<PeerEntry>>) -> io::Result<Self> {
        let data = map.map();
        let capacity = data.info().map_err(io::Error::other)?.max_entries() as usize;
        let fd: OwnedFd = data.fd().as_fd().try_clone_to_owned()?;
        // SAFETY: `map` was built by aya, which checked it to be a hash map with keys and
        // values of these sizes.
        let map = unsafe { PeerMap::new(fd) };
        let peers = Self {
            shared: Arc::new(Shared {
                map,
                capacity,
                len: AtomicUsize::new(0),
            }),
            hasher: std::hash::RandomState::new(),
            sweeps: true,
            cursor: None,
        };
        let mut len = 0;
        peers.for_each(|_, _| len += 1)?;
        peers.shared.len.store(len, Relaxed);
        Ok(peers)
    }

    /// Which of `shards` shards `key` belongs to.
    #[allow(clippy::cast_possible_truncation)] // Any bits of the hash will do.
    pub fn shard_of(&self, key: PeerKey, shards: usize) -> usize {
        use std::hash::BuildHasher as _;
        self.hasher.hash_one(key) as usize % shards.max(1)
    }

    /// A handle for shard `shard`. The first sweeps for all.
    #[must_use]
    pub fn for_shard(&self, shard: usize, _shards: usize) -> Self {
        Self {
            sweeps: shard == 0,
            ..self.clone()
        }
    }

    /// The entry of `key`.
    pub fn get(&self, key: PeerKey) -> Option<PeerEntry> {
        self.shared.map.get(key).unwrap_or_else(|error| {
            warn!(%error, "peer table: lookup failed");
            None
        })
    }

    /// Inserts or replaces the entry of `key`.
    ///
    /// # Errors
    /// [`TableFull`].
    pub fn insert(&mut self, key: PeerKey, entry: PeerEntry) -> Result<(), TableFull> {
        // Most writes refresh a known peer.
        let refusal = match self.shared.map.update(key, entry, Update::Existing) {
            Ok(()) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                match self.shared.map.update(key, entry, Update::New) {
                    Ok(()) => {
                        self.shared.len.fetch_add(1, Relaxed);
                        return Ok(());
                    }
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        if refusal.raw_os_error() != Some(libc::E2BIG) {
            warn!(error = %refusal, "peer table: update failed");
        }
        Err(TableFull)
    }

    /// Removes the entry of `key`, if there is one.
    pub fn remove(&mut self, key: PeerKey) {
        match self.shared.map.delete(key) {
            Ok(true) => {
                self.shared.len.fetch_sub(1, Relaxed);
            }
            Ok(false) => {}
            Err(error) => warn!(%error, "peer table: removal failed"),
        }
    }

    /// Entries now.
    pub fn len(&self) -> usize {
        self.shared.len.load(Relaxed)
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Most entries there can be.
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }

    /// Bytes the table takes in the kernel, where it says.
    pub fn memory_bytes(&self) -> Option<u64> {
        self.shared.map.memory_bytes()
    }

    /// Up to `limit` entries in no particular order.
    ///
    /// # Errors
    /// The kernel's refusal to read the map.
    pub fn list(&self, limit: usize) -> io::Result<Vec<(PeerKey, PeerEntry)>> {
        let mut list = Vec::new();
        let mut walk = Walk::new(limit);
        let mut cursor = None;
        loop {
            let (batch, next) = walk.step(&self.shared.map, cursor)?;
            list.extend(batch);
            list.truncate(limit);
            cursor = next;
            if cursor.is_none() || list.len() == limit {
                return Ok(list);
            }
        }
    }

    /// See [`Peers::sweep_step`](super::Peers::sweep_step).
    pub fn sweep_step(&mut self, now: Ticks, budget: usize) -> SweepStep {
        let mut step = SweepStep::default();
        if !self.sweeps {
            step.wrapped = true;
            return step;
        }
        let mut expired = Vec::new();
        let mut walk = Walk::new(budget);
        while step.seen() < budget {
            expired.clear();
            let (batch, next) = match walk.step(&self.shared.map, self.cursor) {
                Ok(step) => step,
                Err(error) => {
                    warn!(%error, "peer table: sweep failed");
                    self.cursor = None;
                    return step;
                }
            };
            for (key, entry) in batch {
                match Age::of(&entry, now) {
                    Age::Fresh => step.seen_fresh += 1,
                    Age::Stale => step.seen_stale += 1,
                    Age::Expired => expired.push(key),
                }
            }
            match self.shared.map.delete_batch(&expired) {
                Ok(removed) => {
                    step.removed += removed;
                    self.shared.len.fetch_sub(removed, Relaxed);
                }
                Err(error) => warn!(%error, "peer table: removal failed"),
            }
            self.cursor = next;
            if next.is_none() {
                step.wrapped = true;
                break;
            }
        }
        step
    }

    fn for_each(&self, mut visit: impl FnMut(PeerKey, PeerEntry)) -> io::Result<()> {
        let mut walk = Walk::new(usize::MAX);
        let mut cursor = None;
        loop {
            let (batch, next) = walk.step(&self.shared.map, cursor)?;
            batch.for_each(|(key, entry)| visit(key, entry));
            if next.is_none() {
                return Ok(());
            }
            cursor = next;
        }
    }
}

impl fmt::Debug for BpfPeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BpfPeers")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

/// Room for one batch.
struct Walk {
    keys: Vec<PeerKey>,
    entries: Vec<PeerEntry>,
}

impl Walk {
    /// Fewer than this do not hold the fullest bucket a table of sane load has.
    const BATCH_MIN: usize = 256;

    fn new(wanted: usize) -> Self {
        let size = wanted.clamp(Self::BATCH_MIN, BATCH_MAX);
        Self {
            keys: vec![PeerKey::default(); size],
            entries: vec![PeerEntry::default(); size],
        }
    }

    fn step(
        &mut self,
        map: &PeerMap,
        cursor: Option<Cursor>,
    ) -> io::Result<(impl Iterator<Item = (PeerKey, PeerEntry)>, Option<Cursor>)> {
        let (count, next) = map.lookup_batch(cursor, &mut self.keys, &mut self.entries)?;
        let keys = self.keys.iter().copied();
        let entries = self.entries.iter().copied();
        Ok((keys.zip(entries).take(count), next))
    }
}

//! The peer table the fast path reads.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use aya::maps::{Array, IterableMap as _, MapData};
use relay_common::{BLOCK_PEERS, Line, MappedWord, PeerEntry, PeerKey, TableShape, Tail, Ticks};
use teredo::relay::TableFull;

use super::peer_table::{Inserted, PeerTable, Standing};
use super::peers::{Age, SweepStep};
use super::pod::Pod;
use super::shared_array::SharedArray;
use crate::slowpath::clock;

/// The table in the kernel, read and written as memory. Clones are handles on the same table.
#[derive(Clone)]
pub struct BpfPeers {
    shared: Arc<Shared>,
    /// Blocks this handle sweeps.
    blocks: Range<u32>,
    /// Where its sweep goes on.
    next_block: u32,
}

struct Shared {
    /// The map itself, so that tools that look for it among this process's descriptors find it.
    _map: Array<MapData, Pod<Line>>,
    lines: SharedArray<[AtomicU64; 8]>,
    shape: TableShape,
    capacity: usize,
    /// Entries, counted here: the table itself does not say.
    len: AtomicUsize,
}

impl Shared {
    fn table(&self) -> PeerTable<'_, AtomicU64> {
        PeerTable::new(self.lines.elements().as_flattened(), self.shape)
    }
}

impl BpfPeers {
    /// The table of `shape` behind `map`, for at most `capacity` peers. Those that are there are counted.
    ///
    /// # Errors
    /// The map cannot be mapped into memory, or is not as long as `shape` says.
    pub(super) fn new(
        map: Array<MapData, Pod<Line>>,
        shape: TableShape,
        capacity: u32,
    ) -> io::Result<Self> {
        // SAFETY: the array's elements are lines of eight words; the program accesses them word by word, or
        // single bytes of them, and any value is one of an atomic.
        let lines: SharedArray<[AtomicU64; 8]> = unsafe { SharedArray::new(map.map()) }?;
        if lines.elements().len() != shape.lines() as usize {
            return Err(io::Error::other("not as long as its shape says"));
        }
        let shared = Shared {
            _map: map,
            lines,
            shape,
            capacity: capacity as usize,
            len: AtomicUsize::new(0),
        };
        let len = shared.table().iter(0..shape.blocks).count();
        shared.len.store(len, Relaxed);
        Ok(Self {
            shared: Arc::new(shared),
            blocks: 0..shape.blocks,
            next_block: 0,
        })
    }

    /// The table of a program that was loaded without a [`Datapath`](super::Datapath), for tests.
    ///
    /// # Panics
    /// If it is not the table of `shape`.
    #[cfg(feature = "rig")]
    pub fn of(ebpf: &mut aya::Ebpf, shape: TableShape, capacity: u32) -> Self {
        let map = ebpf.take_map(relay_common::maps::PEERS).expect("PEERS");
        let map = Array::try_from(map).expect("an array of lines");
        Self::new(map, shape, capacity).expect("the table can be mapped")
    }

    /// Which of `shards` writers may write to the entry of `key`: each has a range of the table to itself.
    pub fn shard_of(&self, key: PeerKey, shards: usize) -> usize {
        let table = self.shared.table();
        table.block(key) as usize * shards / table.blocks() as usize
    }

    /// A handle that sweeps what belongs to shard `shard` of `shards`.
    #[must_use]
    pub fn for_shard(&self, shard: usize, shards: usize) -> Self {
        let blocks = self.shared.shape.blocks as usize;
        let first = |shard: usize| {
            // A handful of shards times a few million blocks.
            u32::try_from((shard * blocks).div_ceil(shards.max(1))).unwrap_or(u32::MAX)
        };
        let range = first(shard)..first(shard + 1);
        Self {
            shared: Arc::clone(&self.shared),
            next_block: range.start,
            blocks: range,
        }
    }

    /// The entry of `key`.
    pub fn get(&self, key: PeerKey) -> Option<PeerEntry> {
        let (tail, mapped) = self.shared.table().get(key)?;
        Some(entry(tail, mapped, Ticks::from(clock::now())))
    }

    /// Inserts or replaces the entry of `key`.
    ///
    /// # Errors
    /// [`TableFull`]: as many peers as there may be, or no place left where this one belongs.
    pub fn insert(&mut self, key: PeerKey, entry: PeerEntry) -> Result<(), TableFull> {
        let table = self.shared.table();
        let len = &self.shared.len;
        let mapped = MappedWord::new(entry.mapped_ipv4, entry.mapped_port);
        // The place is reserved first: other writers count on the same bound.
        let is_known = table.get(key).is_some();
        if !is_known && len.fetch_add(1, Relaxed) >= self.shared.capacity {
            len.fetch_sub(1, Relaxed);
            return Err(TableFull);
        }
        match table.insert(key, mapped, entry.last_rx) {
            Ok(Inserted::New | Inserted::Refreshed) => Ok(()),
            Err(_) => {
                len.fetch_sub(1, Relaxed);
                Err(TableFull)
            }
        }
    }

    /// Removes the entry of `key`, if there is one.
    pub fn remove(&mut self, key: PeerKey) {
        if self.shared.table().remove(key) {
            self.shared.len.fetch_sub(1, Relaxed);
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

    /// Bytes the table takes in the kernel.
    pub fn memory_bytes(&self) -> u64 {
        self.shared.shape.bytes()
    }

    /// Up to `limit` entries in no particular order.
    pub fn list(&self, limit: usize) -> Vec<(PeerKey, PeerEntry)> {
        let now = Ticks::from(clock::now());
        let table = self.shared.table();
        table
            .iter(0..table.blocks())
            .take(limit)
            .map(|Standing { key, tail, mapped }| (key, entry(tail, mapped, now)))
            .collect()
    }

    /// See [`Peers::sweep_step`](super::Peers::sweep_step).
    pub fn sweep_step(&mut self, now: Ticks, budget: usize) -> SweepStep {
        let mut step = SweepStep::default();
        if self.is_empty() {
            step.wrapped = true;
            return step;
        }
        let table = self.shared.table();
        // Empty places cost their share of time too: as if the blocks were as full as they are made for.
        let blocks = u32::try_from(budget)
            .unwrap_or(u32::MAX)
            .div_ceil(BLOCK_PEERS);
        let end = self.next_block.saturating_add(blocks).min(self.blocks.end);
        step.removed = table.retain(self.next_block..end, |_, tail| {
            match Age::of(tail.age(now)) {
                Age::Fresh => step.seen_fresh += 1,
                Age::Stale => step.seen_stale += 1,
                Age::Expired => return false,
            }
            true
        });
        self.shared.len.fetch_sub(step.removed, Relaxed);
        step.wrapped = end == self.blocks.end;
        self.next_block = if step.wrapped { self.blocks.start } else { end };
        step
    }

    /// Takes the next hops for which `forget` holds out of every entry. Any thread may call it.
    pub fn forget_hops(&self, forget: impl Fn(u8) -> bool) {
        let table = self.shared.table();
        table.forget_hops(0..table.blocks(), forget);
    }
}

fn entry(tail: Tail, mapped: MappedWord, now: Ticks) -> PeerEntry {
    let (ip, port) = mapped.octets();
    PeerEntry {
        mapped_ipv4: ip,
        mapped_port: port,
        last_rx: Ticks(now.0.saturating_sub(tail.age(now))),
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

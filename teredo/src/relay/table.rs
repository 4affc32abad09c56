//! The store of trusted peers, which the relay reads and writes but does not own.

use alloc::collections::BTreeMap;

use crate::Instant;
use crate::addr::{Mapped, TeredoAddr};

/// A trusted peer: heard from `mapped` at `last_rx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// Where data to the peer goes.
    pub mapped: Mapped,
    /// Last accepted reception.
    pub last_rx: Instant,
}

/// The table has no room for another peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableFull;

/// The one store of trusted peers (invariant 1): a BPF map in production, a `BTreeMap` where there is no kernel.
///
/// A refresh is one write, never a removal and an insertion.
pub trait PeerTable {
    /// The entry of `peer`, fresh or stale.
    fn get(&self, peer: &TeredoAddr) -> Option<Trusted>;

    /// Inserts or replaces the entry of `peer`.
    ///
    /// # Errors
    /// [`TableFull`]; the relay then serves the peer's queue and forgets it.
    fn insert(&mut self, peer: &TeredoAddr, entry: Trusted) -> Result<(), TableFull>;

    /// Removes the entry of `peer`, if there is one.
    fn remove(&mut self, peer: &TeredoAddr);
}

/// A table without bounds, whose peers nobody but the relay refreshes.
impl PeerTable for BTreeMap<TeredoAddr, Trusted> {
    fn get(&self, peer: &TeredoAddr) -> Option<Trusted> {
        self.get(peer).copied()
    }

    fn insert(&mut self, peer: &TeredoAddr, entry: Trusted) -> Result<(), TableFull> {
        self.insert(*peer, entry);
        Ok(())
    }

    fn remove(&mut self, peer: &TeredoAddr) {
        self.remove(peer);
    }
}

//! A peer table that is soon full.

use std::collections::BTreeMap;

use teredo::addr::TeredoAddr;
use teredo::relay::{PeerTable, TableFull, Trusted};

const CAPACITY: usize = 6;

/// At most [`CAPACITY`] peers.
#[derive(Default)]
pub struct SmallTable(BTreeMap<[u8; 16], Trusted>);

impl PeerTable for SmallTable {
    fn get(&self, peer: &TeredoAddr) -> Option<Trusted> {
        self.0.get(&peer.octets()).copied()
    }

    fn insert(&mut self, peer: &TeredoAddr, entry: Trusted) -> Result<(), TableFull> {
        if self.0.len() >= CAPACITY && !self.0.contains_key(&peer.octets()) {
            return Err(TableFull);
        }
        self.0.insert(peer.octets(), entry);
        Ok(())
    }

    fn remove(&mut self, peer: &TeredoAddr) {
        self.0.remove(&peer.octets());
    }
}

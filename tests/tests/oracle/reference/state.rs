//! What a relay remembers of its peers (3.7).

use std::collections::{BTreeMap, BTreeSet};

use super::{Effect, Outcome};

/// A trusted peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where data goes.
    pub(crate) mapped: (u32, u16),
    /// Last accepted reception, in nanoseconds.
    pub(crate) heard_ns: u64,
}

/// A peer that was sent a bubble and has not answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probing {
    /// Nobody waits: the bubble went early.
    pub(crate) is_early: bool,
    /// Source of the bubble, which only the relay knows beforehand.
    pub(crate) cookie: Option<[u8; 16]>,
    /// The bubble's nonce.
    pub(crate) nonce: Option<[u8; 4]>,
    /// What waits: packets as they came.
    pub(crate) queue: Vec<Vec<u8>>,
}

/// Peers by Teredo address.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) trusted: BTreeMap<[u8; 16], Entry>,
    pub(crate) probing: BTreeMap<[u8; 16], Probing>,
    /// Peers whose solicitation was answered.
    pub(crate) advertised: BTreeSet<[u8; 16]>,
}

impl State {
    /// the peer spoke, from `mapped`. The queue leaves after the table has learnt.
    pub(super) fn trust(
        &mut self,
        peer: [u8; 16],
        mapped: (u32, u16),
        now_ns: u64,
        outcome: &mut Outcome,
    ) {
        let entry = Entry {
            mapped,
            heard_ns: now_ns,
        };
        self.trusted.insert(peer, entry);
        let answered = self.probing.remove(&peer).unwrap_or_default();
        for packet in answered.queue {
            outcome.effects.push(tunnelled(mapped, packet));
        }
    }
}

/// A packet sent to a client: one hop older, its class copied outside (R-20, R-22, invariant 7).
pub(super) fn tunnelled(to: (u32, u16), mut packet: Vec<u8>) -> Effect {
    packet[7] -= 1;
    Effect::Datagram {
        to,
        tos: packet[0] << 4 | packet[1] >> 4,
        payload: packet,
    }
}

//! The way into the relay thread.

use std::net::SocketAddrV4;
use std::sync::Arc;

use crossbeam_channel::{Sender, TrySendError};
use relay_common::{PeerKey, Reason};
use teredo::Instant;
use teredo::relay::Hop;

use super::clock;
use super::tally::FrontTally;

/// Packets that may wait for the relay thread. When full, the newest loses and is counted (invariant 9).
pub const WAITING_MAX: usize = 16_384;

/// What a front end brings.
#[derive(Debug)]
pub enum Input {
    /// An IPv6 packet for a Teredo destination.
    Native {
        /// The packet.
        packet: Vec<u8>,
        /// Who decrements its hop limit.
        hop: Hop,
    },
    /// A UDP payload that came to the service port.
    Client {
        /// Outer source.
        source: SocketAddrV4,
        /// Outer TOS byte.
        tos: u8,
        /// The payload.
        payload: Vec<u8>,
    },
    /// The fast path asks for an early probe of a peer.
    Probe(PeerKey),
}

impl Input {
    fn len(&self) -> usize {
        match self {
            Self::Native { packet, .. } => packet.len(),
            Self::Client { payload, .. } => payload.len(),
            Self::Probe(_) => 0,
        }
    }
}

/// An input and when it was taken from its socket.
#[derive(Debug)]
pub struct Arrival {
    /// When.
    pub at: Instant,
    /// What.
    pub input: Input,
}

/// A front end's end of the channel to the relay thread.
#[derive(Clone, Debug)]
pub struct Inlet {
    sender: Sender<Arrival>,
    tally: Arc<FrontTally>,
}

impl Inlet {
    /// An inlet on `sender` that counts what it loses in `tally`.
    pub fn new(sender: Sender<Arrival>, tally: Arc<FrontTally>) -> Self {
        Self { sender, tally }
    }

    /// Hands `input` over, or drops and counts it when the relay thread cannot follow.
    pub fn offer(&self, input: Input) {
        match self.sender.try_send(Arrival {
            at: clock::now(),
            input,
        }) {
            // A probe request that is lost comes again two seconds later: it is no packet.
            Ok(()) => {}
            Err(TrySendError::Full(lost) | TrySendError::Disconnected(lost)) => match lost.input {
                Input::Probe(_) => {}
                packet => self.tally.count(Reason::SlowPathBusy, packet.len()),
            },
        }
    }

    /// Counts a packet that ended before it could be handed over.
    pub fn drop_for(&self, reason: Reason, bytes: usize) {
        self.tally.count(reason, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_common::Counter;

    #[test]
    fn a_full_channel_drops_the_newest_and_counts_it() {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let tally = Arc::new(FrontTally::default());
        let inlet = Inlet::new(sender, Arc::clone(&tally));
        for n in [1_u8, 2] {
            inlet.offer(Input::Native {
                packet: vec![n; 100],
                hop: Hop::Done,
            });
        }
        let mut counters = [Counter::default(); Reason::COUNT];
        tally.add_to(&mut counters);
        assert_eq!(
            counters[Reason::SlowPathBusy as usize],
            Counter {
                packets: 1,
                bytes: 100
            }
        );
        assert!(
            matches!(receiver.try_recv().unwrap().input, Input::Native { packet, .. } if packet[0] == 1)
        );
    }
}

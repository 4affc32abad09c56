//! Packets that wait for a peer to answer.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::config::{Hop, Limits};
use crate::Fate;

/// A native packet as it was received, so that an error about it quotes it unchanged.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) packet: Vec<u8>,
    pub(super) hop: Hop,
}

/// First in, first out: the first packet may be the echo reply a client waits for (3.9).
#[derive(Debug, Default)]
pub(super) struct Queue {
    packets: VecDeque<Waiting>,
    bytes: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }
}

/// What all queues hold together. Every packet enters and leaves a queue through here.
#[derive(Debug)]
pub(super) struct QueueMemory {
    packets_per_peer: usize,
    bytes_per_peer: usize,
    bytes_total: usize,
    packets: usize,
    bytes: usize,
}

impl QueueMemory {
    pub(super) const fn new(limits: &Limits) -> Self {
        Self {
            packets_per_peer: limits.queue_packets_per_peer,
            bytes_per_peer: limits.queue_bytes_per_peer,
            bytes_total: limits.queue_bytes_total,
            packets: 0,
            bytes: 0,
        }
    }

    /// Appends a copy of `packet`; when a bound is reached the newest loses.
    pub(super) fn push(&mut self, queue: &mut Queue, packet: &[u8], hop: Hop) -> Result<(), Fate> {
        if queue.len() >= self.packets_per_peer || queue.bytes + packet.len() > self.bytes_per_peer
        {
            return Err(Fate::PeerQueueFull);
        }
        if self.bytes + packet.len() > self.bytes_total {
            return Err(Fate::QueueMemoryFull);
        }
        queue.packets.push_back(Waiting {
            packet: packet.to_vec(),
            hop,
        });
        queue.bytes += packet.len();
        self.packets += 1;
        self.bytes += packet.len();
        Ok(())
    }

    /// Everything `queue` held, in the order it came.
    pub(super) fn drain(&mut self, queue: Queue) -> VecDeque<Waiting> {
        self.packets -= queue.packets.len();
        self.bytes -= queue.bytes;
        queue.packets
    }

    pub(super) const fn packets(&self) -> usize {
        self.packets
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> QueueMemory {
        QueueMemory::new(&Limits {
            queue_packets_per_peer: 3,
            queue_bytes_per_peer: 100,
            queue_bytes_total: 150,
            ..Limits::default()
        })
    }

    ///
    #[test]
    fn the_newest_loses_at_every_bound() {
        let (mut memory, mut a, mut b) = (memory(), Queue::default(), Queue::default());
        for _ in 0..3 {
            assert_eq!(memory.push(&mut a, &[0; 10], Hop::Done), Ok(()));
        }
        assert_eq!(
            memory.push(&mut a, &[0; 10], Hop::Done),
            Err(Fate::PeerQueueFull)
        );
        assert_eq!(
            memory.push(&mut b, &[0; 101], Hop::Done),
            Err(Fate::PeerQueueFull)
        );
        assert_eq!(memory.push(&mut b, &[0; 100], Hop::Done), Ok(()));
        let mut c = Queue::default();
        assert_eq!(
            memory.push(&mut c, &[0; 21], Hop::Done),
            Err(Fate::QueueMemoryFull)
        );
        assert_eq!(memory.push(&mut c, &[0; 20], Hop::Done), Ok(()));
        assert_eq!((memory.packets(), memory.bytes()), (5, 150));
    }

    ///
    #[test]
    fn packets_leave_in_the_order_they_came() {
        let (mut memory, mut queue) = (memory(), Queue::default());
        for i in 0..3 {
            assert_eq!(memory.push(&mut queue, &[i], Hop::Done), Ok(()));
        }
        assert_eq!((queue.len(), queue.bytes()), (3, 3));
        let order: Vec<u8> = memory.drain(queue).iter().map(|w| w.packet[0]).collect();
        assert_eq!(order, [0, 1, 2]);
        assert_eq!((memory.packets(), memory.bytes()), (0, 0));
    }
}

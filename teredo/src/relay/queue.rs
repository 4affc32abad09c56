//! Packets that wait for a peer to answer.
//!
//! All queues share one stock of blocks. A packet takes as many as it needs, each naming the next, and gives them
//! back when it leaves: no packet is a reason to ask for memory, and what the stock can grow to follows from the limits.

use alloc::vec::Vec;

use super::config::{Hop, Limits};
use crate::Fate;

/// Bytes of a packet one block holds: with its header a block is two cache lines.
const BLOCK_BYTES: usize = 120;

/// The end of a chain of blocks.
const NONE: u32 = u32::MAX;

/// A piece of a packet.
struct Block {
    /// The block behind this one in its queue, or in the chain of free ones.
    next: u32,
    /// In a packet's first block: the packet's length.
    len: u16,
    /// In a packet's first block.
    hop: Hop,
    bytes: [u8; BLOCK_BYTES],
}

/// First in, first out: the first packet may be the echo reply a client waits for (3.9).
///
/// Its blocks are those of the [`QueueMemory`] it was filled from, which must be given to every call.
#[derive(Debug)]
pub(super) struct Queue {
    first: u32,
    last: u32,
    packets: usize,
    bytes: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            first: NONE,
            last: NONE,
            packets: 0,
            bytes: 0,
        }
    }
}

impl Queue {
    pub(super) const fn len(&self) -> usize {
        self.packets
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.packets == 0
    }
}

/// What all queues hold together. Every packet enters and leaves a queue through here.
pub(super) struct QueueMemory {
    packets_per_peer: usize,
    bytes_per_peer: usize,
    bytes_total: usize,
    packets: usize,
    bytes: usize,
    blocks: Vec<Block>,
    free: u32,
}

impl QueueMemory {
    /// Gives back what memory is left over beyond `keep` blocks, if no packet waits. Says whether any was.
    pub(super) fn give_back(&mut self, keep: usize) -> bool {
        let gives = self.packets == 0 && self.blocks.capacity() > keep;
        if gives {
            self.blocks = Vec::new();
            self.free = NONE;
        }
        gives
    }

    pub(super) const fn new(limits: &Limits) -> Self {
        Self {
            packets_per_peer: limits.queue_packets_per_peer,
            bytes_per_peer: limits.queue_bytes_per_peer,
            bytes_total: limits.queue_bytes_total,
            packets: 0,
            bytes: 0,
            blocks: Vec::new(),
            free: NONE,
        }
    }

    /// Appends a copy of `packet` as it was received, so that an error about it quotes it unchanged; when a bound
    /// is reached the newest loses.
    pub(super) fn push(&mut self, queue: &mut Queue, packet: &[u8], hop: Hop) -> Result<(), Fate> {
        let len = u16::try_from(packet.len()).map_err(|_| Fate::PeerQueueFull)?;
        if queue.packets >= self.packets_per_peer
            || queue.bytes + packet.len() > self.bytes_per_peer
        {
            return Err(Fate::PeerQueueFull);
        }
        let blocks = self.blocks.len() + packet.len().div_ceil(BLOCK_BYTES);
        if self.bytes + packet.len() > self.bytes_total || blocks >= NONE as usize {
            return Err(Fate::QueueMemoryFull);
        }
        let (mut piece, mut rest) = packet.split_at(packet.len().min(BLOCK_BYTES));
        loop {
            let place = self.free_block();
            let block = &mut self.blocks[place as usize];
            block.next = NONE;
            block.len = len;
            block.hop = hop;
            block.bytes[..piece.len()].copy_from_slice(piece);
            match self.blocks.get_mut(queue.last as usize) {
                Some(last) => last.next = place,
                None => queue.first = place,
            }
            queue.last = place;
            if rest.is_empty() {
                break;
            }
            (piece, rest) = rest.split_at(rest.len().min(BLOCK_BYTES));
        }
        queue.packets += 1;
        queue.bytes += packet.len();
        self.packets += 1;
        self.bytes += packet.len();
        Ok(())
    }

    /// Moves the oldest packet of `queue` to the end of `out` and says how it reached the relay.
    pub(super) fn pop(&mut self, queue: &mut Queue, out: &mut Vec<u8>) -> Option<Hop> {
        let first = self.blocks.get(queue.first as usize)?;
        let (mut left, hop) = (usize::from(first.len), first.hop);
        queue.packets -= 1;
        queue.bytes -= left;
        self.packets -= 1;
        self.bytes -= left;
        loop {
            let place = queue.first;
            let block = &mut self.blocks[place as usize];
            let piece = left.min(BLOCK_BYTES);
            out.extend_from_slice(&block.bytes[..piece]);
            queue.first = core::mem::replace(&mut block.next, self.free);
            self.free = place;
            left -= piece;
            if left == 0 {
                break;
            }
        }
        if queue.first == NONE {
            queue.last = NONE;
        }
        Some(hop)
    }

    /// Takes a block out of the chain of free ones, or makes one.
    #[allow(clippy::cast_possible_truncation)] // `push` keeps the number of blocks below `NONE`.
    fn free_block(&mut self) -> u32 {
        let place = self.free;
        if let Some(block) = self.blocks.get(place as usize) {
            self.free = block.next;
            return place;
        }
        self.blocks.push(Block {
            next: NONE,
            len: 0,
            hop: Hop::Done,
            bytes: [0; BLOCK_BYTES],
        });
        (self.blocks.len() - 1) as u32
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
            queue_bytes_per_peer: 1000,
            queue_bytes_total: 1500,
            ..Limits::default()
        })
    }

    fn popped(memory: &mut QueueMemory, queue: &mut Queue) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        memory.pop(queue, &mut out).map(|_| out)
    }

    ///
    #[test]
    fn the_newest_loses_at_every_bound() {
        let (mut memory, mut a, mut b) = (memory(), Queue::default(), Queue::default());
        for _ in 0..3 {
            assert_eq!(memory.push(&mut a, &[0; 100], Hop::Done), Ok(()));
        }
        assert_eq!(
            memory.push(&mut a, &[0; 100], Hop::Done),
            Err(Fate::PeerQueueFull)
        );
        assert_eq!(
            memory.push(&mut b, &[0; 1001], Hop::Done),
            Err(Fate::PeerQueueFull)
        );
        assert_eq!(memory.push(&mut b, &[0; 1000], Hop::Done), Ok(()));
        let mut c = Queue::default();
        assert_eq!(
            memory.push(&mut c, &[0; 201], Hop::Done),
            Err(Fate::QueueMemoryFull)
        );
        assert_eq!(memory.push(&mut c, &[0; 200], Hop::Done), Ok(()));
        assert_eq!((memory.packets(), memory.bytes()), (5, 1500));
    }

    ///
    #[test]
    fn packets_leave_in_the_order_they_came() {
        let (mut memory, mut a, mut b) = (memory(), Queue::default(), Queue::default());
        let packet = |len: usize| (0..=u8::MAX).cycle().take(len).collect::<Vec<_>>();
        // Two queues in turn, and lengths at the edges of blocks.
        for len in [1, 2 * BLOCK_BYTES, BLOCK_BYTES + 1] {
            for queue in [&mut a, &mut b] {
                assert_eq!(memory.push(queue, &packet(len), Hop::Pending), Ok(()));
            }
        }
        assert_eq!((a.len(), a.bytes()), (3, 3 * BLOCK_BYTES + 2));
        for queue in [&mut b, &mut a] {
            for len in [1, 2 * BLOCK_BYTES, BLOCK_BYTES + 1] {
                assert_eq!(popped(&mut memory, queue), Some(packet(len)));
            }
            assert_eq!(popped(&mut memory, queue), None);
            assert!(queue.is_empty());
        }
        assert_eq!((memory.packets(), memory.bytes()), (0, 0));
    }

    #[test]
    fn blocks_are_used_again() {
        let (mut memory, mut queue) = (memory(), Queue::default());
        for _ in 0..100 {
            for len in [300, 5, 600] {
                assert_eq!(memory.push(&mut queue, &vec![7; len], Hop::Done), Ok(()));
            }
            while popped(&mut memory, &mut queue).is_some() {}
        }
        assert_eq!(memory.blocks.len(), 3 + 1 + 5);
    }
}

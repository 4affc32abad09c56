//! Counters of the slow path: what its front ends drop, and what the relay thread publishes.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use relay_common::{Counter, Reason};

/// Packets and bytes by [`Reason`], written by the threads that meet a packet first.
#[derive(Debug)]
pub struct FrontTally {
    packets: [AtomicU64; Reason::COUNT],
    bytes: [AtomicU64; Reason::COUNT],
}

impl Default for FrontTally {
    fn default() -> Self {
        Self {
            packets: array::from_fn(|_| AtomicU64::new(0)),
            bytes: array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl FrontTally {
    /// Counts one packet of `bytes` bytes that ended with `reason`.
    pub fn count(&self, reason: Reason, bytes: usize) {
        self.packets[reason as usize].fetch_add(1, Relaxed);
        self.bytes[reason as usize].fetch_add(bytes as u64, Relaxed);
    }

    /// Adds what was counted so far to `into`.
    pub fn add_to(&self, into: &mut [Counter; Reason::COUNT]) {
        for (i, counter) in into.iter_mut().enumerate() {
            counter.packets += self.packets[i].load(Relaxed);
            counter.bytes += self.bytes[i].load(Relaxed);
        }
    }
}

//! What the fast path tells: counters and probe requests.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use aya::maps::{MapData, PerCpuArray, RingBuf};
use relay_common::{Counter, PeerKey, Reason};

use super::pod::Pod;

/// Reads the fast path's counters.
#[derive(Clone)]
pub struct CounterReader {
    counters: Arc<PerCpuArray<MapData, Pod<Counter>>>,
}

impl CounterReader {
    pub(super) fn new(counters: Arc<PerCpuArray<MapData, Pod<Counter>>>) -> Self {
        Self { counters }
    }

    /// Packets and bytes by [`Reason`], summed over all CPUs. Reasons are read one after the
    /// other while traffic goes on, so sums over several are right to within what passed meanwhile.
    ///
    /// # Errors
    /// The kernel's refusal to read the map.
    pub fn read(&self) -> io::Result<[Counter; Reason::COUNT]> {
        let mut sums = [Counter::default(); Reason::COUNT];
        for (reason, sum) in Reason::ALL.iter().zip(&mut sums) {
            let by_cpu = self
                .counters
                .get(&(*reason as u32), 0)
                .map_err(io::Error::other)?;
            for Pod(counter) in by_cpu.iter() {
                sum.packets += counter.packets;
                sum.bytes += counter.bytes;
            }
        }
        Ok(sums)
    }
}

impl fmt::Debug for CounterReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CounterReader").finish_non_exhaustive()
    }
}

/// Peers whose one-way flow wants an early probe. Readable (`poll`) when there are some.
pub struct ProbeEvents {
    ring: RingBuf<MapData>,
}

impl ProbeEvents {
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring }
    }

    /// The oldest request not yet read.
    #[allow(clippy::should_implement_trait)] // The end is only that of what is there now.
    pub fn next(&mut self) -> Option<PeerKey> {
        loop {
            let item = self.ring.next()?;
            if let Some(key) = item.first_chunk() {
                return Some(PeerKey(*key));
            }
        }
    }
}

impl AsFd for ProbeEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl AsRawFd for ProbeEvents {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

impl fmt::Debug for ProbeEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeEvents").finish_non_exhaustive()
    }
}

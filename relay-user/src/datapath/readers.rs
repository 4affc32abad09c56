//! What the fast path tells: counters and probe requests.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use aya::maps::{Map, MapData, RingBuf};
use aya::util::nr_cpus;
use relay_common::{Counter, PeerKey, Reason};

use super::bpf_call::bpf;

/// Reads the fast path's counters.
#[derive(Clone)]
pub struct CounterReader {
    map: Arc<MapData>,
    /// Known from the start: where the kernel says it is a file, and a daemon that runs opens none.
    cpus: usize,
}

const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;

/// Its part of `union bpf_attr`.
#[repr(C)]
struct Lookup {
    map_fd: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The kernel gives the values of all CPUs one after the other, each at a multiple of 8 bytes.
const _: () = assert!(size_of::<Counter>().is_multiple_of(8));

impl CounterReader {
    /// Of the program's map of counters.
    ///
    /// # Errors
    /// It is none, or the kernel does not say how many CPUs there may be.
    pub(super) fn new(map: Map) -> io::Result<Self> {
        let Map::PerCpuArray(map) = map else {
            return Err(io::Error::other("not an array for each CPU"));
        };
        let info = map.info().map_err(io::Error::other)?;
        if info.value_size() as usize != size_of::<Counter>() {
            return Err(io::Error::other("not an array of counters"));
        }
        let cpus =
            nr_cpus().map_err(|(file, error)| io::Error::other(format!("{file}: {error}")))?;
        Ok(Self {
            map: Arc::new(map),
            cpus,
        })
    }

    /// Packets and bytes by [`Reason`], summed over all CPUs. Reasons are read one after the
    /// other while traffic goes on, so sums over several are right to within what passed meanwhile.
    ///
    /// # Errors
    /// The kernel's refusal to read the map.
    pub fn read(&self) -> io::Result<[Counter; Reason::COUNT]> {
        let mut sums = [Counter::default(); Reason::COUNT];
        let mut by_cpu = vec![Counter::default(); self.cpus];
        for (reason, sum) in Reason::ALL.iter().zip(&mut sums) {
            self.look_up(*reason as u32, &mut by_cpu)?;
            for counter in &by_cpu {
                sum.packets += counter.packets;
                sum.bytes += counter.bytes;
            }
        }
        Ok(sums)
    }

    /// Fills `by_cpu`, which has a place for every CPU.
    fn look_up(&self, index: u32, by_cpu: &mut [Counter]) -> io::Result<()> {
        let lookup = Lookup {
            map_fd: self.map.fd().as_fd().as_raw_fd().cast_unsigned(),
            reserved: 0,
            key: (&raw const index) as u64,
            value: by_cpu.as_mut_ptr() as u64,
            flags: 0,
        };
        // SAFETY: the kernel reads an index and writes a counter for every CPU, for which all bits are valid.
        unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &lookup) }.map(drop)
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

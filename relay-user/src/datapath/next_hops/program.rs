//! The XDP program that runs, as the keeper sees it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{MapData, RingBuf};
use relay_common::HopKey;

use super::grace::GracePeriod;
use super::keeper::Program;
use super::slots::Numbers;
use crate::datapath::BpfPeers;

/// The program behind the ring of wanted next hops.
pub(super) struct RunningProgram {
    wanted: RingBuf<MapData>,
    grace: GracePeriod,
    peers: BpfPeers,
}

impl RunningProgram {
    pub(super) fn new(wanted: RingBuf<MapData>, peers: BpfPeers) -> io::Result<Self> {
        Ok(Self {
            wanted,
            grace: GracePeriod::new()?,
            peers,
        })
    }
}

impl Program for RunningProgram {
    fn wanted(&mut self) -> Option<HopKey> {
        loop {
            let item = self.wanted.next()?;
            if let Some(words) = item.first_chunk() {
                return Some(key_of(words));
            }
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wanted.as_fd()
    }

    fn wait_for_runs(&mut self) -> io::Result<()> {
        self.grace.wait()
    }

    fn forget(&mut self, numbers: &Numbers) {
        self.peers.forget_hops(|hop| numbers[usize::from(hop)]);
    }
}

fn key_of(bytes: &[u8; size_of::<HopKey>()]) -> HopKey {
    // SAFETY: `repr(C)` of integers and byte arrays without padding: every bit pattern is a value.
    unsafe { bytes.as_ptr().cast::<HopKey>().read_unaligned() }
}

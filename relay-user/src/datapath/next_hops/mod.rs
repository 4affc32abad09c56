//! User space's half of the kept next hops: what may be kept is entered, what is no longer true is retired at once.
//!
//! ```text
//! kernel ── changes ──► RouteFollower ── retires ──► NEXT_HOPS, ROUTING ◄── reads ── XDP program
//!                                                        ▲                              │
//!                       HopKeeper ──────── enters ───────┘ ◄──────── WANTED_HOPS ───────┘
//! ```
//!
//! Why that is right is told in `docs/decisions/0010`.

mod grace;
mod keeper;
mod program;
mod slots;
mod state;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aya::maps::{Array, IterableMap as _, MapData, RingBuf};
use relay_common::{Egress, HopKey, NextHop, Routing, Ticks};

pub use keeper::{HopKeeper, RouteFollower};
pub use slots::HopCounts;

use program::RunningProgram;
use slots::{Elements, Slots};
use state::State;

use crate::net::routing::Family;
use crate::status;

use super::BpfPeers;
use super::pod::Pod;
use super::shared_array::SharedArray;

/// The next hops that are kept. Clones are handles on the same.
#[derive(Clone, Debug)]
pub struct NextHops {
    state: Arc<Mutex<State>>,
}

impl NextHops {
    /// Over the maps `hops` and `routing`, which must be as the kernel made them.
    ///
    /// # Errors
    /// They cannot be mapped.
    pub(super) fn new(
        hops: &Array<MapData, Pod<NextHop>>,
        routing: &Array<MapData, Pod<Routing>>,
    ) -> io::Result<Self> {
        // SAFETY: elements of as many bytes; the program only reads them, and any value is one of an atomic.
        let hops = unsafe { SharedArray::new(hops.map()) }?;
        // SAFETY: as above.
        let routing = unsafe { SharedArray::new(routing.map()) }?;
        let slots = Slots::new(Elements::Map(hops), Elements::Map(routing));
        Ok(Self::over(slots))
    }

    fn over(slots: Slots) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::new(slots))),
        }
    }

    /// In memory no program reads: one next hop, vouched for at `now`, with its number and version.
    #[cfg(test)]
    pub(crate) fn with_one(key: HopKey, egress: Egress, now: Ticks) -> (Self, u32, u32) {
        let hops = Self::over(slots::tests::slots());
        hops.set_egress(&HashMap::from([(key.ifindex, egress)]));
        let (number, version) = {
            let mut state = hops.lock();
            state.renew(now);
            slots::tests::enter_as(state.slots_mut(), key, egress)
        };
        (hops, number, version)
    }

    /// How many there are.
    pub fn counts(&self) -> HopCounts {
        self.lock().slots().counts()
    }

    /// How many there are, and of which families.
    pub fn status(&self) -> status::NextHops {
        let state = self.lock();
        let HopCounts { live, retired } = state.slots().counts();
        status::NextHops {
            live,
            retired,
            ipv4: state.keeps(Family::Ipv4),
            ipv6: state.keeps(Family::Ipv6),
        }
    }

    /// The next hop `number` and how frames leave by it, if it is still what it was as `version`, and live at `now`.
    pub fn live(&self, number: u32, version: u32, now: Ticks) -> Option<(HopKey, Egress)> {
        self.lock().live(number, version, now)
    }

    /// How frames leave through each device now; next hops through devices of which that has changed are retired.
    pub(super) fn set_egress(&self, egress: &HashMap<u32, Egress>) {
        self.lock().set_egress(egress);
    }

    /// A thread that panicked has left a state that is behind the kernel at worst, and its end ends the daemon.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both halves of the work, each for a thread of its own: the first must never wait for the second.
#[derive(Debug)]
pub struct NextHopKeeper {
    /// Retires what has changed.
    pub follower: RouteFollower,
    /// Enters what is wanted.
    pub keeper: HopKeeper,
}

impl NextHopKeeper {
    /// For the program that reports into the ring `wanted` and keeps numbers in the table `peers`.
    ///
    /// # Errors
    /// The kernel tells nothing of routes, or refuses the maps used for waiting.
    pub(super) fn new(
        hops: &NextHops,
        wanted: RingBuf<MapData>,
        peers: BpfPeers,
    ) -> io::Result<Self> {
        let program = RunningProgram::new(wanted, peers)?;
        Ok(Self {
            follower: RouteFollower::new(hops.clone())?,
            keeper: HopKeeper::new(hops.clone(), Box::new(program))?,
        })
    }

    /// Does what there is to do now, on the calling thread: for benches and tests.
    ///
    /// # Errors
    /// The kernel no longer tells of changed routes.
    pub fn serve_once(&mut self) -> io::Result<()> {
        self.follower.serve()?;
        self.keeper.serve();
        Ok(())
    }
}

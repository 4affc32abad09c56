//! The two threads behind the next hops: one follows the kernel's changes, one enters what the program wants.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use relay_common::{HopKey, Ticks};
use tracing::{debug, warn};

use super::NextHops;
use super::slots::Numbers;
use super::state::Staged;
use crate::net::routing::{Event, Family, Judge, NeighbourUse, RouteWatch};
use crate::slowpath::clock;
use crate::slowpath::poll::{STOP_CHECK, wait_readable};

/// How often the kernel is told of the neighbours in use: more often than the 5 s it waits before it probes one in use
/// (`delay_first_probe_time`), so that one that has died is found out as fast as by the kernel's own traffic.
const TELL_USE_EVERY: Duration = Duration::from_secs(2);

/// Numbers of retired slots are called in no more often than this: it takes a look at the whole peer table.
const CALL_IN_EVERY: Duration = Duration::from_secs(1);

/// Next hops change homes no more often than this: all of them are retired.
const MOVE_EVERY: Duration = Duration::from_mins(1);

/// Routes are looked at no more often than this.
const LOOK_EVERY_MIN: Duration = Duration::from_secs(1);

/// What a look at all routes may cost: one in so many parts of a CPU.
const LOOK_SHARE: u32 = 20;

/// Wanted next hops entered at a time.
const WANTED_MAX: usize = 64;

/// What the keeper asks of the rest of the datapath.
pub(super) trait Program: Send {
    /// The next of the next hops the program wants.
    fn wanted(&mut self) -> Option<HopKey>;

    /// Readable when there is one.
    fn as_fd(&self) -> BorrowedFd<'_>;

    /// Returns when every run of the program that had begun before the call has ended.
    ///
    /// # Errors
    /// The kernel's refusal; nothing is promised then.
    fn wait_for_runs(&mut self) -> io::Result<()>;

    /// Makes every peer forget the next hops `numbers`.
    fn forget(&mut self, numbers: &Numbers);
}

/// Follows the kernel's changes: what is no longer true is retired before anything else is done.
#[derive(Debug)]
pub struct RouteFollower {
    watch: RouteWatch,
    hops: NextHops,
}

impl RouteFollower {
    pub(super) fn new(hops: NextHops) -> io::Result<Self> {
        let watch = RouteWatch::new()?;
        Ok(Self { watch, hops })
    }

    /// Follows until `stop`. When the kernel tells no more, nothing is kept any more.
    pub fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Relaxed) {
            let followed = wait_readable(self.watch.as_fd(), STOP_CHECK).and_then(|_| self.serve());
            if let Err(error) = followed {
                warn!(%error, "the kernel no longer tells of changed routes: its answers are not kept any more");
                self.hops.lock().go_deaf();
                return;
            }
        }
    }

    /// Follows what has changed by now, without waiting.
    ///
    /// # Errors
    /// The kernel tells no more.
    pub fn serve(&mut self) -> io::Result<()> {
        // The kernel tells of a change before it answers anybody by it, so this moment's state is followed below.
        let now = Ticks::from(clock::now());
        while let Some(event) = self.watch.next()? {
            self.hops.lock().apply(&event, Instant::now());
            if event == Event::Lost {
                debug!("changes of routes were missed: all next hops are retired");
            }
        }
        self.hops.lock().renew(now);
        Ok(())
    }
}

/// When something that costs much was last done.
#[derive(Debug, Default)]
struct Paced(Option<Instant>);

impl Paced {
    /// Whether it may be done again, which counts as done.
    fn may(&mut self, now: Instant, every: Duration) -> bool {
        let may = self
            .0
            .is_none_or(|last| now.saturating_duration_since(last) >= every);
        if may {
            self.0 = Some(now);
        }
        may
    }
}

/// Enters the next hops the program wants, and gets retired slots free again.
pub struct HopKeeper {
    hops: NextHops,
    program: Box<dyn Program>,
    judge: Judge,
    neighbour_use: NeighbourUse,
    told_use: Paced,
    called_in: Paced,
    moved: Paced,
    /// Not before these times.
    look_at: [Option<Instant>; Family::ALL.len()],
    warned: bool,
}

impl HopKeeper {
    pub(super) fn new(hops: NextHops, program: Box<dyn Program>) -> io::Result<Self> {
        Ok(Self {
            hops,
            program,
            judge: Judge::new(),
            neighbour_use: NeighbourUse::new()?,
            told_use: Paced::default(),
            called_in: Paced::default(),
            moved: Paced::default(),
            look_at: [None; Family::ALL.len()],
            warned: false,
        })
    }

    /// Serves until `stop`.
    pub fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Relaxed) {
            if let Err(error) = wait_readable(self.program.as_fd(), STOP_CHECK) {
                warn!(%error, "no next hops are kept any more");
                self.hops.lock().go_deaf();
                return;
            }
            self.serve();
        }
    }

    /// Does what there is to do now. Takes as long as the programs that run, and a look at all routes if there must be one.
    pub fn serve(&mut self) {
        for family in Family::ALL {
            self.look(family);
        }
        self.enter();
        let now = Instant::now();
        if self.hops.lock().is_crowded() && self.moved.may(now, MOVE_EVERY) {
            self.hops.lock().move_homes();
        }
        if self.told_use.may(now, TELL_USE_EVERY) {
            self.tell_use();
        }
    }

    /// Enters what is wanted and calls in what is retired; both wait for the same runs of the program.
    fn enter(&mut self) {
        let now = Instant::now();
        let wanted: Vec<HopKey> = std::iter::from_fn(|| self.program.wanted())
            .take(WANTED_MAX)
            .collect();
        let (staged, called_in) = {
            let mut state = self.hops.lock();
            let staged: Vec<Staged> = wanted
                .iter()
                .filter_map(|key| state.stage(*key, now))
                .collect();
            let called_in = state
                .to_call_in()
                .filter(|_| self.called_in.may(now, CALL_IN_EVERY));
            (staged, called_in)
        };
        if staged.is_empty() && called_in.is_none() {
            return;
        }
        let ended = self.program.wait_for_runs();
        {
            let mut state = self.hops.lock();
            for staged in &staged {
                match ended {
                    Ok(()) => state.publish(staged),
                    Err(_) => state.abandon(staged),
                }
            }
        }
        match (ended, called_in) {
            (Ok(()), Some(numbers)) => {
                self.program.forget(&numbers);
                self.hops.lock().free(&numbers);
            }
            (Err(error), _) => {
                self.warn_once(&error, "the kernel does not tell when programs have ended");
            }
            _ => {}
        }
    }

    fn look(&mut self, family: Family) {
        let now = Instant::now();
        if self.look_at[family as usize].is_some_and(|at| now < at) {
            return;
        }
        let Some(look) = self.hops.lock().look(family, now) else {
            return;
        };
        let plain = self.judge.all_plain(family);
        let pause = (now.elapsed() * LOOK_SHARE).max(LOOK_EVERY_MIN);
        self.look_at[family as usize] = Some(Instant::now() + pause);
        if let Err(error) = &plain
            && error.kind() != io::ErrorKind::Interrupted
        {
            self.warn_once(error, "the kernel does not list its routes");
        }
        debug!(?family, ?plain, "looked at all routes");
        self.hops.lock().looked(look, plain.ok());
    }

    fn tell_use(&mut self) {
        let in_use: Vec<(u32, IpAddr)> = self.hops.lock().neighbours_in_use();
        for (ifindex, address) in in_use {
            if let Err(error) = self.neighbour_use.tell(ifindex, address) {
                self.warn_once(&error, "the kernel does not take word of neighbours in use");
            }
        }
    }

    fn warn_once(&mut self, error: &io::Error, what: &str) {
        if !self.warned {
            self.warned = true;
            warn!(%error, "next hops are not kept, or not for long: {what}");
        }
    }
}

impl std::fmt::Debug for HopKeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HopKeeper")
            .field("hops", &self.hops)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! New peers through the slow path: how many a second, how soon, and what they and idle ones cost.
//!
//! `docs/benchmarks/live-and-setup.md` tells how it is measured and what the figures include.

mod latency;
mod memory;
mod rate;
mod standing;

use std::time::Duration;

use anyhow::Result;

use crate::Options;
use crate::live::bed::Cores;
use crate::live::ledger::Ledger;
use crate::report::Figure;

/// How much is measured.
#[derive(Clone, Copy)]
struct Plan {
    rounds: u32,
    /// Of making peers as fast as can be.
    rush: Duration,
    /// Of making them at a moderate rate.
    stroll: Duration,
    /// Of doing nothing.
    rest: Duration,
}

impl Plan {
    const fn of(quick: bool) -> Self {
        if quick {
            Self {
                rounds: 2,
                rush: Duration::from_millis(500),
                stroll: Duration::from_secs(1),
                rest: Duration::from_secs(2),
            }
        } else {
            Self {
                rounds: 5,
                rush: Duration::from_secs(1),
                stroll: Duration::from_secs(3),
                rest: Duration::from_secs(8),
            }
        }
    }
}

/// The figures of bench `setup`.
pub(crate) fn measure(options: &Options) -> Result<Vec<Figure>> {
    let cores = Cores::find()?;
    let plan = Plan::of(options.quick);
    let mut ledger = Ledger::new("setup");
    rate::measure(&mut ledger, cores, plan)?;
    latency::measure(&mut ledger, cores, plan)?;
    let base = memory::Memory::base(cores)?;
    memory::measure(&mut ledger, cores, base)?;
    standing::measure(&mut ledger, cores, plan, base)?;
    Ok(ledger.into_figures())
}

//! What a relay costs that does nothing, with peers and without, and the memory they take.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Plan;
use super::memory::Memory;
use crate::live::bed::{Bed, Cores, Timing};
use crate::live::cpu::Tasks;
use crate::live::establish::Population;
use crate::live::ledger::Ledger;
use crate::live::relay::Relay;

const PEERS: u32 = 1 << 20;
/// Peers are fresh for 30 s; the relay rests while they are, so that its sweeper has all of them to look at.
const SAMPLES: u32 = 2;

/// One relay before it has peers and with a full table, and the memory of that beyond `base`.
pub(super) fn measure(ledger: &mut Ledger, cores: Cores, plan: Plan, base: Memory) -> Result<()> {
    let mut bed = Bed::new("relay at rest", cores, Timing::Off)?;
    let relay = Relay::start(&bed, PEERS)?;
    let mut idle = Vec::new();
    for _ in 0..SAMPLES {
        idle.push(ms_per_s(&relay.tasks, plan.rest)?);
    }
    for ms in &idle {
        ledger.add("idle", "%", ms / 10.0);
    }
    let without = idle.iter().sum::<f64>() / f64::from(SAMPLES);
    let mut population = Population::establish(&mut bed, &relay, PEERS)?;
    for _ in 0..SAMPLES {
        population.refresh(&mut bed)?;
        let with = ms_per_s(&relay.tasks, plan.rest)?;
        ledger.add("sweep/1M", "ms per s", with - without);
    }
    // The memory of a million handshakes at a time is given back when the sweep has gone round.
    thread::sleep(SWEEP_ROUND);
    let full = Memory::of(relay.pid())?;
    ledger.add(
        "memory-per-peer/1M",
        "bytes",
        full.beyond(base) / f64::from(population.count()),
    );
    Ok(())
}

/// In which the sweep of a full table goes round at least once.
const SWEEP_ROUND: Duration = Duration::from_secs(18);

/// Processor time of `tasks` in a second of doing nothing, in milliseconds.
fn ms_per_s(tasks: &Tasks, rest: Duration) -> Result<f64> {
    let (start, before) = (Instant::now(), tasks.time()?);
    thread::sleep(rest);
    let used = tasks.time()?.saturating_sub(before);
    Ok(used.as_secs_f64() * 1e3 / start.elapsed().as_secs_f64())
}

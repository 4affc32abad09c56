//! New peers a second, and the daemon's processor time for each.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Plan;
use crate::live::bed::{Bed, Cores, Timing};
use crate::live::cpu::Tasks;
use crate::live::establish::handshakes;
use crate::live::ledger::Ledger;
use crate::live::relay::{Miredo, Relay};

/// Unanswered packets at a time that are tried: enough to keep a daemon busy, few enough for the buffers on its way.
/// Each daemon is measured with the one that suits it best.
const WINDOWS: [u64; 4] = [64, 256, 1024, 4096];
/// How long each is tried.
const TRIAL: Duration = Duration::from_millis(250);
/// Room in the relay's table: nothing may be full in the end.
const PEERS_MAX: u32 = 1 << 22;

/// Both daemons, round by round.
pub(super) fn measure(ledger: &mut Ledger, cores: Cores, plan: Plan) -> Result<()> {
    let mut relay_bed = Bed::new("relay", cores, Timing::Off)?;
    let relay = Relay::start(&relay_bed, PEERS_MAX)?;
    let mut relay_side = Side::new(&mut relay_bed, relay.tasks.clone()).context("relay")?;

    let mut miredo_bed = Bed::new("miredo", cores, Timing::Off)?;
    let miredo = Miredo::start(&miredo_bed)?;
    let mut miredo_side = Side::new(&mut miredo_bed, miredo.tasks.clone()).context("miredo")?;

    for _ in 0..plan.rounds {
        let ours = relay_side.rush(plan.rush).context("relay")?;
        let theirs = miredo_side.rush(plan.rush).context("miredo")?;
        for (prefix, rush) in [("", ours), ("miredo-", theirs)] {
            ledger.add(format!("{prefix}new-peers"), "peers/s", rush.per_s);
            ledger.add(format!("{prefix}new-peers/window"), "packets", rush.window);
            ledger.add(format!("{prefix}new-peers/loss"), "%", rush.loss);
            ledger.add(format!("{prefix}new-peer/cpu"), "us", rush.cpu_us);
        }
        ledger.add(
            "ratio cpu miredo-new-peer : new-peer",
            "ratio",
            theirs.cpu_us / ours.cpu_us,
        );
    }
    Ok(())
}

/// One daemon and what was learnt of it.
struct Side<'a> {
    bed: &'a mut Bed,
    tasks: Tasks,
    window: u64,
    /// The next peer nobody has asked for.
    next: u32,
}

#[derive(Clone, Copy)]
struct Rush {
    per_s: f64,
    window: f64,
    loss: f64,
    cpu_us: f64,
}

impl<'a> Side<'a> {
    /// Tries the windows.
    fn new(bed: &'a mut Bed, tasks: Tasks) -> Result<Self> {
        let mut side = Self {
            bed,
            tasks,
            window: 0,
            next: 0,
        };
        let (mut best, mut best_window) = (0.0, 0);
        for window in WINDOWS {
            side.window = window;
            let rate = side.rush(TRIAL)?.per_s;
            if rate > best {
                (best, best_window) = (rate, window);
            }
        }
        side.window = best_window;
        anyhow::ensure!(best > 0.0, "no new peer was established");
        Ok(side)
    }

    /// Makes new peers for as long as `limit`.
    #[expect(clippy::cast_precision_loss, reason = "peers of some seconds")]
    fn rush(&mut self, limit: Duration) -> Result<Rush> {
        let before = self.tasks.time()?;
        let count = u32::MAX / 4;
        let made = handshakes(self.bed, self.next, count, self.window, limit)?;
        let cpu = self.tasks.time()?.saturating_sub(before);
        self.next += u32::try_from(made.sent)?;
        let lost = made.sent.saturating_sub(made.delivered + self.window);
        Ok(Rush {
            per_s: made.delivered as f64 / made.elapsed.as_secs_f64(),
            window: self.window as f64,
            loss: 100.0 * lost as f64 / made.sent.max(1) as f64,
            cpu_us: cpu.as_secs_f64() * 1e6 / made.delivered.max(1) as f64,
        })
    }
}

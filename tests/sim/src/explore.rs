//! Runs seeds, and says how to run a bad one again.

use std::env;
use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use crate::plan::Plan;
use crate::relay::{RelayNode, Setup, Shipworm};
use crate::world::{Outcome, World};

/// The variable that names the one seed to run, with every event printed.
pub const SEED_VARIABLE: &str = "SHIPWORM_SIM_SEED";

/// The variable that says how many seeds to run instead of the usual number.
pub const SEEDS_VARIABLE: &str = "SHIPWORM_SIM_SEEDS";

/// The real relay.
pub fn shipworm(setup: Setup) -> Box<dyn RelayNode> {
    Box::new(Shipworm::new(setup))
}

/// What `plan` comes to with the real relay.
pub fn run(plan: &Plan) -> Outcome {
    World::new(plan, &shipworm).run()
}

/// Sums over many seeds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    /// Seeds run.
    pub seeds: u64,
    /// Events.
    pub events: u64,
    /// Packets of flows sent.
    pub sent: u64,
    /// Of these, arrived.
    pub received: u64,
    /// Bubbles.
    pub bubbles: u64,
    /// The longest time from the end of the faults to the last packet lost.
    pub healed_after: Duration,
}

/// Runs `seeds`, or the one [`SEED_VARIABLE`] names.
///
/// # Panics
/// At the first seed that breaks a property. The message names the fewest faults that still break one, and how to
/// run the seed again.
pub fn explore(seeds: Range<u64>) -> Sums {
    let number = |name| {
        env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let one = number(SEED_VARIABLE);
    let seeds = match (one, number(SEEDS_VARIABLE)) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => seeds.start..seeds.start + count,
        (None, None) => seeds,
    };
    let mut sums = Sums::default();
    for seed in seeds {
        let mut plan = Plan::from_seed(seed);
        plan.prints = one.is_some();
        let outcome = run(&plan);
        assert!(
            outcome.violations.is_empty(),
            "{}",
            describe(&plan, &outcome)
        );
        sums.seeds += 1;
        sums.events += outcome.events;
        sums.sent += outcome.figures.sent;
        sums.received += outcome.figures.received;
        sums.bubbles += outcome.figures.bubbles;
        sums.healed_after = sums.healed_after.max(outcome.figures.healed_after);
    }
    sums
}

/// The plan with every fault and flow left out that is not needed for `is_bad`.
pub fn shrink(plan: &Plan, is_bad: &dyn Fn(&Plan) -> bool) -> Plan {
    let mut least = plan.clone();
    least.prints = false;
    for fault in plan.faults.clone() {
        let mut less = least.clone();
        less.faults.retain(|other| *other != fault);
        // Without disruption other rules hold, of which the run knows nothing.
        if less.is_calm() == plan.is_calm() && is_bad(&less) {
            least = less;
        }
    }
    for i in (0..plan.flows.len()).rev() {
        let mut less = least.clone();
        less.flows.remove(i);
        if !less.flows.is_empty() && is_bad(&less) {
            least = less;
        }
    }
    least
}

fn describe(plan: &Plan, outcome: &Outcome) -> String {
    let least = shrink(plan, &|less| !run(less).violations.is_empty());
    let mut text = format!("seed {}: {:?}\n", plan.seed, outcome.violations);
    let _ = writeln!(text, "faults that suffice: {:?}", least.faults);
    let _ = writeln!(text, "flows that suffice: {:?}", least.flows);
    let _ = writeln!(text, "clients: {:?}", least.clients);
    let _ = write!(
        text,
        "replay: {SEED_VARIABLE}={} cargo test -p shipworm-sim --test properties first -- --nocapture",
        plan.seed
    );
    text
}

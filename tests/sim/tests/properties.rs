//! Thousands of seeds, and the same one twice.

use std::time::Duration;

use shipworm_sim::explore::{explore, run};
use shipworm_sim::plan::{HEALS_WITHIN, Plan};

/// Seeds of each test here.
const SEEDS: u64 = 1000;

fn explored(first: u64) {
    let sums = explore(first..first + SEEDS);
    println!("{sums:?}");
    assert!(sums.received > sums.seeds, "something was delivered");
    assert!(sums.healed_after <= HEALS_WITHIN + Duration::from_secs(10));
}

#[test]
fn no_seed_of_the_first_thousand_breaks_a_property() {
    explored(0);
}

#[test]
fn no_seed_of_the_second_thousand_breaks_a_property() {
    explored(SEEDS);
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_one_does_not() {
    let traces: Vec<u64> = (0..40)
        .map(|seed| run(&Plan::from_seed(seed)).trace)
        .collect();
    let again: Vec<u64> = (0..40)
        .map(|seed| run(&Plan::from_seed(seed)).trace)
        .collect();
    assert_eq!(traces, again);
    assert!(traces.windows(2).all(|pair| pair[0] != pair[1]));
}

//! Makes a failing case small.

use crate::case::{Case, Policy, Program};
use crate::mutate::SHORTEST;

/// Attempts at most: a case is small long before.
const ATTEMPTS: usize = 4000;

/// The smallest case found for which `fails` holds, as it does for `case`.
pub(crate) fn shrink(case: Case, mut fails: impl FnMut(&Case) -> bool) -> Case {
    let mut small = case;
    let mut attempts = 0;
    loop {
        let mut has_shrunk = false;
        for candidate in candidates(&small) {
            attempts += 1;
            if attempts > ATTEMPTS {
                return small;
            }
            if candidate != small && fails(&candidate) {
                small = candidate;
                has_shrunk = true;
                break;
            }
        }
        if !has_shrunk {
            return small;
        }
    }
}

/// Simpler cases, the boldest first.
fn candidates(case: &Case) -> Vec<Case> {
    let mut simpler = Vec::new();
    let mut offer = |change: &dyn Fn(&mut Case)| {
        let mut candidate = case.clone();
        change(&mut candidate);
        simpler.push(candidate);
    };
    for number in 0..case.steps.len() {
        offer(&|case| {
            case.steps.remove(number);
        });
    }
    for number in 0..case.peers.len() {
        offer(&|case| {
            case.peers.remove(number);
        });
        offer(&|case| case.peers[number].age_ticks = 0);
    }
    offer(&|case| case.program = Program::Plain);
    offer(&|case| case.policy = Policy::Lab);
    for (number, step) in case.steps.iter().enumerate() {
        let len = step.frame.len();
        for patch in 0..step.patches.len() {
            offer(&|case| {
                case.steps[number].patches.remove(patch);
            });
        }
        for cut in [len / 2, len / 8, 16, 4, 1] {
            let keep = len.saturating_sub(cut).max(SHORTEST);
            offer(&|case| case.steps[number].frame.truncate(keep));
        }
        for width in [64, 16, 4, 1] {
            for from in (0..len).step_by(width) {
                let range = from..(from + width).min(len);
                if step.frame[range.clone()].iter().any(|byte| *byte != 0) {
                    offer(&|case| case.steps[number].frame[range.clone()].fill(0));
                }
            }
        }
    }
    simpler
}

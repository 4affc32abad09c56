//! Makes a failing case small.

use crate::case::{Case, Policy, Program};
use crate::mutate::SHORTEST;

/// Attempts at most: a case is small long before.
const ATTEMPTS: usize = 4000;

/// A case that can be made simpler.
pub(crate) trait Shrinks: Clone + PartialEq {
    /// Simpler ones, the boldest first.
    fn simpler(&self) -> Vec<Self>;
}

/// The smallest case found for which `fails` holds, as it does for `case`.
pub(crate) fn shrink<C: Shrinks>(case: C, mut fails: impl FnMut(&C) -> bool) -> C {
    let mut small = case;
    let mut attempts = 0;
    loop {
        let mut has_shrunk = false;
        for candidate in small.simpler() {
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

impl Shrinks for Case {
    fn simpler(&self) -> Vec<Self> {
        let mut simpler = Vec::new();
        let mut offer = |change: &dyn Fn(&mut Self)| {
            let mut candidate = self.clone();
            change(&mut candidate);
            simpler.push(candidate);
        };
        for number in 0..self.steps.len() {
            offer(&|case| {
                case.steps.remove(number);
            });
        }
        for number in 0..self.peers.len() {
            offer(&|case| {
                case.peers.remove(number);
            });
            offer(&|case| case.peers[number].age_ticks = 0);
        }
        offer(&|case| case.program = Program::Plain);
        offer(&|case| case.policy = Policy::Lab);
        for (number, step) in self.steps.iter().enumerate() {
            for patch in 0..step.patches.len() {
                offer(&|case| {
                    case.steps[number].patches.remove(patch);
                });
            }
            for frame in frames(&step.frame) {
                offer(&|case| case.steps[number].frame.clone_from(&frame));
            }
        }
        simpler
    }
}

/// Shorter frames, and such of more zeros.
pub(crate) fn frames(frame: &[u8]) -> Vec<Vec<u8>> {
    let len = frame.len();
    let mut simpler = Vec::new();
    for cut in [len / 2, len / 8, 16, 4, 1] {
        let keep = len.saturating_sub(cut).max(SHORTEST);
        simpler.push(frame[..keep.min(len)].to_vec());
    }
    for width in [64, 16, 4, 1] {
        for from in (0..len).step_by(width) {
            let range = from..(from + width).min(len);
            if frame[range.clone()].iter().any(|byte| *byte != 0) {
                let mut zeroed = frame.to_vec();
                zeroed[range].fill(0);
                simpler.push(zeroed);
            }
        }
    }
    simpler
}

//! A loaded program, run frame by frame, and the reason it counts for each.

use relay_common::{Counter, Reason};

use crate::rig::Rig;

/// A program and what it was last seen to have counted.
pub(crate) struct Counted {
    pub(crate) rig: Rig,
    /// What was counted so far, by reason.
    seen: Vec<Counter>,
    /// The frame as it came out.
    pub(crate) out: Vec<u8>,
    /// Bytes counted for it.
    pub(crate) bytes: u64,
}

impl Counted {
    pub(crate) fn new(rig: Rig) -> Self {
        Self {
            rig,
            seen: vec![Counter::default(); Reason::COUNT],
            bytes: 0,
            out: Vec::new(),
        }
    }

    /// Runs the program on a frame received on `ifindex`. `guesses` are reasons to look for first. Gives the action and
    /// the reason.
    pub(crate) fn run(&mut self, ifindex: u32, frame: &[u8], guesses: &[&str]) -> (u32, Reason) {
        let action = self.rig.run_into(ifindex, frame, &mut self.out);
        let likely = guesses.iter().filter_map(|name| named(name));
        let reason = likely
            .chain(Reason::ALL.iter().copied())
            .find(|reason| {
                let counter = self.rig.count_of(*reason);
                let seen = &mut self.seen[*reason as usize];
                let is_it = counter.packets == seen.packets + 1;
                self.bytes = counter.bytes - seen.bytes;
                *seen = counter;
                is_it
            })
            .expect("a reason was counted");
        (action, reason)
    }

    /// Invariant 4.
    ///
    /// # Panics
    /// If the counters are not the packets sent.
    pub(crate) fn settle(&mut self) {
        let counters = self.rig.counters();
        let counted: u64 = counters.iter().map(|counter| counter.packets).sum();
        assert_eq!(
            counted, self.rig.sent,
            "counters add up to the packets seen"
        );
        for (reason, counter) in Reason::ALL.iter().zip(&counters) {
            let seen = self.seen[*reason as usize];
            assert_eq!(*counter, seen, "{reason:?} was counted unseen");
        }
    }
}

fn named(name: &str) -> Option<Reason> {
    Reason::ALL
        .iter()
        .copied()
        .find(|reason| reason.as_str() == name)
}

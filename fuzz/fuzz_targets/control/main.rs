//! Both ends of the control socket: what anybody says to the daemon, and what anything that listens there answers.
//!
//! The first byte says to whom the others are said:
//!
//! | byte | the others are |
//! |---|---|
//! | `D` | requests to the daemon |
//! | `S`, `P` | the answer to `shipworm status`, `shipworm peers` |
//! | `0` to `9` | the answer to a relay that takes over, with so many descriptors |
#![no_main]

mod daemon;
mod impostor;

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((to, said)) = input.split_first() else {
        return Corpus::Reject;
    };
    match to {
        b'D' => daemon::hears(said),
        b'S' => impostor::answers_status(said),
        b'P' => impostor::answers_peers(said),
        b'0'..=b'9' => impostor::hands_over(said, usize::from(to - b'0')),
        _ => return Corpus::Reject,
    }
    Corpus::Keep
});

//! The relay's life: start, service, status, end, and everything that keeps it from starting.

mod daemon;
#[path = "../topology/figures.rs"]
#[expect(dead_code, reason = "what only the tests of topology count")]
mod figures;
#[path = "../topology/peer.rs"]
#[expect(dead_code, reason = "what only the tests of topology do with a peer")]
mod peer;
mod privilege;
mod refusals;
mod service;
mod status;

use std::time::Duration;

use lab::{Lab, Options, Ping};

fn bare() -> Lab {
    Lab::new(&Options {
        nats: Vec::new(),
        ..Options::default()
    })
    .unwrap()
}

/// `count` requests, one a millisecond.
fn flow(count: u16) -> Ping {
    Ping {
        count,
        interval: Duration::from_millis(1),
        ..Ping::default()
    }
}

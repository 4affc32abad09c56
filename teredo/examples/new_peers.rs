//! What a new peer costs the relay's state machine alone: `cargo run --release -p teredo --example new_peers`.
//!
//! Nanoseconds of CPU for both steps of a handshake (native packet in, bubble out; answer in, queued packet out), the figures of
//! several runs; and for a pair of data packets, one each way, of one peer. No sockets, and a peer table that stays in the cache: what those cost is the daemon's to measure.

#[path = "../tests/handshakes/mod.rs"]
mod handshakes;

use std::fs;
use std::time::Duration;

use handshakes::Handshakes;

/// Peers of one run.
const PEERS: u32 = 400_000;

/// Handshakes between a peer's bubble and its answer: a round trip of 5 ms at 200,000 a second.
const UNDER_WAY: usize = 1000;

/// Runs.
const RUNS: usize = 7;

fn main() {
    for size in [100, 1280] {
        report(&format!("new peer, {size} bytes waiting"), || run(size));
        report(&format!("data both ways, {size} bytes"), || data(size));
    }
}

fn report(what: &str, run: impl FnMut() -> u64) {
    let mut runs: Vec<u64> = std::iter::repeat_with(run).take(RUNS).collect();
    runs.sort_unstable();
    let (min, median, max) = (runs[0], runs[RUNS / 2], runs[RUNS - 1]);
    println!("{what}: {min}/{median}/{max} ns (min/median/max)");
}

/// Data of one peer both ways.
fn data(size: u16) -> u64 {
    let mut shakes = Handshakes::new(size, 1024, Duration::ZERO);
    let peer = shakes.next_peer();
    shakes.ask(&peer);
    shakes.answer(&peer);
    let start = cpu_ns();
    for _ in 0..PEERS {
        shakes.talk(&peer);
    }
    (cpu_ns() - start) / u64::from(PEERS)
}

/// CPU time of this process so far in nanoseconds: others may run on the machine as well.
fn cpu_ns() -> u64 {
    let text =
        fs::read_to_string("/proc/self/schedstat").expect("a kernel with scheduler statistics");
    let first = text
        .split_whitespace()
        .next()
        .and_then(|ns| ns.parse().ok());
    first.expect("nanoseconds on the CPU")
}

/// The peers, one handshake after the other, with as many under way between bubble and answer.
fn run(size: u16) -> u64 {
    let mut shakes = Handshakes::new(size, 65_536, Duration::from_micros(5));
    let mut under_way = std::collections::VecDeque::with_capacity(UNDER_WAY + 1);
    let mut handshakes = |count| {
        let start = cpu_ns();
        for _ in 0..count {
            let peer = shakes.next_peer();
            shakes.ask(&peer);
            under_way.push_back((peer, shakes.cookie));
            if under_way.len() > UNDER_WAY
                && let Some((peer, cookie)) = under_way.pop_front()
            {
                shakes.answer_to(&peer, cookie);
            }
        }
        cpu_ns() - start
    };
    // Two seconds, after which the limits have as much to forget as to remember.
    handshakes(PEERS);
    handshakes(PEERS) / u64::from(PEERS)
}

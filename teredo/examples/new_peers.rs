//! What a new peer costs the relay's state machine alone: `cargo run --release -p teredo --example new_peers`.
//!
//! Nanoseconds of CPU for both steps of a handshake (native packet in, bubble out; answer in, queued packet out), the figures of
//! several runs. No sockets, and a peer table that stays in the cache: what those cost is the daemon's to measure.

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
const RUNS: u32 = 7;

fn main() {
    for size in [100, 1280] {
        let mut runs: Vec<u64> = (0..RUNS).map(|_| run(size)).collect();
        runs.sort_unstable();
        let (min, median, max) = (runs[0], runs[runs.len() / 2], runs[runs.len() - 1]);
        println!("new peer, {size} bytes waiting: {min}/{median}/{max} ns (min/median/max)");
    }
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

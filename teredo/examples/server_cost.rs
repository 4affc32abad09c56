//! What a packet costs the server's rules alone: `cargo run --release -p teredo --example server_cost`.
//!
//! Nanoseconds of CPU for a solicitation answered, with and without credentials, and for a bubble forwarded, the figures of
//! several runs, each packet from or to another client. No sockets: what those cost is the daemon's to measure.

#[path = "../tests/solicitors/mod.rs"]
mod solicitors;

use std::fs;
use std::time::Duration;

use solicitors::Solicitors;

/// Packets of one run.
const PACKETS: u32 = 1_000_000;

/// Runs.
const RUNS: usize = 7;

fn main() {
    report("solicitation answered", Solicitors::solicit);
    report(
        "solicitation with credentials answered",
        Solicitors::solicit_signed,
    );
    report("bubble forwarded", Solicitors::bubble);
}

fn report(what: &str, work: impl Fn(&mut Solicitors)) {
    let mut runs: Vec<u64> = (0..RUNS).map(|_| run(&work)).collect();
    runs.sort_unstable();
    let (min, median, max) = (runs[0], runs[RUNS / 2], runs[RUNS - 1]);
    println!("{what}: {min}/{median}/{max} ns (min/median/max)");
}

/// Packets at a million a second.
fn run(work: impl Fn(&mut Solicitors)) -> u64 {
    let mut clients = Solicitors::new(Duration::from_micros(1));
    let mut packets = |count| {
        let start = cpu_ns();
        for _ in 0..count {
            work(&mut clients);
        }
        cpu_ns() - start
    };
    // So that the limits have as much to forget as to remember.
    packets(PACKETS / 10);
    packets(PACKETS) / u64::from(PACKETS)
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

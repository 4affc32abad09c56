//! Ten million clients behind one relay: `cargo run --release -p shipworm-sim --bin scale [CLIENTS]`.

use shipworm_sim::scale;

/// Clients when none are named.
const CLIENTS: u32 = 10_000_000;

fn main() {
    let named = std::env::args().nth(1);
    let clients = match named.as_deref().map(str::parse) {
        None => CLIENTS,
        Some(Ok(clients)) => clients,
        Some(Err(error)) => {
            eprintln!("CLIENTS: {error}; give a number, for example 100000");
            std::process::exit(2);
        }
    };
    let report = scale::run(clients);
    println!(
        "{} clients trusted, {} without room",
        report.trusted, report.refused
    );
    let mib = |bytes: u64| bytes >> 20;
    println!(
        "memory: {} MiB, {} MiB before; table {} MiB",
        mib(report.resident_bytes),
        mib(report.resident_before_bytes),
        mib(report.table_bytes)
    );
    for stage in report.stages {
        println!(
            "{}: {} events, {:.0} ns CPU each, {:.0} events/s",
            stage.name, stage.events, stage.cpu_ns, stage.events_per_s
        );
    }
}

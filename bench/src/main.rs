//! Nanoseconds a packet of the shipped XDP program, under `BPF_PROG_TEST_RUN`.
//!
//! # Method
//!
//! The kernel runs a program many times over one frame in one system call and gives the mean.
//! A program that leaves the frame alone is run as it is. One that carries it away would find its own output the
//! next time, so a companion program stands in front: it restores the frame, addresses it to a
//! random one of the peers in use, and tail-calls the shipped program, which is the very object
//! the daemon embeds. The same companion in front of an empty program is measured in the same
//! round and subtracted. What is left includes the companion's undoing `adjust_head` (2 to 3 ns) and the
//! branch misses a random peer costs; it leaves out the driver, the redirect itself and the memory of the frame,
//! which stays in the cache.
//!
//! The table has room for `--peers` peers in every case: a few peers in use in a large table are what
//! a relay sees, and a small table is what `--peers` with a small number measures.
//!
//! Each round measures every case once, so that a slow minute of a shared machine falls on all
//! of them. Compare medians of one run with each other, never with another machine's. After
//! each measurement the program's counters must show every packet under the expected reason.

mod case;
mod frame;
mod live;
mod report;
mod rig;
mod setup;

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;

use case::Case;
use report::Figure;
use rig::Rig;

/// Measures the relay's XDP program. Needs root.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Options {
    /// What to measure: prog, live, setup.
    #[arg(default_value = "prog")]
    name: String,
    /// Fewer and shorter rounds.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds; each measures every case once.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Packets in one measurement.
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(1..))]
    packets: u32,
    /// Most peers in use; a power of two.
    #[arg(long, default_value_t = 1 << 20, value_parser = power_of_two)]
    peers: u32,
    /// Writes the figures to this file as well.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn power_of_two(text: &str) -> Result<u32, String> {
    /// What the companion tells apart.
    const PEERS_MAX: u32 = 1 << 22;
    match text.parse() {
        Ok(peers @ 1..=PEERS_MAX) if u32::is_power_of_two(peers) => Ok(peers),
        _ => Err(format!("not a power of two up to {PEERS_MAX}")),
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    match options.name.as_str() {
        "live" => return report(&options, &live::measure(&options)?),
        "setup" => return report(&options, &setup::measure(&options)?),
        _ => {}
    }
    if let Some(core) = core_affinity::get_core_ids().and_then(|cores| cores.last().copied()) {
        core_affinity::set_for_current(core);
    }
    let namespace = lab::Netns::new().context("making a network namespace takes CAP_SYS_ADMIN")?;
    let figures = namespace.enter(|| measure(&options))??;
    report(&options, &figures)
}

fn report(options: &Options, figures: &[Figure]) -> Result<()> {
    for figure in figures {
        println!("{figure}");
    }
    if let Some(path) = &options.json {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        serde_json::to_writer_pretty(file, figures)?;
    }
    Ok(())
}

fn measure(options: &Options) -> Result<Vec<Figure>> {
    let mut rig = Rig::new(options.peers)?;
    println!(
        "relay: {} instructions verified, {} bytes of machine code",
        rig.verified_instructions()?,
        rig.jited_bytes()?
    );
    let cases = Case::all(options.peers);
    let mut samples = vec![Vec::new(); cases.len()];
    for _ in 0..options.rounds {
        for (case, samples) in cases.iter().zip(&mut samples) {
            let ns = case
                .measure(&mut rig, options.packets)
                .with_context(|| case.name())?;
            samples.push(ns);
        }
    }
    Ok(cases
        .iter()
        .zip(samples)
        .filter_map(|(case, samples)| Figure::new("prog", case.name(), "ns/packet", samples))
        .collect())
}

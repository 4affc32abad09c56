//! Nanoseconds a packet of the shipped XDP program, under `BPF_PROG_TEST_RUN`.
//!
//! The kernel runs a program many times over one frame in one system call and gives the mean. A
//! program that leaves the frame alone is run as it is. One that carries it away would find its own
//! output the next time, so a companion program stands in front: it restores the frame, addresses
//! it to one of the peers in use, and tail-calls the program under test. The same companion in
//! front of an empty program, with the same peers in the same order, is measured right after it
//! and subtracted. `docs/benchmarks/method.md` says what that includes and what not.
//!
//! After each measurement the program's own counters must show every packet as carried.

mod case;
mod companion;
mod frame;
mod ground;
mod rig;
mod subject;
mod zipf;

use std::thread;

use anyhow::{Context as _, Result, anyhow};
use lab::Netns;
use relay_user::datapath::ServerRole;

use crate::Options;
use crate::report::Figure;
use case::{Case, FOUR_MILLION, MILLION, ONE, THOUSAND};
use rig::Rig;

/// Lines of the array that is read at random: 256 MiB, larger than any cache.
const LINES: u32 = 1 << 22;
/// Peers in the order in which they are drawn by Zipf's law.
const SEQUENCE_LEN: usize = 1 << 20;
/// Of that order.
const SEQUENCE_SEED: u64 = 1;

/// How much is measured.
#[derive(Clone, Copy)]
struct Extent {
    /// Each measures every case once.
    rounds: usize,
    /// Packets in one measurement.
    packets: u32,
    /// With a table of 4 M peers as well.
    large_table: bool,
}

const FULL: Extent = Extent {
    rounds: 7,
    packets: 1_000_000,
    large_table: true,
};
const QUICK: Extent = Extent {
    rounds: 3,
    packets: 100_000,
    large_table: false,
};

/// Measures every case on one core.
///
/// # Errors
/// The kernel's refusal, or a program that does not do what is measured.
pub(crate) fn measure(options: &Options) -> Result<Vec<Figure>> {
    on_one_core("prog", options, stages)
}

/// Measures what the server does, on one core.
///
/// # Errors
/// As those of [`measure`].
pub(crate) fn measure_server(options: &Options) -> Result<Vec<Figure>> {
    on_one_core("server", options, |_| {
        let cases = Case::of_server();
        Ok(vec![Stage::new(1, 1, &[0], cases, Some(frame::server()))?])
    })
}

fn on_one_core(
    bench: &'static str,
    options: &Options,
    stages: impl FnOnce(Extent) -> Result<Vec<Stage>> + Send,
) -> Result<Vec<Figure>> {
    let extent = if options.quick { QUICK } else { FULL };
    let measure = || {
        if let Some(core) = core_affinity::get_core_ids().and_then(|cores| cores.last().copied()) {
            core_affinity::set_for_current(core);
        }
        let mut stages = stages(extent)?;
        for stage in &mut stages {
            stage.tell()?;
        }
        run(bench, stages, extent)
    };
    // The core is this thread's, and that of the threads it starts; not of the benches after it.
    thread::scope(|scope| scope.spawn(measure).join())
        .map_err(|_| anyhow!("the measuring thread has panicked"))?
}

/// What is measured of the relay.
fn stages(extent: Extent) -> Result<Vec<Stage>> {
    let (million, _) = MILLION;
    let sequence = zipf::sequence(million, SEQUENCE_LEN, SEQUENCE_SEED)?;
    let mut cases = Case::without_peers();
    cases.extend(Case::at_random(&[ONE, THOUSAND, MILLION]));
    cases.extend(Case::by_one_port(&[ONE, MILLION]));
    cases.extend(Case::in_sequence(MILLION));
    cases.extend(Case::by_packet());
    let mut stages = vec![Stage::new(million, LINES, &sequence, cases, None)?];
    if extent.large_table {
        let cases = Case::at_random(&[FOUR_MILLION]);
        stages.push(Stage::new(FOUR_MILLION.0, 1, &[0], cases, None)?);
    }
    Ok(stages)
}

/// A namespace with programs and tables of one size, and what is measured there.
struct Stage {
    namespace: Netns,
    rig: Rig,
    cases: Vec<Case>,
    samples: Vec<Vec<f64>>,
}

impl Stage {
    fn new(
        capacity: u32,
        lines: u32,
        sequence: &[u32],
        cases: Vec<Case>,
        server: Option<ServerRole>,
    ) -> Result<Self> {
        let namespace = Netns::new().context("making a network namespace: root may")?;
        let rig = namespace.enter(|| Rig::new(capacity, lines, sequence, server))??;
        let samples = vec![Vec::new(); cases.len()];
        Ok(Self {
            namespace,
            rig,
            cases,
            samples,
        })
    }

    fn tell(&mut self) -> Result<()> {
        let (verified, jited) = self.rig.program_size()?;
        eprintln!("the program: {verified} instructions verified, {jited} bytes of machine code");
        Ok(())
    }

    /// Measures every case once.
    fn round(&mut self, packets: u32) -> Result<()> {
        let Self {
            namespace,
            rig,
            cases,
            samples,
        } = self;
        namespace.enter(|| {
            for (case, samples) in cases.iter().zip(samples) {
                let ns = case
                    .measure(rig, packets)
                    .with_context(|| case.name.clone())?;
                samples.push(ns);
            }
            Ok(())
        })?
    }

    fn figures(self, bench: &'static str) -> impl Iterator<Item = Figure> {
        let cases = self.cases.into_iter().zip(self.samples);
        cases.filter_map(move |(case, samples)| Figure::new(bench, case.name, "ns/packet", samples))
    }
}

fn run(bench: &'static str, mut stages: Vec<Stage>, extent: Extent) -> Result<Vec<Figure>> {
    for round in 1..=extent.rounds {
        eprintln!("round {round} of {}", extent.rounds);
        for stage in &mut stages {
            stage.round(extent.packets)?;
        }
    }
    Ok(stages
        .into_iter()
        .flat_map(|stage| stage.figures(bench))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use companion::Direction;
    use rig::Which;

    const PEERS: u32 = 1 << 10;

    /// Runs `test` with tables of a thousand peers.
    fn with_rig(test: impl FnOnce(&mut Rig) + Send) {
        let namespace = Netns::new().expect("network namespaces need CAP_SYS_ADMIN");
        let sequence = zipf::sequence(PEERS, 1 << 10, 1).unwrap();
        let server = Some(frame::server());
        let rig = || test(&mut Rig::new(PEERS, 1 << 10, &sequence, server).unwrap());
        namespace.enter(rig).unwrap();
    }

    #[test]
    fn every_packet_of_every_case_is_counted_as_what_it_should_become() {
        with_rig(|rig| {
            let mut cases = Case::without_peers();
            cases.extend(Case::at_random(&[ONE, THOUSAND]));
            cases.extend(Case::by_one_port(&[ONE, THOUSAND]));
            cases.extend(Case::in_sequence(THOUSAND));
            cases.extend(Case::by_packet());
            cases.extend(Case::of_server());
            for case in cases {
                case.measure(rig, 1000)
                    .unwrap_or_else(|error| panic!("{}: {error:#}", case.name));
            }
        });
    }

    #[test]
    fn the_textbook_relay_sends_what_the_shipped_one_sends() {
        with_rig(|rig| {
            for direction in [Direction::Encap, Direction::Decap] {
                let frame = frame::usual(direction);
                let mut sent = [Which::Shipped, Which::Textbook]
                    .map(|which| rig.carry_one(which, &frame).unwrap());
                assert_ne!(sent[0], frame, "{direction:?}");
                if direction == Direction::Encap {
                    for frame in &mut sent {
                        assert_eq!(teredo::wire::checksum::ipv4_header(&frame[14..34]), 0);
                        // Identification, header checksum and UDP checksum are the shipped one's own.
                        for field in [18..20, 24..26, 40..42] {
                            frame[field].fill(0);
                        }
                    }
                }
                assert_eq!(sent[0], sent[1], "{direction:?}");
            }
        });
    }

    #[test]
    fn names_of_cases_are_unlike_each_other() {
        let mut cases = Case::without_peers();
        cases.extend(Case::at_random(&[ONE, THOUSAND, MILLION, FOUR_MILLION]));
        cases.extend(Case::by_one_port(&[ONE, MILLION]));
        cases.extend(Case::in_sequence(MILLION));
        cases.extend(Case::by_packet());
        cases.extend(Case::of_server());
        let mut names: Vec<String> = cases.into_iter().map(|case| case.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        for name in [
            "encap/1",
            "decap/4M",
            "textbook-encap/1M",
            "encap-zipf/1M",
            "decap-icmp6-1280",
        ] {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
    }
}

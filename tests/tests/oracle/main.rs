//! One oracle: the XDP program, the userspace relay and a reference written straight from PROTOCOL.md say the same
//! of every frame.
//!
//! ```text
//!                       ┌─ BPF_PROG_TEST_RUN of the shipped program ── reason, frame, table, probes ─┐
//! peers, settings, frame┼─ the slow path's frame reader and relay ──── reason, commands, table ──────┼─ agree?
//!                       └─ reference, twice: with all eyes, and with those of the fast path ─────────┘
//! ```
//!
//! The fast path may leave a frame to the slow path only for a reason the reference accepts. `ORACLE_SEED` sets the seed,
//! `ORACLE_CASES` the number of frames. A disagreement is shrunk and printed as JSON; kept as a file in
//! `tests/fixtures/oracle`, it is replayed from then on.

mod agree;
mod captures;
mod case;
mod counted;
mod fast;
mod fixtures;
mod generate;
mod mutate;
mod output;
mod packets;
mod random;
mod reference;
#[path = "../rig/mod.rs"]
mod rig;
mod routes;
mod server;
mod shrink;
mod slow;
mod tally;

use std::process::Command;

use agree::World;
use case::{Case, PROGRAMS, Program};
use random::Random;

/// Frames to the relay, all tests together.
const FRAMES: u64 = 1_000_000;

/// Seed unless `ORACLE_SEED` says another.
const SEED: u64 = 4380;

/// So many frames meet every rule, whatever the seed.
const ENOUGH: u64 = 100_000;

/// Cases between two looks at the counters.
const BATCH: u64 = 4096;

fn number(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|error| panic!("{variable}={text}: {error}")),
        Err(_) => otherwise,
    }
}

/// Runs `test` where there are routes to everywhere.
fn with_routes(test: impl FnOnce() + Send) {
    rig::in_topology(|| {
        for route in routes::DEFAULT_ROUTES {
            let status = Command::new("ip").args(route.split(' ')).status();
            assert!(status.expect("iproute2 is installed").success(), "{route}");
        }
        test();
    });
}

/// The same with `programs` loaded.
fn in_world(programs: &[Program], test: impl FnOnce(&mut World) + Send) {
    with_routes(|| test(&mut World::load(programs)));
}

/// Fails with the smallest case like it, unless the three agree about `case`.
fn expect_agreement(world: &mut World, name: &str, case: Case) {
    if let Err(text) = world.run(&case) {
        let small = shrink::shrink(case, |case| world.run(case).is_err());
        let text = world.run(&small).err().unwrap_or(text);
        panic!(
            "{name}: {text}\nkeep as tests/fixtures/oracle/NAME.json:\n{}",
            fixtures::text(&small)
        );
    }
}

#[test]
fn cases_once_disagreed_about_are_agreed_about() {
    in_world(&PROGRAMS, |world| {
        let cases = fixtures::all(fixtures::RELAY);
        assert!(!cases.is_empty());
        for (name, case) in cases {
            world
                .run(&case)
                .unwrap_or_else(|text| panic!("{name}: {text}"));
        }
        world.settle();
    });
}

#[test]
fn the_three_agree_about_every_capture_of_real_nodes() {
    in_world(&[Program::Plain], |world| {
        for (name, case) in captures::stories() {
            expect_agreement(world, &name, case);
        }
        let stories = world.tally.clone();
        for (name, case) in captures::with_trusted_peers() {
            expect_agreement(world, &name, case);
        }
        world.settle();
        // Each client answered, and what followed took the fast path both ways.
        assert!(stories.by_reference["BubbleAccepted"] >= 5, "{stories:?}");
        for carried in ["Encapsulated", "Decapsulated"] {
            assert!(stories.by_fast_path[carried] >= 20, "{stories:?}");
        }
    });
}

/// Half of the frames: the cases of odd or even numbers.
fn agree_about_half(parity: u64) {
    let seed = number("ORACLE_SEED", SEED);
    let frames = number("ORACLE_CASES", FRAMES) / 2;
    println!("ORACLE_SEED={seed} ORACLE_CASES={}", 2 * frames);
    in_world(&PROGRAMS, |world| {
        let mut index = parity;
        while world.packets < frames {
            let case = generate::case(&mut Random::of(seed, index), &PROGRAMS);
            expect_agreement(world, &format!("seed {seed}, case {index}"), case);
            index += 2;
            if world.cases % BATCH == 0 {
                world.settle();
            }
        }
        world.settle();
        let World {
            cases,
            packets,
            reruns,
            ..
        } = world;
        println!(
            "{cases} cases of {packets} frames, {reruns} run again\n{}",
            world.tally
        );
        if frames >= ENOUGH {
            world.tally.assert_nothing_was_missed();
        }
    });
}

#[test]
fn the_three_agree_about_half_a_million_frames() {
    agree_about_half(0);
}

#[test]
fn the_three_agree_about_another_half_a_million_frames() {
    agree_about_half(1);
}

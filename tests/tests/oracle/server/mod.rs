//! The same oracle for the server.
//!
//! ```text
//!                  ┌─ BPF_PROG_TEST_RUN of the shipped program ── reason, frame ─────┐
//! settings, frames ┼─ teredo's server, given what its sockets get ── reason, command ┼─ agree?
//!                  └─ reference, with all eyes and with the fast path's ─────────────┘
//! ```
//!
//! The fast path may leave a frame to the sockets only where the reference allows it.

mod agree;
mod captures;
mod case;
mod fast;
mod generate;
mod output;
mod slow;

use std::fs;

use agree::World;
use case::{Case, PROGRAMS, Program};

use crate::random::Random;
use crate::shrink::{Shrinks, frames, shrink};
use crate::{BATCH, FRAMES, SEED, fixtures, number, rig, tally};

/// For so many frames of the relay there is one of the server.
const SHARE: u64 = 2;

/// So many frames meet every rule, whatever the seed.
const ENOUGH: u64 = 50_000;

impl Shrinks for Case {
    fn simpler(&self) -> Vec<Self> {
        let mut simpler = Vec::new();
        for number in 0..self.steps.len() {
            let mut without = self.clone();
            without.steps.remove(number);
            simpler.push(without);
        }
        let mut plain = self.clone();
        plain.program = Program::Lab;
        simpler.push(plain);
        for (number, step) in self.steps.iter().enumerate() {
            for frame in frames(&step.frame) {
                let mut with = self.clone();
                with.steps[number].frame = frame;
                simpler.push(with);
            }
        }
        simpler
    }
}

/// Runs `test` with `programs` loaded, where there are routes to everywhere.
fn in_world(programs: &[Program], test: impl FnOnce(&mut World) + Send) {
    crate::with_routes(|| {
        // A server alone looks routes up from there.
        fs::write("/proc/sys/net/ipv4/conf/lo/forwarding", "1").expect("a sysctl");
        // Buckets are each CPU's own.
        rig::stay_on_this_cpu();
        test(&mut World::load(programs));
    });
}

/// Fails with the smallest case like it, unless the three agree about `case`.
fn expect_agreement(world: &mut World, name: &str, case: Case) {
    if let Err(text) = world.run(&case) {
        let small = shrink(case, |case| world.run(case).is_err());
        let text = world.run(&small).err().unwrap_or(text);
        panic!(
            "{name}: {text}\nkeep as tests/fixtures/oracle/server/NAME.json:\n{}",
            fixtures::text(&small)
        );
    }
}

#[test]
fn cases_of_the_server_once_disagreed_about_are_agreed_about() {
    in_world(&PROGRAMS, |world| {
        let cases = fixtures::all(fixtures::SERVER);
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
fn the_three_agree_about_what_real_nodes_sent_to_a_server() {
    in_world(&[Program::Lab], |world| {
        for (name, case) in captures::all() {
            expect_agreement(world, &name, case);
        }
        world.settle();
        let tally = &world.tally;
        for (settled, times) in [("Advertised", 5), ("ForwardedToClient", 15)] {
            assert!(tally.by_fast_path[settled] >= times, "{tally}");
        }
        assert!(tally.by_reference["ForwardedToNative"] >= 10, "{tally}");
    });
}

#[test]
fn the_three_agree_about_half_a_million_datagrams_to_a_server() {
    let seed = number("ORACLE_SEED", SEED);
    let packets = number("ORACLE_CASES", FRAMES) / SHARE;
    println!("ORACLE_SEED={seed} ORACLE_CASES={}", SHARE * packets);
    in_world(&PROGRAMS, |world| {
        let mut index = 0;
        while world.packets < packets {
            let case = generate::case(&mut Random::of(!seed, index), &PROGRAMS);
            expect_agreement(world, &format!("seed {seed}, case {index}"), case);
            index += 1;
            if world.cases % BATCH == 0 {
                world.settle();
            }
        }
        world.settle();
        let World {
            cases,
            packets: run,
            reruns,
            tally,
            ..
        } = world;
        println!("{cases} cases of {run} frames, {reruns} run again\n{tally}");
        if packets >= ENOUGH {
            tally.assert_met(&tally::OF_SERVER, &tally::OF_SERVER_IN_XDP);
        }
    });
}

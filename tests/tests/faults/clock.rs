//! A time of day that steps.

use std::collections::BTreeSet;
use std::process::Command;

use lab::shipworm::Settings;

use crate::scene::status;
use crate::traffic::{PEERS, World, pinned};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/stepping_clock.c");
const PACKETS: usize = 2000;

#[test]
fn a_time_of_day_that_steps_by_ten_years_at_every_look_changes_nothing_but_the_log() {
    let world = World::new();
    let clock = world.scene.lab.dir().join("stepping_clock.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O2", "-o"]);
    let compiled = compiler.arg(&clock).arg(SOURCE).status().unwrap();
    assert!(compiled.success(), "{compiled}");

    let preload = format!("LD_PRELOAD={}", clock.display());
    let settings = Settings {
        under: ["env", &preload].map(str::to_owned).to_vec(),
        ..pinned()
    };
    let relay = world.relay(&settings);
    let counted = world.exchange(PACKETS);
    assert_eq!(counted.lost(), (0, 0), "{counted:?}");
    let now = status(&relay);
    assert_eq!(now.peers.fresh, PEERS as u64);
    assert_eq!(now.bubbles_sent, PEERS as u64);
    assert!(now.uptime_s < 3600, "{}", now.uptime_s);

    let log = relay.log();
    let years: BTreeSet<&str> = log.lines().filter_map(|line| line.get(..4)).collect();
    assert_eq!(years.len(), 2, "the clock did not step: {log}");
    relay.stop().unwrap();
}

//! `cargo xtask test mutants`: deliberate bugs, each of which a test must catch.
//!
//! Each bug is planted in a copy of the tree; the test named for it passes without the bug and must fail with it.

mod bugs;
mod scratch;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};

use crate::setup::{self, Need};
use crate::sh::cargo;
use bugs::{MUTANTS, Mutant, Trap};
use scratch::Scratch;

/// Plants each bug and runs the test that must catch it.
///
/// # Errors
/// Lists the bugs nothing caught. Also if a bug finds no place, does not compile, or its test fails without it.
pub(crate) fn run() -> Result<()> {
    setup::ensure(&[Need::Build, Need::Network])?;
    let scratch = Scratch::new()?;
    let traps: BTreeSet<Trap> = MUTANTS.iter().map(|mutant| mutant.trap).collect();
    for trap in traps {
        build(&scratch, trap)?;
        if !list(&scratch, trap)?.contains(": test") {
            bail!("there is no test {}", trap.name());
        }
        test(&scratch, trap).context("without any bug")?;
    }
    let mut at_large = Vec::new();
    for mutant in &MUTANTS {
        eprintln!("\n== {} ({})", mutant.bug, mutant.file);
        let is_caught = with_bug(&scratch, mutant).with_context(|| mutant.bug.to_owned())?;
        if !is_caught {
            at_large.push(mutant.bug);
        }
    }
    println!("\n{:70} {:27} caught by", "bug", "in");
    for mutant in &MUTANTS {
        let by = if at_large.contains(&mutant.bug) {
            "NOTHING".to_owned()
        } else {
            mutant.trap.name()
        };
        println!("{:70} {:27} {by}", mutant.bug, mutant.file);
    }
    if !at_large.is_empty() {
        bail!("not caught: {}", at_large.join("; "));
    }
    Ok(())
}

/// Says whether the bug was caught.
fn with_bug(scratch: &Scratch, mutant: &Mutant) -> Result<bool> {
    let healed = scratch.plant(mutant)?;
    let is_caught = build(scratch, mutant.trap).map(|()| test(scratch, mutant.trap).is_err());
    healed.restore()?;
    is_caught
}

fn build(scratch: &Scratch, trap: Trap) -> Result<()> {
    cargo("build the test")
        .args(["test", "--quiet", "--no-run"])
        .args(trap.cargo)
        .current_dir(scratch.tree())
        .env("CARGO_TARGET_DIR", scratch.target())
        .run()
}

/// The tests of that name.
fn list(scratch: &Scratch, trap: Trap) -> Result<String> {
    cargo("list the test")
        .args(["test", "--quiet"])
        .args(trap.cargo)
        .args(["--", "--list", trap.filter])
        .current_dir(scratch.tree())
        .env("CARGO_TARGET_DIR", scratch.target())
        .output()
}

fn test(scratch: &Scratch, trap: Trap) -> Result<()> {
    cargo("pass the test")
        .args(["test", "--quiet"])
        .args(trap.cargo)
        .args(["--", trap.filter])
        .current_dir(scratch.tree())
        .env("CARGO_TARGET_DIR", scratch.target())
        .env("ORACLE_CASES", bugs::ORACLE_CASES)
        .env("RUST_BACKTRACE", "0")
        .run()
}

//! Set-up, build, run, test and lint of Shipworm.
//!
//! `cargo xtask` needs stable Rust and nothing else; what the other jobs need, [`setup`] finds and installs.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod bench;
mod build;
mod ci;
mod fuzz;
mod lab;
mod lint;
mod mutants;
mod relay;
mod setup;
mod sh;
mod test;
mod tidy;
mod vm;

/// Set-up, build, run, test and lint of Shipworm.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    job: Job,
}

#[derive(Subcommand)]
enum Job {
    Setup(setup::Setup),
    Build(build::Build),
    Run(relay::Run),
    Test(test::Test),
    Lab(lab::Lab),
    Bench(bench::Bench),
    Fuzz(fuzz::Fuzz),
    Lint(lint::Lint),
    Fmt(lint::Fmt),
    Ci(ci::Ci),
}

fn main() -> ExitCode {
    // Errors name what to do next; where in here they arose helps nobody, whatever RUST_BACKTRACE says.
    match run(Cli::parse().job) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(job: Job) -> Result<()> {
    std::env::set_current_dir(sh::root())?;
    match job {
        Job::Setup(job) => job.run(),
        Job::Build(job) => job.run(),
        Job::Run(job) => job.run(),
        Job::Test(job) => job.run(),
        Job::Lab(job) => job.run(),
        Job::Bench(job) => job.run(),
        Job::Fuzz(job) => job.run(),
        Job::Lint(job) => job.run(),
        Job::Fmt(job) => job.run(),
        Job::Ci(job) => job.run(),
    }
}

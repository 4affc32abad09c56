//! `cargo xtask fuzz`.

mod seeds;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::setup::{self, Need};
use crate::sh::{cargo, root, sh};

/// What a fuzzer is fed to.
#[derive(Clone, Copy, ValueEnum)]
enum Target {
    /// UDP payloads: headers, inner packet, trailers
    Payload,
    /// Building of ICMPv6 errors
    Icmp6,
    /// The relay's state machine under random events
    Relay,
}

/// Feed random input to a part of the protocol until something breaks
///
/// Begins with the packets of the captures. Findings and the corpus stay in fuzz/artifacts and fuzz/corpus.
#[derive(Args)]
pub(crate) struct Fuzz {
    target: Target,
    /// Stop after so many seconds
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Coverage feedback and AddressSanitizer, as libFuzzer wants them.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Zsanitizer=address -Cdebug-assertions -Ccodegen-units=1";

impl Fuzz {
    pub(crate) fn run(self) -> Result<()> {
        setup::ensure(&[Need::Fuzz])?;
        let name = match self.target {
            Target::Payload => "payload",
            Target::Icmp6 => "icmp6",
            Target::Relay => "relay",
        };
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        // Naming the target keeps the flags away from build scripts. The sanitizer is an unstable feature of
        // the very compiler everything else is built with.
        cargo("build the fuzzer")
            .args([
                "build",
                "--release",
                "--manifest-path",
                "fuzz/Cargo.toml",
                "--bin",
                name,
            ])
            .args(["--target", &triple, "--target-dir", "target/fuzz"])
            .env("RUSTFLAGS", RUSTFLAGS)
            .env("RUSTC_BOOTSTRAP", "1")
            .run()?;
        let corpus = root().join("fuzz/corpus").join(name);
        let artifacts = root().join("fuzz/artifacts").join(name);
        for directory in [&corpus, &artifacts] {
            std::fs::create_dir_all(directory)?;
        }
        match self.target {
            Target::Payload => seeds::write(root(), seeds::Kind::Datagrams, &corpus)?,
            Target::Icmp6 => seeds::write(root(), seeds::Kind::Packets, &corpus)?,
            // Its input is a list of events, not packets.
            Target::Relay => {}
        }
        let fuzzer = root()
            .join("target/fuzz")
            .join(triple)
            .join("release")
            .join(name);
        sh("fuzz", &fuzzer.to_string_lossy())
            .args([
                format!("-max_total_time={}", self.seconds),
                format!("-artifact_prefix={}/", artifacts.display()),
                "-max_len=2048".to_owned(),
                corpus.display().to_string(),
            ])
            .run()
    }
}

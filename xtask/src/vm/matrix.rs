//! `cargo xtask test vm`.

use anyhow::{Context as _, Result};
use clap::Args;

use super::record::Record;
use super::{Options, Works, packages};
use crate::sh::{root, sh};

/// See the XDP program load, attach and pass its tests on this machine's kernel and, in QEMU, on two of Debian's
///
/// What it costs the verifier and the stack is compared with docs/benchmarks/verifier.json.
#[derive(Args)]
pub(crate) struct Matrix {
    #[command(flatten)]
    machine: Options,
    /// Write what the verifier says now to the record, instead of comparing
    #[arg(long, conflicts_with = "tests")]
    accept: bool,
}

/// Kernels that are booted: the oldest Debian still looks after that runs the program, and that of its next release.
const KERNELS: [&str; 2] = [packages::KERNEL, packages::LATER_KERNEL];

impl Matrix {
    pub(crate) fn run(self) -> Result<()> {
        let works = Works::build("cargo xtask test vm")?;
        let mut record = Record::default();
        let figures = works.directory.join("figures");
        self.test_here(&works, &figures)?;
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let lines = std::fs::read_to_string(&figures)
            .with_context(|| format!("cannot read {}", figures.display()))?;
        record.add_lines(release.trim(), &lines)?;
        let named = self.machine.kernel.as_deref();
        let kernels = named.map_or(KERNELS.to_vec(), |kernel| vec![kernel]);
        for kernel in kernels {
            let transcript = works.boot(kernel, &self.machine, self.accept)?;
            works.judge(&transcript)?;
            record.add(&transcript);
        }
        print!("{}", record.table());
        if self.accept {
            record.write(&root().join("docs/benchmarks/verifier.json"))?;
        }
        Ok(())
    }

    /// The same tests on the kernel that runs.
    fn test_here(&self, works: &Works, figures: &std::path::Path) -> Result<()> {
        let tests = works.payload.xdp_tests.to_string_lossy();
        let mut tests = sh("pass the tests of the XDP program here", &tests)
            .args(["--test-threads", "2"])
            .args(&self.machine.tests)
            .env("VERIFIER_FIGURES", figures)
            .current_dir(&root().join("tests"));
        if self.accept {
            tests = tests.env("VERIFIER_ACCEPT", "1");
        }
        tests.run()
    }
}

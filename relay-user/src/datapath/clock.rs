//! The program's clock: jiffies, which cost it nothing to read.

use std::io;
use std::mem::MaybeUninit;

use aya::programs::{ProgramError, TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader};
use relay_common::maps;
use thiserror::Error;

use super::OBJECT;

/// The name of the program that reads both clocks.
const PROGRAM: &str = "clock";
/// A frame the kernel takes for one.
const FRAME_LEN: usize = 64;

/// How jiffies become `CLOCK_MONOTONIC`.
///
/// The kernel advances jiffies and the coarse monotonic clock together, by the same nanoseconds for each
/// jiffy, so one look at both holds for as long as the machine is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Nanoseconds of a jiffy.
    pub jiffy_ns: u64,
    /// What is to be added to the jiffies' nanoseconds, wrapping.
    pub offset_ns: u64,
}

/// Why the clocks could not be read.
#[derive(Debug, Error)]
pub enum ClockError {
    /// The object is not this build's.
    #[error("the embedded object: {0}")]
    Object(#[from] EbpfError),
    /// The kernel refuses the program or its run.
    #[error("reading both clocks: {0}")]
    Program(#[from] ProgramError),
    /// The clock has no resolution.
    #[error("CLOCK_MONOTONIC_COARSE: {0}")]
    Resolution(#[from] io::Error),
    /// The program is not in the object, or left no answer.
    #[error("no answer from the program that reads both clocks")]
    NoAnswer,
}

impl Clock {
    /// Lets a program of the kernel read both.
    ///
    /// # Errors
    /// The kernel's refusal to load or run it.
    pub fn measure() -> Result<Self, ClockError> {
        // The object's maps come with it, as small as they can be.
        let mut ebpf = EbpfLoader::new()
            .map_max_entries(maps::PEERS, 1)
            .map_max_entries(maps::RATES, 1)
            .load(OBJECT)?;
        let program = program(&mut ebpf)?;
        program.load()?;
        let mut answer = [0; FRAME_LEN];
        program.test_run(TestRunOptions {
            data_in: Some(&[0; FRAME_LEN]),
            data_out: Some(&mut answer),
            ..TestRunOptions::default()
        })?;
        let (words, _) = answer.as_chunks();
        let [jiffies, coarse_ns] = [words[0], words[1]].map(u64::from_ne_bytes);
        if coarse_ns == 0 {
            return Err(ClockError::NoAnswer);
        }
        let jiffy_ns = jiffy_ns()?;
        Ok(Self {
            jiffy_ns,
            offset_ns: coarse_ns.wrapping_sub(jiffies.wrapping_mul(jiffy_ns)),
        })
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, ClockError> {
    let program = ebpf.program_mut(PROGRAM).ok_or(ClockError::NoAnswer)?;
    Ok(program.try_into()?)
}

/// The resolution of the coarse clocks is a jiffy (`KTIME_LOW_RES`).
fn jiffy_ns() -> io::Result<u64> {
    let mut resolution = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: clock_getres fills the structure unless it fails.
    let resolution = unsafe {
        if libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, resolution.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        resolution.assume_init()
    };
    u64::try_from(resolution.tv_nsec).map_err(io::Error::other)
}

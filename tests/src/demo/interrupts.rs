//! Ctrl-C and SIGTERM as something to wait for.

use std::io;
use std::ptr;
use std::time::Duration;

use crate::init::{mask, signal_set};

/// The signals that ask for an end. They wait until somebody looks; started processes do not
/// inherit that.
#[derive(Clone, Copy)]
pub struct Interrupts(libc::sigset_t);

impl Interrupts {
    /// Blocks the signals. To be called before the first thread starts, which inherits it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn block() -> io::Result<Self> {
        let signals = signal_set(&[libc::SIGINT, libc::SIGTERM]);
        mask(libc::SIG_BLOCK, &signals)?;
        Ok(Self(signals))
    }

    /// Whether a signal is there, or comes within the given time.
    pub fn wait(&self, within: Duration) -> bool {
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(within.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: within.subsec_nanos().into(),
        };
        // SAFETY: set and time are valid; no information is asked for.
        unsafe { libc::sigtimedwait(&raw const self.0, ptr::null_mut(), &raw const timeout) > 0 }
    }

    /// Whether a signal has come already.
    pub fn came(&self) -> bool {
        self.wait(Duration::ZERO)
    }
}

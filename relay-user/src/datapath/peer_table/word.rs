//! A shared word.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

/// A word that others read and exchange at the same time.
pub(in crate::datapath) trait Word {
    /// Reads it before anything that follows.
    fn read(&self) -> u64;

    /// Writes it after everything that came before.
    fn write(&self, value: u64);

    /// Writes `new` if `old` stands there.
    ///
    /// # Errors
    /// What stands there instead.
    fn replace(&self, old: u64, new: u64) -> Result<(), u64>;
}

macro_rules! word {
    ($atomic:ty) => {
        impl Word for $atomic {
            fn read(&self) -> u64 {
                self.load(Acquire)
            }

            fn write(&self, value: u64) {
                self.store(value, Release);
            }

            fn replace(&self, old: u64, new: u64) -> Result<(), u64> {
                self.compare_exchange(old, new, AcqRel, Acquire).map(drop)
            }
        }
    };
}

word!(AtomicU64);
#[cfg(test)]
word!(loom::sync::atomic::AtomicU64);

//! The threads of the slow path, started together and stopped in order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc;
use tracing::debug;

use crate::slowpath::shards::Broken;

/// Names of threads that ended although nobody told them to.
pub(super) type Ended = mpsc::UnboundedReceiver<String>;

/// Nice value of the slow path's threads. A handshake is a few microseconds of work and somebody waits for each of
/// its steps, so it goes first where CPUs are scarce.
const NICE: libc::c_int = -10;

/// Threads that run until they are told to stop.
#[derive(Debug)]
pub(super) struct Workers {
    stop: Arc<AtomicBool>,
    ended: mpsc::UnboundedSender<String>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// No threads yet, and the place where failures will be told.
    pub(super) fn new() -> (Self, Ended) {
        let (ended, told) = mpsc::unbounded_channel();
        let workers = Self {
            stop: Arc::default(),
            ended,
            threads: Vec::new(),
        };
        (workers, told)
    }

    /// Starts `work` in a thread called `name`; it must end soon after the flag it is given turns true. When it fails or
    /// panics, its name is told.
    ///
    /// # Errors
    /// The system's refusal to make a thread.
    pub(super) fn start(
        &mut self,
        name: &str,
        work: impl FnOnce(&AtomicBool) -> Result<(), Broken> + Send + 'static,
    ) -> io::Result<()> {
        let stop = Arc::clone(&self.stop);
        let failure = Failure {
            name: Some(name.to_owned()),
            ended: self.ended.clone(),
        };
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Taken whole: it must be dropped by this thread, whatever `work` does.
                let mut failure = failure;
                if work(&stop).is_ok() {
                    failure.name = None;
                }
            })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Stops all of them and waits for their end.
    pub(super) fn stop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            // A panic was told already.
            let _ = thread.join();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

/// As long as it lives, the calling thread goes before others, and those it starts will for good: they may have no right
/// to raise themselves. Without `CAP_SYS_NICE` nothing changes.
#[derive(Debug)]
pub(super) struct Haste {
    before: libc::c_int,
}

impl Haste {
    pub(super) fn begin() -> Self {
        // SAFETY: both calls take plain numbers; 0 is the calling thread, which exists.
        let (before, raised) = unsafe {
            let before = libc::getpriority(libc::PRIO_PROCESS, 0);
            (before, libc::setpriority(libc::PRIO_PROCESS, 0, NICE))
        };
        if raised != 0 {
            debug!(
                error = %io::Error::last_os_error(),
                "the slow path runs at ordinary priority"
            );
        }
        Self { before }
    }
}

impl Drop for Haste {
    fn drop(&mut self) {
        // SAFETY: the call takes plain numbers; 0 is the calling thread.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, self.before) };
    }
}

/// Tells the name it holds when it is dropped, also by a panic.
struct Failure {
    name: Option<String>,
    ended: mpsc::UnboundedSender<String>,
}

impl Drop for Failure {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            // Nobody listens during a shutdown.
            let _ = self.ended.send(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_fails_or_panics_is_told_by_name() {
        let (mut workers, mut ended) = Workers::new();
        workers.start("fails", |_| Err(Broken)).unwrap();
        assert_eq!(ended.blocking_recv().as_deref(), Some("fails"));
        workers.start("panics", |_| panic!("on purpose")).unwrap();
        assert_eq!(ended.blocking_recv().as_deref(), Some("panics"));
    }

    #[test]
    fn stopping_waits_for_all_and_tells_nobody() {
        let (mut workers, mut ended) = Workers::new();
        for name in ["a", "b"] {
            let work = |stop: &AtomicBool| {
                while !stop.load(Relaxed) {
                    thread::yield_now();
                }
                Ok(())
            };
            workers.start(name, work).unwrap();
        }
        workers.stop();
        assert!(ended.try_recv().is_err());
    }
}

//! The threads of the slow path, started together and stopped in order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use tracing::error;

/// Threads that run until they are told to stop.
#[derive(Debug, Default)]
pub(super) struct Workers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `work` in a thread called `name`; it must end soon after the flag it is given turns true.
    ///
    /// # Errors
    /// The system's refusal to make a thread.
    pub(super) fn start(
        &mut self,
        name: &str,
        work: impl FnOnce(&AtomicBool) + Send + 'static,
    ) -> io::Result<()> {
        let stop = Arc::clone(&self.stop);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(&stop))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Stops all of them and waits for their end.
    pub(super) fn stop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let name = thread.thread().name().unwrap_or("?").to_owned();
            if thread.join().is_err() {
                error!(thread = name, "a thread of the slow path panicked");
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

//! A thread that answers datagrams.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::many_addresses::{Envelope, ManyAddresses, wait_readable};

/// Longest UDP payload over IPv4.
pub(crate) const MAX_DATAGRAM: usize = 65_507;
/// How often the thread looks whether it should stop.
const STOP_POLL: Duration = Duration::from_millis(20);

/// A running service. Dropping it ends its thread.
#[derive(Debug)]
pub(crate) struct Service {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Gives every datagram of `sockets` to `handle`, with the socket it came from.
    pub(crate) fn start(
        sockets: impl Into<Arc<[ManyAddresses]>>,
        mut handle: impl FnMut(&ManyAddresses, Envelope, &[u8]) + Send + 'static,
    ) -> Self {
        let sockets = sockets.into();
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; MAX_DATAGRAM];
            while !stopping.load(Ordering::Relaxed) {
                if !wait_readable(&sockets, STOP_POLL).unwrap_or(false) {
                    continue;
                }
                for socket in &*sockets {
                    // Errors here are ICMP answers to what was sent; the service goes on.
                    while let Ok(Some(envelope)) = socket.receive(&mut buffer) {
                        handle(socket, envelope, &buffer[..envelope.len]);
                    }
                }
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed; a drop must not add another.
            let _ = thread.join();
        }
    }
}

//! The transmit side of a punt socket: frames that leave through its port without the kernel's UDP and IP layers.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::debug;
use xsk_rs::{CompQueue, FrameDesc, TxQueue, Umem};

use super::xsk_counters::PuntCounters;

/// Buffers for frames on their way out, and places in the rings they go round.
pub(super) const OUT_BUFFERS: u32 = 1024;

/// How often the kernel is told to go on while it takes frames: it takes 32 at a time at least.
const KICKS_MAX: u32 = OUT_BUFFERS / 32 * 2;

/// Sends frames through the port of a [`PuntSocket`](super::xsk::PuntSocket), as long as that is open. Clones are handles on the
/// same.
#[derive(Clone, Debug)]
pub struct FramesOut(Arc<Mutex<Option<Sender>>>);

impl FramesOut {
    /// Over the transmit side of a socket and `buffers` of its area that are nobody else's.
    pub(super) fn new(
        umem: Umem,
        tx: TxQueue,
        completion: CompQueue,
        buffers: Vec<FrameDesc>,
        counters: Arc<PuntCounters>,
    ) -> Self {
        let places = vec![FrameDesc::default(); buffers.len()];
        Self(Arc::new(Mutex::new(Some(Sender {
            umem,
            tx,
            completion,
            free: buffers,
            written: Vec::with_capacity(places.len()),
            completed: places,
            counters,
        }))))
    }

    /// Has `write` write a frame of `len` bytes, to be sent by [`flush`](Self::flush) behind those written before. Says
    /// whether it will be: not if the socket is closed, no buffer is free, or `write` declines.
    pub fn write(&self, len: usize, write: impl FnOnce(&mut [u8]) -> Option<()>) -> bool {
        self.lock()
            .as_mut()
            .is_some_and(|sender| sender.write(len, write).is_some())
    }

    /// Gives what was written to the kernel. Says whether the kernel has taken everything: a device that is down or
    /// whose queue is full leaves frames in the ring, and takes them with the next ones.
    pub fn flush(&self) -> bool {
        self.lock().as_mut().is_none_or(Sender::flush)
    }

    /// Closes the transmit side: what is in the ring and not taken is lost.
    pub(super) fn close(&self) {
        *self.lock() = None;
    }

    /// What a thread that panicked has left is written whole or not at all.
    fn lock(&self) -> MutexGuard<'_, Option<Sender>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer is in one of `free`, `written` and the kernel's hands.
struct Sender {
    umem: Umem,
    tx: TxQueue,
    completion: CompQueue,
    free: Vec<FrameDesc>,
    written: Vec<FrameDesc>,
    /// Room for what the kernel gives back.
    completed: Vec<FrameDesc>,
    counters: Arc<PuntCounters>,
}

impl Sender {
    fn write(&mut self, len: usize, write: impl FnOnce(&mut [u8]) -> Option<()>) -> Option<()> {
        if self.free.is_empty() {
            self.reclaim();
        }
        let mut buffer = self.free.pop()?;
        // SAFETY: the descriptor is of this buffer area and was free, so neither the kernel nor anybody else has the buffer.
        let mut data = unsafe { self.umem.data_mut(&mut buffer) };
        // Cut off where the buffer ends.
        data.cursor().set_pos(len);
        let has_room = data.contents().len() == len;
        if !has_room || write(data.contents_mut()).is_none() {
            self.free.push(buffer);
            return None;
        }
        self.written.push(buffer);
        Some(())
    }

    fn flush(&mut self) -> bool {
        if !self.written.is_empty() {
            // SAFETY: the descriptors are of this buffer area, hold whole frames, and are forgotten here until the kernel
            // gives them back. The ring has a place for every buffer there is.
            let sent = unsafe { self.tx.produce(&self.written) };
            self.counters.sent.fetch_add(sent as u64, Relaxed);
            self.written.clear();
        }
        for _ in 0..KICKS_MAX {
            if self.tx.nb_free_exact() == OUT_BUFFERS {
                return true;
            }
            if !self.tx.needs_wakeup() {
                break;
            }
            if let Err(error) = self.tx.wakeup() {
                debug!(%error, "the kernel does not take frames from an AF_XDP socket");
                break;
            }
        }
        false
    }

    fn reclaim(&mut self) {
        // SAFETY: what the kernel gives back was produced by `flush` alone, so it is of this buffer area.
        let count = unsafe { self.completion.consume(&mut self.completed) };
        self.free.extend_from_slice(&self.completed[..count]);
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("free", &self.free.len())
            .field("written", &self.written.len())
            .finish_non_exhaustive()
    }
}

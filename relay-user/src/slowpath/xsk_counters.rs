//! What a punt socket counts, for whoever asks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a [`PuntSocket`](super::xsk::PuntSocket) received, lost and sent.
#[derive(Debug, Default)]
pub struct PuntCounters {
    pub(super) frames: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) rx_dropped: AtomicU64,
    pub(super) rx_ring_full: AtomicU64,
    pub(super) fill_ring_empty: AtomicU64,
}

/// Values of [`PuntCounters`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PuntStatistics {
    /// Frames received.
    pub frames: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Frames given to the kernel to send.
    pub sent: u64,
    /// Frames the kernel lost for reasons of its own, such as no buffer or a frame too long.
    pub rx_dropped: u64,
    /// Frames lost because the receive ring was full: the worker is too slow.
    pub rx_ring_full: u64,
    /// Times the kernel found no free buffer: the worker is too slow.
    pub fill_ring_empty: u64,
}

impl PuntCounters {
    /// The values now; what the kernel lost is at most half a second old while the socket is served.
    pub fn read(&self) -> PuntStatistics {
        PuntStatistics {
            frames: self.frames.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            sent: self.sent.load(Relaxed),
            rx_dropped: self.rx_dropped.load(Relaxed),
            rx_ring_full: self.rx_ring_full.load(Relaxed),
            fill_ring_empty: self.fill_ring_empty.load(Relaxed),
        }
    }
}

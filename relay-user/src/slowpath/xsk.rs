//! The socket through which punted frames reach user space (`AF_XDP`).
//!
//! One socket for each receive queue, one buffer area for each socket; its transmit side is [`FramesOut`]. Copy mode
//! unless asked otherwise: zero-copy drivers have crashed or stalled machines when the process went away.

use std::error::Error;
use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, RawFd};
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use relay_common::WayBack;
use xsk_rs::config::{
    BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig, XdpFlags,
};
use xsk_rs::{FillQueue, FrameDesc, RxQueue, Socket, Umem};

use super::poll::wait_readable;
use super::xsk_counters::PuntCounters;
use super::xsk_out::{FramesOut, OUT_BUFFERS};

/// Size of a buffer.
const BUFFER_BYTES: u32 = 2048;

/// What the kernel keeps free in front of each frame.
const XDP_HEADROOM_BYTES: u32 = 256;

/// Longest frame an `AF_XDP` socket takes; the program leaves longer ones to the kernel.
pub const PUNT_FRAME_MAX: u32 = BUFFER_BYTES - XDP_HEADROOM_BYTES;

/// Buffers of one socket for frames that come, and so those that may wait in it (16 MiB).
const BUFFERS: u32 = 8192;

/// Frames taken from the ring at once. The more, the fewer system calls for what they cause, and the longer the first of
/// them waits for the last: about 0.1 ms.
const BATCH_MAX: usize = 256;

/// How often the kernel's drop counters are read.
const STATISTICS_INTERVAL: Duration = Duration::from_millis(500);

/// An `AF_XDP` socket bound to one receive queue of one port.
///
/// Frames come once the program redirects them here
/// ([`Datapath::set_socket`](crate::datapath::Datapath::set_socket)). Dropping it closes it, and
/// the queue's frames take the kernel's way again.
pub struct PuntSocket {
    buffers: Buffers,
    counters: Arc<PuntCounters>,
    watched: Arc<Watched>,
    statistics_due: Instant,
    out: FramesOut,
}

/// A punted frame.
#[derive(Clone, Copy, Debug)]
pub struct Punted<'a> {
    /// As it came.
    pub frame: &'a [u8],
    /// What stands in front of it: the program's note, or zeros.
    pub note: WayBack,
}

/// The buffers and the two rings they go round: fill (the kernel's to write) and receive (ours to read).
///
/// A descriptor is either with the kernel or in the first places of `batch` while a
/// [`Batch`] is alive; nothing else holds one.
struct Buffers {
    umem: Umem,
    rx: RxQueue,
    fill: FillQueue,
    batch: Vec<FrameDesc>,
}

/// Frames received and not yet given back to the kernel, which dropping it does.
struct Batch<'a> {
    buffers: &'a mut Buffers,
    len: usize,
}

impl PuntSocket {
    /// Opens a socket on receive queue `queue` of `ifname`. `zero_copy` is refused by drivers
    /// without it and ignored with `generic` XDP, which has none.
    ///
    /// # Errors
    /// No such interface or queue (`EINVAL`), queue taken by another `AF_XDP` socket (`EBUSY`),
    /// `CAP_NET_RAW` missing (`EPERM`), no zero copy (`EOPNOTSUPP`), no memory.
    pub fn open(ifname: &str, queue: u32, zero_copy: bool, generic: bool) -> io::Result<Self> {
        let interface: Interface = ifname.parse().map_err(io::Error::other)?;
        let umem_config = UmemConfig::builder()
            .frame_size(FrameSize::new(BUFFER_BYTES).map_err(io::Error::other)?)
            .fill_queue_size(ring(BUFFERS)?)
            .comp_queue_size(ring(OUT_BUFFERS)?)
            .build()
            .map_err(io::Error::other)?;
        let count = NonZeroU32::new(BUFFERS + OUT_BUFFERS).ok_or(io::ErrorKind::InvalidInput)?;
        let (umem, mut descriptors) = Umem::new(umem_config, count, false).map_err(os_error)?;

        let copy = if zero_copy && !generic {
            BindFlags::XDP_ZEROCOPY
        } else {
            BindFlags::XDP_COPY
        };
        let mode = if generic {
            XdpFlags::XDP_FLAGS_SKB_MODE
        } else {
            XdpFlags::XDP_FLAGS_DRV_MODE
        };
        let socket_config = SocketConfig::builder()
            .rx_queue_size(ring(BUFFERS)?)
            .tx_queue_size(ring(OUT_BUFFERS)?)
            .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
            .xdp_flags(mode)
            .bind_flags(copy | BindFlags::XDP_USE_NEED_WAKEUP)
            .build();
        // SAFETY: the buffer area is this socket's alone, so the pair of interface and queue
        // cannot be bound to it yet, and the library loads no program.
        let (tx, rx, rings) =
            unsafe { Socket::new(socket_config, &umem, &interface, queue) }.map_err(os_error)?;
        let (mut fill, completion) = rings.ok_or(io::ErrorKind::InvalidData)?;
        let for_sending = descriptors.split_off(BUFFERS as usize);
        // SAFETY: the descriptors are those of this buffer area, never handed out before. The
        // ring has a place for each of them.
        unsafe { fill.produce(&descriptors) };
        let watched = Watched {
            fd: Mutex::new(Some(rx.fd().as_raw_fd())),
            handing_over: AtomicBool::new(false),
        };
        let counters = Arc::<PuntCounters>::default();
        let out = FramesOut::new(
            umem.clone(),
            tx,
            completion,
            for_sending,
            Arc::clone(&counters),
        );
        Ok(Self {
            buffers: Buffers {
                umem,
                rx,
                fill,
                batch: vec![FrameDesc::default(); BATCH_MAX],
            },
            counters,
            watched: Arc::new(watched),
            statistics_due: Instant::now(),
            out,
        })
    }

    /// The socket, for the program's map of sockets.
    pub fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the rings, which live as long as `self`.
        unsafe { BorrowedFd::borrow_raw(self.buffers.rx.fd().as_raw_fd()) }
    }

    /// What it received and lost so far; readable from any thread while the socket is served.
    pub fn counters(&self) -> Arc<PuntCounters> {
        Arc::clone(&self.counters)
    }

    /// A way for another thread to see whether frames wait here.
    pub fn watch(&self) -> PuntWatch {
        PuntWatch(Arc::clone(&self.watched))
    }

    /// Its transmit side, until the socket is dropped.
    pub fn out(&self) -> FramesOut {
        self.out.clone()
    }

    /// Hands a batch of the frames that are there to `sink` and says how many. The sink is not called for none.
    ///
    /// # Errors
    /// Those of waking the driver up.
    pub fn receive(
        &mut self,
        sink: impl FnOnce(&mut dyn Iterator<Item = Punted<'_>>),
    ) -> io::Result<usize> {
        self.watched.handing_over.store(true, SeqCst);
        let batch = self.buffers.consume();
        let frames = batch.len;
        let bytes = batch.frames().map(|punted| punted.frame.len()).sum();
        if frames > 0 {
            sink(&mut batch.frames());
        }
        drop(batch);
        self.watched.handing_over.store(false, SeqCst);
        if frames > 0 {
            self.buffers.wake_if_asked()?;
        }
        self.count(frames, bytes);
        Ok(frames)
    }

    fn count(&mut self, frames: usize, bytes: usize) {
        self.counters.frames.fetch_add(frames as u64, Relaxed);
        self.counters.bytes.fetch_add(bytes as u64, Relaxed);
        let now = Instant::now();
        if now < self.statistics_due {
            return;
        }
        self.statistics_due = now + STATISTICS_INTERVAL;
        if let Ok(kernel) = self.buffers.rx.fd().xdp_statistics() {
            let counters = &self.counters;
            counters.rx_dropped.store(kernel.rx_dropped(), Relaxed);
            counters.rx_ring_full.store(kernel.rx_ring_full(), Relaxed);
            let empty = kernel.rx_fill_ring_empty_descs();
            counters.fill_ring_empty.store(empty, Relaxed);
        }
    }
}

impl Drop for PuntSocket {
    fn drop(&mut self) {
        let mut fd = self
            .watched
            .fd
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *fd = None;
        self.out.close();
        self.watched.handing_over.store(false, SeqCst);
    }
}

impl AsFd for PuntSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

impl fmt::Debug for PuntSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PuntSocket")
            .field("fd", &self.fd())
            .field("statistics", &self.counters.read())
            .finish_non_exhaustive()
    }
}

impl Buffers {
    fn consume(&mut self) -> Batch<'_> {
        // SAFETY: the batch is dropped before the next one is taken (it borrows `self`), so the
        // descriptors overwritten here have gone back to the kernel.
        let len = unsafe { self.rx.consume(&mut self.batch) };
        Batch { buffers: self, len }
    }

    /// With need-wakeup a driver that ran out of buffers sleeps until it is told of new ones.
    fn wake_if_asked(&mut self) -> io::Result<()> {
        if self.fill.needs_wakeup() {
            self.fill.wakeup(self.rx.fd_mut(), 0)?;
        }
        Ok(())
    }
}

impl Batch<'_> {
    fn frames(&self) -> impl Iterator<Item = Punted<'_>> {
        let Buffers { umem, batch, .. } = &*self.buffers;
        batch[..self.len].iter().map(move |descriptor| {
            // SAFETY: the descriptor came from this buffer area's receive ring and goes back to
            // the kernel only when `self` is dropped; nobody writes the buffer until then.
            let frame = unsafe { umem.data(descriptor) }.contents();
            // SAFETY: the kernel leaves `XDP_HEADROOM_BYTES` free in front of a frame in its buffer.
            let note = unsafe { &*frame.as_ptr().sub(WayBack::LEN).cast() };
            Punted {
                frame,
                note: WayBack::from_bytes(note),
            }
        })
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let Buffers {
            umem, fill, batch, ..
        } = &mut *self.buffers;
        for descriptor in &mut batch[..self.len] {
            // SAFETY: as in `frames`; the references that gave out are gone.
            let mut data = unsafe { umem.data_mut(descriptor) };
            // A note is for its frame: the next one in this buffer may come without.
            // SAFETY: as in `frames`.
            unsafe {
                let note = data.contents_mut().as_mut_ptr().sub(WayBack::LEN);
                note.write_bytes(0, WayBack::LEN);
            }
        }
        // SAFETY: the descriptors are this buffer area's, came from the receive ring and are
        // given back exactly once. The fill ring has a place for every buffer there is.
        unsafe { fill.produce(&batch[..self.len]) };
    }
}

/// What a [`PuntWatch`] looks at.
#[derive(Debug)]
struct Watched {
    /// The socket while it is open. No duplicate: that would keep the socket in the program's map
    /// after its worker, and take frames nobody reads.
    fd: Mutex<Option<RawFd>>,
    /// Set while frames are out of the ring and not yet handed over.
    handing_over: AtomicBool,
}

/// Sees from another thread whether frames wait in a [`PuntSocket`].
#[derive(Clone, Debug)]
pub struct PuntWatch(Arc<Watched>);

impl PuntWatch {
    /// Whether no frame is in the ring or in the hands of the worker. A closed socket is quiet.
    ///
    /// The ring is looked at first: a frame the worker takes afterwards was still there, one it
    /// took before is in its hands, because it raises the flag before it takes.
    pub fn is_quiet(&self) -> bool {
        !self.has_waiting() && !self.0.handing_over.load(SeqCst)
    }

    /// Whether a frame is in the ring.
    pub fn has_waiting(&self) -> bool {
        let fd = self.0.fd.lock().unwrap_or_else(PoisonError::into_inner);
        fd.is_some_and(|fd| {
            // SAFETY: the descriptor is open while it stands there, and the lock keeps it there.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            wait_readable(fd, Duration::ZERO).unwrap_or(false)
        })
    }
}

fn ring(size: u32) -> io::Result<QueueSize> {
    QueueSize::new(size).map_err(io::Error::other)
}

/// The system's error number below the library's words.
fn os_error(error: impl Error + Send + Sync + 'static) -> io::Error {
    let number = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .and_then(io::Error::raw_os_error);
    match number {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::other(error),
    }
}

/// A worker thread owns its socket.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<PuntSocket>();
};

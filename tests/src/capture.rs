//! Captures that are complete: listening before `start` returns, drained before `stop` does.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use tempfile::{NamedTempFile, TempPath};

use crate::Node;

/// Room for the frames of a burst that the reading thread has not fetched yet.
const BUFFER_BYTES: libc::c_int = 128 << 20;
/// How often the reading thread looks whether it should stop.
const STOP_POLL_US: libc::suseconds_t = 5_000;
const MAX_FRAME: usize = 1 << 17;
/// A VLAN tag is put back behind the two addresses.
const TAG_AT: usize = 12;

const TP_STATUS_VLAN_VALID: u32 = 1 << 4;
const PACKET_STATISTICS: libc::c_int = 6;

/// A running capture of everything that enters and leaves one interface.
#[derive(Debug)]
pub struct Capture {
    what: String,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<Result<Pcap>>>,
}

/// A finished capture, removed when dropped.
#[derive(Debug)]
pub struct Pcap {
    /// The file, in pcap format with nanoseconds.
    pub path: TempPath,
    /// Frames in it.
    pub frames: usize,
}

impl Capture {
    /// Starts capturing on `interface` of `node`; it listens when this returns.
    ///
    /// # Errors
    /// No such interface, or no raw socket may be made.
    pub fn start(node: &Node, interface: &str) -> Result<Self> {
        let what = format!("capture on {} of {}", interface, node.name());
        let ifindex = node.ifindex(interface)?;
        let socket = node
            .enter(|| PacketSocket::bind(ifindex))
            .with_context(|| what.clone())?;
        let stop = Arc::new(AtomicBool::new(false));
        let reader = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || record(&socket, &stop)
        });
        Ok(Self {
            what,
            stop,
            reader: Some(reader),
        })
    }

    /// Starts a capture on each far end of the relay's cables: what the relay receives and
    /// sends, also what its XDP program sends past the kernel's taps.
    ///
    /// # Errors
    /// As [`Capture::start`].
    pub fn of_relay(lab: &crate::Lab) -> Result<Vec<Self>> {
        let ends = lab.relay_far_ends().into_iter();
        ends.map(|(node, port)| Self::start(node, port)).collect()
    }

    /// Takes what has arrived by now and ends the capture.
    ///
    /// # Errors
    /// The file could not be written, or the kernel had to drop frames.
    pub fn stop(mut self) -> Result<Pcap> {
        self.stop.store(true, Ordering::Release);
        let reader = self.reader.take().context("a capture stops once")?;
        let pcap = reader
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        pcap.with_context(|| self.what.clone())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Pcap {
    /// Keeps the file as `to`.
    ///
    /// # Errors
    /// It cannot be copied there.
    pub fn keep(&self, to: &Path) -> Result<()> {
        std::fs::copy(&self.path, to)?;
        Ok(())
    }
}

fn record(socket: &PacketSocket, stop: &AtomicBool) -> Result<Pcap> {
    let file = NamedTempFile::new()?;
    let mut out = BufWriter::new(file.as_file().try_clone()?);
    write_file_header(&mut out)?;
    let mut frames = 0;
    let mut buffer = vec![MaybeUninit::uninit(); MAX_FRAME];
    loop {
        // Read before the socket is found empty: whatever came before `stop` is in it then.
        let stopping = stop.load(Ordering::Acquire);
        match socket.receive(&mut buffer)? {
            Some(frame) => {
                write_frame(&mut out, &frame)?;
                frames += 1;
            }
            None if stopping => break,
            None => {}
        }
    }
    out.flush()?;
    let dropped = socket.dropped()?;
    ensure!(dropped == 0, "the kernel dropped {dropped} frames");
    Ok(Pcap {
        path: file.into_temp_path(),
        frames,
    })
}

fn write_file_header(out: &mut impl Write) -> io::Result<()> {
    const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
    const LINKTYPE_ETHERNET: u32 = 1;
    let words = [
        MAGIC_NANOSECONDS,
        0x0004_0002, // version 2.4
        0,
        0,
        u32::try_from(MAX_FRAME).unwrap_or(u32::MAX),
        LINKTYPE_ETHERNET,
    ];
    words
        .iter()
        .try_for_each(|word| out.write_all(&word.to_ne_bytes()))
}

fn write_frame(out: &mut BufWriter<File>, frame: &Frame<'_>) -> Result<()> {
    let tag = frame.tag.as_ref().map_or(&[][..], |tag| &tag[..]);
    let captured = u32::try_from(frame.bytes.len() + tag.len())?;
    let [seconds, nanoseconds] = frame.time;
    for word in [seconds, nanoseconds, captured, captured] {
        out.write_all(&word.to_ne_bytes())?;
    }
    let (addresses, rest) = frame.bytes.split_at(TAG_AT.min(frame.bytes.len()));
    out.write_all(addresses)?;
    out.write_all(tag)?;
    out.write_all(rest)?;
    Ok(())
}

/// A frame as it was on the wire, except for its outermost VLAN tag.
struct Frame<'a> {
    bytes: &'a [u8],
    tag: Option<[u8; 4]>,
    time: [u32; 2],
}

/// A packet socket on one interface.
struct PacketSocket(OwnedFd);

impl PacketSocket {
    fn bind(ifindex: u32) -> io::Result<Self> {
        // Bound to no protocol first, so that nothing of other interfaces gets in.
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor, which nobody else owns.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        socket.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &BUFFER_BYTES)?;
        socket.set(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1)?;
        socket.set(libc::SOL_PACKET, libc::PACKET_AUXDATA, &1)?;
        let poll = libc::timeval {
            tv_sec: 0,
            tv_usec: STOP_POLL_US,
        };
        socket.set(libc::SOL_SOCKET, libc::SO_RCVTIMEO, &poll)?;
        // SAFETY: all zero is a valid address.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
        address.sll_protocol = u16::try_from(libc::ETH_P_ALL)
            .map_err(io::Error::other)?
            .to_be();
        address.sll_ifindex = ifindex.cast_signed();
        // SAFETY: the address is valid for its size.
        let bound = unsafe {
            libc::bind(
                socket.0.as_raw_fd(),
                std::ptr::from_ref(&address).cast(),
                len_of(&address),
            )
        };
        if bound != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(socket)
    }

    fn set<T>(&self, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
        // SAFETY: the value is valid for its size.
        let done = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                level,
                option,
                std::ptr::from_ref(value).cast(),
                len_of(value),
            )
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Frames the kernel had no room for.
    fn dropped(&self) -> io::Result<u32> {
        let mut packets_drops = [0_u32; 2];
        let mut len = len_of(&packets_drops);
        // SAFETY: both pointers are valid, and the length is that of the value.
        let done = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                PACKET_STATISTICS,
                std::ptr::from_mut(&mut packets_drops).cast(),
                &raw mut len,
            )
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(packets_drops[1])
    }

    /// The next frame, or none within [`STOP_POLL_US`].
    fn receive<'a>(&self, buffer: &'a mut [MaybeUninit<u8>]) -> io::Result<Option<Frame<'a>>> {
        let mut control = [0_u64; 16];
        let mut part = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        // SAFETY: all zero is a valid message header.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: the header points to buffers that outlive the call.
        let len = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut message, 0) };
        let Ok(len) = usize::try_from(len) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
                // The interface went down or away; what was captured stays.
                _ if error.raw_os_error() == Some(libc::ENETDOWN) => Ok(None),
                _ => Err(error),
            };
        };
        let (tag, time) = read_control(&message);
        // SAFETY: the kernel has initialised the first `len` bytes.
        let bytes = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), len) };
        Ok(Some(Frame { bytes, tag, time }))
    }
}

/// The VLAN tag the kernel took off, and the time of reception.
fn read_control(message: &libc::msghdr) -> (Option<[u8; 4]>, [u32; 2]) {
    let (mut tag, mut time) = (None, [0; 2]);
    // SAFETY: the kernel has filled the header and its control buffer, which still live.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !next.is_null() {
        // SAFETY: not null, so it points into the control buffer.
        let header = unsafe { &*next };
        // SAFETY: as above; the data follows the header.
        let data = unsafe { libc::CMSG_DATA(next) };
        match (header.cmsg_level, header.cmsg_type) {
            (libc::SOL_PACKET, libc::PACKET_AUXDATA) => {
                // SAFETY: the type says what the data is; it may be unaligned.
                let aux = unsafe { data.cast::<libc::tpacket_auxdata>().read_unaligned() };
                if aux.tp_status & TP_STATUS_VLAN_VALID != 0 {
                    let [a, b] = aux.tp_vlan_tpid.to_be_bytes();
                    let [c, d] = aux.tp_vlan_tci.to_be_bytes();
                    tag = Some([a, b, c, d]);
                }
            }
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                // SAFETY: the type says what the data is; it may be unaligned.
                let at = unsafe { data.cast::<libc::timespec>().read_unaligned() };
                time = [at.tv_sec, at.tv_nsec].map(|part| u32::try_from(part).unwrap_or(0));
            }
            _ => {}
        }
        // SAFETY: both point into what the kernel has filled.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
    (tag, time)
}

fn len_of<T>(_: &T) -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(libc::socklen_t::MAX)
}

//! A raw socket on one interface, which sees whole frames.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Longest frame, merged ones included.
pub(crate) const MAX_FRAME: usize = 1 << 17;
/// Room for the frames of a burst that the reading thread has not fetched yet.
const BUFFER_BYTES: libc::c_int = 128 << 20;
/// Longest wait of [`PacketSocket::receive`], after which a thread can look whether to stop.
const RECEIVE_WAIT_US: libc::suseconds_t = 5_000;

const TP_STATUS_VLAN_VALID: u32 = 1 << 4;
const PACKET_STATISTICS: libc::c_int = 6;
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// Which frames a socket sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// What enters and what leaves.
    Both,
    /// What enters.
    Incoming,
    /// None: the socket only sends.
    Neither,
}

/// A frame as it was on the wire, except for its outermost VLAN tag.
pub(crate) struct Frame<'a> {
    /// The frame without that tag.
    pub(crate) bytes: &'a [u8],
    /// The tag: protocol and TCI.
    pub(crate) tag: Option<[u8; 4]>,
    /// Seconds and nanoseconds since 1970.
    pub(crate) time: [u32; 2],
}

/// A packet socket on one interface.
#[derive(Debug)]
pub(crate) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Binds to an interface of the calling thread's namespace.
    pub(crate) fn bind(ifindex: u32, direction: Direction) -> io::Result<Self> {
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
        if direction == Direction::Incoming {
            socket.set(libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1)?;
        }
        let poll = libc::timeval {
            tv_sec: 0,
            tv_usec: RECEIVE_WAIT_US,
        };
        socket.set(libc::SOL_SOCKET, libc::SO_RCVTIMEO, &poll)?;
        // SAFETY: all zero is a valid address.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
        if direction != Direction::Neither {
            address.sll_protocol = u16::try_from(libc::ETH_P_ALL)
                .map_err(io::Error::other)?
                .to_be();
        }
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

    /// Sends a whole frame.
    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: the pointer is valid for that length.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
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
    pub(crate) fn dropped(&self) -> io::Result<u32> {
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

    /// The next frame, or none within [`RECEIVE_WAIT_US`].
    pub(crate) fn receive<'a>(
        &self,
        buffer: &'a mut [MaybeUninit<u8>],
    ) -> io::Result<Option<Frame<'a>>> {
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

//! Datagrams on their way out, many to a system call.
//!
//! Bubbles to one server are as long as each other and go as one message that the kernel cuts into datagrams
//! (`UDP_SEGMENT`): the way through its layers, which costs more than all else about a bubble, is gone once for many.

use std::io;
use std::mem;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, BorrowedFd};

use teredo::addr::Mapped;
use teredo::relay::UdpKind;
use tracing::debug;

use super::udp::{Control, socklen, to_sockaddr};

/// Datagrams handed over by one system call.
pub const SEND_BATCH: usize = 256;

/// Datagrams in one message: `UDP_MAX_SEGMENTS` of Linux before 6.9.
const SEGMENTS_MAX: usize = 64;

/// `MSG_DONTWAIT`: the relay's lock must not be held until a port has sent what it has. What finds the socket's
/// buffer full is lost, and counted as refused.
const FLAGS: libc::c_int = libc::MSG_DONTWAIT;

/// A datagram of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Destination.
    pub to: Mapped,
    /// TOS byte.
    pub tos: u8,
    /// What the caller wants to know again when the kernel refuses it.
    pub kind: UdpKind,
    /// Bytes of UDP payload.
    pub len: usize,
    /// Where they begin.
    at: usize,
}

impl Datagram {
    /// Whether both may go as one message.
    fn goes_with(&self, other: &Self) -> bool {
        self.kind == UdpKind::Bubble
            && other.kind == UdpKind::Bubble
            && (self.to, self.tos, self.len) == (other.to, other.tos, other.len)
    }
}

/// Datagrams waiting for [`ServiceSocket::send`](super::udp::ServiceSocket::send), in memory that is used again.
#[derive(Debug)]
pub struct SendBatch {
    datagrams: Vec<Datagram>,
    bytes: Vec<u8>,
    headers: Headers,
    /// Whether the kernel cuts messages. Off for good when it once refused to.
    segments: bool,
}

impl Default for SendBatch {
    fn default() -> Self {
        Self {
            datagrams: Vec::new(),
            bytes: Vec::new(),
            headers: Headers::default(),
            segments: true,
        }
    }
}

impl SendBatch {
    /// Adds one at the end.
    pub fn push(&mut self, to: Mapped, tos: u8, payload: &[u8], kind: UdpKind) {
        self.datagrams.push(Datagram {
            to,
            tos,
            kind,
            len: payload.len(),
            at: self.bytes.len(),
        });
        self.bytes.extend_from_slice(payload);
    }

    /// Whether a system call is worth it.
    pub fn is_full(&self) -> bool {
        self.datagrams.len() >= SEND_BATCH
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Sends everything through `fd` and empties the batch. Datagrams to one destination leave in order.
    pub(super) fn send_through(
        &mut self,
        fd: BorrowedFd<'_>,
        mut failed: impl FnMut(&Datagram, &io::Error),
    ) {
        // Stable: the order towards each destination stays.
        self.datagrams.sort_by_key(|datagram| datagram.to);
        let mut rest = self.datagrams.as_slice();
        while !rest.is_empty() {
            let messages = self.headers.fill(rest, &self.bytes, self.segments);
            let error = match send(fd, messages) {
                Ok(sent) => {
                    let datagrams = messages[..sent].iter().map(|m| m.msg_hdr.msg_iovlen).sum();
                    rest = &rest[datagrams..];
                    continue;
                }
                Err(error) => error,
            };
            // An error is that of the first message.
            let refused = messages.first().map_or(1, |m| m.msg_hdr.msg_iovlen);
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                _ if refused > 1 && is_about_segments(&error) => {
                    debug!(%error, "the kernel does not cut messages, each bubble goes alone");
                    self.segments = false;
                }
                _ => {
                    let (lost, left) = rest.split_at(refused);
                    for datagram in lost {
                        failed(datagram, &error);
                    }
                    rest = left;
                }
            }
        }
        self.datagrams.clear();
        self.bytes.clear();
    }
}

/// What a device or kernel that cannot cut messages says.
fn is_about_segments(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EIO | libc::EOPNOTSUPP | libc::ENOPROTOOPT | libc::EMSGSIZE)
    )
}

fn send(fd: BorrowedFd<'_>, messages: &mut [libc::mmsghdr]) -> io::Result<usize> {
    let count = libc::c_uint::try_from(messages.len()).unwrap_or(libc::c_uint::MAX);
    // SAFETY: `Headers::fill` has just pointed every header at vectors, addresses, controls and payloads that are borrowed
    // or its own until the call returns.
    let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), count, FLAGS) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// The arrays `sendmmsg` takes, with a place for each datagram.
struct Headers {
    messages: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    addresses: Vec<libc::sockaddr_in>,
    controls: Vec<Control>,
}

// SAFETY: the pointers in the arrays are written before each use, by the thread that uses them; between uses they mean nothing.
unsafe impl Send for Headers {}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Headers").finish_non_exhaustive()
    }
}

impl Default for Headers {
    fn default() -> Self {
        // SAFETY: mmsghdr, iovec and sockaddr_in are plain data for which all zero bits are valid.
        let (message, vector, address) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        Self {
            messages: vec![message; SEND_BATCH],
            vectors: vec![vector; SEND_BATCH],
            addresses: vec![address; SEND_BATCH],
            controls: vec![Control::default(); SEND_BATCH],
        }
    }
}

impl Headers {
    /// Describes the first of `datagrams`, one message for each or, with `segments`, for each group that may go as one.
    fn fill(
        &mut self,
        datagrams: &[Datagram],
        bytes: &[u8],
        segments: bool,
    ) -> &mut [libc::mmsghdr] {
        let datagrams = &datagrams[..datagrams.len().min(SEND_BATCH)];
        let mut filled = 0;
        let mut at = 0;
        while let Some(first) = datagrams.get(at) {
            let group = datagrams[at..].iter().take(SEGMENTS_MAX);
            let group = group
                .take_while(|next| segments && next.goes_with(first))
                .count()
                .max(1);
            for (vector, datagram) in self.vectors[at..]
                .iter_mut()
                .zip(&datagrams[at..at + group])
            {
                let payload = &bytes[datagram.at..datagram.at + datagram.len];
                vector.iov_base = payload.as_ptr().cast_mut().cast();
                vector.iov_len = payload.len();
            }
            self.addresses[filled] = to_sockaddr(SocketAddrV4::from(first.to));
            let header = &mut self.messages[filled].msg_hdr;
            header.msg_name = (&raw mut self.addresses[filled]).cast();
            header.msg_namelen = socklen::<libc::sockaddr_in>();
            header.msg_iov = &raw mut self.vectors[at];
            header.msg_iovlen = group;
            header.msg_control = (&raw mut self.controls[filled]).cast();
            let tos = (first.tos != 0).then_some(i32::from(first.tos));
            let segment = u16::try_from(first.len).ok().filter(|_| group > 1);
            describe(header, tos, segment);
            filled += 1;
            at += group;
        }
        &mut self.messages[..filled]
    }
}

/// Writes the control messages of `header`: the TOS byte unless it is 0, and the length at which the kernel cuts.
fn describe(header: &mut libc::msghdr, tos: Option<i32>, segment: Option<u16>) {
    let mut len = 0;
    // SAFETY: a [`Control`] has room for both control messages, is aligned for their headers, and is what `msg_control`
    // points to; `msg_controllen` says so before the second is looked for.
    unsafe {
        header.msg_controllen = size_of::<Control>();
        let mut control = libc::CMSG_FIRSTHDR(header);
        if let Some(tos) = tos {
            (*control).cmsg_level = libc::IPPROTO_IP;
            (*control).cmsg_type = libc::IP_TOS;
            (*control).cmsg_len = libc::CMSG_LEN(socklen::<i32>()) as usize;
            libc::CMSG_DATA(control).cast::<i32>().write_unaligned(tos);
            len += libc::CMSG_SPACE(socklen::<i32>()) as usize;
            control = control.byte_add(len);
        }
        if let Some(segment) = segment {
            (*control).cmsg_level = libc::SOL_UDP;
            (*control).cmsg_type = libc::UDP_SEGMENT;
            (*control).cmsg_len = libc::CMSG_LEN(socklen::<u16>()) as usize;
            libc::CMSG_DATA(control)
                .cast::<u16>()
                .write_unaligned(segment);
            len += libc::CMSG_SPACE(socklen::<u16>()) as usize;
        }
    }
    header.msg_controllen = len;
    if len == 0 {
        header.msg_control = std::ptr::null_mut();
    }
}

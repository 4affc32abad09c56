//! The service socket: the one IPv4 address and port everything leaves from.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::poll::wait_readable;

/// Datagrams moved by one system call.
pub const BATCH: usize = 64;

/// Largest UDP payload over IPv4 (PROTOCOL 2.9): the kernel hands over reassembled datagrams of any size.
const PAYLOAD_MAX: usize = 65_507;

/// Asked of the kernel for both directions, so that a burst of answers waits instead of being lost.
const SOCKET_BUFFER_BYTES: usize = 16 << 20;

/// Room for one control message that holds an `int` or a byte (TOS).
const CONTROL_LEN: usize = 64;

/// The UDP socket of the relay.
#[derive(Debug)]
pub struct ServiceSocket(Socket);

impl ServiceSocket {
    /// Binds `service` with the options the protocol asks for: DF clear (RFC 4380 5.1.2) and the TOS byte of what arrives.
    ///
    /// # Errors
    /// Those of the system calls; `EADDRINUSE` when another program holds the port.
    pub fn bind(service: SocketAddrV4) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.bind(&SocketAddr::V4(service).into())?;
        for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
            // A smaller buffer works too: the limit for the unprivileged is the kernel's choice.
            let _ = set_int(
                &socket,
                libc::SOL_SOCKET,
                option,
                SOCKET_BUFFER_BYTES.try_into().unwrap_or(i32::MAX),
            );
        }
        set_int(
            &socket,
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_DONT,
        )?;
        set_int(&socket, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)?;
        Ok(Self(socket))
    }

    /// A second handle on the same socket, for the thread that receives.
    ///
    /// # Errors
    /// Those of `dup`.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Waits up to `timeout` for datagrams and receives what is there, at most [`BATCH`].
    ///
    /// # Errors
    /// Those of `recvmmsg`.
    pub fn receive(&self, batch: &mut ReceiveBatch, timeout: Duration) -> io::Result<usize> {
        batch.received = 0;
        if !wait_readable(self.0.as_fd(), timeout)? {
            return Ok(0);
        }
        batch.received = batch.receive_from(self.0.as_fd())?;
        Ok(batch.received)
    }

    /// Sends every datagram of `batch` in order and empties it. `failed` is told which ones the kernel refused, and why.
    pub fn send(&self, batch: &mut SendBatch, mut failed: impl FnMut(&Datagram, io::Error)) {
        let mut done = 0;
        while done < batch.0.len() {
            let end = batch.0.len().min(done + BATCH);
            match send_some(self.0.as_fd(), &batch.0[done..end]) {
                Ok(sent) => done += sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // sendmmsg reports an error only for the first datagram it could not send.
                    failed(&batch.0[done], error);
                    done += 1;
                }
            }
        }
        batch.0.clear();
    }
}

impl AsFd for ServiceSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn set_int(socket: &Socket, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            socklen::<i32>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[allow(clippy::cast_possible_truncation)]
const fn socklen<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

/// A datagram on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Destination.
    pub to: SocketAddrV4,
    /// TOS byte.
    pub tos: u8,
    /// UDP payload.
    pub payload: Vec<u8>,
    /// What the caller wants to know again when the kernel refuses it.
    pub kind: teredo::relay::UdpKind,
}

/// Datagrams waiting for [`ServiceSocket::send`].
#[derive(Debug, Default)]
pub struct SendBatch(Vec<Datagram>);

impl SendBatch {
    /// Adds one at the end.
    pub fn push(&mut self, datagram: Datagram) {
        self.0.push(datagram);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_LEN]);

fn to_sockaddr(a: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap_or(0),
        sin_port: a.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(a.ip().octets()),
        },
        sin_zero: [0; 8],
    }
}

fn send_some(fd: BorrowedFd<'_>, datagrams: &[Datagram]) -> io::Result<usize> {
    let mut addresses: Vec<libc::sockaddr_in> =
        datagrams.iter().map(|d| to_sockaddr(d.to)).collect();
    let mut vectors: Vec<libc::iovec> = datagrams
        .iter()
        .map(|d| libc::iovec {
            iov_base: d.payload.as_ptr().cast_mut().cast(),
            iov_len: d.payload.len(),
        })
        .collect();
    let mut controls = vec![Control([0; CONTROL_LEN]); datagrams.len()];
    // SAFETY: mmsghdr is plain data for which all zero bits are valid.
    let mut messages: Vec<libc::mmsghdr> = vec![unsafe { mem::zeroed() }; datagrams.len()];
    for (i, message) in messages.iter_mut().enumerate() {
        let header = &mut message.msg_hdr;
        header.msg_name = (&raw mut addresses[i]).cast();
        header.msg_namelen = socklen::<libc::sockaddr_in>();
        header.msg_iov = &raw mut vectors[i];
        header.msg_iovlen = 1;
        if datagrams[i].tos != 0 {
            header.msg_control = (&raw mut controls[i]).cast();
            // SAFETY: `controls[i]` has room for one int and is aligned for a header.
            unsafe {
                header.msg_controllen = libc::CMSG_SPACE(socklen::<i32>()) as usize;
                let control = libc::CMSG_FIRSTHDR(header);
                (*control).cmsg_level = libc::IPPROTO_IP;
                (*control).cmsg_type = libc::IP_TOS;
                (*control).cmsg_len = libc::CMSG_LEN(socklen::<i32>()) as usize;
                libc::CMSG_DATA(control)
                    .cast::<i32>()
                    .write_unaligned(i32::from(datagrams[i].tos));
            }
        }
    }
    let count = libc::c_uint::try_from(messages.len()).unwrap_or(libc::c_uint::MAX);
    // SAFETY: every header points at the vectors above, which live until the call returns.
    let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Buffers for [`ServiceSocket::receive`].
pub struct ReceiveBatch {
    buffers: Vec<Vec<u8>>,
    lengths: [usize; BATCH],
    sources: [libc::sockaddr_in; BATCH],
    tos: [u8; BATCH],
    received: usize,
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        Self {
            buffers: (0..BATCH).map(|_| vec![0; PAYLOAD_MAX]).collect(),
            lengths: [0; BATCH],
            sources: [to_sockaddr(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)); BATCH],
            tos: [0; BATCH],
            received: 0,
        }
    }
}

impl std::fmt::Debug for ReceiveBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiveBatch")
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

impl ReceiveBatch {
    /// What the last call received: source, TOS byte, payload.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddrV4, u8, &[u8])> {
        (0..self.received).map(|i| {
            let a = &self.sources[i];
            let source = SocketAddrV4::new(
                Ipv4Addr::from(a.sin_addr.s_addr.to_ne_bytes()),
                u16::from_be(a.sin_port),
            );
            (source, self.tos[i], &self.buffers[i][..self.lengths[i]])
        })
    }

    fn receive_from(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let mut controls = [Control([0; CONTROL_LEN]); BATCH];
        let mut vectors: Vec<libc::iovec> = self
            .buffers
            .iter_mut()
            .map(|b| libc::iovec {
                iov_base: b.as_mut_ptr().cast(),
                iov_len: b.len(),
            })
            .collect();
        // SAFETY: mmsghdr is plain data for which all zero bits are valid.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        for (i, message) in messages.iter_mut().enumerate() {
            let header = &mut message.msg_hdr;
            header.msg_name = (&raw mut self.sources[i]).cast();
            header.msg_namelen = socklen::<libc::sockaddr_in>();
            header.msg_iov = &raw mut vectors[i];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut controls[i]).cast();
            header.msg_controllen = CONTROL_LEN;
        }
        // SAFETY: every header points at buffers that live until the call returns.
        let received = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                messages.as_mut_ptr(),
                libc::c_uint::try_from(BATCH).unwrap_or(0),
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let Ok(received) = usize::try_from(received) else {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock {
                Ok(0)
            } else {
                Err(error)
            };
        };
        for (i, message) in messages.iter().enumerate().take(received) {
            self.lengths[i] = usize::try_from(message.msg_len)
                .unwrap_or(0)
                .min(PAYLOAD_MAX);
            self.tos[i] = tos_of(&message.msg_hdr);
        }
        Ok(received)
    }
}

fn tos_of(header: &libc::msghdr) -> u8 {
    // SAFETY: the kernel filled the control buffer and set its length; the CMSG macros stay within it.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            if (*control).cmsg_level == libc::IPPROTO_IP && (*control).cmsg_type == libc::IP_TOS {
                return libc::CMSG_DATA(control).read();
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use teredo::relay::UdpKind;

    fn socket() -> (ServiceSocket, SocketAddrV4) {
        let socket = ServiceSocket::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let local = socket.0.local_addr().unwrap().as_socket_ipv4().unwrap();
        (socket, local)
    }

    fn datagram(to: SocketAddrV4, tos: u8, payload: Vec<u8>) -> Datagram {
        Datagram {
            to,
            tos,
            payload,
            kind: UdpKind::Data,
        }
    }

    #[test]
    fn a_batch_arrives_in_order_with_its_tos_bytes() {
        let (a, a_addr) = socket();
        let (b, b_addr) = socket();
        let mut out = SendBatch::default();
        for i in 0..200_u8 {
            out.push(datagram(b_addr, i & 0xfc | 2, vec![i; usize::from(i)]));
        }
        a.send(&mut out, |d, e| panic!("{d:?}: {e}"));
        assert!(out.is_empty());
        let mut batch = ReceiveBatch::default();
        let mut next = 0_u8;
        while next < 200 {
            assert_ne!(
                b.receive(&mut batch, Duration::from_secs(5)).unwrap(),
                0,
                "lost {next}"
            );
            for (source, tos, payload) in batch.iter() {
                assert_eq!(
                    (source, tos, payload),
                    (a_addr, next & 0xfc | 2, &vec![next; usize::from(next)][..])
                );
                next += 1;
            }
        }
    }

    #[test]
    fn a_datagram_the_kernel_refuses_is_reported_and_the_rest_is_sent() {
        let (a, a_addr) = socket();
        let mut out = SendBatch::default();
        out.push(datagram(a_addr, 0, vec![1]));
        out.push(datagram(a_addr, 0, vec![0; 65_508]));
        out.push(datagram(a_addr, 0, vec![2]));
        let mut refused = Vec::new();
        a.send(&mut out, |d, e| {
            refused.push((d.payload.len(), e.raw_os_error()));
        });
        assert_eq!(refused, [(65_508, Some(libc::EMSGSIZE))]);
        let mut batch = ReceiveBatch::default();
        assert_eq!(a.receive(&mut batch, Duration::from_secs(5)).unwrap(), 2);
        assert_eq!(
            batch.iter().map(|(_, _, p)| p[0]).collect::<Vec<_>>(),
            [1, 2]
        );
    }
}

//! The service socket: the one IPv4 address and port everything leaves from.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::poll::wait_readable;
use super::send::{Datagram, SendBatch};

/// Datagrams received by one system call.
pub const BATCH: usize = 64;

/// Largest UDP payload over IPv4 (PROTOCOL 2.9): the kernel hands over reassembled datagrams of any size.
const PAYLOAD_MAX: usize = 65_507;

/// Asked of the kernel for both directions, so that a burst of answers waits instead of being lost.
const SOCKET_BUFFER_BYTES: usize = 16 << 20;

/// Room for the control messages of one datagram, in either direction: TOS byte and segment length.
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

    /// The socket behind `fd`, which another process has bound and handed over; datagrams that wait in it are not lost.
    pub fn handed_over(fd: OwnedFd) -> Self {
        Self(fd.into())
    }

    /// The address and port it is bound to.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn local_address(&self) -> io::Result<SocketAddrV4> {
        let address = self.0.local_addr()?;
        address
            .as_socket_ipv4()
            .ok_or_else(|| io::Error::other("not an IPv4 socket"))
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
        batch.received = batch.receive_from(self.0.as_fd())?;
        if batch.received == 0 && wait_readable(self.0.as_fd(), timeout)? {
            batch.received = batch.receive_from(self.0.as_fd())?;
        }
        Ok(batch.received)
    }

    /// Sends every datagram of `batch` and empties it; those to one destination leave in order. `failed` is told which
    /// ones the kernel refused, and why.
    pub fn send(&self, batch: &mut SendBatch, failed: impl FnMut(&Datagram, &io::Error)) {
        batch.send_through(self.0.as_fd(), failed);
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
pub(super) const fn socklen<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(super) struct Control([u8; CONTROL_LEN]);

impl Default for Control {
    fn default() -> Self {
        Self([0; CONTROL_LEN])
    }
}

pub(super) fn to_sockaddr(a: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap_or(0),
        sin_port: a.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(a.ip().octets()),
        },
        sin_zero: [0; 8],
    }
}

/// Buffers for [`ServiceSocket::receive`].
pub struct ReceiveBatch {
    buffers: Vec<Vec<u8>>,
    lengths: [usize; BATCH],
    sources: Box<[libc::sockaddr_in; BATCH]>,
    tos: [u8; BATCH],
    vectors: Box<[libc::iovec; BATCH]>,
    controls: Box<[Control; BATCH]>,
    messages: Box<[libc::mmsghdr; BATCH]>,
    received: usize,
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        // SAFETY: mmsghdr, iovec and sockaddr_in are plain data for which all zero bits are valid.
        let (messages, vectors, sources) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        Self {
            buffers: (0..BATCH).map(|_| vec![0; PAYLOAD_MAX]).collect(),
            lengths: [0; BATCH],
            sources: Box::new(sources),
            tos: [0; BATCH],
            vectors: Box::new(vectors),
            controls: Box::new([Control::default(); BATCH]),
            messages: Box::new(messages),
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
        self.received = 0;
        for (i, message) in self.messages.iter_mut().enumerate() {
            let buffer = &mut self.buffers[i];
            self.vectors[i] = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            };
            let header = &mut message.msg_hdr;
            header.msg_name = (&raw mut self.sources[i]).cast();
            header.msg_namelen = socklen::<libc::sockaddr_in>();
            header.msg_iov = &raw mut self.vectors[i];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut self.controls[i]).cast();
            header.msg_controllen = CONTROL_LEN;
        }
        // SAFETY: every header was just pointed at buffers of `self`, which is borrowed until the call returns.
        let received = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.messages.as_mut_ptr(),
                libc::c_uint::try_from(BATCH).unwrap_or(0),
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let Ok(received) = usize::try_from(received) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            };
        };
        for (i, message) in self.messages.iter().enumerate().take(received) {
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
    use teredo::addr::Mapped;
    use teredo::relay::UdpKind;

    fn socket() -> (ServiceSocket, SocketAddrV4) {
        let socket = ServiceSocket::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let local = socket.0.local_addr().unwrap().as_socket_ipv4().unwrap();
        (socket, local)
    }

    /// The next `count` datagrams.
    fn received(socket: &ServiceSocket, count: usize) -> Vec<(SocketAddrV4, u8, Vec<u8>)> {
        let mut batch = ReceiveBatch::default();
        let mut all = Vec::new();
        while all.len() < count {
            let more = socket.receive(&mut batch, Duration::from_secs(5)).unwrap();
            assert_ne!(more, 0, "lost {}", all.len());
            all.extend(batch.iter().map(|(from, tos, p)| (from, tos, p.to_vec())));
        }
        all
    }

    #[test]
    fn a_batch_arrives_in_order_with_its_tos_bytes() {
        let (a, a_addr) = socket();
        let (b, b_addr) = socket();
        let mut out = SendBatch::default();
        let mut sent = Vec::new();
        for i in 0..200_u8 {
            let (tos, payload) = (i & 0xfc | 2, vec![i; usize::from(i)]);
            out.push(b_addr.into(), tos, &payload, UdpKind::Data);
            sent.push((a_addr, tos, payload));
        }
        a.send(&mut out, |d, e| panic!("{d:?}: {e}"));
        assert!(out.is_empty());
        assert_eq!(received(&b, 200), sent);
    }

    #[test]
    fn bubbles_to_many_servers_arrive_one_by_one_whatever_stands_between_them() {
        let (a, a_addr) = socket();
        let servers = [socket(), socket()];
        let mut out = SendBatch::default();
        let mut sent = [Vec::new(), Vec::new()];
        for i in 0..600_u16 {
            let to = usize::from(i % 2);
            // Some are longer than others, and some are no bubbles.
            let mut payload = vec![7; if i % 100 == 0 { 40 } else { 46 }];
            payload[..2].copy_from_slice(&i.to_be_bytes());
            let kind = if i % 50 == 3 {
                UdpKind::Queued
            } else {
                UdpKind::Bubble
            };
            out.push(servers[to].1.into(), 0, &payload, kind);
            sent[to].push((a_addr, 0, payload));
        }
        a.send(&mut out, |d, e| panic!("{d:?}: {e}"));
        for ((server, _), sent) in servers.iter().zip(sent) {
            assert_eq!(received(server, sent.len()), sent);
        }
    }

    #[test]
    fn a_datagram_the_kernel_refuses_is_reported_and_the_rest_is_sent() {
        let (a, a_addr) = socket();
        let mut out = SendBatch::default();
        for payload in [vec![1], vec![0; 65_508], vec![2]] {
            out.push(a_addr.into(), 0, &payload, UdpKind::Data);
        }
        let mut refused = Vec::new();
        a.send(&mut out, |d, e| refused.push((d.len, e.raw_os_error())));
        assert_eq!(refused, [(65_508, Some(libc::EMSGSIZE))]);
        let payloads: Vec<u8> = received(&a, 2).iter().map(|(_, _, p)| p[0]).collect();
        assert_eq!(payloads, [1, 2]);
    }

    #[test]
    fn bubbles_that_cannot_be_routed_are_reported_one_by_one() {
        let (a, _) = socket();
        let mut out = SendBatch::default();
        let nowhere = Mapped {
            ip: Ipv4Addr::BROADCAST,
            port: 3544,
        };
        for _ in 0..3 {
            out.push(nowhere, 0, &[0; 40], UdpKind::Bubble);
        }
        let mut refused = 0;
        a.send(&mut out, |_, _| refused += 1);
        assert_eq!(refused, 3);
    }
}

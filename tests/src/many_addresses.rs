//! A UDP socket that speaks for every IPv4 address of its machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::Node;

/// Room for a burst of small datagrams from thousands of peers.
const BUFFER_BYTES: libc::c_int = 64 << 20;

/// One port on all local addresses; each datagram tells which of them it was sent to.
#[derive(Debug)]
pub(crate) struct ManyAddresses {
    socket: UdpSocket,
    port: u16,
}

/// A datagram's envelope.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub(crate) len: usize,
    pub(crate) from: SocketAddrV4,
    pub(crate) to: Ipv4Addr,
    pub(crate) tos: u8,
}

impl ManyAddresses {
    /// Binds `port` on `node`.
    pub(crate) fn bind(node: &Node, port: u16) -> io::Result<Self> {
        node.enter(|| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            set(
                &socket,
                libc::SOL_SOCKET,
                libc::SO_RCVBUFFORCE,
                BUFFER_BYTES,
            )?;
            set(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
            set(&socket, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)?;
            socket.set_nonblocking(true)?;
            socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
            Ok(Self {
                socket: socket.into(),
                port,
            })
        })
    }

    /// The port it is bound to.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The next datagram, if one has arrived.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Envelope>> {
        // SAFETY: all zero is a valid address and a valid message header.
        let mut from: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        let mut part = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        let mut control = [0_u64; 16];
        message.msg_name = (&raw mut from).cast();
        message.msg_namelen = u32::try_from(size_of_val(&from)).map_err(io::Error::other)?;
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: the header points to buffers that outlive the call.
        let len = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, 0) };
        let Ok(len) = usize::try_from(len) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock => Ok(None),
                _ => Err(error),
            };
        };
        let (to, tos) = read_control(&message);
        Ok(Some(Envelope {
            len,
            from: SocketAddrV4::new(
                Ipv4Addr::from(from.sin_addr.s_addr.to_ne_bytes()),
                u16::from_be(from.sin_port),
            ),
            to,
            tos,
        }))
    }

    /// Sends from the local address `from`.
    pub(crate) fn send(&self, from: Ipv4Addr, to: SocketAddrV4, payload: &[u8]) -> io::Result<()> {
        // SAFETY: all zero is a valid value of these three.
        let (mut name, mut message, mut info): (libc::sockaddr_in, libc::msghdr, libc::in_pktinfo) =
            unsafe { std::mem::zeroed() };
        name.sin_family = u16::try_from(libc::AF_INET).map_err(io::Error::other)?;
        name.sin_port = to.port().to_be();
        name.sin_addr.s_addr = u32::from_ne_bytes(to.ip().octets());
        info.ipi_spec_dst.s_addr = u32::from_ne_bytes(from.octets());
        let mut part = libc::iovec {
            iov_base: payload.as_ptr().cast_mut().cast(),
            iov_len: payload.len(),
        };
        let info_len = u32::try_from(size_of_val(&info)).map_err(io::Error::other)?;
        let mut control = [0_u64; 8];
        message.msg_name = (&raw mut name).cast();
        message.msg_namelen = u32::try_from(size_of_val(&name)).map_err(io::Error::other)?;
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: a calculation.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(info_len) } as usize;
        // SAFETY: the control buffer has room for one header and its data.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::IPPROTO_IP;
            (*header).cmsg_type = libc::IP_PKTINFO;
            (*header).cmsg_len = libc::CMSG_LEN(info_len) as usize;
            ptr::write_unaligned(libc::CMSG_DATA(header).cast(), info);
        }
        // SAFETY: the header points to buffers that outlive the call.
        if unsafe { libc::sendmsg(self.socket.as_raw_fd(), &raw const message, 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

impl AsRawFd for ManyAddresses {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Waits until one of `sockets` has a datagram; false if none has `within` the given time.
pub(crate) fn wait_readable(sockets: &[ManyAddresses], within: Duration) -> io::Result<bool> {
    let mut polled: Vec<_> = sockets
        .iter()
        .map(|socket| libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let timeout_ms = libc::c_int::try_from(within.as_millis()).map_err(io::Error::other)?;
    // SAFETY: the pointer is valid for that many entries.
    let ready = unsafe {
        libc::poll(
            polled.as_mut_ptr(),
            polled.len() as libc::nfds_t,
            timeout_ms,
        )
    };
    if ready < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(ready > 0)
}

/// The local address a datagram was sent to, and its TOS byte.
fn read_control(message: &libc::msghdr) -> (Ipv4Addr, u8) {
    let (mut to, mut tos) = (Ipv4Addr::UNSPECIFIED, 0);
    // SAFETY: the kernel has filled the header and its control buffer, which still live.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !next.is_null() {
        // SAFETY: not null, so it points into the control buffer.
        let header = unsafe { &*next };
        // SAFETY: as above; the data follows the header.
        let data = unsafe { libc::CMSG_DATA(next) };
        match (header.cmsg_level, header.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: the type says what the data is; it may be unaligned.
                let info = unsafe { data.cast::<libc::in_pktinfo>().read_unaligned() };
                to = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
            }
            (libc::IPPROTO_IP, libc::IP_TOS) => {
                // SAFETY: the data is one byte.
                tos = unsafe { *data };
            }
            _ => {}
        }
        // SAFETY: both point into what the kernel has filled.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
    (to, tos)
}

fn set(
    socket: &Socket,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the value is valid for its size.
    let done = unsafe {
        libc::setsockopt(
            SockRef::from(socket).as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            4,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

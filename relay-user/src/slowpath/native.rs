//! The raw socket through which a server's packets leave to native IPv6, as they are.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use socket2::{Domain, Protocol, Socket, Type};
use teredo::wire::ipv6;

/// `IPPROTO_RAW`: whoever sends writes the IPv6 header, and nothing is received.
const RAW: i32 = libc::IPPROTO_RAW;

/// Sends whole IPv6 packets by the machine's routes.
#[derive(Debug)]
pub struct NativeSocket(Socket);

impl NativeSocket {
    /// Opens it.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`, `EAFNOSUPPORT` without IPv6.
    pub fn open() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(RAW)))?;
        // The relay's or server's lock must not be held until a port has sent what it has.
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Sends `packet` to its destination.
    ///
    /// # Errors
    /// Those of `sendto`, and no packet at all.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        let (header, ..) = ipv6::parse(packet).map_err(|_| io::ErrorKind::InvalidInput)?;
        let to = SocketAddrV6::new(Ipv6Addr::from(header.destination), 0, 0, 0);
        self.0
            .send_to(packet, &SocketAddr::V6(to).into())
            .map(|_| ())
    }
}

//! The raw ICMPv6 socket errors leave through.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use socket2::{Domain, Protocol, Socket, Type};
use teredo::relay::Icmp6Error;

/// `ICMP6_FILTER` of RFC 3542; libc has no name for it on Linux.
const ICMP6_FILTER: i32 = 1;

/// Sends ICMPv6 errors from the relay's native address. The kernel adds IPv6 header and checksum.
#[derive(Debug)]
pub struct ErrorSocket(Socket);

impl ErrorSocket {
    /// A socket bound to `native`, a global address of this machine.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`, `EADDRNOTAVAIL` if the address is not there.
    pub fn bind(native: Ipv6Addr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        block_all_reception(&socket)?;
        socket.bind(&SocketAddr::V6(SocketAddrV6::new(native, 0, 0, 0)).into())?;
        Ok(Self(socket))
    }

    /// Sends `error` about the packet `quote` begins.
    ///
    /// # Errors
    /// Those of `sendto`.
    pub fn send(&self, to: Ipv6Addr, error: Icmp6Error, quote: &[u8]) -> io::Result<()> {
        let message = message(error, quote);
        self.0
            .send_to(
                &message,
                &SocketAddr::V6(SocketAddrV6::new(to, 0, 0, 0)).into(),
            )
            .map(|_| ())
    }
}

/// Type, code, checksum (left to the kernel), then the MTU or zero, then the quote (RFC 4443 3).
fn message(error: Icmp6Error, quote: &[u8]) -> Vec<u8> {
    let (kind, code, word) = match error {
        Icmp6Error::AddressUnreachable => (1, 3, 0),
        Icmp6Error::PacketTooBig { mtu } => (2, 0, mtu),
        Icmp6Error::HopLimitExceeded => (3, 0, 0),
    };
    let mut message = vec![kind, code, 0, 0];
    message.extend_from_slice(&u32::to_be_bytes(word));
    message.extend_from_slice(quote);
    message
}

/// The kernel would queue every ICMPv6 message of the machine on this socket, which nobody reads.
fn block_all_reception(socket: &Socket) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let filter = [u32::MAX; 8];
    // SAFETY: the pointer and the length describe `filter`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_ICMPV6,
            ICMP6_FILTER,
            filter.as_ptr().cast(),
            libc::socklen_t::try_from(size_of_val(&filter)).unwrap_or(0),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_too_big_carries_its_mtu_and_the_quote() {
        assert_eq!(
            message(Icmp6Error::PacketTooBig { mtu: 1280 }, &[9, 8]),
            [2, 0, 0, 0, 0, 0, 5, 0, 9, 8]
        );
    }

    #[test]
    fn unreachable_and_time_exceeded_leave_the_second_word_zero() {
        assert_eq!(
            message(Icmp6Error::AddressUnreachable, &[]),
            [1, 3, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(
            message(Icmp6Error::HopLimitExceeded, &[]),
            [3, 0, 0, 0, 0, 0, 0, 0]
        );
    }
}

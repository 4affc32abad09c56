//! Datagrams to one of our UDP sockets: whose they are, and whether their lengths are true.

use relay_common::{Port, Reason};
use teredo::addr::SERVER_PORT;
use teredo::wire::ipv6;

use crate::frame::{Frame, Link};
use crate::outer::{self, Ipv4Header, Outer, UdpHeader};
use crate::{config, port};

/// Whom a datagram is for.
#[derive(Clone, Copy)]
pub(crate) enum Socket {
    /// The relay's service socket.
    Relay,
    /// One of the server's two.
    Server,
}

/// Whose the datagram is, and the port that received it.
///
/// # Errors
/// [`Reason::NotOurs`], or ours and not for the fast path: [`Reason::OuterFragment`], [`Reason::OuterOptions`].
#[inline(always)]
pub(crate) fn addressed(frame: &Frame, link: Link) -> Result<(Socket, &'static Port), Reason> {
    let ipv4 = frame.at::<Ipv4Header>(link.len).ok_or(Reason::NotOurs)?;
    let to_relay = config::has_relay() && ipv4.destination == config::service_ipv4();
    let to_server = config::has_server()
        && (ipv4.destination == config::server_primary()
            || ipv4.destination == config::server_secondary());
    if !(to_relay || to_server) || ipv4.protocol != ipv6::UDP || ipv4.version_ihl >> 4 != 4 {
        return Err(Reason::NotOurs);
    }
    if ipv4.is_fragment() {
        port::addressee(frame)?;
        return Err(Reason::OuterFragment);
    }
    if ipv4.version_ihl != outer::PLAIN_HEADER {
        port::addressee(frame)?;
        return Err(Reason::OuterOptions);
    }
    let outer = frame.at::<Outer>(link.len).ok_or(Reason::NotOurs)?;
    let socket = if to_relay && outer.udp.destination == config::service_port() {
        Socket::Relay
    } else if to_server && outer.udp.destination == SERVER_PORT.to_be() {
        Socket::Server
    } else {
        return Err(Reason::NotOurs);
    };
    Ok((socket, port::addressee(frame)?))
}

/// Bytes of the UDP payload, once every length was held against the others and the frame.
///
/// # Errors
/// [`Reason::OuterChecksumWrong`], [`Reason::OuterLengthMismatch`].
#[inline(always)]
pub(crate) fn payload_len(outer: &Outer, frame: &Frame, link: Link) -> Result<usize, Reason> {
    if !outer.ipv4.checksum_is_right() {
        return Err(Reason::OuterChecksumWrong);
    }
    let total_len = outer.ipv4.total_len();
    let udp_len = outer.udp.len();
    if udp_len < UdpHeader::LEN
        || udp_len + Ipv4Header::LEN > total_len
        || !frame.has(link.len, total_len)
    {
        return Err(Reason::OuterLengthMismatch);
    }
    Ok(udp_len - UdpHeader::LEN)
}

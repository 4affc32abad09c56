//! Asking the kernel: dumps, and telling it that a neighbour is in use.

use std::io;
use std::net::IpAddr;

use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};
use rtnetlink::sys::Socket;
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::Family;
use super::message::{Message, fixed_len};
use super::watch::{DATAGRAM_MAX, receive};

/// Something changed during the dump (linux/netlink.h).
const NLM_F_DUMP_INTR: u16 = 0x10;
/// Bytes of `struct nlmsghdr`.
const HEADER_LEN: usize = 16;
/// Bytes of an attribute's header.
const ATTRIBUTE_LEN: usize = 4;

/// Lets `each` see every object of a kind (`RTM_GET*`) and family (0: any) until it says false. Says whether it never did.
///
/// # Errors
/// The kernel's refusal, and [`io::ErrorKind::Interrupted`] when a change may have hidden something.
pub(super) fn dump(
    kind: u16,
    family: u8,
    mut each: impl FnMut(&Message<'_>) -> bool,
) -> io::Result<bool> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    let mut body = vec![family];
    body.resize(fixed_len(kind), 0);
    socket.send(&request(kind, NLM_F_DUMP, &body), 0)?;
    let mut datagram = Vec::with_capacity(DATAGRAM_MAX);
    let mut interrupted = false;
    loop {
        receive(&socket, &mut datagram, 0)?;
        for message in Message::all(&datagram) {
            let message = message?;
            interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
            match message.kind {
                NLMSG_DONE if interrupted => return Err(io::ErrorKind::Interrupted.into()),
                NLMSG_DONE | NLMSG_ERROR => return message.error().map_or(Ok(true), Err),
                _ if !each(&message) => return Ok(false),
                _ => {}
            }
        }
    }
}

/// Tells the kernel which neighbours are in use. Frames sent by XDP do not: without this an entry would go stale and stay
/// so, and its death go unnoticed.
#[derive(Debug)]
pub struct NeighbourUse {
    socket: Socket,
}

impl NeighbourUse {
    /// # Errors
    /// No socket.
    pub fn new() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        Ok(Self { socket })
    }

    /// `address` on the link `ifindex` is in use now: if its entry is stale, the kernel probes it as it would under its own
    /// traffic (RFC 4861 7.3.3). An entry that is gone stays gone.
    ///
    /// # Errors
    /// The kernel does not take the message.
    pub fn tell(&self, ifindex: u32, address: IpAddr) -> io::Result<()> {
        self.socket.send(&use_of(ifindex, address), 0)?;
        // What is there is an answer to an earlier message: that the entry was gone.
        let mut refusal = Vec::with_capacity(DATAGRAM_MAX);
        while receive(&self.socket, &mut refusal, libc::MSG_DONTWAIT).is_ok() {}
        Ok(())
    }
}

/// `RTM_NEWNEIGH` with `NTF_USE`, for an entry that exists.
fn use_of(ifindex: u32, address: IpAddr) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(address) => (Family::Ipv4, address.octets().to_vec()),
        IpAddr::V6(address) => (Family::Ipv6, address.octets().to_vec()),
    };
    let mut body = vec![family.number(), 0, 0, 0];
    body.extend(ifindex.to_ne_bytes());
    body.extend([0, 0, libc::NTF_USE, 0]);
    let len = u16::try_from(ATTRIBUTE_LEN + octets.len()).unwrap_or(u16::MAX);
    body.extend(len.to_ne_bytes());
    body.extend(libc::NDA_DST.to_ne_bytes());
    body.extend(octets);
    request(libc::RTM_NEWNEIGH, 0, &body)
}

fn request(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(HEADER_LEN + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADER_LEN + body.len());
    message.extend(len.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    // Sequence and port: the kernel fills in the port, and every socket asks one thing at a time.
    message.extend([0; 8]);
    message.extend(body);
    message
}

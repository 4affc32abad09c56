//! Being told of changes the moment they happen.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

use super::message::Message;
use super::request::dump;
use super::{Event, Judge};

/// More than any datagram of rtnetlink: dumps come in 32 KiB at most, events in less.
pub(super) const DATAGRAM_MAX: usize = 1 << 16;

/// Room for changes not yet read, in bytes: some ten thousand routes that change at once.
const BACKLOG_BYTES: libc::c_int = 8 << 20;

const GROUPS: [libc::c_uint; 11] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV6_RULE,
    libc::RTNLGRP_IPV4_NETCONF,
    libc::RTNLGRP_IPV6_NETCONF,
    libc::RTNLGRP_NEXTHOP,
];

/// Tells of the changes of the network namespace it was made in. Readable (`poll`) when there are some.
#[derive(Debug)]
pub struct RouteWatch {
    socket: Socket,
    judge: Judge,
    datagram: Vec<u8>,
    read: VecDeque<Event>,
}

impl RouteWatch {
    /// Begins to listen. The links and neighbours there are come as the first events.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        make_room(&socket)?;
        let mut watch = Self {
            socket,
            judge: Judge::new(),
            datagram: Vec::with_capacity(DATAGRAM_MAX),
            read: VecDeque::new(),
        };
        watch.list()?;
        Ok(watch)
    }

    /// The next change; `None` when there is none now. [`Event::Lost`] is followed by the links and neighbours there are.
    ///
    /// # Errors
    /// The socket has failed, or the kernel refuses to list links or neighbours.
    #[allow(clippy::should_implement_trait)] // The end is only that of what is there now.
    pub fn next(&mut self) -> io::Result<Option<Event>> {
        while self.read.is_empty() {
            match receive(&self.socket, &mut self.datagram, libc::MSG_DONTWAIT) {
                Ok(()) if self.take_in() => {}
                Ok(()) => self.lost()?,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN | libc::EINTR) => return Ok(None),
                    Some(libc::ENOBUFS) => self.lost()?,
                    _ => return Err(error),
                },
            }
        }
        Ok(self.read.pop_front())
    }

    /// Whether all of the datagram could be read.
    fn take_in(&mut self) -> bool {
        Message::all(&self.datagram).all(|message| {
            let message =
                message.inspect(|message| self.read.extend(Event::read(message, &self.judge)));
            message.is_ok()
        })
    }

    fn lost(&mut self) -> io::Result<()> {
        self.read.push_back(Event::Lost);
        self.list()
    }

    /// Links and neighbours that are there now. Older events may still come and be undone by later ones.
    fn list(&mut self) -> io::Result<()> {
        for kind in [libc::RTM_GETLINK, libc::RTM_GETNEIGH] {
            // One that a change hid is told of by that change.
            match dump(kind, 0, |message| {
                self.read.extend(Event::read(message, &self.judge));
                true
            }) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl AsFd for RouteWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket lives as long as the borrow.
        unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) }
    }
}

/// Reads one datagram of the kernel into `datagram`, in place of what was there.
///
/// # Errors
/// Those of `recv`; `ENOBUFS` also for a datagram that does not fit, as for one that was lost.
pub(super) fn receive(
    socket: &Socket,
    datagram: &mut Vec<u8>,
    flags: libc::c_int,
) -> io::Result<()> {
    loop {
        datagram.clear();
        let (len, from) = socket.recv_from(datagram, flags | libc::MSG_TRUNC)?;
        if len > datagram.len() {
            return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
        }
        if from.port_number() == KERNEL {
            return Ok(());
        }
    }
}

/// The kernel's own port.
const KERNEL: u32 = 0;

/// Raises the receive buffer above what is allowed to everybody.
fn make_room(socket: &Socket) -> io::Result<()> {
    let bytes = BACKLOG_BYTES;
    let len = libc::socklen_t::try_from(size_of_val(&bytes)).unwrap_or(0);
    // SAFETY: the option's value is the integer pointed to, as long as said.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const bytes).cast(),
            len,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

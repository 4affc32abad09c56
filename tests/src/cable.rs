//! The end of a cable in the hands of a test: frames that no honest host or router would send, and all that come.

use std::io;
use std::mem::MaybeUninit;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::packet_socket::{Direction, MAX_FRAME, PacketSocket};
use crate::{Node, wait_for};

/// Longer than a busy machine takes to make room for a frame.
const ROOM_DEADLINE: Duration = Duration::from_secs(10);

/// One end of a cable. The machine it belongs to goes on using it.
#[derive(Debug)]
pub struct CableEnd {
    socket: PacketSocket,
    what: String,
    buffer: Mutex<Box<[MaybeUninit<u8>]>>,
}

impl CableEnd {
    /// The end `interface` of `node`.
    ///
    /// # Errors
    /// No such interface, or no raw socket may be made.
    pub fn of(node: &Node, interface: &str) -> Result<Self> {
        Self::open(node, interface, Direction::Incoming)
    }

    /// As [`CableEnd::of`], for a flood: what comes is not kept.
    ///
    /// # Errors
    /// As there.
    pub fn deaf(node: &Node, interface: &str) -> Result<Self> {
        Self::open(node, interface, Direction::Neither)
    }

    fn open(node: &Node, interface: &str, direction: Direction) -> Result<Self> {
        let what = format!("{interface} of {}", node.name());
        let ifindex = node.ifindex(interface)?;
        let socket = node
            .enter(|| PacketSocket::bind(ifindex, direction))
            .with_context(|| what.clone())?;
        Ok(Self {
            socket,
            what,
            buffer: Mutex::new(Box::new_uninit_slice(MAX_FRAME)),
        })
    }

    /// Sends a frame to the other end, when there is room on the cable.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let mut sent = self.socket.send(frame);
        if has_no_room(&sent) {
            wait_for(&format!("room on {}", self.what), ROOM_DEADLINE, || {
                sent = self.socket.send(frame);
                !has_no_room(&sent)
            })?;
        }
        sent.with_context(|| self.what.clone())
    }

    /// The next frame from the other end; none if none comes within some milliseconds.
    ///
    /// # Errors
    /// The socket fails.
    pub fn receive(&self) -> Result<Option<Vec<u8>>> {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        let frame = self.socket.receive(&mut buffer);
        let frame = frame.with_context(|| self.what.clone())?;
        Ok(frame.map(|frame| frame.bytes.to_vec()))
    }

    /// Frames from the other end that the kernel had no room for since the last call.
    ///
    /// # Errors
    /// The socket fails.
    pub fn missed(&self) -> Result<u32> {
        self.socket.dropped().with_context(|| self.what.clone())
    }
}

fn has_no_room(sent: &io::Result<()>) -> bool {
    sent.as_ref()
        .is_err_and(|error| error.raw_os_error() == Some(libc::ENOBUFS))
}

//! A TCP transfer whose contents are compared.

use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::Node;

/// A transfer that makes no progress for so long has failed.
const STALL_DEADLINE: Duration = Duration::from_secs(10);
const CHUNK: usize = 1 << 16;

/// A finished transfer.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// Bytes sent, received and found equal.
    pub bytes: u64,
    /// From the connection's first packet to the last byte.
    pub took: Duration,
}

/// Connects from one machine to `address` of another and sends it `bytes` bytes that follow no
/// short pattern.
///
/// # Errors
/// No connection, no progress for 10 s, or other bytes arrive than were sent.
pub fn tcp(sender: &Node, receiver: &Node, address: Ipv6Addr, bytes: u64) -> Result<Transfer> {
    let listener = receiver.enter(|| TcpListener::bind((address, 0)))?;
    let to = listener.local_addr()?;
    let start = Instant::now();
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| sender.enter(|| send(to, bytes)));
        let received = receive(&listener, bytes)
            .with_context(|| format!("{} from {}", receiver.name(), sender.name()));
        let sent = sending
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .with_context(|| format!("{} to {to}", sender.name()));
        // If the sender failed, that is why the receiver did.
        sent.and(received)
    })?;
    Ok(Transfer {
        bytes,
        took: start.elapsed(),
    })
}

fn send(to: SocketAddr, bytes: u64) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, STALL_DEADLINE)?;
    stream.set_write_timeout(Some(STALL_DEADLINE))?;
    for chunk in Contents::new(bytes) {
        stream.write_all(&chunk)?;
    }
    stream.shutdown(Shutdown::Write)?;
    Ok(())
}

fn receive(listener: &TcpListener, bytes: u64) -> Result<()> {
    let mut stream = accept(listener)?;
    stream.set_read_timeout(Some(STALL_DEADLINE))?;
    let mut received = vec![0; CHUNK];
    for (i, expected) in Contents::new(bytes).enumerate() {
        let chunk = &mut received[..expected.len()];
        stream
            .read_exact(chunk)
            .with_context(|| format!("within the chunk at {}", i * CHUNK))?;
        ensure!(
            *chunk == *expected,
            "other bytes in the chunk at {}",
            i * CHUNK
        );
    }
    ensure!(stream.read(&mut [0])? == 0, "more bytes than were sent");
    Ok(())
}

fn accept(listener: &TcpListener) -> Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let (accepted, _) =
        crate::wait_for_some("a connection", STALL_DEADLINE, || match listener.accept() {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => None,
            accepted => Some(accepted),
        })?;
    let (stream, _) = accepted?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// The bytes of a transfer, in chunks.
struct Contents {
    left: u64,
    state: u64,
}

impl Contents {
    const fn new(bytes: u64) -> Self {
        Self {
            left: bytes,
            state: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// One step of xorshift64.
    const fn next_word(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}

impl Iterator for Contents {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let len = self.left.min(CHUNK as u64);
        self.left -= len;
        let mut chunk: Vec<u8> = (0..len.div_ceil(8))
            .flat_map(|_| self.next_word().to_le_bytes())
            .collect();
        chunk.truncate(usize::try_from(len).unwrap_or(CHUNK));
        (len > 0).then_some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_have_the_length_asked_for_and_do_not_repeat() {
        let chunks: Vec<_> = Contents::new(2 * CHUNK as u64 + 7).collect();
        let lens: Vec<_> = chunks.iter().map(Vec::len).collect();
        assert_eq!(lens, [CHUNK, CHUNK, 7]);
        assert_ne!(chunks[0], chunks[1]);
    }
}

//! ICMPv6 echo with the time of every single reply.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::Node;

const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
const HEADER_LEN: usize = 8;

/// A series of echo requests.
#[derive(Clone, Copy, Debug)]
pub struct Ping {
    /// Requests.
    pub count: u16,
    /// Time between requests.
    pub interval: Duration,
    /// How long to wait for replies after the last request.
    pub linger: Duration,
    /// Bytes after the ICMPv6 header.
    pub data_len: usize,
}

impl Default for Ping {
    /// 15 requests, one every 0.2 s.
    fn default() -> Self {
        Self {
            count: 15,
            interval: Duration::from_millis(200),
            linger: Duration::from_secs(2),
            data_len: 56,
        }
    }
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct PingReport {
    /// Requests sent.
    pub sent: u16,
    /// Requests answered.
    pub received: u16,
    /// Replies that came after a reply to a later request.
    pub reordered: u16,
    /// Replies to requests already answered.
    pub duplicates: u16,
    /// From the first request to the first reply, whichever it answers.
    pub first_reply: Option<Duration>,
    /// Round trip time of each request, in order; `None` if lost.
    pub round_trips: Vec<Option<Duration>>,
}

impl PingReport {
    /// Whether every request was answered, once and in order.
    pub fn is_perfect(&self) -> bool {
        self.received == self.sent && self.reordered == 0 && self.duplicates == 0
    }

    /// Median round trip of what was answered.
    pub fn median_round_trip(&self) -> Option<Duration> {
        let mut times: Vec<_> = self.round_trips.iter().flatten().copied().collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    }
}

impl Ping {
    /// `count` requests at the default pace.
    pub fn times(count: u16) -> Self {
        Self {
            count,
            ..Self::default()
        }
    }

    /// Sends the series from `node` to `to`. It ends early once everything is answered.
    ///
    /// # Errors
    /// The raw socket is refused, or sending fails (no route, for example).
    pub fn run(&self, node: &Node, to: Ipv6Addr) -> Result<PingReport> {
        node.enter(|| self.run_here(to))
            .with_context(|| format!("{}: ping {to}", node.name()))
    }

    fn run_here(&self, to: Ipv6Addr) -> io::Result<PingReport> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        socket.connect(&SocketAddrV6::new(to, 0, 0, 0).into())?;
        let id = socket_id(&socket);
        let mut sent_at = Vec::new();
        let mut report = PingReport {
            sent: self.count,
            round_trips: vec![None; usize::from(self.count)],
            ..PingReport::default()
        };
        let mut latest = None;
        let start = Instant::now();
        let end = start + self.interval * u32::from(self.count.saturating_sub(1)) + self.linger;
        while report.received < self.count {
            let next = start + self.interval * u32::try_from(sent_at.len()).unwrap_or(u32::MAX);
            let all_sent = sent_at.len() == usize::from(self.count);
            let now = Instant::now();
            if !all_sent && now >= next {
                let seq = u16::try_from(sent_at.len()).unwrap_or(u16::MAX);
                sent_at.push(now);
                socket.send(&self.request(id, seq))?;
                continue;
            }
            let until = if all_sent { end } else { next };
            let Some(left) = until.checked_duration_since(now).filter(|d| !d.is_zero()) else {
                break;
            };
            // The kernel takes a timeout of 0 µs for none at all.
            socket.set_read_timeout(Some(left.max(Duration::from_micros(1))))?;
            let Some(seq) = receive(&socket, id)? else {
                continue;
            };
            report.take(seq, &sent_at, &mut latest);
        }
        Ok(report)
    }

    fn request(&self, id: u16, seq: u16) -> Vec<u8> {
        // The kernel fills the checksum of a raw ICMPv6 socket.
        let mut message = vec![ECHO_REQUEST, 0, 0, 0];
        message.extend(id.to_be_bytes());
        message.extend(seq.to_be_bytes());
        message.extend((0..=u8::MAX).cycle().take(self.data_len));
        message
    }
}

impl PingReport {
    fn take(&mut self, seq: u16, sent_at: &[Instant], latest: &mut Option<u16>) {
        let now = Instant::now();
        let (Some(slot), Some(sent)) = (
            self.round_trips.get_mut(usize::from(seq)),
            sent_at.get(usize::from(seq)),
        ) else {
            return;
        };
        if slot.is_some() {
            self.duplicates += 1;
            return;
        }
        *slot = Some(now - *sent);
        self.received += 1;
        self.first_reply = self
            .first_reply
            .or_else(|| sent_at.first().map(|first| now - *first));
        if latest.is_some_and(|l| seq < l) {
            self.reordered += 1;
        }
        *latest = (*latest).max(Some(seq));
    }
}

/// A number that tells this series' replies from those of others on the same machine.
fn socket_id(socket: &Socket) -> u16 {
    use std::os::fd::AsRawFd;
    let [_, _, high, low] =
        (std::process::id() ^ socket.as_raw_fd().cast_unsigned() << 8).to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// The sequence number of the next reply to `id`; `None` for anything else or a timeout.
fn receive(socket: &Socket, id: u16) -> io::Result<Option<u16>> {
    let mut buffer = [MaybeUninit::uninit(); 2048];
    let len = match socket.recv(&mut buffer) {
        Ok(len) => len,
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ) =>
        {
            return Ok(None);
        }
        // An ICMPv6 error for an earlier request; the series goes on.
        Err(e) if e.kind() == io::ErrorKind::HostUnreachable => return Ok(None),
        Err(e) => return Err(e),
    };
    // SAFETY: `recv` has initialised the first `len` bytes.
    let message = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), len) };
    let Some(&[kind, _, _, _, id_high, id_low, seq_high, seq_low]) =
        message.first_chunk::<HEADER_LEN>()
    else {
        return Ok(None);
    };
    let ours = kind == ECHO_REPLY && u16::from_be_bytes([id_high, id_low]) == id;
    Ok(ours.then(|| u16::from_be_bytes([seq_high, seq_low])))
}

//! Captures that are complete: listening before `start` returns, drained before `stop` does.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use tempfile::{NamedTempFile, TempPath};

use crate::Node;
use crate::packet_socket::{Direction, Frame, MAX_FRAME, PacketSocket};

/// A VLAN tag is put back behind the two addresses.
const TAG_AT: usize = 12;

/// A running capture of everything that enters and leaves one interface.
#[derive(Debug)]
pub struct Capture {
    what: String,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<Result<Pcap>>>,
}

/// A finished capture, removed when dropped.
#[derive(Debug)]
pub struct Pcap {
    /// The file, in pcap format with nanoseconds.
    pub path: TempPath,
    /// Frames in it.
    pub frames: usize,
}

impl Capture {
    /// Starts capturing on `interface` of `node`; it listens when this returns.
    ///
    /// # Errors
    /// No such interface, or no raw socket may be made.
    pub fn start(node: &Node, interface: &str) -> Result<Self> {
        let what = format!("capture on {} of {}", interface, node.name());
        let ifindex = node.ifindex(interface)?;
        let socket = node
            .enter(|| PacketSocket::bind(ifindex, Direction::Both))
            .with_context(|| what.clone())?;
        let stop = Arc::new(AtomicBool::new(false));
        let reader = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || record(&socket, &stop)
        });
        Ok(Self {
            what,
            stop,
            reader: Some(reader),
        })
    }

    /// Starts a capture on each far end of the relay's cables: what the relay receives and
    /// sends, also what its XDP program sends past the kernel's taps.
    ///
    /// # Errors
    /// As [`Capture::start`].
    pub fn of_relay(lab: &crate::Lab) -> Result<Vec<Self>> {
        let ends = lab.relay_far_ends().into_iter();
        ends.map(|(node, port)| Self::start(node, port)).collect()
    }

    /// Takes what has arrived by now and ends the capture.
    ///
    /// # Errors
    /// The file could not be written, or the kernel had to drop frames.
    pub fn stop(mut self) -> Result<Pcap> {
        self.stop.store(true, Ordering::Release);
        let reader = self.reader.take().context("a capture stops once")?;
        let pcap = reader
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        pcap.with_context(|| self.what.clone())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Pcap {
    /// Keeps the file as `to`.
    ///
    /// # Errors
    /// It cannot be copied there.
    pub fn keep(&self, to: &Path) -> Result<()> {
        std::fs::copy(&self.path, to)?;
        Ok(())
    }
}

fn record(socket: &PacketSocket, stop: &AtomicBool) -> Result<Pcap> {
    let file = NamedTempFile::new()?;
    let mut out = BufWriter::new(file.as_file().try_clone()?);
    write_file_header(&mut out)?;
    let mut frames = 0;
    let mut buffer = vec![MaybeUninit::uninit(); MAX_FRAME];
    loop {
        // Read before the socket is found empty: whatever came before `stop` is in it then.
        let stopping = stop.load(Ordering::Acquire);
        match socket.receive(&mut buffer)? {
            Some(frame) => {
                write_frame(&mut out, &frame)?;
                frames += 1;
            }
            None if stopping => break,
            None => {}
        }
    }
    out.flush()?;
    let dropped = socket.dropped()?;
    ensure!(dropped == 0, "the kernel dropped {dropped} frames");
    Ok(Pcap {
        path: file.into_temp_path(),
        frames,
    })
}

fn write_file_header(out: &mut impl Write) -> io::Result<()> {
    const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
    const LINKTYPE_ETHERNET: u32 = 1;
    let words = [
        MAGIC_NANOSECONDS,
        0x0004_0002, // version 2.4
        0,
        0,
        u32::try_from(MAX_FRAME).unwrap_or(u32::MAX),
        LINKTYPE_ETHERNET,
    ];
    words
        .iter()
        .try_for_each(|word| out.write_all(&word.to_ne_bytes()))
}

fn write_frame(out: &mut BufWriter<File>, frame: &Frame<'_>) -> Result<()> {
    let tag = frame.tag.as_ref().map_or(&[][..], |tag| &tag[..]);
    let captured = u32::try_from(frame.bytes.len() + tag.len())?;
    let [seconds, nanoseconds] = frame.time;
    for word in [seconds, nanoseconds, captured, captured] {
        out.write_all(&word.to_ne_bytes())?;
    }
    let (addresses, rest) = frame.bytes.split_at(TAG_AT.min(frame.bytes.len()));
    out.write_all(addresses)?;
    out.write_all(tag)?;
    out.write_all(rest)?;
    Ok(())
}

//! What fuzzers begin with: the packets of the captures that the tests replay.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

const CAPTURES: &str = "teredo/tests/fixtures/pcaps";

/// `struct pcap_file_header` of the byte order and precision the captures have, and the length of the headers.
const MAGIC: u32 = 0xa1b2_c3d4;
const FILE_HEADER_LEN: usize = 24;
const RECORD_HEADER_LEN: usize = 16;

/// What a fuzzer is fed with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Payloads of UDP over IPv4.
    Datagrams,
    /// IPv6 packets.
    Packets,
}

/// Writes every packet of that kind into `corpus`, a file each, named by where it came from.
///
/// # Errors
/// A capture cannot be read, or a file not written.
pub(super) fn write(root: &Path, kind: Kind, corpus: &Path) -> Result<()> {
    let captures = root.join(CAPTURES);
    let entries = fs::read_dir(&captures).with_context(|| captures.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        let capture = fs::read(&path).with_context(|| path.display().to_string())?;
        let frames = frames(&capture).with_context(|| path.display().to_string())?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        for (number, frame) in frames.into_iter().enumerate() {
            if let Some(seed) = seed(kind, frame) {
                let file = corpus.join(format!("{stem}-{number}"));
                fs::write(&file, seed).with_context(|| file.display().to_string())?;
            }
        }
    }
    Ok(())
}

/// The frames of a capture.
fn frames(capture: &[u8]) -> Result<Vec<&[u8]>> {
    let word = |at: usize| {
        let bytes = capture.get(at..at + 4).and_then(|b| b.try_into().ok());
        bytes.map(u32::from_le_bytes)
    };
    if word(0) != Some(MAGIC) {
        bail!("not a capture in the classic format of this byte order");
    }
    let mut frames = Vec::new();
    let mut at = FILE_HEADER_LEN;
    while at < capture.len() {
        let begin = at + RECORD_HEADER_LEN;
        let frame = word(at + 8).and_then(|len| capture.get(begin..begin + len as usize));
        let frame = frame.context("it ends within a record")?;
        at = begin + frame.len();
        frames.push(frame);
    }
    Ok(frames)
}

/// The part of an Ethernet frame that is fed.
fn seed(kind: Kind, frame: &[u8]) -> Option<&[u8]> {
    let (header, packet) = frame.split_at_checked(14)?;
    match (kind, &header[12..]) {
        (Kind::Datagrams, [0x08, 0x00]) if packet.get(9) == Some(&17) => {
            let header_len = usize::from(packet[0] & 15) * 4;
            packet.get(header_len + 8..)
        }
        (Kind::Packets, [0x86, 0xdd]) => Some(packet),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sh::root;

    #[test]
    fn every_capture_gives_whole_frames_and_all_together_seeds_of_both_kinds() {
        let (mut datagrams, mut packets) = (0, 0);
        for entry in fs::read_dir(root().join(CAPTURES)).unwrap() {
            let capture = fs::read(entry.unwrap().path()).unwrap();
            let frames = frames(&capture).unwrap();
            assert!(!frames.is_empty());
            let of = |kind| frames.iter().filter(|f| seed(kind, f).is_some()).count();
            datagrams += of(Kind::Datagrams);
            packets += of(Kind::Packets);
        }
        assert!(datagrams > 100 && packets > 50, "{datagrams} {packets}");
    }

    #[test]
    fn a_capture_that_is_cut_off_or_none_at_all_is_an_error() {
        assert!(frames(b"PK").is_err());
        let mut capture = MAGIC.to_le_bytes().to_vec();
        capture.resize(FILE_HEADER_LEN, 0);
        assert_eq!(frames(&capture).unwrap().len(), 0);
        capture.extend([0; 8]);
        capture.extend([9, 0, 0, 0, 9, 0, 0, 0, 1, 2]);
        assert!(frames(&capture).is_err());
    }
}

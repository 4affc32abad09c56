//! What fuzzers begin with: the packets of the captures that the tests replay, the packaged configuration, real requests.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

const CAPTURES: &str = "teredo/tests/fixtures/pcaps";
const VECTORS: &str = "teredo/tests/fixtures/vectors.json";

/// `struct pcap_file_header` of the byte order and precision the captures have, and the length of the headers.
const MAGIC: u32 = 0xa1b2_c3d4;
const FILE_HEADER_LEN: usize = 24;
const RECORD_HEADER_LEN: usize = 16;

/// What a fuzzer is fed with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Seeds {
    /// Payloads of UDP over IPv4.
    Datagrams,
    /// IPv6 packets.
    Packets,
    /// Configuration files.
    Configurations,
    /// What is said over the control socket, after a byte that says to whom.
    Talk,
}

/// Example configurations.
const CONFIGURATIONS: [&str; 2] = ["packaging/relay.toml", "packaging/server.toml"];

/// What is said over the control socket: see `fuzz/fuzz_targets/control/main.rs`.
const TALK: [&str; 12] = [
    "D{\"request\":\"status\"}\n",
    "D{\"request\":\"peers\"}\n{\"request\":\"peers\",\"limit\":1000}\n",
    "D{\"request\":\"handover\"}\n",
    "D{\"request\":\"reboot\"}\n",
    "S{\"error\":\"the relay is shutting down\"}\n",
    "P{\"error\":\"the relay is busy or shutting down\"}\n",
    "P{\"total\":2,\"peers\":[{\"address\":\"2001:0:c000:221::3f57:fedd\",\"mapped\":\"192.0.2.34:49320\",\"state\":\"fresh\",\
     \"last_rx_age_s\":3,\"bubbles\":0,\"queued_packets\":0}]}\n",
    "P{\"total\":1,\"peers\":[{\"address\":\"2001::1\",\"mapped\":\"192.0.2.1:1\",\"state\":\"probing\",\
     \"last_rx_age_s\":null,\"bubbles\":2,\"queued_packets\":16}]}\n",
    "2{\"handed_over\":2}\n",
    "0{\"handed_over\":2}\n",
    "3{\"handed_over\":2}\n",
    "0{\"error\":\"only root and the relay's own user may take over\"}\n",
];

/// The answer of a daemon to `{"request":"status"}`.
const STATUS: &str = "fuzz/seeds/status.json";

impl Seeds {
    /// Writes all of them into `corpus`, a file each.
    ///
    /// # Errors
    /// What they are made of cannot be read, or a file not written.
    pub(super) fn write(self, root: &Path, corpus: &Path) -> Result<()> {
        match self {
            Self::Datagrams => {
                for (name, vector) in vectors(&text(root, VECTORS)?).context(VECTORS)? {
                    put(corpus, &name, &vector)?;
                }
                self.write_captured(root, corpus)
            }
            Self::Packets => self.write_captured(root, corpus),
            Self::Configurations => {
                let mut both = String::new();
                for (number, path) in CONFIGURATIONS.iter().enumerate() {
                    let text = text(root, path)?;
                    put(corpus, &format!("packaged-{number}"), text.as_bytes())?;
                    let every_key = uncommented(&text);
                    put(corpus, &format!("every-key-{number}"), every_key.as_bytes())?;
                    both.push_str(&every_key);
                }
                put(corpus, "both", both.as_bytes())
            }
            Self::Talk => {
                for (number, talk) in TALK.iter().enumerate() {
                    put(corpus, &format!("talk-{number}"), talk.as_bytes())?;
                }
                put(
                    corpus,
                    "status",
                    format!("S{}", text(root, STATUS)?).as_bytes(),
                )
            }
        }
    }

    /// Every packet of that kind, named by where it came from.
    fn write_captured(self, root: &Path, corpus: &Path) -> Result<()> {
        let captures = root.join(CAPTURES);
        let entries = fs::read_dir(&captures).with_context(|| captures.display().to_string())?;
        for entry in entries {
            let path = entry?.path();
            let capture = fs::read(&path).with_context(|| path.display().to_string())?;
            let frames = frames(&capture).with_context(|| path.display().to_string())?;
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            for (number, frame) in frames.into_iter().enumerate() {
                if let Some(seed) = self.part(frame) {
                    put(corpus, &format!("{stem}-{number}"), seed)?;
                }
            }
        }
        Ok(())
    }

    /// The part of an Ethernet frame that is fed.
    fn part(self, frame: &[u8]) -> Option<&[u8]> {
        let (header, packet) = frame.split_at_checked(14)?;
        match (self, &header[12..]) {
            (Self::Datagrams, [0x08, 0x00]) if packet.get(9) == Some(&17) => {
                let header_len = usize::from(packet[0] & 15) * 4;
                packet.get(header_len + 8..)
            }
            (Self::Packets, [0x86, 0xdd]) => Some(packet),
            _ => None,
        }
    }
}

fn text(root: &Path, path: &str) -> Result<String> {
    let path = root.join(path);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

fn put(corpus: &Path, name: &str, seed: &[u8]) -> Result<()> {
    let file = corpus.join(name);
    fs::write(&file, seed).with_context(|| file.display().to_string())
}

/// The test vectors, by name.
fn vectors(json: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let file: serde_json::Value = serde_json::from_str(json)?;
    let vectors = file["vectors"].as_array().context("it has no vectors")?;
    let named = vectors.iter().map(|vector| {
        let name = vector["name"].as_str().context("a vector has no name")?;
        let bytes = vector["hex"].as_str().and_then(bytes);
        let bytes = bytes.with_context(|| format!("vector {name} is no hex"))?;
        Ok((format!("vector-{}", name.replace('/', "-")), bytes))
    });
    named.collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    rest.is_empty()
        .then(|| pairs.iter().map(|pair| byte(pair)).collect())?
}

/// The file with the settings it shows in comments made real.
fn uncommented(text: &str) -> String {
    let is_setting = |rest: &str| rest.starts_with(|first: char| first.is_ascii_lowercase());
    let lines = text.lines().map(|line| {
        let setting = line.strip_prefix('#').filter(|rest| is_setting(rest));
        setting.unwrap_or(line)
    });
    lines.flat_map(|line| [line, "\n"]).collect()
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
            let of = |seeds: Seeds| frames.iter().filter(|f| seeds.part(f).is_some()).count();
            datagrams += of(Seeds::Datagrams);
            packets += of(Seeds::Packets);
        }
        assert!(datagrams > 100 && packets > 50, "{datagrams} {packets}");
    }

    #[test]
    fn every_vector_is_a_seed_and_every_setting_of_the_packaged_file_a_line() {
        let vectors = vectors(&text(root(), VECTORS).unwrap()).unwrap();
        assert!(vectors.len() > 20, "{}", vectors.len());
        assert!(vectors.iter().all(|(_, bytes)| !bytes.is_empty()));
        assert_eq!(bytes("0aff"), Some(vec![10, 255]));
        assert_eq!((bytes("0af"), bytes("0x")), (None, None));
        let configuration = uncommented(&text(root(), CONFIGURATIONS[0]).unwrap());
        for setting in ["\niface = ", "\nmax-peers = ", "\nnative-deny = "] {
            assert!(configuration.contains(setting), "{setting}");
        }
        assert!(configuration.contains("\n# Packets that wait"));
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

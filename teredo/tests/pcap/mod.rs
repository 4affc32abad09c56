//! Captures of deployed nodes.
//!
//! `fixtures/pcaps/<scenario>-<place>.pcap`. Scenarios: a client behind no NAT (`pub`), a
//! port-restricted (`port`) or a symmetric one (`sym`), or gone (`dead`); qualifying, or with data from
//! client to host (`c2h`) or host to client (`h2c`). Places: the client's link (`client`), the IPv4 internet
//! (`inet`), the server's (`server4`), the relay's IPv4 (`relay4`) or IPv6 link (`relay6`).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use teredo::addr::Mapped;
use teredo::wire::{checksum, ipv6};

fn directory() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/pcaps"]
        .iter()
        .collect()
}

/// The bytes of the capture `name`.
pub(crate) fn file(name: &str) -> Vec<u8> {
    std::fs::read(directory().join(name).with_extension("pcap")).unwrap()
}

/// The names of all captures.
pub(crate) fn names() -> BTreeSet<String> {
    std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            assert_eq!(path.extension().unwrap(), "pcap");
            path.file_stem().unwrap().to_str().unwrap().to_owned()
        })
        .collect()
}

/// Frames of a classic little-endian pcap file of Ethernet.
pub(crate) fn frames(file: &[u8]) -> Vec<&[u8]> {
    const ETHERNET: u32 = 1;
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    assert_eq!(word(0), 0xa1b2_c3d4, "magic");
    assert_eq!(word(20), ETHERNET, "link type");
    let mut frames = Vec::new();
    let mut at = 24;
    while at < file.len() {
        let (captured, original) = (word(at + 8) as usize, word(at + 12) as usize);
        assert_eq!(captured, original, "no frame is cut");
        frames.push(&file[at + 16..at + 16 + captured]);
        at += 16 + captured;
    }
    frames
}

/// Source, destination and payload of the UDP datagram in an Ethernet frame, checksums verified.
pub(crate) fn datagram(frame: &[u8]) -> (Mapped, Mapped, &[u8]) {
    let packet = &frame[14..];
    assert_eq!(packet[0], 0x45, "IPv4 without options");
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let (header, segment) = packet[..length].split_at(20);
    assert_eq!(header[9], ipv6::UDP);
    assert_eq!(checksum::ipv4_header(header), 0, "IPv4 header checksum");
    let ip =
        |at: usize| Ipv4Addr::from_bits(u32::from_be_bytes(header[at..at + 4].try_into().unwrap()));
    let port = |at: usize| u16::from_be_bytes([segment[at], segment[at + 1]]);
    assert_eq!(usize::from(port(4)), segment.len(), "UDP length");
    let (source, destination) = (ip(12), ip(16));
    assert_ne!(port(6), 0, "the sender computed a UDP checksum");
    assert_eq!(
        checksum::udp_over_ipv4(source, destination, segment),
        0,
        "UDP checksum"
    );
    let from = Mapped {
        ip: source,
        port: port(0),
    };
    let to = Mapped {
        ip: destination,
        port: port(2),
    };
    (from, to, &segment[8..])
}

//! Captures of real miredo nodes (`teredo/tests/fixtures/pcaps`), made into cases.

use std::fs;
use std::net::{Ipv6Addr, SocketAddrV4};
use std::path::PathBuf;

use crate::case::{Answer, Case, Patch, Peer, Policy, Port, Program, Rules, Step};
use crate::packets::{fix_header, fix_udp, ipv6};
use crate::reference::bytes::{address_at, u16_at, u32_at};
use crate::reference::link;
use crate::rig::PORT_MAC;

/// When a frame was captured, and the frame.
pub(crate) type Captured = (u64, Vec<u8>);

/// Names of all captures.
pub(crate) fn names() -> Vec<String> {
    let files = fs::read_dir(folder()).expect("the folder of captures");
    let mut names: Vec<_> = files
        .map(|file| file.expect("a capture").file_name())
        .map(|name| name.to_string_lossy().replace(".pcap", ""))
        .collect();
    names.sort();
    names
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../teredo/tests/fixtures/pcaps")
}

/// The frames of a classic little-endian pcap file of Ethernet.
pub(crate) fn frames(name: &str) -> Vec<Captured> {
    let file = fs::read(folder().join(format!("{name}.pcap"))).expect("a capture can be read");
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes"));
    assert_eq!((word(0), word(20)), (0xa1b2_c3d4, 1), "{name}: Ethernet");
    let mut frames = Vec::new();
    let mut at = 24;
    while at < file.len() {
        let len = usize::try_from(word(at + 8)).expect("a length");
        let micros = u64::from(word(at)) * 1_000_000 + u64::from(word(at + 4));
        frames.push((micros, file[at + 16..at + 16 + len].to_vec()));
        at += 16 + len;
    }
    frames
}

/// Every capture whose relay is seen on both sides, as one story: nobody is trusted at the beginning.
pub(crate) fn stories() -> Vec<(String, Case)> {
    let both_sides = |name: &String| {
        let scenario = name.strip_suffix("-relay4")?;
        let mut frames = [frames(name), frames(&format!("{scenario}-relay6"))].concat();
        frames.sort_by_key(|frame| frame.0);
        let steps = frames.into_iter().map(|(_, frame)| step(frame, false));
        Some((scenario.to_owned(), case(Vec::new(), steps.collect())))
    };
    names().iter().filter_map(both_sides).collect()
}

/// Every capture, with each datagram readdressed to the relay, and with everybody trusted who is a client in it.
pub(crate) fn with_trusted_peers() -> Vec<(String, Case)> {
    let readdressed = |name: String| {
        let frames = frames(&name);
        let peers = frames
            .iter()
            .filter_map(|(_, frame)| client(frame))
            .collect();
        let steps = frames.into_iter().map(|(_, frame)| step(frame, true));
        let steps = steps.collect();
        (name, case(peers, steps))
    };
    names().into_iter().map(readdressed).collect()
}

fn case(mut peers: Vec<Peer>, steps: Vec<Step>) -> Case {
    peers.sort_by_key(|peer| peer.address);
    peers.dedup_by_key(|peer| peer.address);
    Case {
        program: Program::Plain,
        policy: Policy::Lab,
        peers,
        steps,
    }
}

/// The captured relay's service address and port: 203.0.113.18:3545.
const CAPTURED_SERVICE: (u32, u16) = (0xcb00_7112, 3545);
/// The captured host's subnet, 2001:db8:2::/64, which is one of the topology's own; and that of a host behind it.
const CAPTURED_SUBNET: [u8; 8] = [0x20, 0x01, 0x0d, 0xb8, 0, 2, 0, 0];
const SUBNET: [u8; 8] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0];

/// The frame as a port of ours receives it.
fn step(mut frame: Vec<u8>, readdresses_all: bool) -> Step {
    let service = Rules::of(Program::Plain, Policy::Lab).service;
    frame[..6].copy_from_slice(&PORT_MAC);
    let at = link(&frame).expect("Ethernet").at;
    let mut patches = Vec::new();
    let is_ipv4 = frame[at] == 0x45;
    if is_ipv4 {
        let packet = &mut frame[at..];
        move_host(&mut packet[28..]);
        let to = (u32_at(packet, 16), u16_at(packet, 22));
        if readdresses_all || to == CAPTURED_SERVICE {
            packet[16..20].copy_from_slice(&service.0.to_be_bytes());
            packet[22..24].copy_from_slice(&service.1.to_be_bytes());
        }
        fix_header(packet);
        fix_udp(packet);
        let inner = &packet[28..];
        let is_answer = inner.len() >= 40 && inner[6] == 59 && inner[24..26] == [0xfe, 0x80];
        if is_answer && to == CAPTURED_SERVICE {
            patches.push(Patch {
                at: at + 28 + 24,
                answer: Answer::Cookie,
                peer: Ipv6Addr::from(address_at(inner, 8)),
            });
            // What is patched in later would make it wrong.
            packet[26..28].fill(0);
        }
    } else {
        move_host(&mut frame[at..]);
    }
    Step {
        port: if is_ipv4 { Port::Wan } else { Port::Lan },
        frame,
        patches,
    }
}

/// Moves the captured host to where the topology has a route.
fn move_host(packet: &mut [u8]) {
    if packet.len() < 40 || packet[0] >> 4 != 6 {
        return;
    }
    for place in [8, 24] {
        if packet[place..place + 8] == CAPTURED_SUBNET {
            packet[place..place + 8].copy_from_slice(&SUBNET);
        }
    }
    let ends = (address_at(packet, 8), address_at(packet, 24));
    let first = packet[..4].try_into().expect("four bytes");
    let moved = ipv6(ends, first, packet[6], packet[7], &packet[40..]);
    packet.copy_from_slice(&moved);
}

/// The client that sent a datagram, and from where.
fn client(frame: &[u8]) -> Option<Peer> {
    let packet = &frame[link(frame)?.at..];
    let inner = packet.get(28..).filter(|inner| inner.len() >= 40)?;
    let address = Ipv6Addr::from(address_at(inner, 8));
    let is_client =
        packet[0] == 0x45 && inner[0] >> 4 == 6 && address.segments()[..2] == [0x2001, 0];
    // In front of its NAT it has an address no relay ever sees.
    let (ip, port) = match u32_at(packet, 12) {
        ip if ip >> 24 == 10 => (!u32_at(inner, 20), !u16_at(inner, 18)),
        ip => (ip, u16_at(packet, 20)),
    };
    is_client.then(|| Peer {
        address,
        mapped: SocketAddrV4::new(ip.into(), port),
        age_ticks: 0,
    })
}

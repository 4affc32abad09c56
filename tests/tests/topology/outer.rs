//! Outer headers the fast path leaves to the kernel: fragments and options.

use std::net::{Ipv4Addr, SocketAddrV4};

use lab::shipworm::Datapath;
use lab::{Cabling, Lab, Ping, wait_for};
use relay_common::Reason;
use socket2::{Domain, Protocol, Socket, Type};
use teredo::wire::{checksum, ipv6};

use crate::figures::Figures;
use crate::peer::{Peer, SERVICE, SOON, is_complete};
use crate::{bare, each_datapath, flow, start_with_peer};

/// Bytes of an IPv4 header without options.
const HEADER_LEN: usize = 20;
const MORE_FRAGMENTS: u16 = 0x2000;
/// Three times no operation and the end of the list (RFC 791 3.1).
const OPTIONS: [u8; 4] = [1, 1, 1, 0];

each_datapath! {
    datagrams_fragmented_by_a_small_path_are_carried = small_path;
    fragments_in_any_order_are_carried = hand_made_fragments;
    datagrams_with_ipv4_options_are_carried = options;
}

fn is_fast(datapath: Datapath) -> bool {
    datapath != Datapath::Userspace
}

fn small_path(datapath: Datapath) {
    const COUNT: u16 = 50;
    let lab = bare(Cabling::TwoArmed);
    let (peer, relay) = start_with_peer(&lab, datapath);
    for (node, interface) in [(&lab.inet, "lb-bench"), (&lab.bench, "lb-v4")] {
        node.run(["ip", "link", "set", interface, "mtu", "1000"])
            .unwrap();
    }
    // A whole inner packet of 1280 bytes.
    let large = Ping {
        data_len: 1232,
        ..flow(COUNT)
    };
    let report = peer.pinged(&large);
    assert!(is_complete(&report), "{report:?}\n{}", relay.log());
    let figures = Figures::of(&relay);
    if is_fast(datapath) {
        assert_eq!(figures.fast(Reason::OuterFragment), 2 * u64::from(COUNT));
    }
    assert!(figures.slow(Reason::Decapsulated) >= u64::from(COUNT));
    assert_eq!(figures.dropped(), []);
}

fn hand_made_fragments(datapath: Datapath) {
    let lab = bare(Cabling::TwoArmed);
    let (peer, relay) = start_with_peer(&lab, datapath);
    let raw = raw_socket(&lab);
    let datagram = udp(&peer, &peer.request(1, 1232));
    let (first, rest) = datagram.split_at(8);
    let (middle, last) = rest.split_at(640);
    let parts = [
        (last, 8 + 640, 0),
        (middle, 8, MORE_FRAGMENTS),
        // The UDP header alone, and last of all.
        (first, 0, MORE_FRAGMENTS),
    ];
    for (part, offset, more) in parts {
        let flags = u16::try_from(offset / 8).unwrap() | more;
        send(&raw, &ipv4(peer.mapped().ip, &[], flags, part));
    }
    wait_for("the reply", SOON, || peer.replies() == 1)
        .unwrap_or_else(|e| panic!("{e}\n{}", relay.log()));
    let figures = Figures::of(&relay);
    if is_fast(datapath) {
        assert_eq!(figures.fast(Reason::OuterFragment), 3);
    }
    assert_eq!(figures.dropped(), []);
}

fn options(datapath: Datapath) {
    let lab = bare(Cabling::TwoArmed);
    let (peer, relay) = start_with_peer(&lab, datapath);
    let raw = raw_socket(&lab);
    let datagram = udp(&peer, &peer.request(1, 56));
    send(&raw, &ipv4(peer.mapped().ip, &OPTIONS, 0, &datagram));
    wait_for("the reply", SOON, || peer.replies() == 1)
        .unwrap_or_else(|e| panic!("{e}\n{}", relay.log()));
    let figures = Figures::of(&relay);
    if is_fast(datapath) {
        assert_eq!(figures.fast(Reason::OuterOptions), 1);
    }
    assert_eq!(figures.dropped(), []);
}

/// A socket for whole IPv4 packets on the machine of the clients.
fn raw_socket(lab: &Lab) -> Socket {
    const IPPROTO_RAW: i32 = 255;
    lab.bench
        .enter(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IPPROTO_RAW))))
        .unwrap()
}

fn send(raw: &Socket, packet: &[u8]) {
    raw.send_to(packet, &SocketAddrV4::new(*SERVICE.ip(), 0).into())
        .unwrap();
}

/// A UDP datagram of the peer to the relay.
fn udp(peer: &Peer<'_>, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).unwrap();
    let mut datagram = Vec::new();
    for field in [peer.mapped().port, SERVICE.port(), len, 0] {
        datagram.extend(field.to_be_bytes());
    }
    datagram.extend(payload);
    let sum = checksum::udp_over_ipv4(peer.mapped().ip, *SERVICE.ip(), &datagram);
    datagram[6..8].copy_from_slice(&checksum::as_udp_field(sum).to_be_bytes());
    datagram
}

/// An IPv4 packet to the relay.
fn ipv4(source: Ipv4Addr, options: &[u8], flags_offset: u16, payload: &[u8]) -> Vec<u8> {
    const IDENTIFICATION: u16 = 0x5eed;
    let header_len = HEADER_LEN + options.len();
    let mut header = vec![0x40 | u8::try_from(header_len / 4).unwrap(), 0];
    let len = u16::try_from(header_len + payload.len()).unwrap();
    for field in [len, IDENTIFICATION, flags_offset] {
        header.extend(field.to_be_bytes());
    }
    header.extend([64, ipv6::UDP, 0, 0]);
    header.extend(source.octets());
    header.extend(SERVICE.ip().octets());
    header.extend(options);
    let sum = checksum::ipv4_header(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [header.as_slice(), payload].concat()
}

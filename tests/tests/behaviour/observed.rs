//! What a capture at the far end of the relay's cable shows.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::Duration;

use lab::{Capture, Lab, Pcap};
use teredo::wire::checksum;
use teredo::wire::ipv6::{self, Ipv6Header};

use crate::wire;

const FILE_HEADER_LEN: usize = 24;
const FRAME_HEADER_LEN: usize = 16;
const ETHERNET_LEN: usize = 14;

/// The captures at both far ends.
pub(crate) struct Captures {
    v4: Capture,
    v6: Capture,
    relay_macs: [[u8; 6]; 2],
}

/// Both cables, from the first frame to the last.
pub(crate) struct Observed {
    pub(crate) v4: Pcap,
    pub(crate) v6: Pcap,
    relay_macs: [[u8; 6]; 2],
}

/// A frame and when it passed.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Since 1970.
    pub(crate) at: Duration,
    pub(crate) bytes: Vec<u8>,
}

/// A UDP datagram over IPv4.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) at: Duration,
    pub(crate) to: SocketAddrV4,
    pub(crate) payload: Vec<u8>,
}

/// An ICMPv6 error the relay sent to native IPv6.
#[derive(Clone, Debug)]
pub(crate) struct Error {
    pub(crate) at: Duration,
    pub(crate) source: Ipv6Addr,
    pub(crate) to: Ipv6Addr,
    pub(crate) kind: (u8, u8),
    /// The four bytes behind the checksum.
    pub(crate) parameter: u32,
    pub(crate) quote: Vec<u8>,
}

impl Captures {
    pub(crate) fn start(lab: &Lab) -> Self {
        Self {
            v4: Capture::start(&lab.inet, "lb-rly").unwrap(),
            v6: Capture::start(&lab.v6r, "lb-rly").unwrap(),
            relay_macs: ["lb-v4", "lb-v6"].map(|leg| wire::mac(&lab.relay.mac(leg).unwrap())),
        }
    }

    pub(crate) fn stop(self) -> Observed {
        Observed {
            v4: self.v4.stop().unwrap(),
            v6: self.v6.stop().unwrap(),
            relay_macs: self.relay_macs,
        }
    }
}

impl Observed {
    /// What the relay's machine sent, but for the talk of neighbours.
    pub(crate) fn sent_by_relay(&self) -> Vec<Frame> {
        [&self.v4, &self.v6]
            .into_iter()
            .flat_map(frames)
            .filter(|frame| self.is_relays(frame) && !is_about_neighbours(&frame.bytes))
            .collect()
    }

    /// Datagrams the relay sent to clients and servers, in order.
    pub(crate) fn datagrams(&self) -> Vec<Datagram> {
        frames(&self.v4)
            .into_iter()
            .filter(|frame| self.is_relays(frame))
            .filter_map(|frame| datagram(&frame))
            .collect()
    }

    /// IPv6 packets the relay sent to native IPv6, in order.
    pub(crate) fn native(&self) -> Vec<Frame> {
        let sent = frames(&self.v6)
            .into_iter()
            .filter(|frame| self.is_relays(frame));
        sent.filter(|frame| !is_about_neighbours(&frame.bytes))
            .map(|frame| Frame {
                at: frame.at,
                bytes: frame.bytes[ETHERNET_LEN..].to_vec(),
            })
            .collect()
    }

    /// Frames native IPv6 sent to the relay, in order.
    pub(crate) fn to_relay_from_native(&self) -> Vec<Frame> {
        let frames = frames(&self.v6).into_iter();
        frames
            .filter(|frame| !self.is_relays(frame) && !is_about_neighbours(&frame.bytes))
            .collect()
    }

    /// ICMPv6 errors the relay sent to native IPv6, in order; their checksums are right.
    pub(crate) fn errors(&self) -> Vec<Error> {
        let native = self.native();
        native
            .iter()
            .filter_map(|packet| error(packet.at, &packet.bytes))
            .collect()
    }

    fn is_relays(&self, frame: &Frame) -> bool {
        self.relay_macs.iter().any(|mac| frame.bytes[6..12] == *mac)
    }
}

/// The frames of a capture file.
fn frames(pcap: &Pcap) -> Vec<Frame> {
    let file = fs::read(&pcap.path).unwrap();
    let mut rest = &file[FILE_HEADER_LEN..];
    let mut frames = Vec::new();
    while let Some((header, behind)) = rest.split_first_chunk::<FRAME_HEADER_LEN>() {
        let word = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().unwrap());
        let (bytes, next) = behind.split_at(usize::try_from(word(8)).unwrap());
        frames.push(Frame {
            at: Duration::new(u64::from(word(0)), word(4)),
            bytes: bytes.to_vec(),
        });
        rest = next;
    }
    frames
}

/// ARP, neighbour and router discovery, and multicast listener reports.
fn is_about_neighbours(frame: &[u8]) -> bool {
    const MULTICAST_LISTENER_REPORT: u8 = 143;
    match frame[12..14] {
        [0x08, 0x06] => true,
        [0x86, 0xdd] => {
            let packet = &frame[ETHERNET_LEN..];
            let listener = packet[6] == ipv6::HOP_BY_HOP && packet[48] == MULTICAST_LISTENER_REPORT;
            listener
                || (packet[6] == ipv6::ICMP6
                    && matches!(packet[40], 133..=137 | MULTICAST_LISTENER_REPORT))
        }
        _ => false,
    }
}

fn datagram(frame: &Frame) -> Option<Datagram> {
    let packet = &frame.bytes[ETHERNET_LEN..];
    if frame.bytes[12..14] != [0x08, 0x00] || packet[9] != ipv6::UDP {
        return None;
    }
    let udp = &packet[20..];
    let len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
    Some(Datagram {
        at: frame.at,
        to: SocketAddrV4::new(
            Ipv4Addr::new(packet[16], packet[17], packet[18], packet[19]),
            u16::from_be_bytes([udp[2], udp[3]]),
        ),
        payload: udp[8..len].to_vec(),
    })
}

/// The ICMPv6 error in `packet`, if it is one.
///
/// # Panics
/// If its checksum is wrong.
pub(crate) fn error(at: Duration, packet: &[u8]) -> Option<Error> {
    let (header, message, _) = ipv6::parse(packet).ok()?;
    let Ipv6Header {
        source,
        destination,
        next_header,
        ..
    } = *header;
    if next_header != ipv6::ICMP6 || message[0] >= 128 {
        return None;
    }
    let sum = checksum::upper_layer(&source, &destination, ipv6::ICMP6, message);
    assert_eq!(sum, 0, "the checksum of an ICMPv6 error");
    Some(Error {
        at,
        source: source.into(),
        to: destination.into(),
        kind: (message[0], message[1]),
        parameter: u32::from_be_bytes(message[4..8].try_into().unwrap()),
        quote: message[8..].to_vec(),
    })
}

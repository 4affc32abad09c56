//! A cable of a machine: datagrams laid on it in anybody's name, and what the machine sends.

use std::net::{Ipv4Addr, SocketAddrV4};

use lab::{CableEnd, Node};
use teredo::wire::{checksum, ipv6};

use crate::scripted::{Datagram, IPV4_LEN, Left, UDP_LEN};

pub(crate) const ETHERNET_LEN: usize = 14;

/// The far end of the cable.
pub(crate) struct Leg {
    end: CableEnd,
    header: [u8; ETHERNET_LEN],
}

impl Leg {
    /// The cable from `port` of `router` to `lb-v4` of `machine`.
    pub(crate) fn to(router: &Node, port: &str, machine: &Node) -> Self {
        Self {
            end: CableEnd::of(router, port).unwrap(),
            header: header(router, port, (machine, "lb-v4"), [0x08, 0x00]),
        }
    }

    /// The cable from `port` of `router` to `lb-v6` of `machine`, for packets of native IPv6.
    pub(crate) fn to_native(router: &Node, port: &str, machine: &Node) -> Self {
        Self {
            end: CableEnd::deaf(router, port).unwrap(),
            header: header(router, port, (machine, "lb-v6"), [0x86, 0xdd]),
        }
    }

    /// As [`Leg::to`], for a flood: what the machine sends is not kept.
    pub(crate) fn deaf(router: &Node, port: &str, machine: &Node) -> Self {
        Self {
            end: CableEnd::deaf(router, port).unwrap(),
            header: header(router, port, (machine, "lb-v4"), [0x08, 0x00]),
        }
    }

    pub(crate) fn send(&self, datagram: &Datagram) {
        self.send_frame(&self.frame(datagram));
    }

    /// Sends the IPv6 packet, over a cable of native IPv6.
    pub(crate) fn send_packet(&self, packet: &[u8]) {
        self.send_frame(&[&self.header[..], packet].concat());
    }

    pub(crate) fn send_frame(&self, frame: &[u8]) {
        self.end.send(frame).unwrap();
    }

    /// Datagrams the machine has sent since the last call.
    pub(crate) fn left(&self) -> Vec<Left> {
        let left = drain(&self.end, datagram).into_iter();
        left.map(Left::Datagram).collect()
    }

    /// The whole frame, checksums right.
    pub(crate) fn frame(&self, datagram: &Datagram) -> Vec<u8> {
        let Datagram { from, to, payload } = datagram;
        let udp_len = u16::try_from(UDP_LEN + payload.len()).expect("short enough");
        let mut udp = [from.port(), to.port(), udp_len, 0]
            .map(u16::to_be_bytes)
            .concat();
        udp.extend(payload);
        let sum = checksum::udp_over_ipv4(*from.ip(), *to.ip(), &udp);
        udp[6..8].copy_from_slice(&checksum::as_udp_field(sum).to_be_bytes());

        let [high, low] = u16::try_from(IPV4_LEN + udp.len())
            .expect("short enough")
            .to_be_bytes();
        let mut ip = vec![0x45, 0, high, low, 0x12, 0x34, 0, 0, 64, ipv6::UDP, 0, 0];
        ip.extend(from.ip().octets());
        ip.extend(to.ip().octets());
        let sum = checksum::ipv4_header(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        [&self.header[..], &ip, &udp].concat()
    }
}

fn header(
    router: &Node,
    port: &str,
    (machine, interface): (&Node, &str),
    ethertype: [u8; 2],
) -> [u8; ETHERNET_LEN] {
    let mut header = [0; ETHERNET_LEN];
    header[..6].copy_from_slice(&mac(machine, interface));
    header[6..12].copy_from_slice(&mac(router, port));
    header[12..].copy_from_slice(&ethertype);
    header
}

/// Link-layer address of an interface.
fn mac(node: &Node, interface: &str) -> [u8; 6] {
    let text = node.mac(interface).unwrap();
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16));
    let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().unwrap();
    bytes.try_into().unwrap()
}

/// What has come since the last call and `read` makes anything of.
pub(crate) fn drain<T>(end: &CableEnd, read: impl Fn(&[u8]) -> Option<T>) -> Vec<T> {
    let mut left = Vec::new();
    while let Some(frame) = end.receive().unwrap() {
        left.extend(read(&frame));
    }
    assert_eq!(end.missed().unwrap(), 0, "frames were missed");
    left
}

/// The IPv6 packet of the frame, but for the talk of neighbours.
pub(crate) fn native(frame: &[u8]) -> Option<Vec<u8>> {
    let packet = payload_of(frame, [0x86, 0xdd])?;
    let (header, body, _) = ipv6::parse(packet).unwrap();
    let is_multicast = header.destination[0] == 0xff;
    let is_discovery = header.next_header == ipv6::ICMP6 && matches!(body[0], 133..=137);
    (!is_multicast && !is_discovery).then(|| packet.to_vec())
}

fn payload_of(frame: &[u8], ethertype: [u8; 2]) -> Option<&[u8]> {
    let (header, packet) = frame.split_at(ETHERNET_LEN);
    (header[12..] == ethertype).then_some(packet)
}

/// The datagram of an IPv4 frame.
///
/// # Panics
/// If it holds anything else, or a wrong checksum.
fn datagram(frame: &[u8]) -> Option<Datagram> {
    let packet = payload_of(frame, [0x08, 0x00])?;
    assert_eq!((packet[0], packet[9]), (0x45, ipv6::UDP), "{packet:02x?}");
    assert_eq!(checksum::ipv4_header(&packet[..IPV4_LEN]), 0);
    let ip = |at: usize| Ipv4Addr::from_octets(*packet[at..].first_chunk().unwrap());
    let udp = &packet[IPV4_LEN..];
    let word = |at: usize| u16::from_be_bytes(*udp[at..].first_chunk().unwrap());
    let udp = &udp[..usize::from(word(4))];
    if word(6) != 0 {
        assert_eq!(checksum::udp_over_ipv4(ip(12), ip(16), udp), 0);
    }
    Some(Datagram {
        from: SocketAddrV4::new(ip(12), word(0)),
        to: SocketAddrV4::new(ip(16), word(2)),
        payload: udp[UDP_LEN..].to_vec(),
    })
}

//! Datagrams to the server in anybody's name, laid on its cable, and everything the server sends.

use std::net::{Ipv4Addr, SocketAddrV4};

use lab::{CableEnd, Lab, Node, Options, XdpPass};
use teredo::addr::{Mapped, SERVER_PORT, ServerV4, TeredoAddr};
use teredo::wire::{checksum, ipv6};

/// P, where clients ask.
pub(crate) const PRIMARY: SocketAddrV4 = SocketAddrV4::new(Lab::SERVER_V4, SERVER_PORT);
/// Q, where they ask whether their NAT is a cone.
pub(crate) const SECONDARY: SocketAddrV4 = SocketAddrV4::new(Lab::SERVER_SECONDARY_V4, SERVER_PORT);
/// What the server serves that is no host of the internet: enough for a million sources, none of which is there.
pub(crate) const STRANGERS: &str = "100.64.0.0/10";

const ETHERNET_LEN: usize = 14;
const IPV4_LEN: usize = 20;
const UDP_LEN: usize = 8;
const FIRST_PORT: u16 = 40_000;

/// The lab's server, and its cables in the hands of the test. What the server sends to strangers goes no further.
pub(crate) struct Scene {
    pub(crate) lab: Lab,
    v4: CableEnd,
    v6: CableEnd,
    header: [u8; ETHERNET_LEN],
    _far_end: XdpPass,
}

/// A UDP datagram over IPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddrV4,
    pub(crate) to: SocketAddrV4,
    pub(crate) payload: Vec<u8>,
}

/// Something the server's machine sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// To the IPv4 internet.
    Datagram(Datagram),
    /// To native IPv6: the packet.
    Native(Vec<u8>),
}

/// Stranger number `n`, of 4 million.
pub(crate) fn stranger(n: u32) -> SocketAddrV4 {
    let first = Ipv4Addr::new(100, 64, 0, 0).to_bits();
    SocketAddrV4::new(Ipv4Addr::from_bits(first + n % (1 << 22)), FIRST_PORT)
}

/// The Teredo address that the server of the lab gives to whoever is mapped to `mapped`.
pub(crate) fn client(mapped: SocketAddrV4) -> TeredoAddr {
    client_of(Lab::SERVER_V4, mapped)
}

/// The Teredo address that `server` gives to whoever is mapped to `mapped`.
pub(crate) fn client_of(server: Ipv4Addr, mapped: SocketAddrV4) -> TeredoAddr {
    TeredoAddr::new(ServerV4(server), 0, Mapped::from(mapped))
}

impl Scene {
    pub(crate) fn new() -> Self {
        const FAR_END: &str = "lb-srv";
        let lab = Lab::new(&Options {
            nats: Vec::new(),
            ..Options::default()
        })
        .unwrap();
        lab.inet.ip(&["route add blackhole default"]).unwrap();
        lab.v6r.ip(&["-6 route add blackhole default"]).unwrap();
        // A host that believes what comes in its own name, so that the server has to judge it.
        lab.server
            .sysctl("net/ipv4/conf/lb-v4/accept_local", "1")
            .unwrap();
        let far_end = XdpPass::attach(&lab.inet, FAR_END).unwrap();
        let mut header = [0; ETHERNET_LEN];
        header[..6].copy_from_slice(&mac(&lab.server, "lb-v4"));
        header[6..12].copy_from_slice(&mac(&lab.inet, FAR_END));
        header[12..].copy_from_slice(&[0x08, 0x00]);
        Self {
            v4: CableEnd::of(&lab.inet, FAR_END).unwrap(),
            v6: CableEnd::of(&lab.v6r, FAR_END).unwrap(),
            lab,
            header,
            _far_end: far_end,
        }
    }

    pub(crate) fn inject(&self, datagram: &Datagram) {
        self.inject_frame(&self.frame(datagram));
    }

    pub(crate) fn inject_frame(&self, frame: &[u8]) {
        self.v4.send(frame).unwrap();
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

    /// What the server's machine has sent since the last call, but for the talk of neighbours.
    pub(crate) fn left(&self) -> Vec<Left> {
        let mut left = Vec::new();
        for end in [&self.v4, &self.v6] {
            while let Some(frame) = end.receive().unwrap() {
                left.extend(read(&frame));
            }
            assert_eq!(end.missed().unwrap(), 0, "frames were missed");
        }
        left
    }
}

/// Link-layer address of an interface.
fn mac(node: &Node, interface: &str) -> [u8; 6] {
    let text = node.mac(interface).unwrap();
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16));
    let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().unwrap();
    bytes.try_into().unwrap()
}

/// What the frame carries, but for the talk of neighbours.
///
/// # Panics
/// If it is IPv4 and no sound UDP datagram: the server's machine has no reason to send any.
fn read(frame: &[u8]) -> Option<Left> {
    let (header, packet) = frame.split_at(ETHERNET_LEN);
    match header[12..] {
        [0x08, 0x00] => Some(Left::Datagram(datagram(packet))),
        [0x86, 0xdd] => {
            let (found, body, _) = ipv6::parse(packet).unwrap();
            let is_multicast = found.destination[0] == 0xff;
            let is_discovery = found.next_header == ipv6::ICMP6 && matches!(body[0], 133..=137);
            (!is_multicast && !is_discovery).then(|| Left::Native(packet.to_vec()))
        }
        _ => None,
    }
}

fn datagram(packet: &[u8]) -> Datagram {
    assert_eq!((packet[0], packet[9]), (0x45, ipv6::UDP), "{packet:02x?}");
    assert_eq!(checksum::ipv4_header(&packet[..IPV4_LEN]), 0);
    let ip = |at: usize| Ipv4Addr::from_octets(*packet[at..].first_chunk().unwrap());
    let udp = &packet[IPV4_LEN..];
    let word = |at: usize| u16::from_be_bytes(*udp[at..].first_chunk().unwrap());
    let udp = &udp[..usize::from(word(4))];
    if word(6) != 0 {
        assert_eq!(checksum::udp_over_ipv4(ip(12), ip(16), udp), 0);
    }
    Datagram {
        from: SocketAddrV4::new(ip(12), word(0)),
        to: SocketAddrV4::new(ip(16), word(2)),
        payload: udp[UDP_LEN..].to_vec(),
    }
}

impl Datagram {
    pub(crate) fn new(from: SocketAddrV4, to: SocketAddrV4, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            from,
            to,
            payload: payload.into(),
        }
    }

    /// Bytes of the IPv4 packet.
    pub(crate) fn bytes(&self) -> usize {
        IPV4_LEN + UDP_LEN + self.payload.len()
    }
}

impl Left {
    /// The datagram to IPv4.
    ///
    /// # Panics
    /// If it went to native IPv6.
    pub(crate) fn datagram(self) -> Datagram {
        match self {
            Self::Datagram(datagram) => datagram,
            Self::Native(packet) => panic!("to native IPv6: {packet:02x?}"),
        }
    }

    /// Bytes of the IP packet.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Datagram(datagram) => datagram.bytes(),
            Self::Native(packet) => packet.len(),
        }
    }
}

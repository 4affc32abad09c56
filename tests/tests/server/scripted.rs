//! Datagrams to the server in anybody's name, laid on its cable, and everything the server sends.

use std::net::{Ipv4Addr, SocketAddrV4};

use lab::{CableEnd, Lab, Options};
use teredo::addr::{Mapped, SERVER_PORT, ServerV4, TeredoAddr};

use crate::leg::{self, Leg};

/// P, where clients ask.
pub(crate) const PRIMARY: SocketAddrV4 = SocketAddrV4::new(Lab::SERVER_V4, SERVER_PORT);
/// Q, where they ask whether their NAT is a cone.
pub(crate) const SECONDARY: SocketAddrV4 = SocketAddrV4::new(Lab::SERVER_SECONDARY_V4, SERVER_PORT);
/// What the server serves that is no host of the internet: enough for a million sources, none of which is there.
pub(crate) const STRANGERS: &str = "100.64.0.0/10";

pub(crate) const IPV4_LEN: usize = 20;
pub(crate) const UDP_LEN: usize = 8;
const FIRST_PORT: u16 = 40_000;

/// The lab's server, and its cables in the hands of the test. What the server sends to strangers goes no further.
pub(crate) struct Scene {
    pub(crate) lab: Lab,
    v4: Leg,
    v6: CableEnd,
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

/// A lab without sites that knows no way to strangers, so that nobody answers in their place.
pub(crate) fn quiet_lab() -> Lab {
    let lab = Lab::new(&Options {
        nats: Vec::new(),
        ..Options::default()
    })
    .unwrap();
    lab.inet.ip(&["route add blackhole default"]).unwrap();
    lab.v6r.ip(&["-6 route add blackhole default"]).unwrap();
    // Hosts that believe what comes in their own name, so that their servers have to judge it.
    for node in [&lab.server, &lab.bench, &lab.relay] {
        node.sysctl("net/ipv4/conf/lb-v4/accept_local", "1")
            .unwrap();
    }
    lab
}

impl Scene {
    pub(crate) fn new() -> Self {
        let lab = quiet_lab();
        Self {
            v4: Leg::to(&lab.inet, "lb-srv", &lab.server),
            v6: CableEnd::of(&lab.v6r, "lb-srv").unwrap(),
            lab,
        }
    }

    pub(crate) fn inject(&self, datagram: &Datagram) {
        self.v4.send(datagram);
    }

    /// What the server's machine has sent since the last call, but for the talk of neighbours.
    pub(crate) fn left(&self) -> Vec<Left> {
        let mut left = self.v4.left();
        left.extend(
            leg::drain(&self.v6, leg::native)
                .into_iter()
                .map(Left::Native),
        );
        left
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

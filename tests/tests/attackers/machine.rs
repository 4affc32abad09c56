//! The relay's state machine alone, with the network and the clock in the hands of the test.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use teredo::Instant;
use teredo::addr::{Mapped, ServerV4, TeredoAddr};
use teredo::relay::{Command, Config, Relay, Trusted};

/// A Teredo server.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);
/// The service address of a relay that is alone.
pub(crate) const SERVICE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(9, 9, 9, 9), 3545);

/// What a relay sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// A UDP payload.
    Datagram(Mapped, Vec<u8>),
    /// An IPv6 packet to native IPv6.
    Native(Vec<u8>),
    /// An ICMPv6 error that quotes so many bytes.
    Error(usize),
}

impl Sent {
    /// Bytes of the IP packet.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Datagram(_, payload) => 20 + 8 + payload.len(),
            Self::Native(packet) => packet.len(),
            Self::Error(quoted) => 40 + 8 + quoted,
        }
    }
}

/// A relay and its clock.
pub(crate) struct Machine {
    pub(crate) relay: Relay<BTreeMap<TeredoAddr, Trusted>>,
    pub(crate) now: Instant,
}

impl Machine {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            relay: Relay::new(config, BTreeMap::new(), [7; 32]),
            now: Instant::from_nanos(1_000_000_000_000),
        }
    }

    /// Whom the relay trusts.
    pub(crate) fn trusted(&self) -> usize {
        self.relay.table().len()
    }

    /// Makes the relay trust `peer`.
    pub(crate) fn trust(&mut self, peer: &TeredoAddr) {
        let entry = Trusted {
            mapped: peer.mapped(),
            last_rx: self.now,
        };
        self.relay.table_mut().insert(*peer, entry);
    }

    /// What was sent since the last call.
    pub(crate) fn sent(&mut self) -> Vec<Sent> {
        let next = || {
            self.relay.poll().map(|command| match command {
                Command::SendUdp { to, payload, .. } => Sent::Datagram(to, payload.to_vec()),
                Command::Forward { packet } => Sent::Native(packet.to_vec()),
                Command::Icmp6 { quote, .. } => Sent::Error(quote.len()),
            })
        };
        std::iter::from_fn(next).collect()
    }

    /// Lets `time` pass with every timer served, and gives what was sent.
    pub(crate) fn pass(&mut self, time: Duration) -> Vec<Sent> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while let Some(at) = self.relay.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.relay.handle_timeout(self.now);
            sent.extend(self.sent());
        }
        self.now = end;
        sent
    }
}

/// A client of `server` at `ip`, port `port`.
pub(crate) fn client(server: Ipv4Addr, ip: Ipv4Addr, port: u16) -> TeredoAddr {
    TeredoAddr::new(ServerV4(server), 0, Mapped { ip, port })
}

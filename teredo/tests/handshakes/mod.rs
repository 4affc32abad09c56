//! Handshakes of new peers, one after the other, in memory that is there before.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use teredo::addr::{Mapped, ServerV4, TeredoAddr};
use teredo::relay::{Command, Config, Hop, Limits, PeerTable, Relay, TableFull, Trusted, UdpKind};
use teredo::wire::ipv6::{self, Ipv6Header};
use teredo::{Fate, Instant};
use zerocopy::IntoBytes;

const SERVER: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);
const HOST: [u8; 16] = [0x2a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80];

/// A table of the last few peers alone, so that it asks for no memory.
pub(crate) struct Table(HashMap<TeredoAddr, Trusted>);

/// Entries it has room for.
const TABLE_ROOM: usize = 1024;

impl PeerTable for Table {
    fn get(&self, peer: &TeredoAddr) -> Option<Trusted> {
        self.0.get(peer).copied()
    }

    fn insert(&mut self, peer: &TeredoAddr, entry: Trusted) -> Result<(), TableFull> {
        if self.0.len() == TABLE_ROOM / 2 {
            self.0.clear();
        }
        self.0.insert(*peer, entry);
        Ok(())
    }

    fn remove(&mut self, peer: &TeredoAddr) {
        self.0.remove(peer);
    }
}

/// A relay without rate limits that matter, and the packets of its neighbours.
pub(crate) struct Handshakes {
    pub(crate) relay: Relay<Table>,
    pub(crate) now: Instant,
    /// Peers so far.
    pub(crate) peers: u32,
    /// Time between two of them.
    pub(crate) apart: Duration,
    native: Vec<u8>,
    data: Vec<u8>,
    answer: Vec<u8>,
    /// Source of the last bubble.
    pub(crate) cookie: [u8; 16],
}

impl Handshakes {
    /// `size`: bytes of the packets that wait. `pending`: peers that may.
    pub(crate) fn new(size: u16, pending: usize, apart: Duration) -> Self {
        let mut config = Config::new(SocketAddrV4::new(Ipv4Addr::new(9, 9, 9, 9), 3545));
        config.limits = Limits {
            new_peers_per_s: 1_000_000,
            pending_peers: pending,
            server_bubbles_per_s: 1_000_000,
            server_bubbles_burst: 1_000_000,
            ..Limits::default()
        };
        let payload_len = size - 40;
        let mut native = Ipv6Header::new(HOST, [0; 16], ipv6::UDP, 64, payload_len)
            .as_bytes()
            .to_vec();
        native.resize(size.into(), 7);
        let mut data = Ipv6Header::new([0; 16], HOST, ipv6::UDP, 64, payload_len)
            .as_bytes()
            .to_vec();
        data.resize(size.into(), 7);
        let bubble = Ipv6Header::new([0; 16], [0; 16], ipv6::NO_NEXT_HEADER, 0, 0);
        Self {
            relay: Relay::new(config, Table(HashMap::with_capacity(TABLE_ROOM)), [7; 32]),
            now: Instant::from_nanos(1_000_000_000_000),
            peers: 0,
            apart,
            native,
            data,
            answer: bubble.as_bytes().to_vec(),
            cookie: [0; 16],
        }
    }

    /// The next peer, from 4.0.0.0 on.
    pub(crate) fn next_peer(&mut self) -> TeredoAddr {
        self.peers += 1;
        self.now = self.now + self.apart;
        let ip = Ipv4Addr::from_bits(0x0400_0000 + self.peers % 0x0100_0000);
        let mapped = Mapped { ip, port: 40_000 };
        TeredoAddr::new(ServerV4(SERVER), 0x2093, mapped)
    }

    /// A native packet for `peer`, which makes it wait, and the bubble that leaves. Each comes from another native /64, none of
    /// which holds too many peers.
    pub(crate) fn ask(&mut self, peer: &TeredoAddr) {
        self.native[24..40].copy_from_slice(&peer.octets());
        self.native[10..14].copy_from_slice(&self.peers.to_be_bytes());
        let fate = self.relay.from_native(self.now, &self.native, Hop::Pending);
        assert_eq!(fate, None);
        let Some(Command::SendUdp {
            payload,
            kind: UdpKind::Bubble,
            ..
        }) = self.relay.poll()
        else {
            panic!("no bubble for {peer}");
        };
        self.cookie.copy_from_slice(&payload[8..24]);
        assert_eq!(self.relay.poll(), None);
    }

    /// Its answer to the last bubble, and the packet that waited.
    pub(crate) fn answer(&mut self, peer: &TeredoAddr) {
        self.answer_to(peer, self.cookie);
    }

    /// Its answer to the bubble from `cookie`, and the packet that waited.
    pub(crate) fn answer_to(&mut self, peer: &TeredoAddr, cookie: [u8; 16]) {
        self.answer[8..24].copy_from_slice(&peer.octets());
        self.answer[24..40].copy_from_slice(&cookie);
        let fate = self
            .relay
            .from_client(self.now, peer.mapped().into(), 0, &self.answer);
        assert_eq!(fate, Fate::BubbleAccepted);
        let queued = self.relay.poll();
        assert!(
            matches!(queued, Some(Command::SendUdp { kind: UdpKind::Queued, payload, .. })
                if payload.len() == self.native.len()),
            "{queued:?}"
        );
        assert_eq!(self.relay.poll(), None);
    }

    /// Data both ways of a trusted peer.
    pub(crate) fn talk(&mut self, peer: &TeredoAddr) {
        let fate = self.relay.from_native(self.now, &self.native, Hop::Pending);
        assert_eq!(fate, Some(Fate::Encapsulated));
        self.data[8..24].copy_from_slice(&peer.octets());
        let fate = self
            .relay
            .from_client(self.now, peer.mapped().into(), 1, &self.data);
        assert_eq!(fate, Fate::Decapsulated);
        while self.relay.poll().is_some() {}
    }
}

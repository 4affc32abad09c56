//! Teredo clients (PROTOCOL 5).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use teredo::Instant;
use teredo::addr::{FLAG_RANDOM_MASK, Mapped, SERVER_PORT, ServerV4, TeredoAddr};
use teredo::wire::auth::Auth;
use teredo::wire::bubble;
use teredo::wire::icmp6::{Echo, EchoKind};
use teredo::wire::ipv6;
use teredo::wire::payload::{self, Payload};
use teredo::wire::rs_ra::{RouterAdvertisement, RouterSolicitation};
use teredo::wire::trailer::Trailers;

use crate::net::may_be_sent_to;

/// What a client wants done.
#[derive(Debug, Default)]
pub struct ClientOutput {
    /// Datagrams from its service port.
    pub datagrams: Vec<(Mapped, Vec<u8>)>,
    /// IPv6 packets for its host.
    pub delivered: Vec<Vec<u8>>,
}

/// A Teredo client behind a NAT, without I/O or clock.
pub trait TeredoClient {
    /// Its address, while it is qualified.
    fn address(&self) -> Option<TeredoAddr>;
    /// Takes a datagram received on its service port.
    fn receive(&mut self, now: Instant, from: Mapped, payload: &[u8], out: &mut ClientOutput);
    /// Takes an IPv6 packet of its host.
    fn send(&mut self, now: Instant, packet: &[u8], out: &mut ClientOutput);
    /// When it wants to be called next.
    fn poll_timeout(&self) -> Option<Instant>;
    /// Its time has come.
    fn handle_timeout(&mut self, now: Instant, out: &mut ClientOutput);
}

/// T of C-11.
const RS_TIMEOUT: Duration = Duration::from_secs(4);
/// N of C-11.
const RS_TRIES: u8 = 3;
/// Pause of C-23.
const OFFLINE: Duration = Duration::from_secs(100);
/// Validity of a peer (5.4).
const PEER_VALID: Duration = Duration::from_secs(30);
/// Timeout of the connectivity test (C-50).
const TEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Tests, or bubbles, before a peer is given up (C-52).
const TRIES: u8 = 4;
/// Packets waiting each way for one peer.
const QUEUE: usize = 16;
/// Peers remembered; the one silent longest goes first.
const PEERS: usize = 256;
/// Answers to bubbles from one origin are this far apart (C-33). Less than a relay's 2 s, so that jitter costs no repeat.
const ANSWER_APART: Duration = Duration::from_secs(1);
/// Source of solicitations with cone bit 0 (1.3).
const RS_SOURCE: [u8; 16] = [
    0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
];

#[derive(Debug, Default)]
struct Peer {
    mapped: Option<Mapped>,
    last_rx: Instant,
    /// Nonce, next deadline and count of the test or the bubbles under way.
    probe: Option<(u64, Instant, u8)>,
    outward: VecDeque<Vec<u8>>,
    /// Packets from a source not tested yet (C-34.6), with the outer source.
    held: VecDeque<(Mapped, Vec<u8>)>,
}

/// Rules C-10 to C-52 as deployed clients follow them: one solicitation phase, no local discovery; with or
/// without the nonces of RFC 6081.
#[derive(Debug)]
pub struct ScriptedClient {
    server: ServerV4,
    repeats_nonces: bool,
    rng: fastrand::Rng,
    address: Option<TeredoAddr>,
    rs_nonce: [u8; 8],
    tries: u8,
    next_rs: Instant,
    peers: BTreeMap<[u8; 16], Peer>,
    answered: BTreeMap<Mapped, Instant>,
}

impl ScriptedClient {
    /// A client of `server` that begins to qualify at `start`.
    pub fn new(server: ServerV4, repeats_nonces: bool, start: Instant, seed: u64) -> Self {
        Self {
            server,
            repeats_nonces,
            rng: fastrand::Rng::with_seed(seed),
            address: None,
            rs_nonce: [0; 8],
            tries: 0,
            next_rs: start,
            peers: BTreeMap::new(),
            answered: BTreeMap::new(),
        }
    }

    const fn server_endpoint(&self) -> Mapped {
        Mapped {
            ip: self.server.0,
            port: SERVER_PORT,
        }
    }

    fn solicit(&mut self, now: Instant, out: &mut ClientOutput) {
        if self.tries == RS_TRIES {
            self.tries = 0;
            self.address = None;
            self.peers.clear();
            self.next_rs = now + OFFLINE;
            return;
        }
        self.tries += 1;
        self.next_rs = now + RS_TIMEOUT;
        self.rs_nonce = self.rng.u64(..).to_be_bytes();
        let packet = RouterSolicitation { source: RS_SOURCE }.build();
        let auth = Auth::with_nonce(self.rs_nonce);
        let datagram = payload::build(Some(&auth), None, &packet);
        out.datagrams.push((self.server_endpoint(), datagram));
    }

    /// C-13, C-15, C-22.
    fn advertised(&mut self, now: Instant, received: &Payload<'_>) -> Option<()> {
        let auth = received.auth?;
        let mapped = received.origin?.mapped;
        let advertisement = RouterAdvertisement::parse(received.header, received.body).ok()?;
        let is_mine = auth.nonce == self.rs_nonce
            && auth.confirmation == 0
            && advertisement.destination == RS_SOURCE
            && advertisement.server() == Some(self.server);
        if !is_mine || self.tries == 0 || !may_be_sent_to(mapped.ip) || mapped.port == 0 {
            return None;
        }
        self.tries = 0;
        self.next_rs = now + Duration::from_millis(self.rng.u64(22_500..=30_000));
        if self.address.map(|address| address.mapped()) != Some(mapped) {
            let flags = self.rng.u16(..) & FLAG_RANDOM_MASK;
            self.address = Some(TeredoAddr::new(self.server, flags, mapped));
            self.peers.clear();
        }
        Some(())
    }

    /// C-33.
    fn answer_bubble(&mut self, now: Instant, received: &Payload<'_>, out: &mut ClientOutput) {
        let header = received.header;
        let source = TeredoAddr::from_octets(&header.source);
        let origin = received.origin.map(|origin| origin.mapped);
        let Some(to) = origin.or(source.map(|source| source.mapped())) else {
            return;
        };
        let answered = self.answered.get(&to);
        let is_soon = answered.is_some_and(|at| now.saturating_since(*at) < ANSWER_APART);
        if is_soon || !may_be_sent_to(to.ip) || to.port == 0 {
            return;
        }
        self.answered
            .retain(|_, at| now.saturating_since(*at) < ANSWER_APART);
        self.answered.insert(to, now);
        let nonce = Trailers::parse(received.tail)
            .ok()
            .and_then(|trailers| trailers.nonce)
            .filter(|_| self.repeats_nonces);
        let trailers = Trailers {
            nonce,
            ..Trailers::default()
        };
        let answer = bubble::build(header.destination, header.source, &trailers);
        out.datagrams.push((to, answer));
    }

    fn peer(&mut self, addr: [u8; 16]) -> &mut Peer {
        if !self.peers.contains_key(&addr) && self.peers.len() >= PEERS {
            let oldest = self.peers.iter().min_by_key(|(_, peer)| peer.last_rx);
            if let Some(oldest) = oldest.map(|(addr, _)| *addr) {
                self.peers.remove(&oldest);
            }
        }
        self.peers.entry(addr).or_default()
    }

    /// C-34.
    fn accept(
        &mut self,
        now: Instant,
        from: Mapped,
        received: &Payload<'_>,
        out: &mut ClientOutput,
    ) {
        let header = received.header;
        let source = header.source;
        let claimed = TeredoAddr::from_octets(&source).map(|source| source.mapped());
        let echo = Echo::parse(header, received.body).filter(|echo| echo.kind == EchoKind::Reply);
        let peer = self.peer(source);
        if let Some(echo) = echo
            && let Some((nonce, ..)) = peer.probe
            && echo.data == nonce.to_be_bytes()
        {
            Self::trust(peer, now, from, out);
            return;
        }
        if claimed == Some(from) {
            Self::trust(peer, now, from, out);
        }
        if peer.mapped == Some(from) {
            peer.last_rx = now;
            if !header.is_bubble() {
                out.delivered.push(received.packet.to_vec());
            }
        } else if claimed.is_none() && !header.is_bubble() && source[0] >> 5 == 1 {
            if peer.held.len() < QUEUE {
                peer.held.push_back((from, received.packet.to_vec()));
            }
            self.probe(now, source, out);
        }
    }

    fn trust(peer: &mut Peer, now: Instant, from: Mapped, out: &mut ClientOutput) {
        peer.mapped = Some(from);
        peer.last_rx = now;
        peer.probe = None;
        let outward = std::mem::take(&mut peer.outward);
        out.datagrams
            .extend(outward.into_iter().map(|packet| (from, packet)));
        let held = std::mem::take(&mut peer.held).into_iter();
        let proven = held.filter(|(outer, _)| *outer == from);
        out.delivered.extend(proven.map(|(_, packet)| packet));
    }

    /// Starts the connectivity test (C-50) or the bubbles (C-41.5), unless they are under way.
    fn probe(&mut self, now: Instant, addr: [u8; 16], out: &mut ClientOutput) {
        let nonce = self.rng.u64(..);
        let peer = self.peer(addr);
        if peer.probe.is_none() {
            peer.probe = Some((nonce, now + TEST_TIMEOUT, 1));
            self.ask(addr, nonce, out);
        }
    }

    fn ask(&self, addr: [u8; 16], nonce: u64, out: &mut ClientOutput) {
        let Some(own) = self.address else { return };
        if let Some(peer) = TeredoAddr::from_octets(&addr) {
            let bubble = bubble::build(own.octets(), addr, &Trailers::default());
            let server = Mapped {
                ip: peer.server().0,
                port: SERVER_PORT,
            };
            let mut targets = [peer.mapped(), server].to_vec();
            targets.retain(|to| may_be_sent_to(to.ip) && to.port != 0);
            out.datagrams
                .extend(targets.into_iter().map(|to| (to, bubble.clone())));
            return;
        }
        let echo = Echo {
            kind: EchoKind::Request,
            identifier: 1,
            sequence: 1,
            data: &nonce.to_be_bytes(),
        };
        let request = echo.build(own.octets(), addr, 128);
        out.datagrams
            .extend(request.map(|request| (self.server_endpoint(), request)));
    }
}

impl TeredoClient for ScriptedClient {
    fn address(&self) -> Option<TeredoAddr> {
        self.address
    }

    fn receive(&mut self, now: Instant, from: Mapped, datagram: &[u8], out: &mut ClientOutput) {
        let Ok(received) = payload::parse(datagram) else {
            return;
        };
        let header = received.header;
        if from == self.server_endpoint() && header.destination == RS_SOURCE {
            self.advertised(now, &received);
            return;
        }
        let Some(own) = self
            .address
            .filter(|own| header.destination == own.octets())
        else {
            return;
        };
        if from == self.server_endpoint() {
            if header.is_bubble() {
                self.answer_bubble(now, &received, out);
            }
        } else if from != own.mapped() {
            self.accept(now, from, &received, out);
        }
    }

    fn send(&mut self, now: Instant, packet: &[u8], out: &mut ClientOutput) {
        let Ok((header, ..)) = ipv6::parse(packet) else {
            return;
        };
        let destination = header.destination;
        if self.address.is_none() {
            return;
        }
        let peer = self.peer(destination);
        let valid = now.saturating_since(peer.last_rx) < PEER_VALID;
        if let Some(mapped) = peer.mapped.filter(|_| valid) {
            out.datagrams.push((mapped, packet.to_vec()));
            return;
        }
        if peer.outward.len() < QUEUE {
            peer.outward.push_back(packet.to_vec());
        }
        self.probe(now, destination, out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let probes = self.peers.values().filter_map(|peer| peer.probe);
        probes.map(|(_, at, _)| at).chain([self.next_rs]).min()
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut ClientOutput) {
        if self.next_rs <= now {
            self.solicit(now, out);
        }
        let mut asked = Vec::new();
        for (addr, peer) in &mut self.peers {
            let Some((nonce, at, count)) = peer.probe.filter(|(_, at, _)| *at <= now) else {
                continue;
            };
            if count == TRIES {
                peer.probe = None;
                peer.outward.clear();
                peer.held.clear();
            } else {
                peer.probe = Some((nonce, at + TEST_TIMEOUT, count + 1));
                asked.push((*addr, nonce));
            }
        }
        for (addr, nonce) in asked {
            self.ask(addr, nonce, out);
        }
    }
}

//! Any events in any order: the relay keeps its bounds and never sends where it must not.
#![no_main]

mod event;
mod table;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use event::Event;
use libfuzzer_sys::fuzz_target;
use table::SmallTable;
use teredo::Instant;
use teredo::addr::{Mapped, TeredoAddr, is_global_unicast};
use teredo::relay::{Command, Config, Hop, Ipv4Net, Limits, Relay, UdpKind};
use teredo::wire::{bubble, icmp6, ipv6, payload, trailer::Trailers};

/// Where the relay is reached: an address of the range the laboratory opens.
const SERVICE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 18), 3545);
const OPENED: (Ipv4Addr, u8) = (Ipv4Addr::new(203, 0, 113, 0), 24);

/// Deadlines served for one wait; a relay that is never done is a finding.
const TIMEOUTS_PER_WAIT: usize = 100_000;

/// Small, so that every bound is reached.
const LIMITS: Limits = Limits {
    pending_peers: 8,
    queue_packets_per_peer: 4,
    queue_bytes_per_peer: 4096,
    queue_bytes_total: 8192,
    new_peers_per_s: 4,
    new_peers_burst: 8,
    server_bubbles_per_s: 4,
    server_bubbles_burst: 8,
    repeats_per_s: 1,
    repeats_burst: 8,
    unanswered_per_source_prefix: 4,
    icmp6_per_s: 2,
    icmp6_burst: 4,
    cookie_epoch: Duration::from_secs(60),
};

fuzz_target!(|events: Vec<Event>| {
    let mut world = World::new();
    for event in events {
        world.meets(&event);
        world.carries_out_commands();
        world.keeps_its_bounds();
    }
});

/// A relay and what it was asked and has asked so far.
struct World {
    relay: Relay<SmallTable>,
    now: Instant,
    offered: u64,
    /// The last bubble sent: where to, and its payload.
    bubble: Option<(Mapped, Vec<u8>)>,
}

impl World {
    fn new() -> Self {
        let mut config = Config::new(SERVICE);
        config.limits = LIMITS;
        config.allow_non_global = Ipv4Net::new(OPENED.0, OPENED.1).into_iter().collect();
        let mut relay = Relay::new(config, SmallTable::default(), [7; 32]);
        relay.set_own_ipv4(&[*SERVICE.ip()], &[event::BROADCAST]);
        Self {
            relay,
            now: Instant::from_nanos(1_000_000_000_000),
            offered: 0,
            bubble: None,
        }
    }

    fn meets(&mut self, event: &Event) {
        match event {
            Event::Native(native) => self.native(&native.packet(), native.hop()),
            Event::NativeBytes(bytes) => self.native(bytes, Hop::Pending),
            Event::Client(client) => self.client(client.source(), client.tos, &client.payload()),
            Event::ClientBytes { client, payload } => {
                self.client(client.source(), client.tos, payload);
            }
            Event::Answer { spoofed_port } => self.answers_last_bubble(*spoofed_port),
            Event::Wait { millis } => self.waits(Duration::from_millis(u64::from(*millis))),
            Event::ShutDown => self.relay.shut_down(),
        }
    }

    fn native(&mut self, packet: &[u8], hop: Hop) {
        self.offered += 1;
        self.relay.from_native(self.now, packet, hop);
    }

    fn client(&mut self, source: SocketAddrV4, tos: u8, payload: &[u8]) {
        self.offered += 1;
        self.relay.from_client(self.now, source, tos, payload);
    }

    /// What an honest client does when a bubble reaches it; or somebody else from another port.
    fn answers_last_bubble(&mut self, spoofed_port: bool) {
        let Some((_, sent)) = self.bubble.take() else {
            return;
        };
        let asked = payload::parse(&sent).expect("a bubble of ours parses");
        let Some(peer) = TeredoAddr::from_octets(&asked.header.destination) else {
            return;
        };
        let trailers = Trailers::parse(asked.tail).expect("so do its trailers");
        let answer = bubble::build(peer.octets(), asked.header.source, &trailers);
        let mapped = peer.mapped();
        let port = if spoofed_port {
            !mapped.port
        } else {
            mapped.port
        };
        self.client(SocketAddrV4::new(mapped.ip, port), 0, &answer);
    }

    fn waits(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..TIMEOUTS_PER_WAIT {
            match self.relay.poll_timeout() {
                Some(due) if due <= until => {
                    self.now = self.now.max(due);
                    self.relay.handle_timeout(self.now);
                    self.carries_out_commands();
                }
                _ => {
                    self.now = until;
                    return;
                }
            }
        }
        panic!("the relay always has a deadline before {until:?}");
    }

    fn carries_out_commands(&mut self) {
        while let Some(command) = self.relay.poll() {
            match command {
                Command::SendUdp {
                    to, payload, kind, ..
                } => {
                    assert!(may_send(to.ip), "{kind:?} to {to:?}");
                    assert_ne!(to.port, 0, "{kind:?}");
                    payload::parse(payload).expect("what we send parses");
                    if kind == UdpKind::Bubble {
                        self.bubble = Some((to, payload.to_vec()));
                    }
                }
                Command::Forward { packet } => {
                    let (header, _, tail) = ipv6::parse(packet).expect("a whole packet");
                    assert!(tail.is_empty(), "trailers stay behind");
                    assert!(TeredoAddr::is_teredo(&header.source));
                    assert!(!TeredoAddr::is_teredo(&header.destination));
                }
                Command::Icmp6 { quote, .. } => assert!(quote.len() <= icmp6::QUOTE_MAX_LEN),
            }
        }
    }

    fn keeps_its_bounds(&self) {
        let gauges = self.relay.gauges();
        assert!(
            gauges.queued_bytes <= LIMITS.queue_bytes_total,
            "{gauges:?}"
        );
        assert!(gauges.probing + gauges.early_probes + gauges.blocked <= 2 * LIMITS.pending_peers);
        assert!(self.relay.pending().count() <= LIMITS.pending_peers);
        let accounted = self.relay.tally().total().packets + gauges.queued_packets as u64;
        assert_eq!(
            accounted, self.offered,
            "every packet has one fate: {gauges:?}"
        );
    }
}

fn may_send(to: Ipv4Addr) -> bool {
    let opened = to.octets()[..3] == OPENED.0.octets()[..3];
    (opened || is_global_unicast(to)) && to != *SERVICE.ip() && to != event::BROADCAST
}

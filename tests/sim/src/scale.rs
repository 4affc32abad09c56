//! Millions of clients behind one relay's state machine.

use std::collections::VecDeque;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant as Clock};

use teredo::addr::{Mapped, ServerV4, TeredoAddr};
use teredo::relay::{Command, Config, Hop, Limits, Relay};
use teredo::wire::bubble;
use teredo::wire::trailer::Trailers;
use teredo::{Fate, Instant};

use crate::line_table::LineTable;
use crate::packet::{self, Tag};

/// Handshakes under way at once.
const UNDER_WAY: usize = 1000;
/// Virtual time between two events: a million a second.
const APART: Duration = Duration::from_micros(1);
const HOST: [u8; 16] = [0x2a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80];

/// What one stage cost.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// What it did.
    pub name: &'static str,
    /// Packets given to the relay.
    pub events: u64,
    /// Nanoseconds of CPU an event.
    pub cpu_ns: f64,
    /// Events a second of wall-clock time.
    pub events_per_s: f64,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// Clients that became peers.
    pub trusted: u64,
    /// Clients the table had no room for.
    pub refused: u64,
    /// Bytes of the table.
    pub table_bytes: u64,
    /// Bytes the process holds with all of them.
    pub resident_bytes: u64,
    /// Bytes it held before the first.
    pub resident_before_bytes: u64,
    /// Stages in order.
    pub stages: Vec<Stage>,
}

/// Makes `clients` clients peers of one relay, then lets each receive a packet, send one, and be asked for early.
///
/// # Panics
/// If the relay does not carry what it must.
pub fn run(clients: u32) -> Report {
    let resident_before_bytes = resident_bytes();
    let mut crowd = Crowd::new(clients);
    let mut stages = Vec::new();
    stages.push(stage(
        "handshake (two packets)",
        2 * u64::from(clients),
        || crowd.shake(clients),
    ));
    let refused = crowd.relay.gauges().peer_table_full;
    stages.push(stage("native to client", clients.into(), || {
        crowd.data_out(clients);
    }));
    stages.push(stage("client to native", clients.into(), || {
        crowd.data_in(clients);
    }));
    Report {
        trusted: u64::from(clients) - refused,
        refused,
        table_bytes: crowd.relay.table().bytes(),
        resident_bytes: resident_bytes(),
        resident_before_bytes,
        stages,
    }
}

#[allow(clippy::cast_precision_loss)] // Below 2^53.
fn stage(name: &'static str, events: u64, run: impl FnOnce()) -> Stage {
    let (cpu, clock) = (cpu_ns(), Clock::now());
    run();
    Stage {
        name,
        events,
        cpu_ns: (cpu_ns() - cpu) as f64 / events as f64,
        events_per_s: events as f64 / clock.elapsed().as_secs_f64(),
    }
}

struct Crowd {
    relay: Relay<LineTable>,
    now: Instant,
    carried: u64,
}

impl Crowd {
    fn new(clients: u32) -> Self {
        let service = SocketAddrV4::new(Ipv4Addr::new(9, 9, 9, 9), 3545);
        let mut config = Config::new(service);
        config.limits = Limits {
            new_peers_per_s: 1_000_000,
            server_bubbles_per_s: 1_000_000,
            ..Limits::default()
        };
        let keys = [
            0x9e37_79b9_7f4a_7c15,
            0xbf58_476d_1ce4_e5b9,
            0x94d0_49bb_1331_11eb,
            0xd6e8_feb8_6659_fd93,
        ];
        Self {
            relay: Relay::new(config, LineTable::new(clients, keys), [7; 32]),
            now: Instant::default() + Duration::from_secs(100),
            carried: 0,
        }
    }

    fn tick(&mut self) -> Instant {
        self.now = self.now + APART;
        self.relay.table_mut().set_now(self.now);
        if self.relay.poll_timeout().is_some_and(|at| at <= self.now) {
            self.relay.handle_timeout(self.now);
            while self.relay.poll().is_some() {}
        }
        self.now
    }

    /// A native packet for each, the bubble, and its answer a thousand clients later.
    fn shake(&mut self, clients: u32) {
        let mut under_way = VecDeque::with_capacity(UNDER_WAY + 1);
        for n in 0..clients {
            let now = self.tick();
            let fate = self.relay.from_native(now, &native(n), Hop::Pending);
            assert_eq!(fate, None, "client {n}");
            let mut cookie = [0; 16];
            while let Some(command) = self.relay.poll() {
                if let Command::SendUdp { payload, .. } = command {
                    cookie.copy_from_slice(&payload[8..24]);
                }
            }
            under_way.push_back((n, cookie));
            if under_way.len() > UNDER_WAY {
                self.answer(under_way.pop_front());
            }
        }
        while !under_way.is_empty() {
            self.answer(under_way.pop_front());
        }
        assert_eq!(self.carried, clients.into(), "each queued packet left");
    }

    fn answer(&mut self, client: Option<(u32, [u8; 16])>) {
        let Some((n, cookie)) = client else { return };
        let now = self.tick();
        let bubble = bubble::build(peer(n).octets(), cookie, &Trailers::default());
        let fate = self
            .relay
            .from_client(now, peer(n).mapped().into(), 0, &bubble);
        assert_eq!(fate, Fate::BubbleAccepted, "client {n}");
        while self.relay.poll().is_some() {
            self.carried += 1;
        }
    }

    fn data_out(&mut self, clients: u32) {
        for n in 0..clients {
            let now = self.tick();
            let fate = self.relay.from_native(now, &native(n), Hop::Pending);
            // One that found no room waits for another bubble.
            assert!(
                matches!(fate, Some(Fate::Encapsulated) | None),
                "client {n}: {fate:?}"
            );
            while self.relay.poll().is_some() {}
        }
    }

    fn data_in(&mut self, clients: u32) {
        for n in 0..clients {
            let now = self.tick();
            let packet = packet::build(peer(n).octets(), HOST, Tag { flow: 0, seq: n });
            let fate = self
                .relay
                .from_client(now, peer(n).mapped().into(), 0, &packet);
            assert_eq!(fate, Fate::Decapsulated, "client {n}");
            while self.relay.poll().is_some() {}
        }
    }
}

/// Client `n`: from 11.0.0.0 on, of one of 1000 servers.
fn peer(n: u32) -> TeredoAddr {
    let server = ServerV4(Ipv4Addr::from_bits(0x0800_0000 + n % 1000));
    let ip = Ipv4Addr::from_bits(0x0b00_0000 + n);
    TeredoAddr::new(server, 0x2093, Mapped { ip, port: 40_000 })
}

/// A packet for client `n` from a /64 of its own.
fn native(n: u32) -> Vec<u8> {
    let mut from = HOST;
    from[4..8].copy_from_slice(&n.to_be_bytes());
    packet::build(from, peer(n).octets(), Tag { flow: 0, seq: n })
}

/// CPU time of this process so far: others may run on the machine as well.
fn cpu_ns() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text
        .split_whitespace()
        .next()
        .and_then(|ns| ns.parse().ok());
    first.expect("a kernel with scheduler statistics")
}

/// Memory this process holds.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.expect("a kernel with /proc/self/status") * 1024
}

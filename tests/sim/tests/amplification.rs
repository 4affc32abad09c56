//! What an attacker gets out of a relay for what he puts in.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use shipworm_sim::net::Output;
use shipworm_sim::packet::{self, ATTACK, Tag};
use shipworm_sim::relay::{RelayNode, Setup, Shipworm};
use teredo::Instant;
use teredo::addr::{Mapped, ServerV4, TeredoAddr};
use teredo::relay::Limits;

/// IPv4 and UDP headers in bytes.
const OUTER: usize = 28;

/// Packets and bytes, IP headers included.
#[derive(Clone, Copy, Debug, Default)]
struct Volume {
    packets: f64,
    bytes: f64,
}

impl Volume {
    fn add(&mut self, bytes: usize) {
        self.packets += 1.0;
        #[allow(clippy::cast_precision_loss)] // Some thousand.
        let bytes = bytes as f64;
        self.bytes += bytes;
    }

    /// Factor in packets and in bytes.
    fn over(self, input: Self) -> (f64, f64) {
        (self.packets / input.packets, self.bytes / input.bytes)
    }
}

struct Attacked {
    relay: Shipworm,
    now: Instant,
    input: Volume,
    to_v4: Volume,
    to_v6: Volume,
}

impl Attacked {
    fn new() -> Self {
        let relay = Shipworm::new(Setup {
            service: Mapped {
                ip: Ipv4Addr::new(203, 0, 113, 10),
                port: 3545,
            },
            native: Ipv6Addr::new(0x2001, 0xdb8, 0xaa, 0, 0, 0, 0, 1),
            limits: Limits::default(),
            table: 1024,
            seed: 1,
        });
        Self {
            relay,
            now: Instant::default(),
            input: Volume::default(),
            to_v4: Volume::default(),
            to_v6: Volume::default(),
        }
    }

    fn count(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::V4 { payload, .. } => self.to_v4.add(payload.len() + OUTER),
                Output::V6(packet) => self.to_v6.add(packet.len()),
            }
        }
    }

    /// A native packet for client `n` of one server, from /64 number `prefix`.
    fn native(&mut self, prefix: u16, n: u32) {
        let mapped = Mapped {
            ip: Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + n % 0x1_0000),
            port: 40_000,
        };
        let to = TeredoAddr::new(ServerV4(Ipv4Addr::new(192, 0, 2, 1)), 0, mapped);
        let from = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, prefix, 0, 0, 0, 1);
        let tag = Tag {
            flow: ATTACK,
            seq: n,
        };
        let packet = packet::build(from.octets(), to.octets(), tag);
        self.input.add(packet.len());
        let mut out = Vec::new();
        self.relay.from_native(self.now, &packet, &mut out);
        self.count(out);
    }

    /// Lets `time` pass.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.relay.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            let mut out = Vec::new();
            self.relay.handle_timeout(self.now, &mut out);
            self.count(out);
        }
        self.now = end;
    }
}

/// R-26 and 3.8 ask for it: four bubbles and one ICMPv6 error for a client that does not exist. More never leaves.
#[test]
fn one_packet_for_nobody_costs_four_bubbles_and_one_error() {
    let mut attacked = Attacked::new();
    attacked.native(0, 1);
    attacked.pass(Duration::from_secs(400));
    let (packets, bytes) = attacked.to_v4.over(attacked.input);
    println!(
        "IPv4: x{packets} packets, x{bytes:.2} bytes; IPv6: {:?}",
        attacked.to_v6
    );
    assert!((attacked.to_v4.packets, attacked.to_v6.packets) == (4.0, 1.0));
}

/// One /64 that floods: after 64 unanswered peers nothing leaves.
#[test]
fn a_flood_from_one_prefix_is_made_smaller() {
    let mut attacked = Attacked::new();
    for n in 0..60_000 {
        attacked.native(0, n);
        attacked.pass(Duration::from_millis(1));
    }
    let (packets, bytes) = attacked.to_v4.over(attacked.input);
    println!("one /64, 1000/s, 60 s: IPv4 x{packets:.3} packets, x{bytes:.3} bytes");
    let (packets_v6, bytes_v6) = attacked.to_v6.over(attacked.input);
    println!("one /64, 1000/s, 60 s: IPv6 x{packets_v6:.3} packets, x{bytes_v6:.3} bytes");
    assert!(packets < 1.0 && bytes < 1.0 && packets_v6 < 1.0 && bytes_v6 < 1.0);
}

/// All of IPv6 floods one server: its bucket holds, however many prefixes there are.
#[test]
fn a_flood_from_everywhere_at_one_server_is_made_smaller_once_the_burst_is_spent() {
    let mut attacked = Attacked::new();
    let flood = |attacked: &mut Attacked, packets: std::ops::Range<u32>| {
        for n in packets {
            attacked.native(u16::try_from(n % 0xffff).unwrap(), n);
            attacked.pass(Duration::from_millis(1));
        }
    };
    flood(&mut attacked, 0..30_000);
    let (packets, bytes) = attacked.to_v4.over(attacked.input);
    println!("everywhere, first 30 s: IPv4 x{packets:.3} packets, x{bytes:.3} bytes");
    (attacked.input, attacked.to_v4) = Default::default();
    flood(&mut attacked, 30_000..60_000);
    let (packets, bytes) = attacked.to_v4.over(attacked.input);
    println!("everywhere, next 30 s: IPv4 x{packets:.3} packets, x{bytes:.3} bytes");
    assert!(packets < 1.0 && bytes < 1.0);
}

/// the IPv4 side gets nothing out of a relay that did not write first.
#[test]
fn a_datagram_from_a_stranger_costs_nothing() {
    let mut attacked = Attacked::new();
    let mut rng = fastrand::Rng::with_seed(1);
    let service = Mapped {
        ip: Ipv4Addr::new(203, 0, 113, 10),
        port: 3545,
    };
    let host = Ipv6Addr::new(0x2001, 0xdb8, 0x80, 0, 0, 0, 0, 0x80);
    for seq in 0..20_000 {
        let tag = Tag { flow: ATTACK, seq };
        let forged = shipworm_sim::attack::forge(&mut rng, service, &[], host, tag);
        if let Output::V4 { from, payload, .. } = forged {
            let mut out = Vec::new();
            attacked
                .relay
                .from_client(attacked.now, from, &payload, &mut out);
            assert_eq!(out, []);
        }
    }
}

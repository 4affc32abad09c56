//! Real miredo clients behind five kinds of NAT reach native IPv6 through our relay.

use std::net::Ipv6Addr;
use std::time::Duration;

use lab::miredo;
use lab::shipworm::{Datapath, Relay, Settings};
use lab::{Capture, Lab, Nat, Options, Ping, PingReport, Process, Site};

/// Who opens the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opener {
    Client,
    Host,
}

const OPENERS: [Opener; 2] = [Opener::Client, Opener::Host];

impl Opener {
    fn ping(self, lab: &Lab, site: &Site, client: Ipv6Addr, ping: &Ping) -> PingReport {
        match self {
            Self::Client => ping.run(&site.client, Lab::HOST),
            Self::Host => ping.run(&lab.host, client),
        }
        .unwrap()
    }

    /// One request alone, then many. A miredo client that is still finding its relay keeps
    /// packets in a stack, so order counts only once the first reply is there.
    fn cold_ping(self, lab: &Lab, site: &Site, client: Ipv6Addr, many: &Ping) -> Duration {
        let first = self.ping(lab, site, client, &Ping::times(1));
        let Some(first_reply) = first.first_reply else {
            panic!("{} opened by {self:?}: the first packet is lost", site.nat);
        };
        let rest = self.ping(lab, site, client, many);
        assert!(
            rest.is_perfect(),
            "{} opened by {self:?}: {rest:?}",
            site.nat
        );
        first_reply
    }
}

fn every_nat_both_ways(datapath: Datapath) {
    const MANY: Ping = Ping {
        count: 100,
        interval: Duration::from_millis(1),
        linger: Duration::from_secs(2),
        data_len: 56,
    };
    let lab = Lab::new(&Options::default()).unwrap();
    let _server = miredo::server(&lab).unwrap();
    let captures = Capture::of_relay(&lab).unwrap();
    for opener in OPENERS {
        let relay = Relay::start(&lab, &Settings::new(datapath)).unwrap();
        for (site, client) in miredo::cold_clients(&lab).unwrap() {
            let first_reply = opener.cold_ping(&lab, site, client.ipv6(), &MANY);
            println!(
                "{datapath:11} {:4} opened by {opener:?}: qualified in {:?}, first reply in \
                 {first_reply:?}",
                site.nat, client.qualified_in,
            );
        }
        relay.stop().unwrap();
    }
    for capture in captures {
        let verdict = capture.stop().unwrap().assert_checksums_right().unwrap();
        println!("{datapath:11} {verdict:?}");
        assert!(verdict.icmp6 >= 4 * usize::from(MANY.count), "{verdict:?}");
    }
}

#[test]
fn xdp_serves_clients_behind_every_nat_both_ways_without_loss() {
    every_nat_both_ways(Datapath::Xdp);
}

#[test]
fn generic_xdp_serves_clients_behind_every_nat_both_ways_without_loss() {
    every_nat_both_ways(Datapath::XdpGeneric);
}

#[test]
fn user_space_serves_clients_behind_every_nat_both_ways_without_loss() {
    every_nat_both_ways(Datapath::Userspace);
}

#[test]
fn the_fast_path_carries_at_least_99_percent_of_a_conversation() {
    const CONVERSATION: Ping = Ping {
        count: 1000,
        interval: Duration::from_micros(300),
        linger: Duration::from_secs(2),
        data_len: 56,
    };
    let lab = Lab::new(&Options {
        nats: vec![Nat::Port, Nat::Symmetric],
        ..Options::default()
    })
    .unwrap();
    let _server = miredo::server(&lab).unwrap();
    for opener in OPENERS {
        let relay = Relay::start(&lab, &Settings::new(Datapath::Xdp)).unwrap();
        for (site, client) in miredo::cold_clients(&lab).unwrap() {
            opener.cold_ping(&lab, site, client.ipv6(), &CONVERSATION);
        }
        let traffic = relay.status().unwrap()["traffic"].take();
        let packets = |path: &str| {
            ["encapsulated", "decapsulated"]
                .map(|direction| traffic[direction][path]["packets"].as_u64().unwrap())
                .iter()
                .sum::<u64>()
        };
        let (fast, slow) = (packets("fast"), packets("slow"));
        println!("opened by {opener:?}: {fast} packets by the fast path, {slow} by the slow path");
        assert!(fast >= 99 * slow, "{traffic}");
        relay.stop().unwrap();
    }
}

/// One of the two relays that are compared.
enum Rival<'lab> {
    Miredo(#[expect(dead_code, reason = "kept alive")] Process),
    Shipworm(Relay<'lab>),
}

impl<'lab> Rival<'lab> {
    const NAMES: [&'static str; 2] = ["miredo", "shipworm"];

    fn start(lab: &'lab Lab, name: &str) -> Self {
        match name {
            "miredo" => Self::Miredo(miredo::relay(lab).unwrap()),
            _ => Self::Shipworm(Relay::start(lab, &Settings::new(Datapath::Xdp)).unwrap()),
        }
    }

    fn stop(self) {
        if let Self::Shipworm(relay) = self {
            relay.stop().unwrap();
        }
    }
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}

/// How much later `ours` are than `theirs`, in standard deviations of chance (the rank sum
/// test of Mann and Whitney): 0 where neither is, positive where ours are later.
fn lateness(ours: &[Duration], theirs: &[Duration]) -> f64 {
    let pairs = ours.iter().flat_map(|a| theirs.iter().map(move |b| a > b));
    let later = pairs.filter(|later| *later).count();
    let as_f64 = |n: usize| f64::from(u32::try_from(n).unwrap());
    let (n, m) = (as_f64(ours.len()), as_f64(theirs.len()));
    (as_f64(later) - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt()
}

#[test]
fn the_first_reply_through_xdp_comes_no_later_than_through_miredos_relay() {
    const ROUNDS: usize = 8;
    /// Equal relays exceed it once in a hundred runs.
    const BEYOND_CHANCE: f64 = 2.33;
    let lab = Lab::new(&Options::default()).unwrap();
    let _server = miredo::server(&lab).unwrap();
    for opener in OPENERS {
        let mut first_replies = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            // Neither always has the machine as the other left it.
            for i in [round % 2, (round + 1) % 2] {
                let relay = Rival::start(&lab, Rival::NAMES[i]);
                for (site, client) in miredo::cold_clients(&lab).unwrap() {
                    let report = opener.ping(&lab, site, client.ipv6(), &Ping::times(1));
                    let first = report.first_reply.expect("the first packet is never lost");
                    first_replies[i].push(first);
                }
                relay.stop();
            }
        }
        let [miredo, ours] = &first_replies;
        let lateness = lateness(ours, miredo);
        println!(
            "opened by {opener:?}: first reply, median of {} cold starts: miredo {:?}, shipworm \
             {:?} ({lateness:+.1} standard deviations)",
            ours.len(),
            median(miredo),
            median(ours),
        );
        assert!(lateness < BEYOND_CHANCE, "{first_replies:?}");
    }
}

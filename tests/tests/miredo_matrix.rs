//! Real miredo clients behind five kinds of NAT reach native IPv6 through our relay.

use std::net::Ipv6Addr;
use std::time::Duration;

use lab::miredo;
use lab::shipworm::{Datapath, Relay, Settings};
use lab::{Capture, Lab, Nat, Options, Ping, PingReport, Site};

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

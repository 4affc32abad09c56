//! Our daemons and miredo's in the same lab, turn by turn. The tests of this file run alone, so that nothing else disturbs
//! the comparison.

use std::time::Duration;

use lab::shipworm::{Datapath, Relay, Server, Settings};
use lab::{Lab, Options, Ping, Process, miredo};

/// Who opens the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opener {
    Client,
    Host,
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

/// Equal ones exceed it once in a thousand runs.
const BEYOND_CHANCE: f64 = 3.09;

#[test]
fn clients_qualify_with_our_server_no_later_than_with_miredo_server() {
    const ROUNDS: usize = 8;
    let lab = Lab::new(&Options::default()).unwrap();
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        // Neither always has the machine as the other left it.
        for i in [round % 2, (round + 1) % 2] {
            let clients = if i == 0 {
                let _server = miredo::server(&lab).unwrap();
                miredo::cold_clients(&lab).unwrap()
            } else {
                let server = Server::start(&lab, Datapath::Xdp, &[]).unwrap();
                let clients = miredo::cold_clients(&lab).unwrap();
                server.stop().unwrap();
                clients
            };
            times[i].extend(clients.iter().map(|(_, client)| client.qualified_in));
        }
    }
    let [miredo, ours] = &times;
    let lateness = lateness(ours, miredo);
    println!(
        "qualified, median of {}: miredo-server {:?}, shipworm {:?} ({lateness:+.1} standard \
         deviations)",
        ours.len(),
        median(miredo),
        median(ours),
    );
    assert!(lateness < BEYOND_CHANCE, "{times:?}");
}

#[test]
fn the_first_reply_through_xdp_comes_no_later_than_through_miredos_relay() {
    const ROUNDS: usize = 8;
    const ONCE: Ping = Ping {
        count: 1,
        interval: Duration::ZERO,
        linger: Duration::from_secs(2),
        data_len: 56,
    };
    let lab = Lab::new(&Options::default()).unwrap();
    let _server = miredo::server(&lab).unwrap();
    for opener in [Opener::Client, Opener::Host] {
        let mut first_replies = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            // Neither always has the machine as the other left it.
            for i in [round % 2, (round + 1) % 2] {
                let relay = Rival::start(&lab, Rival::NAMES[i]);
                for (site, client) in miredo::cold_clients(&lab).unwrap() {
                    let report = match opener {
                        Opener::Client => ONCE.run(&site.client, Lab::HOST),
                        Opener::Host => ONCE.run(&lab.host, client.ipv6()),
                    }
                    .unwrap();
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

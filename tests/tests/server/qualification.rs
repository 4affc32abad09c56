//! Real miredo clients qualify and reach native hosts.

use std::time::Duration;

use lab::shipworm::{Datapath, Relay, Server, Settings};
use lab::{Lab, Options, Ping, miredo};
use serde_json::Value;

/// A packet lost is a failure, whoever carries it.
const SERIES: Ping = Ping {
    count: 10,
    interval: Duration::from_millis(10),
    linger: Duration::from_secs(2),
    data_len: 56,
};

fn count(status: &Value, reason: &str, path: &str) -> u64 {
    status["reasons"][reason][path]["packets"].as_u64().unwrap()
}

/// Everybody qualifies at our server, is reached by a native host, and reaches it.
fn converse(lab: &Lab, server: &Server<'_>, relay: &str) {
    for (site, client) in miredo::cold_clients(lab).unwrap() {
        let outward = Ping::times(1).run(&site.client, Lab::HOST).unwrap();
        assert_eq!(outward.received, 1, "{} through {relay}", site.nat);
        for (from, to) in [(&site.client, Lab::HOST), (&lab.host, client.ipv6())] {
            let report = SERIES.run(from, to).unwrap();
            assert!(
                report.is_perfect(),
                "{} through {relay}: {report:?}",
                site.nat
            );
        }
        println!(
            "{:4} through {relay}: qualified in {:?}, first reply in {:?}",
            site.nat, client.qualified_in, outward.first_reply
        );
    }
    let sites = lab.sites().len() as u64;
    let status = server.status().unwrap();
    let both = |reason| count(&status, reason, "fast") + count(&status, reason, "slow");
    // Each has asked for an advertisement, sent an echo to the host, and heard its relay's bubble.
    for reason in ["Advertised", "ForwardedToNative", "ForwardedToClient"] {
        assert!(both(reason) >= sites, "{reason}: {status}");
    }
}

fn every_nat_through_both_relays(datapath: Datapath) {
    let lab = Lab::new(&Options::default()).unwrap();
    let server = Server::start(&lab, datapath, &[]).unwrap();
    let relay = Relay::start(&lab, &Settings::new(Datapath::Xdp)).unwrap();
    converse(&lab, &server, "shipworm");
    relay.stop().unwrap();
    let relay = miredo::relay(&lab).unwrap();
    converse(&lab, &server, "miredo");
    drop(relay);

    let status = server.status().unwrap();
    let of = |reason, path| count(&status, reason, path);
    match datapath {
        Datapath::Userspace => assert_eq!(of("Advertised", "fast"), 0, "{status}"),
        Datapath::Xdp | Datapath::XdpGeneric => {
            assert_eq!(of("Advertised", "slow"), 0, "{status}");
            // The first goes by the socket where the neighbour is not known yet.
            let (fast, slow) = (
                of("ForwardedToClient", "fast"),
                of("ForwardedToClient", "slow"),
            );
            assert!(fast > slow, "{status}");
            assert_eq!(status["warnings"].as_array().map(Vec::len), Some(0));
        }
    }
    server.stop().unwrap();
}

#[test]
fn in_xdp_clients_behind_every_nat_qualify_and_reach_native_hosts_through_both_relays() {
    every_nat_through_both_relays(Datapath::Xdp);
}

#[test]
fn in_generic_xdp_clients_behind_every_nat_qualify_and_reach_native_hosts_through_both_relays() {
    every_nat_through_both_relays(Datapath::XdpGeneric);
}

#[test]
fn in_user_space_clients_behind_every_nat_qualify_and_reach_native_hosts_through_both_relays() {
    every_nat_through_both_relays(Datapath::Userspace);
}

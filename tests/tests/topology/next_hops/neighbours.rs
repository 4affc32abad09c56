//! Neighbours that move or die.

use std::time::Duration;

use lab::wait_for;
use relay_common::Reason;

use super::{Crowd, TwoWays};
use crate::figures::Figures;

/// Told of its use within two seconds, probed one later, failed after three probes; well before anything but the fast path
/// sends to it.
const NEIGHBOUR_DIES_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn packets_follow_a_gateway_to_its_new_mac_address_at_once() {
    const NEW: [u8; 6] = [2, 0, 0x5e, 0, 0, 0x99];

    let ways = TwoWays::new();
    let relay = ways.relay();
    let crowd = Crowd::start(&ways.lab, &relay, 1);
    crowd.until(&relay, "kept next hops", |figures| figures.live() >= 2);
    for (gateway, device) in [("203.0.113.17", "lb-v4"), ("2001:db8:1::1", "lb-v6")] {
        ways.lab
            .relay
            .ip(&[&format!(
                "neigh replace {gateway} lladdr 02:00:5e:00:00:99 dev {device}"
            )])
            .unwrap();
    }
    let sent = ways.sent_during(|| {
        for _ in 0..20 {
            crowd.ping(0);
            crowd.call(0);
        }
        wait_for("kept next hops", crate::peer::SOON, || {
            crowd.ping(0);
            crowd.call(0);
            Figures::of(&relay).live() >= 2
        })
        .unwrap();
    });
    for is_ipv4 in [true, false] {
        let of = || sent.iter().filter(|sent| sent.client.is_ipv4() == is_ipv4);
        assert!(of().count() >= 20);
        assert!(of().all(|sent| sent.mac == NEW), "IPv4: {is_ipv4}");
    }
}

/// Frames of the fast path alone do not keep a neighbour's entry honest.
#[test]
fn a_gateway_that_falls_silent_fails_although_only_the_fast_path_uses_it() {
    let ways = TwoWays::new();
    for (key, value) in [
        ("base_reachable_time_ms", "1000"),
        ("delay_first_probe_time", "1"),
        ("retrans_time_ms", "100"),
    ] {
        for neighbours in ["ipv4/neigh/lb-v4", "ipv6/neigh/lb-v6"] {
            ways.lab
                .relay
                .sysctl(&format!("net/{neighbours}/{key}"), value)
                .unwrap();
        }
    }
    let relay = ways.relay();
    let crowd = Crowd::start(&ways.lab, &relay, 1);
    crowd.until(&relay, "kept next hops", |figures| figures.live() >= 2);
    // It forwards, but answers no ARP.
    ways.lab
        .inet
        .sysctl("net/ipv4/conf/lb-rly/arp_ignore", "8")
        .unwrap();
    // As if what the slow path sent through it were long ago.
    ways.lab
        .relay
        .ip(&["neigh change 203.0.113.17 dev lb-v4 nud stale"])
        .unwrap();
    let punted = || Figures::of(&relay).fast(Reason::PuntNoNeighbour);
    let before = punted();
    let took = wait_for("the neighbour's failure", NEIGHBOUR_DIES_WITHIN, || {
        // Heard, the client is not probed by way of the kernel.
        crowd.call(0);
        crowd.ping(0);
        punted() > before
    })
    .unwrap_or_else(|e| panic!("{e}\n{}", relay.log()));
    println!("a silent gateway has failed after {took:?}");

    ways.lab
        .inet
        .sysctl("net/ipv4/conf/lb-rly/arp_ignore", "0")
        .unwrap();
    crowd.until(&relay, "kept next hops", |figures| figures.live() >= 2);
}

//! Routes and rules that look at more than a destination.

use std::collections::HashMap;
use std::net::IpAddr;

use lab::Lab;

use super::{Crowd, Leg, TwoWays};
use crate::figures::Figures;

const CLIENTS: usize = 16;
const ROUNDS: usize = 4;

/// By which cable the kernel says packets leave.
fn kernel_says(ways: &TwoWays, query: &str) -> Leg {
    let words = ["ip"].into_iter().chain(query.split(' '));
    let answer = ways.lab.relay.run(words).unwrap();
    if answer.contains("dev lb-v4b") || answer.contains("dev lb-v6b") {
        Leg::Second
    } else {
        Leg::First
    }
}

/// Packets both ways for every client; gives by which cable they left, which is the same for all of a client's.
fn legs(ways: &TwoWays, crowd: &Crowd<'_>) -> HashMap<IpAddr, Leg> {
    let sent = ways.sent_during(|| {
        let before = crowd.clients.waiting();
        for _ in 0..ROUNDS {
            for client in 0..crowd.clients.count() {
                crowd.ping(client);
                crowd.call(client);
            }
        }
        lab::wait_for("the last packets", crate::peer::SOON, || {
            crowd.clients.waiting() >= before + ROUNDS * crowd.clients.count()
        })
        .unwrap();
    });
    let mut legs = HashMap::new();
    for sent in sent {
        let leg = *legs.entry(sent.client).or_insert(sent.leg);
        assert_eq!(leg, sent.leg, "{} goes both ways", sent.client);
    }
    assert_eq!(legs.len(), 2 * crowd.clients.count());
    legs
}

fn both_resolved(ways: &TwoWays) {
    for (gateway, family) in [
        (TwoWays::IPV4_SECOND, "-4"),
        (TwoWays::IPV6_SECOND, "-6"),
        ("203.0.113.17", "-4"),
        ("2001:db8:1::1", "-6"),
    ] {
        ways.lab
            .relay
            .run(["ping", family, "-c", "1", gateway])
            .unwrap();
    }
}

#[test]
fn multipath_routes_spread_packets_as_the_kernel_does() {
    let ways = TwoWays::new();
    let relay = ways.relay();
    let crowd = Crowd::start(&ways.lab, &relay, CLIENTS);
    both_resolved(&ways);
    // Without an address of its own the second way is as good as the first: since 6.15 the kernel prefers the one
    // whose device has the packet's source address.
    ways.lab
        .relay
        .ip(&[
            "addr del 203.0.113.66/28 dev lb-v4b",
            "route replace default nexthop via 203.0.113.17 nexthop via 203.0.113.65 dev lb-v4b onlink",
            "-6 route replace default nexthop via 2001:db8:1::1 nexthop via 2001:db8:6::1",
        ])
        .unwrap();
    // IPv4 by both ways is kept, for a peer's packets all go one of them; IPv6 is not.
    crowd.until(&relay, "kept next hops", |figures| {
        figures.live() >= 2 && figures.keeps() == [true, false]
    });
    let legs = legs(&ways, &crowd);
    let mut seconds = [0, 0];
    for client in 0..CLIENTS {
        let mapped = crowd.clients.mapped(client);
        let (relay, native) = (Lab::RELAY_V4, Lab::HOST);
        let teredo = crowd.clients.ipv6(client);
        let queries = [
            format!(
                "route get {} from {relay} ipproto udp sport 3545 dport {}",
                mapped.ip, mapped.port
            ),
            format!("-6 route get {native} from {teredo} ipproto ipv6-icmp"),
        ];
        let clients = [IpAddr::from(mapped.ip), IpAddr::from(teredo)];
        for ((query, client), seconds) in queries.iter().zip(clients).zip(&mut seconds) {
            let leg = kernel_says(&ways, query);
            assert_eq!(legs[&client], leg, "{query}");
            *seconds += usize::from(leg == Leg::Second);
        }
    }
    println!("by the second way: {seconds:?} of {CLIENTS}");
    assert!(seconds.iter().all(|n| (1..CLIENTS).contains(n)));
    relay.stop().unwrap();
}

/// Two clients, one destination: what is kept by destination would send both the same way.
fn second_client_goes_second(ways: &TwoWays, crowd: &Crowd<'_>) {
    let legs = legs(ways, crowd);
    let leg = |client| legs[&IpAddr::from(crowd.clients.ipv6(client))];
    assert_eq!([leg(0), leg(1)], [Leg::First, Leg::Second]);
}

#[test]
fn source_specific_routes_and_rules_are_obeyed() {
    let ways = TwoWays::new();
    let relay = ways.relay();
    let crowd = Crowd::start(&ways.lab, &relay, 2);
    both_resolved(&ways);
    let (gateway, client) = (TwoWays::IPV6_SECOND, crowd.clients.ipv6(1));
    ways.lab
        .relay
        .ip(&[&format!("-6 route add default via {gateway} table 7")])
        .unwrap();
    for policy in [
        format!("-6 route % default from {client} via {gateway}"),
        format!("-6 rule % from {client} table 7"),
    ] {
        crowd.until(&relay, "IPv6 to be kept", |figures| {
            figures.live() >= 2 && figures.keeps()[1]
        });
        ways.lab.relay.ip(&[&policy.replace('%', "add")]).unwrap();
        second_client_goes_second(&ways, &crowd);
        assert_eq!(Figures::of(&relay).keeps(), [true, false], "{policy}");
        ways.lab.relay.ip(&[&policy.replace('%', "del")]).unwrap();
    }
    relay.stop().unwrap();
}

/// From the TUN device's point of view such a rule is constant, like that of a VRF the device is in.
#[test]
fn rules_by_the_tun_device_are_obeyed_and_their_answers_kept() {
    let ways = TwoWays::new();
    let relay = ways.relay();
    let crowd = Crowd::start(&ways.lab, &relay, 2);
    both_resolved(&ways);
    for (family, gateway) in [("-4", TwoWays::IPV4_SECOND), ("-6", TwoWays::IPV6_SECOND)] {
        ways.lab
            .relay
            .ip(&[
                &format!("{family} route add default via {gateway} table 7"),
                &format!("{family} rule add iif shipworm0 table 7"),
            ])
            .unwrap();
    }
    crowd.until(&relay, "kept next hops", |figures| {
        figures.live() >= 2 && figures.keeps() == [true, true]
    });
    let legs = legs(&ways, &crowd);
    assert!(legs.values().all(|leg| *leg == Leg::Second), "{legs:?}");
    relay.stop().unwrap();
}

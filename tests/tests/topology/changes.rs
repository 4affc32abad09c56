//! The network changes under load: traffic recovers by itself.

use std::time::Duration;

use lab::shipworm::Datapath;
use lab::{Cabling, Ping, PingReport, wait_for};
use relay_common::Reason;

use crate::figures::Figures;
use crate::peer::{Peer, SOON};
use crate::{bare, each_datapath, start_with_peer};

/// Requests answered before the network changes.
const BEFORE: usize = 40;
const INTERVAL: Duration = Duration::from_millis(5);
const LOAD: Ping = Ping {
    count: 300,
    interval: INTERVAL,
    linger: Duration::from_secs(1),
    data_len: 56,
};
/// A neighbour is found again within one retransmission of ARP or neighbour discovery.
const RECOVERY_MAX: Duration = Duration::from_millis(1500);
/// What opens a flow may be asked for again while the kernel resolves; no more than these.
const LOST_ON_RESOLUTION: u32 = 10;

each_datapath! {
    removed_neighbours_are_found_again = removed_neighbours;
    routes_move_to_other_next_hops = other_next_hops;
    a_native_route_moves_to_the_other_port = other_port;
    a_lost_route_comes_back = lost_routes;
    a_port_that_went_down_carries_again_when_it_is_up = ports_down_and_up;
    ports_change_their_mac_addresses = new_mac_addresses;
}

/// Pings at a steady pace while `change` happens. Everything is answered again at the end.
fn under_load(peer: &Peer<'_>, change: impl FnOnce()) -> PingReport {
    let report = std::thread::scope(|scope| {
        let load = scope.spawn(|| peer.pinged(&LOAD));
        let goal = peer.answered() + BEFORE;
        wait_for("traffic", SOON, || peer.answered() >= goal).unwrap();
        change();
        load.join().unwrap()
    });
    let end = &report.round_trips[report.round_trips.len() - BEFORE..];
    assert!(end.iter().all(Option::is_some), "no recovery: {report:?}");
    report
}

/// The longest time without an answer.
fn outage(report: &PingReport) -> Duration {
    let lost = report.round_trips.split(Option::is_some).map(<[_]>::len);
    INTERVAL * u32::try_from(lost.max().unwrap_or(0)).unwrap()
}

fn told(what: &str, datapath: Datapath, report: &PingReport) {
    println!(
        "{datapath}: {what}: {} of {} lost, longest outage {:?}",
        report.sent - report.received,
        report.sent,
        outage(report)
    );
}

fn is_fast(datapath: Datapath) -> bool {
    datapath != Datapath::Userspace
}

fn removed_neighbours(datapath: Datapath) {
    let lab = bare(Cabling::TwoArmed);
    let (peer, relay) = start_with_peer(&lab, datapath);
    let report = under_load(&peer, || {
        lab.relay
            .ip(&[
                "neigh del 203.0.113.17 dev lb-v4",
                "-6 neigh del 2001:db8:1::1 dev lb-v6",
            ])
            .unwrap();
    });
    told("neighbours removed", datapath, &report);
    assert!(outage(&report) <= INTERVAL * LOST_ON_RESOLUTION);
    let figures = Figures::of(&relay);
    if is_fast(datapath) {
        assert!(figures.fast(Reason::PuntNoNeighbour) > 0);
    }
    assert_eq!(figures.dropped(), []);
}

fn other_next_hops(datapath: Datapath) {
    let lab = bare(Cabling::TwoArmed);
    lab.inet
        .ip(&["addr add 203.0.113.29/28 dev lb-rly"])
        .unwrap();
    lab.v6r
        .ip(&["addr add 2001:db8:1::9/64 dev lb-rly nodad"])
        .unwrap();
    let (peer, relay) = start_with_peer(&lab, datapath);
    let report = under_load(&peer, || {
        lab.relay
            .ip(&[
                "route replace default via 203.0.113.29",
                "-6 route replace default via 2001:db8:1::9",
            ])
            .unwrap();
    });
    told("other next hops", datapath, &report);
    assert!(outage(&report) <= INTERVAL * LOST_ON_RESOLUTION);
    let figures = Figures::of(&relay);
    if is_fast(datapath) {
        assert!(figures.fast(Reason::PuntNoNeighbour) > 0);
    }
    assert_eq!(figures.dropped(), []);
}

/// The native internet becomes reachable through the IPv4 leg's router.
fn other_port(datapath: Datapath) {
    let lab = bare(Cabling::TwoArmed);
    let there = lab.v6r.netns().path();
    lab.inet
        .run([
            "ip", "link", "add", "lb-v6r", "type", "veth", "peer", "name", "lb-inet", "netns",
            &there,
        ])
        .unwrap();
    lab.inet
        .ip(&[
            "link set lb-v6r up",
            "addr add 2001:db8:5::1/64 dev lb-rly nodad",
            "addr add 2001:db8:4::1/64 dev lb-v6r nodad",
        ])
        .unwrap();
    lab.v6r
        .ip(&[
            "link set lb-inet up",
            "addr add 2001:db8:4::2/64 dev lb-inet nodad",
        ])
        .unwrap();
    lab.inet
        .ip(&["-6 route add default via 2001:db8:4::2"])
        .unwrap();
    lab.relay
        .ip(&["addr add 2001:db8:5::2/64 dev lb-v4 nodad"])
        .unwrap();
    let (peer, relay) = start_with_peer(&lab, datapath);
    let report = under_load(&peer, || {
        lab.relay
            .ip(&["-6 route replace default via 2001:db8:5::1"])
            .unwrap();
    });
    told("other port", datapath, &report);
    assert!(outage(&report) <= INTERVAL * LOST_ON_RESOLUTION);
    let figures = Figures::of(&relay);
    assert_eq!(figures.dropped(), []);
    let frames = crate::figures::driver_counter(&lab.relay, "lb-v4", "xdp_tx");
    if datapath == Datapath::Xdp {
        assert!(frames > 0, "in and out of one port");
    }
}

fn lost_routes(datapath: Datapath) {
    let lab = bare(Cabling::TwoArmed);
    let (peer, relay) = start_with_peer(&lab, datapath);
    let report = under_load(&peer, || {
        // The kernel gives the fast path one answer for no route and for a packet to this machine.
        for (change, reason) in [
            ("-6 route del default", Reason::PuntLocal),
            ("-6 route add unreachable default", Reason::PuntNoRoute),
        ] {
            lab.relay.ip(&[change]).unwrap();
            if is_fast(datapath) {
                wait_for("punts", SOON, || Figures::of(&relay).fast(reason) > 0).unwrap();
            }
        }
        lab.relay
            .ip(&[
                "-6 route del unreachable default",
                "-6 route add default via 2001:db8:1::1",
            ])
            .unwrap();
    });
    told("route lost", datapath, &report);
    assert!(outage(&report) <= RECOVERY_MAX);

    let report = under_load(&peer, || {
        lab.relay.ip(&["route del default"]).unwrap();
        if is_fast(datapath) {
            wait_for("drops", SOON, || {
                Figures::of(&relay).slow(Reason::SendFailed) > 0
            })
            .unwrap();
        }
        lab.relay
            .ip(&["route add default via 203.0.113.17"])
            .unwrap();
    });
    told("IPv4 route lost", datapath, &report);
    assert!(outage(&report) <= RECOVERY_MAX);
}

/// What the kernel forgets with a port comes back from whoever manages the network.
fn ports_down_and_up(datapath: Datapath) {
    let lab = bare(Cabling::TwoArmed);
    let (peer, relay) = start_with_peer(&lab, datapath);
    let report = under_load(&peer, || {
        lab.relay
            .ip(&[
                "link set lb-v4 down",
                "link set lb-v4 up",
                "route replace default via 203.0.113.17",
            ])
            .unwrap();
    });
    told("IPv4 port down and up", datapath, &report);
    assert!(outage(&report) <= RECOVERY_MAX);
    let report = under_load(&peer, || {
        lab.relay
            .ip(&[
                "link set lb-v6 down",
                "link set lb-v6 up",
                "addr replace 2001:db8:1::2/64 dev lb-v6 nodad",
                "-6 route replace default via 2001:db8:1::1",
            ])
            .unwrap();
    });
    told("IPv6 port down and up", datapath, &report);
    assert!(outage(&report) <= RECOVERY_MAX);
    relay.stop().unwrap();
}

fn new_mac_addresses(datapath: Datapath) {
    let lab = bare(Cabling::TwoArmed);
    // The machine tells its neighbours of new addresses.
    lab.relay
        .sysctl("net/ipv4/conf/lb-v4/arp_notify", "1")
        .unwrap();
    lab.relay
        .sysctl("net/ipv6/conf/lb-v6/ndisc_notify", "1")
        .unwrap();
    let (peer, relay) = start_with_peer(&lab, datapath);
    let carried = |relay: &_| Figures::of(relay).fast(Reason::Encapsulated);
    let mut before = 0;
    let report = under_load(&peer, || {
        lab.relay
            .ip(&[
                "link set lb-v4 address 02:00:5e:00:00:04",
                "link set lb-v6 address 02:00:5e:00:00:06",
            ])
            .unwrap();
        before = carried(&relay);
    });
    told("new MAC addresses", datapath, &report);
    assert!(outage(&report) <= RECOVERY_MAX);
    if is_fast(datapath) {
        assert!(
            carried(&relay) > before + u64::from(LOAD.count) / 4,
            "the fast path knows them"
        );
    }
    relay.stop().unwrap();
}

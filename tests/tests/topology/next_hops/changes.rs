//! A changed route takes effect at once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lab::{Ping, wait_for};
use relay_common::Reason;

use super::{Crowd, Leg, Sent, TwoWays};
use crate::figures::Figures;
use crate::peer::{Peer, SOON};

/// Until when after `ip` has ended the thread that follows routes has certainly been woken, on a machine busy with tests.
const WOKEN_WITHIN: Duration = Duration::from_millis(200);

fn nanoseconds_now() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos()
}

/// Tells when the last packet took the first cable, seen from the change.
fn last_by_first(sent: &[Sent], is_ipv4: bool, changed: u128) -> i128 {
    let of = |sent: &&Sent| sent.leg == Leg::First && sent.client.is_ipv4() == is_ipv4;
    let last = sent.iter().filter(of).map(|sent| sent.at).max().unwrap();
    last.cast_signed() - changed.cast_signed()
}

#[test]
fn under_load_no_packet_goes_to_the_old_gateway_after_a_route_has_changed() {
    let ways = TwoWays::new();
    let (peer, relay) = (Peer::start(&ways.lab), ways.relay());
    let load = Ping {
        count: 2500,
        interval: Duration::from_millis(1),
        linger: Duration::from_millis(500),
        data_len: 56,
    };
    let mut changed = [0, 0];
    let sent = ways.sent_during(|| {
        std::thread::scope(|scope| {
            let load = scope.spawn(|| peer.pinged(&load));
            wait_for("kept next hops", SOON, || Figures::of(&relay).live() >= 2).unwrap();
            for (change, when) in [
                format!("route replace default via {}", TwoWays::IPV4_SECOND),
                format!("-6 route replace default via {}", TwoWays::IPV6_SECOND),
            ]
            .iter()
            .zip(&mut changed)
            {
                let goal = peer.answered() + 100;
                wait_for("traffic", SOON, || peer.answered() >= goal).unwrap();
                ways.lab.relay.ip(&[change]).unwrap();
                *when = nanoseconds_now();
            }
            let report = load.join().unwrap();
            let end = &report.round_trips[report.round_trips.len() - 100..];
            assert!(end.iter().all(Option::is_some), "{end:?}");
        });
    });
    for (is_ipv4, changed) in [(true, changed[0]), (false, changed[1])] {
        let last = last_by_first(&sent, is_ipv4, changed);
        println!("last packet by the old route {last} ns after the change");
        assert!(last <= WOKEN_WITHIN.as_nanos().cast_signed(), "{last} ns");
        let by_second = |sent: &&Sent| sent.leg == Leg::Second && sent.client.is_ipv4() == is_ipv4;
        assert!(sent.iter().filter(by_second).count() > 100);
    }
    // Both are kept again, or every packet would ask.
    wait_for("kept next hops", SOON, || {
        peer.pinged(&crate::flow(5));
        Figures::of(&relay).live() >= 2
    })
    .unwrap();
    relay.stop().unwrap();
}

#[test]
fn what_a_new_route_forbids_stops_at_once_and_is_counted() {
    const AFTER: usize = 20;

    let ways = TwoWays::new();
    let relay = ways.relay();
    let crowd = Crowd::start(&ways.lab, &relay, 1);
    let clients = "198.51.100.128/25";
    let native = "2001:db8:2::/64";
    for kind in ["blackhole", "unreachable", "prohibit"] {
        for (family, prefix) in [("-4", clients), ("-6", native)] {
            crowd.until(&relay, "kept next hops", |figures| figures.live() >= 2);
            let before = Figures::of(&relay);
            let send = || {
                if family == "-4" {
                    crowd.ping(0);
                } else {
                    crowd.call(0);
                }
            };
            ways.lab
                .relay
                .ip(&[&format!("{family} route add {kind} {prefix}")])
                .unwrap();
            // The kernel tells of it as soon as the daemon's thread is given a processor.
            wait_for("the first punt", SOON, || {
                send();
                Figures::of(&relay).fast(Reason::PuntNoRoute) > before.fast(Reason::PuntNoRoute)
            })
            .unwrap_or_else(|e| panic!("{e}: {kind} {prefix}\n{}", relay.log()));
            let before = Figures::of(&relay);
            let sent = ways.sent_during(|| {
                (0..AFTER).for_each(|_| send());
                // A busy machine may lose some on their way to the relay.
                wait_for("punts", SOON, || {
                    let punted = Figures::of(&relay).fast(Reason::PuntNoRoute);
                    let are_all = punted >= before.fast(Reason::PuntNoRoute) + AFTER as u64;
                    if !are_all {
                        send();
                    }
                    are_all
                })
                .unwrap_or_else(|e| panic!("{e}: {kind} {prefix}\n{}", relay.log()));
            });
            let forbidden = sent
                .iter()
                .filter(|s| s.client.is_ipv4() == (family == "-4"));
            assert_eq!(forbidden.count(), 0, "{kind} {prefix}");
            ways.lab
                .relay
                .ip(&[&format!("{family} route del {kind} {prefix}")])
                .unwrap();
        }
    }
    relay.stop().unwrap();
}

//! What the kernel tells of its routes, in a namespace with one cable.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use relay_user::net::routing::{
    Event, Families, Family, Judge, Neighbour, NeighbourUse, RouteWatch,
};

use crate::cable::{PORT_MAC, in_namespace, ip, lay_cable, port, wait_for};

/// Routes whose changes no socket has room for.
const TOO_MANY_ROUTES: u32 = 30_000;

/// A cable with addresses and a default route of each family, all quiet.
fn connected() {
    lay_cable();
    for words in [
        "address add 203.0.113.18/28 dev port0",
        "route add default via 203.0.113.17",
        "address add 2001:db8:1::2/64 dev port0 nodad",
        "-6 route add default via 2001:db8:1::1",
    ] {
        ip(words);
    }
}

fn drain(watch: &mut RouteWatch) -> Vec<Event> {
    std::iter::from_fn(|| watch.next().unwrap()).collect()
}

fn routes(family: Family, plain: bool) -> Event {
    let families = Families::One(family);
    Event::Routes { families, plain }
}

/// When `ip` has ended, the change is there to be read: nothing is waited for.
#[test]
fn every_change_is_told_of_at_once() {
    use Family::{Ipv4, Ipv6};

    in_namespace(|| {
        connected();
        let mut watch = RouteWatch::new().unwrap();
        drain(&mut watch);
        let changes = [
            ("route add 192.0.2.0/24 via 203.0.113.19", Ipv4, true),
            ("route replace 192.0.2.0/24 via 203.0.113.20", Ipv4, true),
            ("route add blackhole 192.0.2.7", Ipv4, true),
            ("route add 192.0.2.9 tos 0x10 via 203.0.113.19", Ipv4, false),
            ("route del 192.0.2.9 tos 0x10", Ipv4, true),
            ("rule add to 192.0.2.0/24 table 7", Ipv4, true),
            ("rule add tos 0x10 table 7", Ipv4, false),
            ("rule del tos 0x10 table 7", Ipv4, true),
            ("address del 203.0.113.18/28 dev port0", Ipv4, true),
            ("-6 route add 2001:db8:9::/48 via 2001:db8:1::9", Ipv6, true),
            ("-6 route add unreachable 2001:db8:a::/48", Ipv6, true),
            (
                "-6 route append 2001:db8:9::/48 via 2001:db8:1::a",
                Ipv6,
                false,
            ),
            ("-6 route del 2001:db8:9::/48", Ipv6, true),
            (
                "-6 route add default from 2001:db8:7::/48 via 2001:db8:1::9",
                Ipv6,
                false,
            ),
            ("-6 rule add from 2001:db8:7::/48 table 7", Ipv6, false),
            (
                "-6 nexthop add id 7 via 2001:db8:1::7 dev port0",
                Ipv6,
                true,
            ),
            ("-6 address del 2001:db8:1::2/64 dev port0", Ipv6, true),
        ];
        for (change, family, plain) in changes {
            ip(change);
            let told = drain(&mut watch);
            assert!(told.contains(&routes(family, plain)), "{change}: {told:?}");
        }
    });
}

#[test]
fn links_and_neighbours_there_are_come_first_and_then_their_changes() {
    const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 0x11];

    in_namespace(|| {
        connected();
        ip("neighbour add 203.0.113.17 lladdr 02:00:00:00:00:11 dev port0");
        let mut watch = RouteWatch::new().unwrap();
        let port = port();
        let address: IpAddr = "203.0.113.17".parse().unwrap();
        let neighbour = |now| Event::Neighbour {
            ifindex: port.index,
            address,
            now,
        };
        let entered = Neighbour {
            mac: GATEWAY,
            discovered: false,
        };
        let told = drain(&mut watch);
        assert!(told.contains(&neighbour(Some(entered))), "{told:?}");
        assert!(
            told.iter().any(|event| matches!(event,
                Event::Link { ifindex, now: Some(link) }
                    if *ifindex == port.index && link.mac == PORT_MAC && link.up && link.running
            )),
            "{told:?}"
        );

        ip("neighbour change 203.0.113.17 lladdr 02:00:00:00:00:12 nud stale dev port0");
        let told = drain(&mut watch);
        let moved = Neighbour {
            mac: [2, 0, 0, 0, 0, 0x12],
            discovered: true,
        };
        assert!(told.contains(&neighbour(Some(moved))), "{told:?}");
        ip("neighbour del 203.0.113.17 dev port0");
        let told = drain(&mut watch);
        assert!(told.contains(&neighbour(None)), "{told:?}");

        ip("link set port0 mtu 1400");
        let told = drain(&mut watch);
        let is = |event: &Event| matches!(event, Event::Link { now: Some(link), .. } if link.mtu == 1400);
        assert!(told.iter().any(is), "{told:?}");
        ip("link del port0");
        let told = drain(&mut watch);
        let gone = Event::Link {
            ifindex: port.index,
            now: None,
        };
        assert!(told.contains(&gone), "{told:?}");
    });
}

#[test]
fn changes_that_were_missed_are_told_of_as_such_and_links_come_again() {
    in_namespace(|| {
        connected();
        let mut watch = RouteWatch::new().unwrap();
        drain(&mut watch);
        let mut batch = String::new();
        for number in 0..TOO_MANY_ROUTES {
            let [_, b, c, d] = number.to_be_bytes();
            writeln!(batch, "route add 10.{b}.{c}.{d}/32 via 203.0.113.19").unwrap();
        }
        let mut command = Command::new("ip");
        let mut child = command
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(batch.as_bytes()).unwrap();
        drop(input);
        assert!(child.wait().unwrap().success());

        let told = drain(&mut watch);
        let lost = told.iter().position(|event| *event == Event::Lost);
        let after = &told[lost.expect("more than there is room for")..];
        let index = port().index;
        let is_port =
            |event: &Event| matches!(event, Event::Link { ifindex, .. } if *ifindex == index);
        assert!(after.iter().any(is_port));
    });
}

/// Each is there for a moment, and seen by a look at all there is.
#[test]
fn a_look_finds_every_route_and_rule_that_is_not_plain() {
    use Family::{Ipv4, Ipv6};

    in_namespace(|| {
        connected();
        let two_paths = "2001:db8:9::/48 nexthop via 2001:db8:1::9 nexthop via 2001:db8:1::a";
        let two_ipv4_paths = "192.0.2.0/24 nexthop via 203.0.113.19 nexthop via 203.0.113.20";
        for (what, family, plain) in [
            ("route add 192.0.2.0/24 via 203.0.113.19", Ipv4, true),
            ("route add 192.0.2.0/24 tos 8 via 203.0.113.19", Ipv4, false),
            (&format!("route add {two_ipv4_paths}"), Ipv4, true),
            ("rule add from 203.0.113.18 table 7", Ipv4, true),
            ("rule add tos 0x10 table 7", Ipv4, false),
            ("-6 route add 2001:db8:9::/48 via 2001:db8:1::9", Ipv6, true),
            (&format!("-6 route add {two_paths}"), Ipv6, false),
            (
                "-6 route add default from 2001:db8:7::/48 via 2001:db8:1::9",
                Ipv6,
                false,
            ),
            (
                "-6 route add 2001:db8:9::/48 via 2001:db8:1::9 expires 999",
                Ipv6,
                false,
            ),
            ("-6 rule add to 2001:db8:9::/48 table 7", Ipv6, true),
            ("-6 rule add from 2001:db8:7::/48 table 7", Ipv6, false),
            ("-6 rule add ipproto udp table 7", Ipv6, false),
        ] {
            assert!(Judge::new().all_plain(family).unwrap(), "before {what}");
            ip(what);
            assert_eq!(Judge::new().all_plain(family).unwrap(), plain, "{what}");
            ip(&what.replace(" add ", " del "));
        }
    });
}

#[test]
fn multipath_routes_are_not_plain_when_they_pass_over_failed_neighbours() {
    in_namespace(|| {
        connected();
        ip("route add 192.0.2.0/24 nexthop via 203.0.113.19 nexthop via 203.0.113.20");
        let judge = Judge::new();
        assert!(judge.all_plain(Family::Ipv4).unwrap());
        for (setting, plain) in [("1", false), ("0", true)] {
            std::fs::write("/proc/sys/net/ipv4/fib_multipath_use_neigh", setting).unwrap();
            assert_eq!(judge.all_plain(Family::Ipv4).unwrap(), plain);
        }
    });
}

#[test]
fn groups_of_next_hop_objects_are_not_plain() {
    in_namespace(|| {
        connected();
        ip("nexthop add id 1 via 203.0.113.19 dev port0");
        ip("nexthop add id 2 via 203.0.113.20 dev port0");
        ip("nexthop add id 9 group 1/2");
        ip("route add 192.0.2.0/25 nhid 1");
        assert!(Judge::new().all_plain(Family::Ipv4).unwrap());
        ip("route add 192.0.2.128/25 nhid 9");
        assert!(!Judge::new().all_plain(Family::Ipv4).unwrap());
    });
}

#[test]
fn a_neighbour_in_use_is_probed_by_the_kernel_and_one_that_is_gone_stays_gone() {
    in_namespace(|| {
        connected();
        ip("neighbour add 203.0.113.17 lladdr 02:00:00:00:00:11 nud stale dev port0");
        let (in_use, index) = (NeighbourUse::new().unwrap(), port().index);
        let state = || {
            let output = Command::new("ip")
                .args(["neighbour", "show", "203.0.113.17"])
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(state().contains("STALE"), "{}", state());
        let address = "203.0.113.17".parse().unwrap();
        in_use.tell(index, address).unwrap();
        // From there it goes on to probing without anybody's help.
        wait_for("probing", || state().contains("DELAY").then_some(()));

        ip("neighbour del 203.0.113.17 dev port0");
        in_use.tell(index, address).unwrap();
        assert!(!state().contains("lladdr"), "{}", state());
    });
}

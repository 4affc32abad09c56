//! Virtual routing and forwarding: the routes that count are those of the VRF the TUN device is in.
//!
//! The kernel the relay is developed on has no VRFs; there the one test that needs none runs, and all of them in the
//! virtual machines (`cargo xtask test vm`).

use std::process::{Command, Stdio};

use relay_common::{AF_INET, Egress, HopKey, Reason, Routing};
use relay_user::net::routing::{Family, Judge};

use super::frames::{Inner, received};
use super::rig::{GATEWAY_MAC, PORT_MAC, Rig, action, client, in_rig, ip, mapped};
use super::topology::{ifindex, nat, native};

fn run(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status();
    assert!(
        status.expect("iproute2 is installed").success(),
        "ip {words}"
    );
}

/// Makes the VRF `red`, of table 10. Says whether the kernel has such a thing.
fn make_red() -> bool {
    let status = Command::new("ip")
        .args(["link", "add", "red", "type", "vrf", "table", "10"])
        .stderr(Stdio::null())
        .status();
    let is_there = status.expect("iproute2 is installed").success();
    if is_there {
        run("link set red up");
    } else {
        println!("this kernel has no VRFs");
    }
    is_there
}

/// The port `wan` and the routes behind it move into the VRF.
fn move_wan_into_red() {
    run("link set wan master red");
    run("neigh replace 203.0.113.1 lladdr 02:00:00:00:00:02 dev wan nud permanent");
    run("route replace 198.51.100.0/26 via 203.0.113.1 dev wan table 10");
}

fn encap(rig: &mut Rig) -> (Reason, u32) {
    rig.trust(&client(nat::PLAIN), mapped(nat::PLAIN), 0);
    let inner = Inner::udp(native::PLAIN, ip(&client(nat::PLAIN)), b"data");
    let outcome = rig.run(rig.lan, &received(&[], &inner.bytes()));
    (outcome.reason, outcome.action)
}

#[test]
fn routes_of_a_vrf_are_those_of_a_tun_device_in_it_and_of_no_other() {
    in_rig(|rig| {
        if !make_red() {
            return;
        }
        move_wan_into_red();
        assert_eq!(encap(rig).0, Reason::PuntLocal, "no route outside");
        run("link set tun master red");
        assert_eq!(encap(rig), (Reason::Encapsulated, action::REDIRECT));
        run("route replace blackhole 198.51.100.0/26 table 10");
        assert_eq!(encap(rig).0, Reason::PuntNoRoute);
        run("link set tun nomaster");
        run("route add 198.51.100.0/26 via 203.0.113.1 dev wan");
        assert_eq!(encap(rig).0, Reason::Encapsulated, "a leaked route");
    });
}

/// The rule that leads into VRFs is constant from the TUN device's point of view.
#[test]
fn next_hops_of_a_vrf_may_be_kept() {
    in_rig(|rig| {
        assert!(Judge::new().all_plain(Family::Ipv4).unwrap());
        if !make_red() {
            return;
        }
        move_wan_into_red();
        run("link set tun master red");
        for family in [Family::Ipv4, Family::Ipv6] {
            assert!(Judge::new().all_plain(family).unwrap(), "{family:?}");
        }
        rig.set_routing(Routing {
            keep_ipv4: 1,
            ..Routing::default()
        });
        let key = HopKey {
            ifindex: ifindex("wan"),
            mtu: 1500,
            destination_mac: GATEWAY_MAC,
            source_mac: PORT_MAC,
            family: AF_INET.into(),
        };
        assert_eq!(encap(rig).0, Reason::Encapsulated);
        assert_eq!(rig.wanted_hops(), [key.words()], "as the kernel answers");
        let egress = Egress {
            port: rig.number_of(rig.wan),
            ..Egress::default()
        };
        rig.enter_hop(key, egress, 1);
        assert_eq!(encap(rig).0, Reason::Encapsulated);
        run("route replace blackhole 198.51.100.0/26 table 10");
        assert_eq!(encap(rig).0, Reason::Encapsulated, "kept until retired");
    });
}

//! Next hops the program keeps, and when it asks the kernel all the same (`docs/decisions/0010`).

use std::process::Command;

use relay_common::{
    AF_INET, AF_INET6, Egress, HOP_RETIRED, HopKey, NextHop, Reason, Routing, Ticks,
};

use super::frames::{Inner, Outer, received};
use super::rig::{GATEWAY_MAC, PORT_MAC, Rig, client, in_rig, ip, mapped};
use super::topology::{ifindex, nat, native};

const KEEP_ALL: Routing = Routing {
    generation: 0,
    keep_ipv4: 1,
    keep_ipv6: 1,
    reserved: 0,
};

/// The kernel's answer for packets that leave through `device`.
fn answer(device: &str, family: u8) -> HopKey {
    HopKey {
        ifindex: ifindex(device),
        mtu: if device == "lan" { 9000 } else { 1500 },
        destination_mac: GATEWAY_MAC,
        source_mac: PORT_MAC,
        family: family.into(),
    }
}

fn egress(rig: &Rig, device: &str) -> Egress {
    Egress {
        port: u32::from(ifindex(device) == rig.lan),
        ..Egress::default()
    }
}

fn enter(rig: &mut Rig, device: &str, family: u8, version: u32) -> u32 {
    let egress = egress(rig, device);
    rig.enter_hop(answer(device, family), egress, version)
}

fn trust(rig: &mut Rig) {
    rig.trust(&client(nat::PLAIN), mapped(nat::PLAIN), 0);
}

fn encap(rig: &mut Rig) -> Reason {
    let inner = Inner::udp(native::PLAIN, ip(&client(nat::PLAIN)), b"data");
    rig.run(rig.lan, &received(&[], &inner.bytes())).reason
}

fn decap(rig: &mut Rig) -> Reason {
    let inner = Inner::udp(ip(&client(nat::PLAIN)), native::PLAIN, b"data");
    let frame = received(
        &[],
        &Outer::from_client(mapped(nat::PLAIN)).around(&inner.bytes()),
    );
    rig.run(rig.wan, &frame).reason
}

fn change_routes(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(
        status.expect("iproute2 is installed").success(),
        "ip {arguments}"
    );
}

/// Takes the routes away of which the program has learnt.
fn take_routes_away() {
    change_routes("route replace blackhole 198.51.100.0/26");
    change_routes("-6 route del 2001:db8::/48");
    change_routes("-6 route add blackhole 2001:db8::/48");
}

/// The other direction of proof: what is not kept is asked for.
#[test]
fn without_leave_to_keep_the_kernel_is_asked_about_every_packet() {
    in_rig(|rig| {
        rig.set_routing(Routing::default());
        enter(rig, "wan", AF_INET, 1);
        enter(rig, "lan", AF_INET6, 1);
        trust(rig);
        assert_eq!(encap(rig), Reason::Encapsulated);
        assert_eq!(decap(rig), Reason::Decapsulated);
        take_routes_away();
        assert_eq!(encap(rig), Reason::PuntNoRoute);
        assert_eq!(decap(rig), Reason::PuntNoRoute);
        assert_eq!(rig.wanted_hops(), [] as [[u64; 3]; 0]);
    });
}

/// Until it is retired; user space does that at once when routes change.
#[test]
fn a_next_hop_that_was_entered_is_used_without_asking_until_it_is_retired() {
    in_rig(|rig| {
        rig.set_routing(KEEP_ALL);
        let ipv4 = enter(rig, "wan", AF_INET, 1);
        let ipv6 = enter(rig, "lan", AF_INET6, 1);
        trust(rig);
        assert_eq!(
            (encap(rig), decap(rig)),
            (Reason::Encapsulated, Reason::Decapsulated)
        );
        take_routes_away();
        assert_eq!(
            (encap(rig), decap(rig)),
            (Reason::Encapsulated, Reason::Decapsulated)
        );
        for number in [ipv4, ipv6] {
            rig.set_hop(
                number,
                NextHop {
                    state: HOP_RETIRED,
                    ..NextHop::default()
                },
            );
        }
        assert_eq!(
            (encap(rig), decap(rig)),
            (Reason::PuntNoRoute, Reason::PuntNoRoute)
        );
    });
}

/// A daemon that is dead or stopped does not tell the program what has changed.
#[test]
fn a_next_hop_nobody_vouches_for_any_more_is_asked_for() {
    in_rig(|rig| {
        rig.set_routing(KEEP_ALL);
        let ipv4 = enter(rig, "wan", AF_INET, 1);
        let ipv6 = enter(rig, "lan", AF_INET6, 1);
        trust(rig);
        assert_eq!(
            (encap(rig), decap(rig)),
            (Reason::Encapsulated, Reason::Decapsulated)
        );
        take_routes_away();
        for number in [ipv4, ipv6] {
            let mut hop = rig.hop(number);
            hop.good_until = Ticks(1);
            rig.set_hop(number, hop);
        }
        assert_eq!(
            (encap(rig), decap(rig)),
            (Reason::PuntNoRoute, Reason::PuntNoRoute)
        );
    });
}

#[test]
fn a_slot_used_anew_is_not_taken_for_what_was_there() {
    in_rig(|rig| {
        rig.set_routing(KEEP_ALL);
        enter(rig, "lan", AF_INET6, 1);
        trust(rig);
        assert_eq!(decap(rig), Reason::Decapsulated);
        take_routes_away();
        enter(rig, "lan", AF_INET6, 2);
        assert_eq!(decap(rig), Reason::PuntNoRoute);
    });
}

#[test]
fn an_answer_that_is_in_no_slot_is_reported_and_the_packet_carried() {
    in_rig(|rig| {
        rig.set_routing(KEEP_ALL);
        trust(rig);
        assert_eq!(encap(rig), Reason::Encapsulated);
        assert_eq!(rig.wanted_hops(), [answer("wan", AF_INET).words()]);
    });
}

/// A family's routes retire that family's next hops alone.
#[test]
fn next_hops_of_one_family_are_not_the_others() {
    in_rig(|rig| {
        rig.set_routing(KEEP_ALL);
        enter(rig, "wan", AF_INET6, 1);
        enter(rig, "lan", AF_INET, 1);
        trust(rig);
        assert_eq!(
            (encap(rig), decap(rig)),
            (Reason::Encapsulated, Reason::Decapsulated)
        );
        take_routes_away();
        assert_eq!(
            (encap(rig), decap(rig)),
            (Reason::PuntNoRoute, Reason::PuntNoRoute)
        );
    });
}

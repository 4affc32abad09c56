//! Ports, addresses and neighbours that change under traffic.

use crate::scene::status;
use crate::traffic::{World, pinned};

const PACKETS: usize = 500;

fn heals(fault: &[&str], repair: &[&str]) {
    let world = World::new();
    let relay = world.relay(&pinned());
    let machine = &world.scene.lab.relay;
    machine.ip(fault).unwrap();
    world.wait_for_silence();
    machine.ip(repair).unwrap();
    world.wait_for_flow();
    let counted = world.exchange(PACKETS);
    assert_eq!(counted.lost(), (0, 0), "{counted:?}\n{}", relay.log());
    relay.stop().unwrap();
}

#[test]
fn a_port_that_was_down_works_again_when_it_is_up() {
    let route = "route replace default via 203.0.113.17 dev lb-v4";
    heals(&["link set lb-v4 down"], &["link set lb-v4 up", route]);
}

#[test]
fn a_route_that_flaps_is_followed_both_ways() {
    heals(
        &["route add blackhole 198.51.100.0/24"],
        &["route del blackhole 198.51.100.0/24"],
    );
}

#[test]
fn a_service_address_that_was_gone_serves_again_when_it_is_back() {
    let route = "route replace default via 203.0.113.17 dev lb-v4";
    heals(
        &["addr del 203.0.113.18/28 dev lb-v4"],
        &["addr add 203.0.113.18/28 dev lb-v4", route],
    );
}

#[test]
fn a_port_that_is_renamed_goes_on_and_is_shown_by_its_new_name() {
    let world = World::new();
    let relay = world.relay(&pinned());
    let machine = &world.scene.lab.relay;
    // A device is renamed while it is up since Linux 6.2.
    machine.ip(&["link set lb-v4 name uplink"]).unwrap();
    world.wait_for_flow();
    let counted = world.exchange(PACKETS);
    assert_eq!(counted.lost(), (0, 0), "{counted:?}");
    machine.ip(&["link set uplink name lb-v4"]).unwrap();
    relay.stop().unwrap();
}

#[test]
fn a_smaller_mtu_of_the_port_stops_nothing_that_fits() {
    let world = World::new();
    let relay = world.relay(&pinned());
    let (changed, counted) =
        world.exchange_while(|| world.scene.lab.relay.ip(&["link set lb-v6 mtu 1400"]));
    changed.unwrap();
    assert_eq!(counted.lost(), (0, 0), "{counted:?}");
    assert_eq!(
        status(&relay)
            .reasons
            .of(relay_common::Reason::PuntNextHopMtu)
            .fast
            .packets,
        0
    );
    relay.stop().unwrap();
}

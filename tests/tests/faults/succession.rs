//! Death, restart and upgrade of the daemon under traffic (invariant 11).

use lab::shipworm::{INTERFACE, Relay, has_xdp_program};
use lab::wait_for;

use crate::scene::{SOON, status};
use crate::traffic::{PEERS, World, pinned};

const PACKETS: usize = 1000;

#[test]
fn established_peers_flow_on_without_a_daemon_and_the_next_one_goes_on_with_them() {
    let world = World::new();
    let relay = world.relay(&pinned());
    let before = status(&relay).traffic;

    let (killed, during) = world.exchange_while(|| relay.kill());
    killed.unwrap();
    assert_eq!(during.lost(), (0, 0), "{during:?}");
    let dead = world.exchange(PACKETS);
    assert_eq!(dead.lost(), (0, 0), "{dead:?}");

    let (relay, during_start) =
        world.exchange_while(|| Relay::start(&world.scene.lab, &pinned()).unwrap());
    assert_eq!(during_start.lost(), (0, 0), "{during_start:?}");
    let now = status(&relay);
    assert_eq!(now.peers.fresh, PEERS as u64);
    assert_eq!(now.bubbles_sent, 0, "nobody was asked again");
    let counted = now.traffic.encapsulated.fast.packets - before.encapsulated.fast.packets;
    let sent = during.sent + dead.sent + during_start.sent;
    assert_eq!(counted, sent as u64, "the program went on counting");
    assert!(now.datapath.pinned_in.is_some());
    assert_eq!(world.exchange(PACKETS).lost(), (0, 0));
    relay.stop().unwrap();
}

#[test]
fn another_version_takes_over_and_back_without_losing_a_packet() {
    let world = World::new();
    let mut relay = world.relay(&pinned());
    let before = status(&relay);
    for _ in ["forth", "back"] {
        let (taken, counted) = world.exchange_while(|| relay.take_over(&pinned()));
        taken.unwrap();
        assert_eq!(counted.lost(), (0, 0), "{counted:?}\n{}", relay.log());
    }
    let now = status(&relay);
    assert_eq!(now.peers.fresh, PEERS as u64);
    assert_eq!(now.bubbles_sent, 0, "nobody was asked again");
    assert!(now.uptime_s <= before.uptime_s + 60);
    relay.stop().unwrap();
}

#[test]
fn new_peers_are_answered_by_whoever_took_over() {
    let world = World::new();
    let mut relay = Relay::start(&world.scene.lab, &pinned()).unwrap();
    relay.take_over(&pinned()).unwrap();
    world.scene.establish(PEERS);
    assert_eq!(status(&relay).bubbles_sent, PEERS as u64);
    relay.stop().unwrap();
}

#[test]
fn a_relay_in_user_space_is_taken_over_as_well_and_its_peers_are_asked_again() {
    let world = World::new();
    let settings = lab::shipworm::Settings {
        datapath: lab::shipworm::Datapath::Userspace,
        ..pinned()
    };
    let mut relay = Relay::start(&world.scene.lab, &settings).unwrap();
    world.scene.establish(PEERS);
    relay.take_over(&settings).unwrap();
    assert_eq!(status(&relay).peers.fresh, 0);
    world.scene.establish(PEERS);
    relay.stop().unwrap();
}

#[test]
fn a_relay_without_pins_is_taken_over_and_its_peers_are_asked_again() {
    let world = World::new();
    let unpinned = lab::shipworm::Settings {
        pins: false,
        ..pinned()
    };
    let mut relay = world.relay(&unpinned);
    for settings in [&unpinned, &pinned()] {
        relay.take_over(settings).unwrap();
        let now = status(&relay);
        assert_eq!(now.datapath.pinned_in.is_some(), settings.pins);
        assert_eq!(now.datapath.active, "xdp");
        assert_eq!(now.peers.fresh, 0);
        world.scene.establish(PEERS);
        let counted = world.exchange(PACKETS);
        assert_eq!(counted.lost(), (0, 0), "{counted:?}");
        assert_eq!(status(&relay).bubbles_sent, PEERS as u64);
    }
    relay.stop().unwrap();
}

/// Its ports would be taken by a program it knows nothing of.
#[test]
fn a_successor_that_would_not_look_into_the_pins_is_refused_and_the_relay_goes_on() {
    let world = World::new();
    let mut relay = world.relay(&pinned());
    let unpinned = lab::shipworm::Settings {
        pins: false,
        ..pinned()
    };
    let userspace = lab::shipworm::Settings {
        datapath: lab::shipworm::Datapath::Userspace,
        ..pinned()
    };
    for settings in [unpinned, userspace] {
        let error = format!("{:#}", relay.take_over(&settings).unwrap_err());
        assert!(error.contains("keep its --pin-dir and XDP"), "{error}");
        assert!(relay.is_running());
        assert_eq!(world.exchange(PACKETS).lost(), (0, 0));
    }
    assert_eq!(status(&relay).peers.fresh, PEERS as u64);
    relay.stop().unwrap();
}

#[test]
fn a_successor_that_cannot_start_leaves_everything_as_it_is() {
    let world = World::new();
    let mut relay = world.relay(&pinned());
    let mut other = pinned();
    other.flags = ["--bind", "203.0.113.18:3546"].map(str::to_owned).to_vec();
    let error = format!("{:#}", relay.take_over(&other).unwrap_err());
    assert!(error.contains("--take-over"), "{error}");
    assert!(error.contains("203.0.113.18:3545"), "{error}");
    assert!(relay.is_running());
    assert_eq!(world.exchange(PACKETS).lost(), (0, 0));
    relay.stop().unwrap();
}

#[test]
fn a_start_that_fails_does_not_end_what_the_daemon_before_has_left() {
    let world = World::new();
    world.relay(&pinned()).kill().unwrap();
    let mut wrong = pinned();
    wrong.flags = ["--bind", "203.0.113.99"].map(str::to_owned).to_vec();
    Relay::start(&world.scene.lab, &wrong).unwrap_err();
    assert_eq!(world.exchange(PACKETS).lost(), (0, 0));
    Relay::start(&world.scene.lab, &pinned())
        .unwrap()
        .stop()
        .unwrap();
}

#[test]
fn a_table_of_another_size_starts_empty_and_the_program_is_replaced_at_once() {
    let world = World::new();
    world.relay(&pinned()).kill().unwrap();
    let mut larger = pinned();
    larger.max_peers *= 2;
    let relay = Relay::start(&world.scene.lab, &larger).unwrap();
    assert_eq!(status(&relay).peers.fresh, 0);
    world.scene.establish(PEERS);
    relay.stop().unwrap();
}

#[test]
fn without_pins_nothing_of_a_killed_daemon_is_left() {
    let world = World::new();
    let mut settings = pinned();
    settings.pins = false;
    let relay = world.relay(&settings);
    assert_eq!(status(&relay).datapath.pinned_in, None);
    relay.kill().unwrap();
    for interface in world.scene.lab.relay_interfaces() {
        wait_for("the program to be gone", SOON, || {
            !has_xdp_program(&world.scene.lab, interface).unwrap()
        })
        .unwrap();
    }
    let interfaces = world.scene.lab.relay.interfaces().unwrap();
    assert!(!interfaces.iter().any(|name| name == INTERFACE));
}

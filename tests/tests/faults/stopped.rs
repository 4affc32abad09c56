//! A daemon that does not get its turn.

use std::fs;

use crate::scene::{SOON, status};
use crate::traffic::{PEERS, World, pinned};

const PACKETS: usize = 1000;

/// The daemon behind the init of its PID namespace.
pub(crate) fn daemon(init: u32) -> i32 {
    let children = fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap();
    children.trim().parse().unwrap()
}

fn signal(pid: i32, signal: libc::c_int) {
    // SAFETY: no pointers; a process this test has started.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

#[test]
fn a_stopped_daemon_loses_nothing_established_and_vouches_for_no_route() {
    let world = World::new();
    let relay = world.relay(&pinned());
    lab::wait_for("next hops to be kept", SOON, || {
        world.exchange(PEERS);
        status(&relay).next_hops.live >= 2
    })
    .unwrap();
    world.exchange(PEERS);
    let pid = daemon(relay.process().pid());
    signal(pid, libc::SIGSTOP);
    let counted = world.exchange(PACKETS);
    assert_eq!(counted.lost(), (0, 0), "{counted:?}");

    // Nobody tells the program of the change. What it keeps is good for three seconds.
    let machine = &world.scene.lab.relay;
    machine
        .ip(&["route add blackhole 198.51.100.0/24"])
        .unwrap();
    world.wait_for_silence();
    machine
        .ip(&["route del blackhole 198.51.100.0/24"])
        .unwrap();
    world.wait_for_flow();

    signal(pid, libc::SIGCONT);
    let counted = world.exchange(PACKETS);
    assert_eq!(counted.lost(), (0, 0), "{counted:?}");
    assert!(status(&relay).next_hops.ipv4);
    relay.stop().unwrap();
}

/// More new peers than the rings hold, to servers nobody has: what is established does not notice.
#[test]
fn full_rings_lose_new_peers_and_count_them_and_nothing_established() {
    const NEW_PEERS: u16 = 20_000;
    let world = World::new();
    let relay = world.relay(&pinned());
    let pid = daemon(relay.process().pid());
    signal(pid, libc::SIGSTOP);
    let ((), counted) = world.exchange_while(|| {
        world.ask_for_new_peers(NEW_PEERS);
    });
    assert_eq!(counted.lost(), (0, 0), "{counted:?}");
    signal(pid, libc::SIGCONT);
    lab::wait_for("the rings' losses in the status", SOON, || {
        status(&relay).punt_sockets.rx_dropped > 0
    })
    .unwrap();
    let counted = world.exchange(PACKETS);
    assert_eq!(counted.lost(), (0, 0), "{counted:?}");
    relay.stop().unwrap();
}

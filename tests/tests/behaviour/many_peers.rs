//! Ten thousand peers at once.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use lab::shipworm::{Datapath, Relay, Settings};
use lab::teredo_client::{Arrival, Bubbles};
use lab::wait_for;

use crate::for_each_datapath;
use crate::packet;
use crate::scene::{Scene, status};

const PEERS: usize = 10_000;
/// Packets under way at most: fewer than the kernel queues in front of a TUN device.
const WINDOW: usize = 256;
/// Peers that one native /64 opens: fewer than it may leave unanswered.
const PEERS_PER_PREFIX: usize = 32;
const STALL_DEADLINE: Duration = Duration::from_secs(10);

fn native_host(peer: usize) -> Ipv6Addr {
    let prefix = u16::try_from(peer / PEERS_PER_PREFIX).unwrap();
    Ipv6Addr::new(0x2001, 0xdb8, 0xff, prefix, 0, 0, 0, 1)
}

/// Sends packet `round` to every peer, and gives the arrivals of all of them.
fn a_packet_to_each(scene: &Scene, round: u8) -> (Vec<Arrival>, Duration) {
    let start = Instant::now();
    for peer in 0..PEERS {
        if peer % 32 == 0 {
            wait_for("room for more packets", STALL_DEADLINE, || {
                peer < scene.clients.waiting() + WINDOW
            })
            .unwrap_or_else(|e| panic!("{e}: {peer} sent, {} arrived", scene.clients.waiting()));
        }
        let packet = packet::udp(native_host(peer), scene.clients.ipv6(peer), &[round]);
        scene.v6.send(&packet);
    }
    wait_for("the last packets", STALL_DEADLINE, || {
        scene.clients.waiting() == PEERS
    })
    .unwrap_or_else(|e| panic!("{e}: {} arrived", scene.clients.waiting()));
    (scene.clients.take_arrivals(), start.elapsed())
}

fn every_packet_of_ten_thousand_peers_arrives(datapath: Datapath) {
    every_packet_arrives_through(&Settings::new(datapath));
}

/// Every entry of the table has one writer, whichever queue or socket its packets come by.
#[test]
fn three_shards_deliver_every_packet_of_ten_thousand_new_peers() {
    let mut settings = Settings::new(Datapath::Xdp);
    settings.flags = ["--shards", "3"].map(str::to_owned).to_vec();
    every_packet_arrives_through(&settings);
}

fn every_packet_arrives_through(settings: &Settings) {
    let datapath = settings.datapath;
    let scene = Scene::new(PEERS, Bubbles::Answered);
    let relay = Relay::start(&scene.lab, settings).unwrap();
    for round in [1, 2] {
        let (arrivals, took) = a_packet_to_each(&scene, round);
        let mut reached = vec![false; PEERS];
        for Arrival {
            client, payload, ..
        } in arrivals
        {
            assert_eq!(payload.last(), Some(&round), "client {client}");
            assert!(
                !std::mem::replace(&mut reached[client], true),
                "client {client} twice"
            );
        }
        println!("{datapath}: packet {round} of {PEERS} peers in {took:?}");
    }
    let status = status(&relay);
    println!("{datapath}: {:?}", status.latency_us);
    assert_eq!(status.peers.fresh, PEERS as u64);
    assert_eq!(status.bubbles_sent, PEERS as u64, "one for each peer");
    assert_eq!(
        status.traffic.encapsulated.slow.packets + status.traffic.encapsulated.fast.packets,
        2 * PEERS as u64
    );
    relay.stop().unwrap();
}

for_each_datapath! {
    every_packet_of_ten_thousand_peers_arrives:
        xdp_delivers_every_packet_of_ten_thousand_new_peers,
        generic_xdp_delivers_every_packet_of_ten_thousand_new_peers,
        user_space_delivers_every_packet_of_ten_thousand_new_peers;
}

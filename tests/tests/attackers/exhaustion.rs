//! Filling tables, queues and the slow path from either side, while established peers go on.

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};

use lab::Lab;
use lab::shipworm::Datapath;
use lab::teredo_client::Bubbles;
use relay_common::Reason;
use teredo::addr::{Mapped, ServerV4, TeredoAddr};

use crate::attack::{Attack, From, forged_host, naming, victim};
use crate::packet::{self, Outer};
use crate::scene::{SERVICE, SOON, Scene};
use crate::with_and_without_xdp;

const FLOOD: usize = 4096;
/// Packets of the flood for each of the established peer in each direction.
const PER_EXCHANGE: usize = 64;
const PENDING_PEERS: u64 = 256;
const QUEUE_BYTES: u64 = 65_536;

/// A flood with a packet of the established client in each direction in between. All of those arrive.
fn flood_beside_an_established_peer(
    attack: &mut Attack<'_>,
    from: From,
    packet: impl Fn(usize) -> Vec<u8>,
) {
    let clients = &attack.scene.clients;
    let host = attack
        .scene
        .lab
        .host
        .enter(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, packet::TO_PORT)))
        .unwrap();
    host.set_read_timeout(Some(SOON)).unwrap();
    let mut exchanges = 0;
    for burst in 0..FLOOD / PER_EXCHANGE {
        let numbers = burst * PER_EXCHANGE..(burst + 1) * PER_EXCHANGE;
        attack.send(from, numbers.map(&packet));
        let down = packet::udp(Lab::HOST, clients.ipv6(0), &[0x55; 200]);
        attack.send(From::Native, [down]);
        let up = packet::udp(clients.ipv6(0), Lab::HOST, &[0x55; 200]);
        clients.send(0, SERVICE, &up).unwrap();
        attack.expect(1);
        host.recv(&mut [0; 300])
            .expect("the client's packet arrives");
        exchanges += 1;
    }
    let arrivals = attack.scene.arrivals(exchanges);
    assert_eq!(arrivals.len(), exchanges);
    assert!(arrivals.iter().all(|arrival| arrival.client == 0));
    let exchanges = exchanges as u64;
    let status = attack.status();
    let outcome = attack.outcome();
    assert_eq!(outcome[Reason::Encapsulated.as_str()], exchanges);
    assert_eq!(outcome[Reason::Decapsulated.as_str()], exchanges);
    if status.datapath.active == Datapath::Xdp.as_str() {
        // The next hop's neighbour may have had to be asked for the first ones.
        let fast = status.traffic.encapsulated.fast.packets;
        assert!(
            fast + 2 >= exchanges,
            "{fast} of {exchanges} took the fast path"
        );
        let fast = status.traffic.decapsulated.fast.packets;
        assert!(
            fast + 2 >= exchanges,
            "{fast} of {exchanges} took the fast path"
        );
    }
    assert_eq!(status.peers.fresh, 1);
}

/// A scan of 2001::/32 by forged hosts, each in a /64 of its own.
fn a_scan_leaves_established_peers_alone(datapath: Datapath) {
    let scene = Scene::new(1, Bubbles::Answered);
    let (pending, bytes) = (PENDING_PEERS.to_string(), QUEUE_BYTES.to_string());
    let flags = ["--pending-peers", &pending, "--queue-bytes-total", &bytes];
    let mut attack = Attack::start(&scene, datapath, &flags, 1);
    flood_beside_an_established_peer(&mut attack, From::Native, |n| {
        let target = naming(victim(), 1024 + u16::try_from(n).unwrap());
        packet::udp(forged_host(n), target.into(), &[0; 1000])
    });
    let status = attack.status();
    assert!(status.peers.probing + status.peers.blocked <= PENDING_PEERS);
    assert!(status.queued.bytes <= QUEUE_BYTES);
    let outcome = attack.outcome();
    assert!(outcome[Reason::PeerTableFull.as_str()] > 0, "{outcome:?}");
    assert!(outcome[Reason::QueueMemoryFull.as_str()] > 0, "{outcome:?}");
    attack.relay.stop().unwrap();
}

/// Datagrams in the name of clients the relay never wrote to: no state at all.
fn clients_nobody_asked_for_leave_no_trace(datapath: Datapath) {
    let scene = Scene::new(1, Bubbles::Answered);
    let mut attack = Attack::start(&scene, datapath, &[], 1);
    flood_beside_an_established_peer(&mut attack, From::Client, |n| {
        let [high, low] = u16::try_from(n).unwrap().to_be_bytes();
        let mapped = Mapped {
            ip: Ipv4Addr::new(198, 51, high, low.max(1)),
            port: 4000,
        };
        let source = Mapped {
            ip: victim(),
            ..mapped
        };
        let client = TeredoAddr::new(ServerV4(Lab::SERVER_V4), 0, mapped);
        Outer::from(source).around(&packet::udp(client.into(), Lab::HOST, b"data"))
    });
    let status = attack.status();
    assert_eq!((status.peers.probing, status.peers.blocked), (0, 0));
    assert_eq!(attack.bubbles(), 0);
    assert_eq!(attack.outcome()[Reason::PeerUnknown.as_str()], FLOOD as u64);
    attack.relay.stop().unwrap();
}

with_and_without_xdp! {
    a_scan_leaves_established_peers_alone:
        xdp_carries_established_peers_through_a_scan,
        user_space_carries_established_peers_through_a_scan;
    clients_nobody_asked_for_leave_no_trace:
        xdp_keeps_no_state_of_clients_nobody_asked_for,
        user_space_keeps_no_state_of_clients_nobody_asked_for;
}

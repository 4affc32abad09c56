//! Making the relay send to third parties.

use std::net::SocketAddrV4;

use lab::shipworm::Datapath;
use lab::teredo_client::Bubbles;
use lab::{Lab, wait_for};
use relay_common::Reason;
use teredo::addr::{Mapped, SERVER_PORT};
use teredo::wire::origin::Origin;
use teredo::wire::trailer::{AlternateAddresses, NdKind, Trailers};
use teredo::wire::{bubble, payload};

use crate::attack::{Attack, From, forged_host, naming, victim};
use crate::observed::Captures;
use crate::packet::{self, Outer};
use crate::scene::{SOON, Scene};
use crate::with_and_without_xdp;

const PACKETS: usize = 512;

/// whatever cone bit and mapped address say, only the server of the address hears of it.
fn a_native_host_cannot_choose_who_gets_its_data(datapath: Datapath) {
    let scene = Scene::new(1, Bubbles::Answered);
    let mut attack = Attack::start(&scene, datapath, &[], 1);
    let captures = Captures::start(&scene.lab);
    attack.send(
        From::Native,
        (0..PACKETS).map(|n| {
            let target = naming(victim(), 1024 + u16::try_from(n).unwrap());
            packet::udp(forged_host(n), target.into(), &[0xaa; 1000])
        }),
    );
    let bubbles = attack.bubbles();
    assert!(attack.outcome().is_empty(), "all wait for an answer");
    attack.relay.stop().unwrap();
    let datagrams = captures.stop().datagrams();
    let server = SocketAddrV4::new(Lab::SERVER_V4, SERVER_PORT);
    assert!(datagrams.len() >= PACKETS);
    assert!(datagrams.len() as u64 >= bubbles);
    for datagram in &datagrams {
        assert_eq!(datagram.to, server, "and nothing to {}", victim());
        let parsed = payload::parse(&datagram.payload).unwrap();
        assert!(parsed.header.is_bubble());
    }
}

/// forged datagrams from the IPv4 side, which name the victim wherever there is room for it.
fn a_forged_datagram_makes_the_relay_send_nothing(datapath: Datapath) {
    let scene = Scene::new(2, Bubbles::Answered);
    let mut attack = Attack::start(&scene, datapath, &[], 1);
    let captures = Captures::start(&scene.lab);
    let origin = Origin {
        mapped: Mapped {
            ip: victim(),
            port: 53,
        },
    };
    let server = Mapped {
        ip: Lab::SERVER_V4,
        port: SERVER_PORT,
    };
    let solicits = Trailers {
        nd: Some(NdKind::Solicitation),
        nonce: Some([1, 2, 3, 4]),
        ..Trailers::default()
    };
    let unknown = scene.clients.address(1);
    let inner = [
        bubble::build(unknown.octets(), Lab::HOST.octets(), &Trailers::default()),
        bubble::build(unknown.octets(), Lab::HOST.octets(), &solicits),
        packet::udp(unknown.into(), Lab::HOST, b"data"),
    ];
    let multicast = "ff0e::1".parse().unwrap();
    let to_all = packet::udp(scene.clients.ipv6(0), multicast, b"data");
    let mut datagrams = Vec::new();
    for inner in &inner {
        for source in [server, unknown.mapped()] {
            let with_origin = payload::build(None, Some(&origin), inner);
            datagrams.push(Outer::from(source).around(&with_origin));
            datagrams.push(Outer::from(source).around(inner));
        }
    }
    let from_unknown = datagrams.len() as u64;
    datagrams.push(Outer::from(scene.clients.mapped(0)).around(&to_all));
    let alternates = Trailers {
        alternate_addresses: AlternateAddresses::new(&[origin.mapped; 4]).unwrap(),
        ..Trailers::default()
    };
    let trusted = scene.clients.address(0);
    let told = bubble::build(trusted.octets(), Lab::HOST.octets(), &alternates);
    scene.v4.send(&Outer::from(trusted.mapped()).around(&told));
    wait_for("the bubble to be counted", SOON, || {
        attack
            .outcome()
            .contains_key(Reason::BubbleAccepted.as_str())
    })
    .unwrap();
    attack.send(From::Client, datagrams);
    let outcome = attack.outcome();
    assert_eq!(outcome[Reason::PeerUnknown.as_str()], from_unknown);
    assert_eq!(outcome[Reason::DestinationMulticast.as_str()], 1);
    assert_eq!(attack.bubbles(), 0);
    attack.relay.stop().unwrap();
    let sent = captures.stop().sent_by_relay();
    assert!(sent.is_empty(), "{sent:x?}");
}

with_and_without_xdp! {
    a_native_host_cannot_choose_who_gets_its_data:
        xdp_sends_no_data_where_a_native_host_wants_it,
        user_space_sends_no_data_where_a_native_host_wants_it;
    a_forged_datagram_makes_the_relay_send_nothing:
        xdp_sends_nothing_for_a_forged_datagram,
        user_space_sends_nothing_for_a_forged_datagram;
}

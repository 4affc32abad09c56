//! Those whom the operator does not serve, in the running relay.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use lab::Lab;
use lab::shipworm::Datapath;
use lab::teredo_client::Bubbles;
use relay_common::Reason;
use teredo::addr::{Mapped, ServerV4, TeredoAddr};

use crate::attack::{Attack, From, naming};
use crate::observed::Captures;
use crate::packet::{self, Outer};
use crate::scene::Scene;
use crate::with_and_without_xdp;

const COPIES: u64 = 50;
const OWN_SITE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 98);
const BAD_SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 3);
const BAD_HOST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 1);

fn those_who_are_denied_get_nothing_and_cost_nothing(datapath: Datapath) {
    let scene = Scene::new(1, Bubbles::Answered);
    let own_site = format!("{OWN_SITE}/32");
    let server = format!("{BAD_SERVER}/32");
    let flags = [
        "--native-deny",
        "2001:db8:bad::/48",
        "--client-deny",
        &own_site,
        "--server-deny",
        &server,
    ];
    let mut attack = Attack::start(&scene, datapath, &flags, 1);
    let captures = Captures::start(&scene.lab);
    let served = scene.clients.address(0);
    let inside = naming(OWN_SITE, 53);
    let strange = TeredoAddr::new(
        ServerV4(BAD_SERVER),
        0,
        Mapped {
            port: 9,
            ..served.mapped()
        },
    );
    let copies = |packet: Vec<u8>| (0..COPIES).map(move |_| packet.clone());
    for (source, destination) in [
        (BAD_HOST, served),
        (Lab::HOST, inside),
        (Lab::HOST, strange),
    ] {
        let packet = packet::udp(source, destination.into(), b"data");
        attack.send(From::Native, copies(packet));
    }
    for (client, destination) in [
        (served, BAD_HOST),
        (inside, Lab::HOST),
        (strange, Lab::HOST),
    ] {
        let inner = packet::udp(client.into(), destination, b"data");
        let datagram = Outer::from(client.mapped()).around(&inner);
        attack.send(From::Client, copies(datagram));
    }
    let denied = [
        Reason::ClientDenied,
        Reason::NativeDenied,
        Reason::ServerDenied,
    ];
    let expected: BTreeMap<_, _> = denied
        .map(|reason| (reason.as_str(), 2 * COPIES))
        .into_iter()
        .collect();
    assert_eq!(attack.outcome(), expected);
    if datapath == Datapath::Xdp {
        let reasons = attack.status().reasons;
        for reason in denied {
            let fast = reasons.of(reason).fast.packets;
            assert_eq!(fast, 2 * COPIES, "{reason:?} never reaches the slow path");
        }
    }
    assert_eq!(attack.bubbles(), 0);
    attack.relay.stop().unwrap();
    let sent = captures.stop().sent_by_relay();
    assert!(sent.is_empty(), "{sent:x?}");
}

with_and_without_xdp! {
    those_who_are_denied_get_nothing_and_cost_nothing:
        xdp_drops_those_who_are_denied_without_an_answer,
        user_space_drops_those_who_are_denied_without_an_answer;
}

//! Speaking for somebody else.

use std::net::SocketAddrV4;

use lab::Lab;
use lab::shipworm::Datapath;
use lab::teredo_client::Bubbles;
use relay_common::Reason;
use relay_user::status::{PeerState, Peers};
use teredo::addr::{Mapped, SERVER_PORT};
use teredo::wire::bubble;
use teredo::wire::trailer::Trailers;

use crate::attack::{Attack, From, victim};
use crate::packet::{self, Outer};
use crate::scene::{SERVICE, Scene};
use crate::with_and_without_xdp;

/// Guesses of the 64 bits of a cookie or the 32 of a nonce, for each place they come from.
const GUESSES: u32 = 100;

/// Every way to say that the client is somewhere else: bubbles with guessed cookies and nonces, and data.
fn lies_about(scene: &Scene, client: usize) -> Vec<Vec<u8>> {
    let address = scene.clients.address(client);
    let own = scene.clients.mapped(client);
    let places = [
        Mapped {
            ip: victim(),
            port: 4000,
        },
        Mapped {
            port: own.port + 1000,
            ..own
        },
        Mapped {
            ip: Lab::SERVER_V4,
            port: SERVER_PORT,
        },
    ];
    let mut lies = Vec::new();
    for place in places {
        let mut say = |payload: &[u8]| lies.push(Outer::from(place).around(payload));
        say(&packet::udp(address.into(), Lab::HOST, b"data"));
        for guess in 0..GUESSES {
            let bits = u64::from(guess).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut cookie = [0; 16];
            cookie[..2].copy_from_slice(&[0xfe, 0x80]);
            cookie[8..].copy_from_slice(&bits.to_be_bytes());
            let nonce = Trailers {
                nonce: Some(bits.to_le_bytes()[..4].try_into().unwrap()),
                ..Trailers::default()
            };
            say(&bubble::build(address.octets(), cookie, &nonce));
        }
    }
    lies
}

fn mapping(attack: &Attack<'_>, client: usize) -> Vec<(SocketAddrV4, PeerState)> {
    let peers: Peers = serde_json::from_value(attack.relay.peers().unwrap()).unwrap();
    let address = attack.scene.clients.ipv6(client);
    peers
        .peers
        .iter()
        .filter(|peer| peer.address == address)
        .map(|peer| (peer.mapped, peer.state))
        .collect()
}

fn traffic_of_a_client_stays_its_own(datapath: Datapath) {
    let scene = Scene::new(1, Bubbles::Answered);
    let mut attack = Attack::start(&scene, datapath, &[], 1);
    let lies = lies_about(&scene, 0);
    let told = lies.len() as u64;
    attack.send(From::Client, lies);
    assert_eq!(
        attack.outcome()[Reason::OuterSourceMismatch.as_str()],
        told,
        "{:?}",
        attack.outcome()
    );
    let own = scene.clients.mapped(0).into();
    assert_eq!(mapping(&attack, 0), [(own, PeerState::Fresh)]);
    attack.send(
        From::Native,
        [packet::udp(Lab::HOST, scene.clients.ipv6(0), b"for it")],
    );
    let arrivals = scene.arrivals(1);
    assert!(arrivals[0].payload.ends_with(b"for it"));
    attack.relay.stop().unwrap();
}

/// The client is asked and has not answered: somebody else answers for it.
fn nobody_answers_for_a_client(datapath: Datapath) {
    let scene = Scene::new(1, Bubbles::Ignored);
    let mut attack = Attack::start(&scene, datapath, &[], 0);
    attack.send(
        From::Native,
        [packet::udp(Lab::HOST, scene.clients.ipv6(0), b"for it")],
    );
    let lies = lies_about(&scene, 0);
    let told = lies.len() as u64;
    attack.send(From::Client, lies);
    assert_eq!(attack.outcome()[Reason::OuterSourceMismatch.as_str()], told);
    let status = attack.status();
    assert_eq!((status.peers.fresh, status.peers.stale), (0, 0));
    assert_eq!(status.traffic.encapsulated.slow.packets, 0);
    attack.relay.stop().unwrap();
}

/// A trusted client as the source of packets in the name of others.
fn a_client_speaks_for_itself_alone(datapath: Datapath) {
    let scene = Scene::new(3, Bubbles::Answered);
    let mut attack = Attack::start(&scene, datapath, &[], 2);
    let inner = |source| packet::udp(source, Lab::HOST, b"forged");
    for (source, reason) in [
        (scene.clients.ipv6(1), Reason::OuterSourceMismatch),
        (scene.clients.ipv6(2), Reason::PeerUnknown),
        (Lab::SERVER_V6, Reason::SourceNotTeredo),
        ("fe80::1".parse().unwrap(), Reason::SourceNotTeredo),
    ] {
        let before = attack.outcome().get(reason.as_str()).copied();
        scene.clients.send(0, SERVICE, &inner(source)).unwrap();
        attack.expect(1);
        let after = attack.outcome()[reason.as_str()];
        assert_eq!(after, before.unwrap_or(0) + 1, "{source}");
    }
    assert!(!attack.outcome().contains_key(Reason::Decapsulated.as_str()));
    attack.relay.stop().unwrap();
}

with_and_without_xdp! {
    traffic_of_a_client_stays_its_own:
        xdp_sends_a_client_s_traffic_to_it_whoever_claims_it,
        user_space_sends_a_client_s_traffic_to_it_whoever_claims_it;
    nobody_answers_for_a_client:
        xdp_trusts_nobody_who_answers_for_a_client,
        user_space_trusts_nobody_who_answers_for_a_client;
    a_client_speaks_for_itself_alone:
        xdp_lets_a_client_speak_for_itself_alone,
        user_space_lets_a_client_speak_for_itself_alone;
}

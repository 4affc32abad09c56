//! The sequences of RFC 4380 5.4 with a server and clients behind NATs, in virtual time.
#![allow(missing_docs)]

mod relay_world;

use std::time::Duration;

use relay_world::nat::NatKind;
use relay_world::{Answers, HOST, LATENCY, RELAY, World, data, packet};
use teredo::Fate;
use teredo::relay::Icmp6Error;
use teredo::wire::icmp6::{Echo, EchoKind};
use teredo::wire::ipv6;

/// Host to relay, relay to server, server to client, client to relay, relay to client.
const HANDSHAKE: Duration = LATENCY.saturating_mul(5);

fn client_got(world: &World) -> Vec<&[u8]> {
    world
        .client()
        .received
        .iter()
        .map(|(_, _, packet)| data(packet))
        .collect()
}

/// PROTOCOL 3.9, R-23, R-36, R-37, R-2.
#[test]
fn a_native_host_reaches_a_client_behind_every_kind_of_nat() {
    for kind in NatKind::ALL {
        let mut world = World::with_client(kind, Answers::ToTheCookie);
        let start = world.now;
        world.host_sends(b"one");
        world.host_sends(b"two");
        world.pass(HANDSHAKE);
        assert_eq!(client_got(&world), [b"one", b"two"], "{kind:?}");
        let (at, from, _) = &world.client().received[0];
        assert_eq!(
            (at.saturating_since(start), *from),
            (HANDSHAKE, RELAY),
            "{kind:?}"
        );
        world.client_sends(b"back");
        world.host_sends(b"six");
        world.pass(2 * LATENCY);
        assert_eq!(client_got(&world).last(), Some(&&b"six"[..]), "{kind:?}");
        assert_eq!(data(&world.host_received[0].1), b"back", "{kind:?}");
        assert_eq!(
            (world.bubbles.len(), world.host_errors.len()),
            (1, 0),
            "{kind:?}"
        );
    }
}

/// PROTOCOL 3.9: the echo reply waits at the relay and arrives unchanged, first of all (pitfall 10).
#[test]
fn a_client_reaches_a_native_host_from_behind_every_kind_of_nat() {
    for kind in NatKind::ALL {
        let mut world = World::with_client(kind, Answers::ToTheCookie);
        world.client_pings(b"connectivity nonce");
        world.pass(2 * LATENCY + HANDSHAKE);
        world.host_sends(b"later");
        world.pass(2 * LATENCY);
        let received = &world.client().received;
        assert_eq!(received.len(), 2, "{kind:?}");
        let (_, from, reply) = &received[0];
        assert_eq!(*from, RELAY, "this is how the client learns of the relay");
        let (header, body, _) = ipv6::parse(reply).unwrap();
        let echo = Echo::parse(header, body).unwrap();
        assert_eq!(
            (echo.kind, echo.data),
            (EchoKind::Reply, &b"connectivity nonce"[..])
        );
        world.client_sends(b"hello");
        world.pass(2 * LATENCY);
        assert_eq!(
            world.host_received.last().map(|(_, p)| data(p)),
            Some(&b"hello"[..])
        );
    }
}

/// R-36 c and d: what tells a symmetric NAT's other port from an impostor.
#[test]
fn behind_a_symmetric_nat_cookie_or_nonce_is_needed() {
    for (answers, reached) in [
        (Answers::ToTheCookie, true),
        (Answers::WithTheNonce, true),
        (Answers::Blankly, false),
    ] {
        let mut world = World::with_client(NatKind::Symmetric, answers);
        world.host_sends(b"one");
        world.pass(Duration::from_secs(10));
        assert_eq!(
            client_got(&world).len(),
            usize::from(reached),
            "{answers:?}"
        );
        assert_eq!(
            world.host_errors.len(),
            usize::from(!reached),
            "{answers:?}"
        );
        let mismatches = if reached { 0 } else { 4 };
        assert_eq!(
            world.count(Fate::OuterSourceMismatch),
            mismatches,
            "{answers:?}"
        );
    }
    for kind in [
        NatKind::Cone,
        NatKind::AddressRestricted,
        NatKind::PortRestricted,
    ] {
        let mut world = World::with_client(kind, Answers::Blankly);
        world.host_sends(b"one");
        world.pass(HANDSHAKE);
        assert_eq!(
            client_got(&world),
            [b"one"],
            "{kind:?}: its address is proof enough"
        );
    }
}

/// bubbles at 0, 2, 4, 6 s, the error at 8 s, nothing before 300 s are over.
#[test]
fn a_dead_client_is_given_up_after_eight_seconds_and_left_alone_for_three_hundred() {
    let mut world = World::with_client(NatKind::PortRestricted, Answers::Never);
    let asked = world.now + LATENCY;
    world.host_sends(b"one");
    for _ in 0..40 {
        world.pass(Duration::from_secs(7));
        world.host_sends(b"more");
    }
    let bubbles: Vec<_> = world
        .bubbles
        .iter()
        .map(|at| at.saturating_since(asked + LATENCY).as_secs())
        .collect();
    assert_eq!(bubbles, [0, 2, 4, 6]);
    let first = &world.host_errors[0];
    let quote = packet(HOST.octets(), world.client().address.octets(), b"one");
    assert_eq!(
        (first.0.saturating_since(asked).as_secs(), first.1),
        (8, Icmp6Error::AddressUnreachable)
    );
    assert_eq!(first.2, quote);
    assert_eq!(world.count(Fate::BubblesUnanswered), 2);
    assert_eq!(world.count(Fate::PeerBlocked), 38);
    world.pass(Duration::from_secs(25));
    world.host_sends(b"again");
    world.pass(Duration::from_secs(1));
    assert_eq!(world.bubbles.len(), 5);
}

/// a stream nobody answers but with bubbles. Without early probes it would stall at 30 and 60 s.
#[test]
fn a_one_way_stream_flows_for_seventy_seconds_without_a_stall() {
    const INTERVAL: Duration = Duration::from_millis(100);
    let mut world = World::with_client(NatKind::Symmetric, Answers::ToTheCookie);
    let mut sent_at = Vec::new();
    for i in 0..700_usize {
        sent_at.push(world.now);
        world.host_sends(&i.to_be_bytes());
        world.pass(INTERVAL);
    }
    world.pass(HANDSHAKE);
    let received = &world.client().received;
    assert_eq!(received.len(), 700);
    for (i, (at, _, packet)) in received.iter().enumerate() {
        assert_eq!(data(packet), i.to_be_bytes(), "in order");
        let took = at.saturating_since(sent_at[i]);
        assert!(took <= HANDSHAKE, "packet {i} took {took:?}");
        assert!(i < 2 || took == 2 * LATENCY, "packet {i} waited");
    }
    assert_eq!(world.bubbles.len(), 4, "the first, then one each 20 s");
}

/// R-53 without answers: data flows until the peer is stale, and not after.
#[test]
fn a_stream_to_a_client_that_went_away_ends_thirty_seconds_after_its_last_word() {
    let mut world = World::with_client(NatKind::Cone, Answers::ToTheCookie);
    world.host_sends(b"data");
    world.pass(HANDSHAKE);
    let last_word = world.now - LATENCY;
    world.silence_client();
    for _ in 0..80 {
        world.host_sends(b"data");
        world.pass(Duration::from_millis(500));
    }
    let received = &world.client().received;
    let last_data = received[received.len() - 1].0.saturating_since(last_word);
    assert!((29..=30).contains(&last_data.as_secs()), "{last_data:?}");
    assert_eq!(world.bubbles.len(), 1 + 4);
    assert_eq!(
        world.count(Fate::BubblesUnanswered),
        0,
        "none was kept waiting"
    );
    assert_eq!(world.count(Fate::PeerBlocked), 81 - received.len() as u64);
    assert_eq!(
        world.host_errors.len() as u64,
        world.count(Fate::PeerBlocked)
    );
}

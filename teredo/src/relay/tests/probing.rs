//! and the state machine 3.8.

use super::*;
use crate::addr::SERVER_PORT;
use crate::relay::{Gauges, PendingState};

///
#[test]
fn a_bubble_goes_to_the_server_with_a_cookie_and_a_nonce() {
    let (mut bench, bubble) = probing_with(&to_peer(&peer(), b"data"));
    assert_eq!(
        bubble.to,
        Mapped {
            ip: SERVER,
            port: SERVER_PORT
        }
    );
    assert_eq!(bubble.destination, peer().octets());
    assert_eq!(bubble.source[..8], v6("fe80::")[..8]);
    assert_eq!(bubble.source[8] & 0x03, 0);
    let later = bench.pass(2);
    let repeat = SentBubble::of(&later[0].1).unwrap();
    assert_eq!(repeat.source, bubble.source);
    assert!(bubble.trailers.nonce.is_some());
    assert_ne!(
        repeat.trailers.nonce, bubble.trailers.nonce,
        "a fresh one each time"
    );
}

/// configurable.
#[test]
fn without_nonce_trailers_a_bubble_is_forty_bytes() {
    let mut bench = Bench::new();
    bench.relay.config.nonce_trailer = false;
    assert_eq!(bench.native(&to_peer(&peer(), b"data")), None);
    assert!(matches!(&bench.sent()[..], [Command::SendUdp { payload, .. }] if payload.len() == 40));
}

/// the whole life of a dead peer.
#[test]
fn a_dead_peer_gets_four_bubbles_then_its_senders_an_error_each() {
    let packets = [to_peer(&peer(), b"one"), to_peer(&peer(), b"two")];
    let (mut bench, _) = probing_with(&packets[0]);
    assert_eq!(bench.native(&packets[1]), None);
    assert!(
        bench.sent().is_empty(),
        "another packet is no reason for another bubble"
    );
    let sent = bench.pass(299);
    assert_eq!(bubble_times(&sent), [2000, 4000, 6000]);
    assert_eq!(
        sent[3..],
        [
            (8000, unreachable(&packets[0])),
            (8000, unreachable(&packets[1]))
        ]
    );
    assert_eq!(bench.count(Fate::BubblesUnanswered), 2);

    assert_eq!(bench.native(&packets[0]), Some(Fate::PeerBlocked));
    assert_eq!(bench.sent(), [unreachable(&packets[0])]);
    assert!(matches!(bench.relay.pending().next(), Some(p) if p.state == PendingState::Blocked));
    bench.pass(1);
    assert_eq!(
        bench.relay.pending().count(),
        0,
        "300 s after the first bubble"
    );
    assert_eq!(bench.native(&packets[0]), None);
    assert_eq!(bench.bubbles().len(), 1);
}

/// 3.8: "if 300 s passed: as NONE", also when the timer is late.
#[test]
fn a_block_ends_on_time_though_the_timer_is_late() {
    let (mut bench, _) = probing_with(&to_peer(&peer(), b"one"));
    bench.pass(100);
    bench.now = bench.now + Duration::from_secs(200);
    assert_eq!(bench.native(&to_peer(&peer(), b"two")), None);
    assert_eq!(bench.bubbles().len(), 1);
}

/// 2 s count from the last bubble, also when a timer is late.
#[test]
fn a_late_timer_does_not_crowd_the_bubbles() {
    let (mut bench, _) = probing_with(&to_peer(&peer(), b"one"));
    bench.now = bench.now + Duration::from_secs(5);
    bench.relay.handle_timeout(bench.now);
    assert_eq!(bench.bubbles().len(), 1);
    assert_eq!(bubble_times(&bench.pass(4)), [2000, 4000]);
}

///
#[test]
fn a_full_queue_drops_the_newest() {
    let mut bench = Bench::with(|limits| limits.queue_packets_per_peer = 2);
    for (data, fate) in [
        (b"one", None),
        (b"two", None),
        (b"six", Some(Fate::PeerQueueFull)),
    ] {
        assert_eq!(bench.native(&to_peer(&peer(), data)), fate);
    }
    let bubble = bench.bubbles().remove(0);
    bench.client(peer().mapped(), &answer(&bubble));
    let sent = bench.sent();
    assert_eq!(sent.len(), 2);
    assert_eq!(
        sent[0],
        udp(peer().mapped(), &to_peer(&peer(), b"one"), UdpKind::Queued)
    );
}

/// the global cap. The peer is probed all the same, so that the next packet finds it trusted.
#[test]
fn full_queue_memory_drops_the_packet_and_still_probes() {
    let mut bench = Bench::with(|limits| limits.queue_bytes_total = 50);
    assert_eq!(bench.native(&to_peer(&peer(), b"data")), None);
    assert_eq!(
        bench.native(&to_peer(&peer_at(NAT, 2), b"data")),
        Some(Fate::QueueMemoryFull)
    );
    assert_eq!(bench.bubbles().len(), 2);
    let gauges = bench.relay.gauges();
    assert_eq!(
        (gauges.queued_packets, gauges.queued_bytes, gauges.probing),
        (1, 44, 2)
    );
}

/// 3.9: the echo reply of a client's connectivity test, and ICMPv6 errors to a client.
#[test]
fn icmpv6_to_a_client_is_queued_but_errors_are_never_answered() {
    for (kind, answered) in [(129, true), (1, false), (3, false)] {
        let mut icmp = to_peer(&peer(), &[kind, 0, 0, 0, 0, 0, 0, 0]);
        icmp[6] = ipv6::ICMP6;
        let (mut bench, _) = probing_with(&icmp);
        let errors = bench
            .pass(8)
            .into_iter()
            .filter(|(_, c)| matches!(c, Command::Icmp6 { .. }));
        assert_eq!(errors.count(), usize::from(answered), "type {kind}");
        let (mut bench, bubble) = probing_with(&icmp);
        bench.client(peer().mapped(), &answer(&bubble));
        assert_eq!(bench.sent(), [udp(peer().mapped(), &icmp, UdpKind::Queued)]);
    }
}

/// table first, queue next, the packet that brought the trust last.
#[test]
fn the_queue_leaves_in_order_and_before_anything_else() {
    let packets = [to_peer(&peer(), b"one"), to_peer(&peer(), b"two")];
    let (mut bench, _) = probing_with(&packets[0]);
    assert_eq!(bench.native(&packets[1]), None);
    let data = to_host(&peer(), b"data");
    assert_eq!(bench.client(peer().mapped(), &data), Fate::Decapsulated);
    let queued = |packet: &[u8]| udp(peer().mapped(), packet, UdpKind::Queued);
    assert_eq!(
        bench.sent(),
        [
            queued(&packets[0]),
            queued(&packets[1]),
            Command::Forward { packet: data }
        ]
    );
    let entry = Trusted {
        mapped: peer().mapped(),
        last_rx: bench.now,
    };
    assert_eq!(bench.relay.table().get(&peer()), Some(entry));
    assert_eq!(bench.count(Fate::EncapsulatedFromQueue), 2);
    assert_eq!(
        bench.relay.poll_timeout(),
        None,
        "the bubble timer is stopped"
    );
}

/// an answer clears the count.
#[test]
fn a_peer_that_answered_has_four_bubbles_again() {
    let (mut bench, bubble) = probing_with(&to_peer(&peer(), b"one"));
    bench.pass(7);
    bench.client(peer().mapped(), &answer(&bubble));
    bench.pass(31);
    assert_eq!(bench.native(&to_peer(&peer(), b"two")), None);
    assert_eq!(bench.bubbles().len(), 1);
    assert_eq!(bubble_times(&bench.pass(20)), [2000, 4000, 6000]);
}

/// 3.8: STALE and its failure.
#[test]
fn a_stale_peer_is_probed_again_and_forgotten_when_it_is_dead() {
    let mut bench = Bench::trusting(&peer());
    bench.pass(31);
    assert_eq!(bench.native(&to_peer(&peer(), b"one")), None);
    assert!(
        bench.relay.table().get(&peer()).is_some(),
        "the old mapping stays"
    );
    bench.pass(8);
    assert_eq!(bench.relay.table().get(&peer()), None);
    assert_eq!(
        bench.native(&to_peer(&peer(), b"two")),
        Some(Fate::PeerBlocked)
    );
}

///
#[test]
fn a_stale_peer_is_revalidated_by_anything_from_its_old_mapping() {
    let learned = Mapped {
        ip: NAT,
        port: 50000,
    };
    let mut bench = Bench::new();
    bench.hear(&peer(), learned);
    bench.pass(31);
    let packet = to_peer(&peer(), b"one");
    assert_eq!(bench.native(&packet), None);
    bench.sent();
    assert_eq!(
        bench.client(learned, &to_host(&peer(), b"data")),
        Fate::Decapsulated
    );
    assert_eq!(bench.sent()[0], udp(learned, &packet, UdpKind::Queued));
}

/// Invariant 2: the fast path refreshes an entry on its own; the relay notices.
#[test]
fn a_peer_heard_by_the_fast_path_gets_its_queue() {
    let packet = to_peer(&peer(), b"one");
    let queued = udp(peer().mapped(), &packet, UdpKind::Queued);
    let stale = || {
        let mut bench = Bench::trusting(&peer());
        bench.pass(31);
        assert_eq!(bench.native(&packet), None);
        bench.sent();
        bench.hear(&peer(), peer().mapped());
        bench
    };
    assert_eq!(stale().pass(2), [(2000, queued.clone())]);
    let mut bench = stale();
    let next = to_peer(&peer(), b"two");
    assert_eq!(bench.native(&next), Some(Fate::Encapsulated));
    assert_eq!(
        bench.sent(),
        [queued, udp(peer().mapped(), &next, UdpKind::Data)]
    );
}

/// The table refuses: the queue is served, and the 2 s of R-26 still hold.
#[test]
fn a_full_peer_table_loses_no_packet_and_crowds_no_bubble() {
    let packet = to_peer(&peer(), b"one");
    let (mut bench, bubble) = probing_with(&packet);
    bench.relay.table_mut().is_full = true;
    assert_eq!(
        bench.client(peer().mapped(), &answer(&bubble)),
        Fate::BubbleAccepted
    );
    assert_eq!(
        bench.sent(),
        [udp(peer().mapped(), &packet, UdpKind::Queued)]
    );
    assert_eq!(bench.native(&to_peer(&peer(), b"two")), None);
    assert_eq!(bubble_times(&bench.pass(3)), [2000]);
    assert_eq!(
        bench.client(peer().mapped(), &answer(&bubble)),
        Fate::BubbleAccepted
    );
    bench.pass(2);
    let gauges = bench.relay.gauges();
    let expected = Gauges {
        bubbles_sent: 2,
        peer_table_full: 2,
        server_buckets: gauges.server_buckets,
        ..Gauges::default()
    };
    assert_eq!(gauges, expected, "nothing left behind");
}

///
#[test]
fn at_shutdown_queued_packets_are_dropped_and_counted() {
    let (mut bench, _) = probing_with(&to_peer(&peer(), b"one"));
    bench.relay.shut_down();
    assert_eq!(bench.count(Fate::ShutDown), 1);
    assert_eq!((bench.relay.poll_timeout(), bench.sent()), (None, vec![]));
    assert_eq!(
        bench.native(&to_peer(&peer(), b"two")),
        Some(Fate::ShutDown)
    );
    assert_eq!(bench.relay.gauges().queued_bytes, 0);
}

/// For `shipworm peers`.
#[test]
fn a_pending_peer_shows_its_state() {
    let (mut bench, _) = probing_with(&to_peer(&peer(), b"one"));
    let since = bench.now;
    bench.pass(3);
    let shown = bench.relay.pending().next().unwrap();
    assert_eq!((shown.peer, shown.since), (peer(), since));
    assert_eq!(shown.state, PendingState::Probing { bubbles: 2 });
    assert_eq!((shown.queued_packets, shown.queued_bytes), (1, 43));
}

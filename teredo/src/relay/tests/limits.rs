//! bounds of the whole relay.

use super::*;

fn many(n: u16) -> impl Iterator<Item = TeredoAddr> {
    (1..=n).map(|port| peer_at(NAT, port))
}

///
#[test]
fn a_full_set_of_pending_peers_forgets_blocked_ones_and_then_refuses() {
    let mut bench = Bench::with(|limits| limits.pending_peers = 2);
    let [a, b, c]: [TeredoAddr; 3] = many(3).collect::<Vec<_>>().try_into().unwrap();
    for peer in [a, b] {
        assert_eq!(bench.native(&to_peer(&peer, b"data")), None);
    }
    assert_eq!(
        bench.native(&to_peer(&c, b"data")),
        Some(Fate::PeerTableFull)
    );
    bench.pass(8);
    assert_eq!(bench.native(&to_peer(&c, b"data")), None);
    assert_eq!(bench.relay.gauges().blocked_evicted, 1);
    assert_eq!(bench.relay.gauges().blocked, 1);
}

/// new peers a second.
#[test]
fn new_peers_are_limited_together() {
    let mut bench = Bench::with(|limits| {
        limits.new_peers_burst = 3;
        limits.new_peers_per_s = 1;
    });
    let fates: Vec<_> = many(4)
        .map(|peer| bench.native(&to_peer(&peer, b"data")))
        .collect();
    assert_eq!(fates, [None, None, None, Some(Fate::NewPeerRateExceeded)]);
    bench.pass(1);
    assert_eq!(bench.native(&to_peer(&peer_at(NAT, 4), b"data")), None);
}

/// bubbles to one server; another is not concerned.
#[test]
fn bubbles_are_limited_per_server() {
    let mut bench = Bench::with(|limits| {
        limits.server_bubbles_burst = 2;
        limits.server_bubbles_per_s = 1;
    });
    let fates: Vec<_> = many(3)
        .map(|peer| bench.native(&to_peer(&peer, b"data")))
        .collect();
    assert_eq!(fates, [None, None, Some(Fate::BubbleRateExceeded)]);
    let elsewhere = TeredoAddr::new(ServerV4(Ipv4Addr::new(192, 0, 2, 5)), 0, peer().mapped());
    assert_eq!(bench.native(&to_peer(&elsewhere, b"data")), None);
}

/// repeats without a token wait for the next turn, and their queues not for ever.
#[test]
fn repeats_wait_for_tokens_but_no_queue_longer_than_16_s() {
    let mut bench = Bench::with(|limits| {
        limits.server_bubbles_burst = 8;
        limits.server_bubbles_per_s = 1;
    });
    for peer in many(6) {
        assert_eq!(bench.native(&to_peer(&peer, b"data")), None);
    }
    bench.pass(15);
    let gauges = bench.relay.gauges();
    assert!(gauges.bubbles_deferred > 0 && gauges.queued_packets > 0);
    assert!(gauges.bubbles_sent <= 8 + 15);
    bench.pass(1);
    let gauges = bench.relay.gauges();
    assert_eq!((gauges.blocked, gauges.queued_packets), (6, 0));
}

/// Bubbles that leave within `seconds`.
fn bubbles_within(bench: &mut Bench, seconds: u64) -> usize {
    let sent = bench.pass(seconds);
    sent.iter()
        .filter(|(_, command)| SentBubble::of(command).is_some())
        .count()
}

/// a scan soon gets one bubble for each packet.
#[test]
fn repeats_run_out_while_nobody_answers() {
    let mut bench = Bench::with(|limits| {
        limits.repeats_burst = 5;
        limits.repeats_per_s = 1;
    });
    for peer in many(100) {
        assert_eq!(bench.native(&to_peer(&peer, b"data")), None);
    }
    assert_eq!(bench.bubbles().len(), 100);
    let repeats = bubbles_within(&mut bench, 8);
    assert!((5..=5 + 8).contains(&repeats), "{repeats}");
    assert!(bench.relay.gauges().blocked > 90);
    bench.pass(8);
    let gauges = bench.relay.gauges();
    assert_eq!((gauges.probing, gauges.blocked), (0, 100));
    assert!(gauges.repeats_unpaid > 100);
    assert_eq!(gauges.bubbles_deferred, 0);
}

/// whoever sends more is asked for more, a packet for a packet.
#[test]
fn a_packet_that_waits_pays_for_a_repeat() {
    let mut bench = Bench::with(|limits| limits.repeats_burst = 0);
    assert_eq!(bench.native(&to_peer(&peer(), b"one")), None);
    assert_eq!(bench.bubbles().len(), 1);
    assert_eq!(bubbles_within(&mut bench, 3), 0);
    assert_eq!(bench.native(&to_peer(&peer(), b"two")), None);
    assert_eq!(bench.bubbles().len(), 0, "2 s apart, by the timer");
    assert_eq!(bubbles_within(&mut bench, 9), 1);
}

/// where clients answer nobody notices a limit.
#[test]
fn an_answer_pays_for_the_repeats_of_one_peer() {
    let mut bench = Bench::with(|limits| {
        limits.repeats_burst = 6;
        limits.repeats_per_s = 1;
    });
    let lost: Vec<_> = many(3).collect();
    for peer in &lost {
        assert_eq!(bench.native(&to_peer(peer, b"data")), None);
    }
    assert_eq!(bench.bubbles().len(), 3);
    assert_eq!(bubbles_within(&mut bench, 4), 6);
    let answering = peer_at(NAT, 60000);
    assert_eq!(bench.native(&to_peer(&answering, b"data")), None);
    let cookie = bench.bubbles()[0].source;
    let answer = bubble::build(answering.octets(), cookie, &Trailers::default());
    assert_eq!(
        bench.client(answering.mapped(), &answer),
        Fate::BubbleAccepted
    );
    assert_eq!(bubbles_within(&mut bench, 2), 3);
}

/// those heard before are no scan.
#[test]
fn repeats_to_a_known_peer_need_not_be_paid_for() {
    let known = peer_at(NAT, 60000);
    let mut bench = Bench::with(|limits| limits.repeats_burst = 0);
    bench.hear(&known, known.mapped());
    bench.pass(31);
    assert_eq!(bench.native(&to_peer(&known, b"data")), None);
    assert_eq!(bench.bubbles().len(), 1);
    assert_eq!(bubbles_within(&mut bench, 8), 3);
}

/// R-29, invariant 9: established traffic wins.
#[test]
fn a_scan_leaves_bubbles_to_known_peers() {
    let known = peer_at(NAT, 60000);
    let mut bench = Bench::with(|limits| {
        limits.server_bubbles_burst = 8;
        limits.server_bubbles_per_s = 1;
    });
    bench.hear(&known, known.mapped());
    bench.pass(31);
    let scanned = many(20)
        .filter(|peer| bench.native(&to_peer(peer, b"data")).is_none())
        .count();
    assert_eq!(scanned, 6);
    assert_eq!(bench.native(&to_peer(&known, b"data")), None);
}

/// Pitfall 13: peers that differ in flags alone share a mapping.
#[test]
fn the_flags_of_one_client_do_not_multiply_bubbles() {
    let mut bench = Bench::new();
    let variant = |flags| {
        to_peer(
            &TeredoAddr::new(ServerV4(SERVER), flags, peer().mapped()),
            b"data",
        )
    };
    let probed = (0..100)
        .filter(|flags| bench.native(&variant(*flags)).is_none())
        .count();
    assert_eq!(probed, 3, "the fourth is a known peer's");
    assert_eq!(bench.native(&variant(100)), Some(Fate::BubbleRateExceeded));
    assert_eq!(bench.bubbles().len(), 3);
    assert_eq!(
        bench
            .pass(20)
            .iter()
            .filter(|(_, c)| SentBubble::of(c).is_some())
            .count(),
        7,
        "one in 2 s"
    );
    assert!(bench.relay.gauges().bubbles_deferred > 0);
    assert_eq!(
        bench.relay.gauges().probing,
        0,
        "nobody waits for tokens longer than 16 s"
    );
}

/// Invariant 9: whoever asks for the flags of a client does not keep it from being asked.
#[test]
fn the_flags_of_a_known_client_leave_a_bubble_to_it() {
    let mut bench = Bench::trusting(&peer());
    let mut flags = 0;
    let mut attack = |bench: &mut Bench| {
        for _ in 0..10 {
            flags += 1;
            let variant = TeredoAddr::new(ServerV4(SERVER), flags, peer().mapped());
            bench.native(&to_peer(&variant, b"data"));
        }
    };
    for _ in 0..31 {
        attack(&mut bench);
        bench.pass(1);
    }
    attack(&mut bench);
    bench.sent();
    assert_eq!(bench.native(&to_peer(&peer(), b"data")), None, "stale");
    let bubbles = bench.bubbles();
    assert_eq!(bubbles.len(), 1);
    assert_eq!(bubbles[0].destination, peer().octets());
}

/// a scanner of dead addresses is stopped, a host with many answering peers is not.
#[test]
fn a_prefix_is_refused_when_64_of_its_peers_did_not_answer_in_time() {
    let mut bench = Bench::new();
    let scan = |bench: &mut Bench, ports: core::ops::Range<u16>| {
        ports
            .filter(|port| {
                bench
                    .native(&to_peer(&peer_at(NAT, *port), b"data"))
                    .is_none()
            })
            .count()
    };
    assert_eq!(scan(&mut bench, 1..101), 100, "they have 2 s to answer");
    bench.pass(1);
    for port in 1..37 {
        let peer = peer_at(NAT, port);
        bench.client(peer.mapped(), &to_host(&peer, b"data"));
    }
    bench.pass(1);
    assert_eq!(
        bench.native(&to_peer(&peer_at(NAT, 200), b"data")),
        Some(Fate::SourcePrefixLimitExceeded)
    );
    let other_prefix = packet(v6("2001:db8:1::1"), peer_at(NAT, 201).octets(), b"data");
    assert_eq!(bench.native(&other_prefix), None);
    let late = peer_at(NAT, 100);
    bench.client(late.mapped(), &to_host(&late, b"data"));
    assert_eq!(scan(&mut bench, 200..201), 1, "63 are left");
    bench.pass(2);
    assert_eq!(scan(&mut bench, 300..301), 0);
    bench.pass(298);
    assert_eq!(
        scan(&mut bench, 300..400),
        100,
        "after 300 s all is forgotten"
    );
}

/// a peer that answered once and then went away is not held against its host.
#[test]
fn known_peers_that_go_away_do_not_count_against_a_prefix() {
    let mut bench = Bench::new();
    for peer in many(100) {
        bench.hear(&peer, peer.mapped());
    }
    bench.pass(31);
    for peer in many(100) {
        assert_eq!(bench.native(&to_peer(&peer, b"data")), None);
    }
    bench.pass(10);
    assert_eq!(bench.relay.gauges().blocked, 100);
    assert_eq!(bench.native(&to_peer(&peer_at(NAT, 500), b"data")), None);
}

/// nothing is answered that RFC 4443 2.4 e forbids.
#[test]
fn an_icmpv6_error_is_never_answered_with_another() {
    let mut bench = Bench::new();
    for (kind, errors) in [(1, 0), (127, 0), (137, 0), (128, 1)] {
        let mut icmp = packet(HOST, v6("2001:db8::1"), &[kind, 0, 0, 0]);
        icmp[6] = ipv6::ICMP6;
        assert_eq!(bench.native(&icmp), Some(Fate::DestinationNotTeredo));
        assert_eq!(bench.sent().len(), errors, "type {kind}");
    }
    assert_eq!(bench.relay.gauges().icmp6_forbidden, 3);
}

/// 1280 bytes with both headers.
#[test]
fn a_quote_is_cut_at_1232_bytes() {
    let mut bench = Bench::new();
    let large = to_peer(&peer(), &[0; 2000]);
    assert_eq!(bench.native(&large), Some(Fate::PacketTooBig));
    assert!(matches!(&bench.sent()[..], [Command::Icmp6 { quote, .. }] if *quote == large[..1232]));
}

///
#[test]
fn icmpv6_errors_are_ten_at_once_and_ten_a_second() {
    let mut bench = Bench::new();
    let large = to_peer(&peer(), &[0; 1241]);
    for _ in 0..100 {
        bench.native(&large);
    }
    assert_eq!(bench.sent().len(), 10);
    bench.pass(1);
    for _ in 0..100 {
        bench.native(&large);
    }
    assert_eq!(bench.sent().len(), 10);
    assert_eq!(bench.relay.gauges().icmp6_suppressed, 180);
}

/// R-29 with the defaults: a busy host is not a scanner.
#[test]
fn ten_thousand_answering_peers_in_a_second_are_all_served() {
    let mut bench = Bench::new();
    let packet = |peer: &TeredoAddr| to_peer(peer, b"data");
    for batch in 0..10 {
        let peers: Vec<_> = (1..=1000).map(|i| peer_at(NAT, batch * 1000 + i)).collect();
        for peer in &peers {
            assert_eq!(bench.native(&packet(peer)), None);
        }
        bench.now = bench.now + Duration::from_millis(100);
        for peer in &peers {
            let answer = bubble_from(peer, HOST, &Trailers::default());
            assert_eq!(bench.client(peer.mapped(), &answer), Fate::BubbleAccepted);
        }
        bench.relay.handle_timeout(bench.now);
        bench.sent();
    }
    assert_eq!(bench.count(Fate::EncapsulatedFromQueue), 10_000);
}

//! probing while data flows.

use super::*;

///
#[test]
fn traffic_to_a_peer_silent_for_20_s_probes_it_while_data_flows() {
    let mut bench = Bench::trusting(&peer());
    let packet = to_peer(&peer(), b"data");
    bench.pass(19);
    assert_eq!(bench.native(&packet), Some(Fate::Encapsulated));
    assert!(bench.bubbles().is_empty());
    bench.pass(1);
    assert_eq!(bench.native(&packet), Some(Fate::Encapsulated));
    let sent = bench.sent();
    assert_eq!(sent[0], udp(peer().mapped(), &packet, UdpKind::Data));
    let bubble = SentBubble::of(&sent[1]).unwrap();
    assert_eq!(bench.native(&packet), Some(Fate::Encapsulated));
    assert!(bench.bubbles().is_empty(), "one at a time");
    assert_eq!(
        bench.client(peer().mapped(), &answer(&bubble)),
        Fate::BubbleAccepted
    );
    assert!(bench.pass(30).is_empty());
}

/// the bubbles are repeated by timer, and count when the peer has gone stale.
#[test]
fn a_peer_that_answers_no_early_bubble_is_blocked_when_it_is_stale() {
    let mut bench = Bench::trusting(&peer());
    bench.pass(20);
    bench.relay.probe(bench.now, &peer());
    assert_eq!(bench.bubbles().len(), 1);
    let sent = bench.pass(10);
    assert_eq!(bubble_times(&sent), [2000, 4000, 6000]);
    assert_eq!(sent.len(), 3, "no error: nothing was lost");
    let packet = to_peer(&peer(), b"data");
    assert_eq!(
        bench.native(&packet),
        Some(Fate::Encapsulated),
        "fresh to the last"
    );
    bench.sent();
    bench.pass(1);
    assert_eq!(bench.native(&packet), Some(Fate::PeerBlocked));
    assert_eq!(bench.sent(), [unreachable(&packet)]);
    assert_eq!(bench.relay.table().get(&peer()), None);
    assert!(bench.pass(289).is_empty());
    assert_eq!(
        bench.native(&packet),
        None,
        "300 s after the first early bubble"
    );
}

/// four bubbles in all, early ones included.
#[test]
fn early_bubbles_count_when_the_peer_goes_stale_meanwhile() {
    let mut bench = Bench::trusting(&peer());
    bench.pass(29);
    bench.relay.probe(bench.now, &peer());
    bench.pass(2);
    let packet = to_peer(&peer(), b"data");
    assert_eq!(bench.native(&packet), None);
    let sent = bench.pass(60);
    assert_eq!(bubble_times(&sent), [2000, 4000]);
    assert_eq!(sent.last(), Some(&(6000, unreachable(&packet))));
}

/// reception by the fast path ends the probing and clears the count.
#[test]
fn an_early_probe_ends_when_the_fast_path_hears_the_peer() {
    let mut bench = Bench::trusting(&peer());
    bench.pass(25);
    bench.relay.probe(bench.now, &peer());
    bench.sent();
    bench.now = bench.now + Duration::from_secs(1);
    bench.hear(&peer(), peer().mapped());
    assert!(bench.pass(10).is_empty());
    assert_eq!(bench.relay.pending().count(), 0);
    bench.relay.probe(bench.now, &peer());
    assert!(bench.sent().is_empty(), "the request came late");
}

/// asked about a stale or unknown peer, the relay waits for a packet.
#[test]
fn only_a_trusted_peer_is_probed_early() {
    let mut bench = Bench::new();
    bench.relay.probe(bench.now, &peer());
    bench.hear(&peer(), peer().mapped());
    bench.pass(31);
    bench.relay.probe(bench.now, &peer());
    assert!(bench.sent().is_empty());
}

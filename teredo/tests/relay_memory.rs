//! The relay asks for no memory to handle a packet, once it has seen traffic like it.

mod counting;
mod handshakes;

use std::time::Duration;

use counting::{held, requests};
use handshakes::Handshakes;
use teredo::Fate;

#[test]
fn the_counter_sees_what_the_relay_must_not_do() {
    assert_eq!(requests(|| drop(std::hint::black_box(Box::new(7)))), 1);
}

#[test]
fn a_handshake_and_data_ask_for_no_memory() {
    let mut shakes = Handshakes::new(1280, 1024, Duration::from_millis(1));
    let handshakes = |shakes: &mut Handshakes, count| {
        for _ in 0..count {
            let peer = shakes.next_peer();
            shakes.ask(&peer);
            shakes.answer(&peer);
            shakes.talk(&peer);
            shakes.relay.handle_timeout(shakes.now);
        }
    };
    handshakes(&mut shakes, 20_000);
    assert_eq!(requests(|| handshakes(&mut shakes, 20_000)), 0);
}

/// New peers that never answer, more than there is room for: their bubbles are repeated, their packets given up, they are
/// blocked, and forgotten for the next.
#[test]
fn a_scan_asks_for_no_memory() {
    let mut shakes = Handshakes::new(100, 1024, Duration::from_millis(10));
    let scan = |shakes: &mut Handshakes, count| {
        for _ in 0..count {
            let peer = shakes.next_peer();
            shakes.ask(&peer);
            while shakes
                .relay
                .poll_timeout()
                .is_some_and(|at| at <= shakes.now)
            {
                shakes.relay.handle_timeout(shakes.now);
            }
            while shakes.relay.poll().is_some() {}
        }
    };
    scan(&mut shakes, 30_000);
    assert_eq!(requests(|| scan(&mut shakes, 20_000)), 0);
    let gauges = shakes.relay.gauges();
    assert!(gauges.blocked_evicted > 20_000, "{gauges:?}");
    assert!(shakes.relay.tally().get(Fate::BubblesUnanswered).packets > 20_000);
}

/// And works as before afterwards.
#[test]
fn a_burst_gives_its_memory_back_when_it_is_over() {
    const BURST: usize = 18_000;
    let mut shakes = Handshakes::new(100, BURST, Duration::from_micros(10));
    let handshake = |shakes: &mut Handshakes, peers: usize| {
        let peers: Vec<_> = (0..peers).map(|_| shakes.next_peer()).collect();
        for peer in &peers {
            shakes.ask(peer);
        }
        for peer in &peers {
            shakes.answer(peer);
        }
        while shakes.relay.poll().is_some() {}
    };
    handshake(&mut shakes, 1);
    let small = held();
    handshake(&mut shakes, BURST);
    let large = held();
    let later = shakes.now + Duration::from_mins(1);
    assert!(shakes.relay.give_back_memory(later));
    assert!(!shakes.relay.give_back_memory(later), "once is enough");
    shakes.now = later;
    let left = held() - small;
    assert!(
        large - small > 4 << 20,
        "the burst took {} bytes",
        large - small
    );
    assert!(left < 2 << 20, "{left} bytes are left of {}", large - small);
    handshake(&mut shakes, 100);
    assert!(shakes.relay.gauges().probing == 0);
}

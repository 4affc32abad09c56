//! who may speak for a peer.

use super::*;

/// Not the address in the client's Teredo address: a symmetric NAT's other mapping.
const OTHER: Mapped = Mapped {
    ip: NAT,
    port: 50000,
};

/// R-36 a.
#[test]
fn the_embedded_address_may_speak_with_data_and_bubbles() {
    for payload in [
        to_host(&peer(), b"data"),
        bubble_from(&peer(), HOST, &Trailers::default()),
    ] {
        let (mut bench, _) = probing();
        bench.client(peer().mapped(), &payload);
        assert_eq!(
            bench.relay.table().get(&peer()).map(|e| e.mapped),
            Some(peer().mapped())
        );
    }
}

/// R-36 b: continuation of a learned mapping; and when (a) is seen later, it replaces it.
#[test]
fn a_learned_mapping_may_go_on_until_the_embedded_address_speaks() {
    let mut bench = Bench::new();
    bench.hear(&peer(), OTHER);
    let mapped = |bench: &Bench| bench.relay.table().get(&peer()).map(|e| e.mapped);
    assert_eq!(
        bench.client(OTHER, &to_host(&peer(), b"data")),
        Fate::Decapsulated
    );
    assert_eq!(mapped(&bench), Some(OTHER));
    assert_eq!(
        bench.client(peer().mapped(), &to_host(&peer(), b"data")),
        Fate::Decapsulated
    );
    assert_eq!(mapped(&bench), Some(peer().mapped()));
    assert_eq!(
        bench.client(OTHER, &to_host(&peer(), b"data")),
        Fate::OuterSourceMismatch
    );
}

/// R-36 c: symmetric NATs, by cookie. Also in the next epoch, also when blocked (3.8).
#[test]
fn a_bubble_to_the_cookie_teaches_a_mapping() {
    for seconds in [0, 9] {
        let (mut bench, bubble) = probing();
        bench.pass(seconds);
        assert_eq!(bench.client(OTHER, &answer(&bubble)), Fate::BubbleAccepted);
        assert_eq!(
            bench.relay.table().get(&peer()).map(|e| e.mapped),
            Some(OTHER)
        );
    }
    let (mut bench, mut bubble) = probing();
    bubble.source[15] ^= 1;
    assert_eq!(
        bench.client(OTHER, &answer(&bubble)),
        Fate::OuterSourceMismatch
    );
}

/// R-36 d: symmetric NATs, by nonce, while probing only.
#[test]
fn a_bubble_with_the_last_nonce_teaches_a_mapping_while_probing() {
    let (mut bench, bubble) = probing();
    let by_nonce = bubble_from(&peer(), HOST, &nonce(bubble.trailers.nonce));
    let wrong = bubble.trailers.nonce.map(|n| n.map(|byte| !byte));
    for trailers in [nonce(wrong), nonce(None)] {
        let guess = bubble_from(&peer(), HOST, &trailers);
        assert_eq!(bench.client(OTHER, &guess), Fate::OuterSourceMismatch);
    }
    assert_eq!(bench.client(OTHER, &by_nonce), Fate::BubbleAccepted);
    let (mut bench, _) = probing();
    bench.pass(2);
    assert_eq!(
        bench.client(OTHER, &by_nonce),
        Fate::OuterSourceMismatch,
        "an older nonce"
    );
    let (mut bench, _) = probing();
    bench.pass(8);
    assert_eq!(
        bench.client(OTHER, &by_nonce),
        Fate::OuterSourceMismatch,
        "blocked"
    );
}

/// data teaches nothing but by (a), A-3.
#[test]
fn data_from_elsewhere_is_dropped_even_with_cookie_and_nonce() {
    let (mut bench, bubble) = probing();
    let mut data = packet(peer().octets(), bubble.source, b"data");
    nonce(bubble.trailers.nonce).write(&mut data);
    assert_eq!(bench.client(OTHER, &data), Fate::OuterSourceMismatch);
    assert!(bench.relay.table().entries.is_empty());
}

/// what was learned must be a place the relay may send to.
#[test]
fn an_own_address_is_never_learned() {
    let (mut bench, bubble) = probing();
    bench.relay.set_own_ipv4(&[OTHER.ip], &[]);
    assert_eq!(
        bench.client(OTHER, &answer(&bubble)),
        Fate::OuterSourceMismatch
    );
}

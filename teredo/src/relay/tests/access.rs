//! Whom the operator does not serve: dropped, counted, and nothing leaves for it.

use super::*;
use crate::relay::{Access, AccessList, Ipv6Net};

const DENIED_NAT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 200);
const DENIED_SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 200);
const DENIED_HOST: &str = "2001:db8:bad::1";

fn one(ip: Ipv4Addr) -> AccessList {
    AccessList::of_ipv4(&[], &[Ipv4Net::new(ip, 32).unwrap()])
}

fn bench() -> Bench {
    let prefix = Ipv6Net::new("2001:db8:bad::".parse().unwrap(), 48).unwrap();
    Bench::configured(|config| {
        config.access = Access {
            native: AccessList::of_ipv6(&[], &[prefix]),
            clients: one(DENIED_NAT),
            servers: one(DENIED_SERVER),
        }
    })
}

/// Peers that are not served, and why.
fn denied() -> [(TeredoAddr, Fate); 2] {
    let of_server = TeredoAddr::new(ServerV4(DENIED_SERVER), 0x2093, peer().mapped());
    [
        (peer_at(DENIED_NAT, 40000), Fate::ClientDenied),
        (of_server, Fate::ServerDenied),
    ]
}

#[test]
fn a_native_host_that_is_denied_starts_nothing() {
    let mut bench = bench();
    for destination in [peer().octets(), v6("2001:db8::1")] {
        let from = packet(v6(DENIED_HOST), destination, b"data");
        assert_ne!(bench.native(&from), None);
        assert!(bench.sent().is_empty());
    }
    assert_eq!(bench.count(Fate::NativeDenied), 1);
    assert_eq!(bench.native(&to_peer(&peer(), b"data")), None, "others are");
}

#[test]
fn a_peer_that_is_denied_gets_neither_bubble_nor_data() {
    let mut bench = bench();
    for (peer, fate) in denied() {
        assert_eq!(bench.native(&to_peer(&peer, b"data")), Some(fate));
        bench.hear(&peer, peer.mapped());
        assert_eq!(
            bench.native(&to_peer(&peer, b"data")),
            Some(fate),
            "trusted"
        );
    }
    assert!(bench.sent().is_empty());
    assert_eq!(bench.relay.gauges().probing, 0);
}

#[test]
fn what_a_peer_that_is_denied_sends_goes_nowhere() {
    let mut bench = bench();
    for (peer, fate) in denied() {
        bench.hear(&peer, peer.mapped());
        for payload in [
            to_host(&peer, b"data"),
            bubble_from(&peer, HOST, &Trailers::default()),
        ] {
            assert_eq!(bench.client(peer.mapped(), &payload), fate);
        }
    }
    assert!(bench.sent().is_empty());
}

/// R-36 c: the answer of a client behind a symmetric NAT may come from where it is not served.
#[test]
fn a_mapping_that_is_denied_is_not_learned() {
    let mut bench = bench();
    bench.native(&to_peer(&peer(), b"data"));
    let bubble = bench.bubbles().remove(0);
    let from = Mapped {
        ip: DENIED_NAT,
        port: 50000,
    };
    assert_eq!(bench.client(from, &answer(&bubble)), Fate::ClientDenied);
    assert!(bench.relay.table().entries.is_empty());
    bench.hear(&peer(), from);
    assert_eq!(
        bench.native(&to_peer(&peer(), b"data")),
        Some(Fate::ClientDenied)
    );
    assert!(bench.sent().is_empty());
}

#[test]
fn a_client_reaches_no_native_host_that_is_denied_and_is_heard_all_the_same() {
    let mut bench = bench();
    bench.hear(&peer(), peer().mapped());
    bench.pass(25);
    let data = packet(peer().octets(), v6(DENIED_HOST), b"data");
    assert_eq!(bench.client(peer().mapped(), &data), Fate::NativeDenied);
    assert!(bench.sent().is_empty());
    let heard = bench.relay.table().get(&peer()).map(|entry| entry.last_rx);
    assert_eq!(heard, Some(bench.now), "R-37");
}

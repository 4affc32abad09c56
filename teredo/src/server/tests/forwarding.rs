//! S-8, S-14 to S-16, S-18: what is forwarded, and as what.

use super::*;
use crate::filter::SERVER_ICMP6_MAX_LEN;

/// S-15: the relay's bubble, byte for byte, behind the origin indication; from the primary address, also if it
/// came to the other.
#[test]
fn a_bubble_reaches_the_client_with_its_origin() {
    let mut bench = Bench::new();
    let bubble = bubble_to(client(NAT).octets());
    for at in [Local::Primary, Local::Secondary] {
        let expected = Command::SendUdp {
            from: Local::Primary,
            to: NAT,
            payload: with_origin(RELAY, &bubble),
        };
        let forwarded = (Fate::ForwardedToClient, Some(expected));
        assert_eq!(bench.receive_at(at, RELAY, &bubble), forwarded);
    }
}

/// S-15: a client of another server would take the indication for one of that server.
#[test]
fn a_client_of_another_server_gets_no_origin() {
    let mut bench = Bench::new();
    for server in [ANOTHER_SERVER, SECONDARY] {
        let bubble = bubble_between(client(NAT).octets(), client_of(server, OTHER_NAT).octets());
        assert_eq!(bench.forwarded(NAT, &bubble), (OTHER_NAT, bubble));
    }
}

/// S-15, A-22, A-23: an origin indication is the server's word alone, an authentication header between two.
#[test]
fn headers_of_the_sender_go_no_further() {
    let mut bench = Bench::new();
    let bubble = bubble_to(client(NAT).octets());
    let forwarded = (NAT, with_origin(RELAY, &bubble));
    let auth = Auth::secure(b"somebody", b"something", [7; 8], 1).unwrap();
    let lie = Origin { mapped: OTHER_NAT };
    for sent in [
        payload::build(Some(&auth), None, &bubble),
        payload::build(None, Some(&lie), &bubble),
        payload::build(Some(&auth), Some(&lie), &bubble),
    ] {
        assert_eq!(bench.forwarded(RELAY, &sent), forwarded);
    }
}

/// S-15, S-18, RFC 6081 4.1: they are between the peers, also those the server does not know, or would discard.
#[test]
fn trailers_reach_the_client() {
    let mut bench = Bench::new();
    let bubble = bubble_to(client(NAT).octets());
    for tail in [
        &[1, 4, 0xa1, 0xb2, 0xc3, 0xd4][..],
        &[0x82, 2, 0xbe, 0xef],
        &[0x42, 2, 0xbe, 0xef],
        &[5, 0xff, 0],
        &[1],
    ] {
        let sent = [&bubble[..], tail].concat();
        assert_eq!(
            bench.forwarded(RELAY, &sent),
            (NAT, with_origin(RELAY, &sent))
        );
    }
}

/// S-16: as much as trailers need, and no data.
#[test]
fn a_tail_longer_than_trailers_goes_no_further() {
    let mut bench = Bench::new();
    let bubble = bubble_to(client(NAT).octets());
    let longest = [&bubble[..], &[0; 88]].concat();
    assert_eq!(
        bench.forwarded(RELAY, &longest).1,
        with_origin(RELAY, &longest)
    );
    let longer = [&bubble[..], &[0; 89]].concat();
    assert_eq!(bench.refused(RELAY, &longer), Fate::TrailersTooLong);
}

/// S-14, S-15: hop limits between clients are the clients' own; bubbles carry 0.
#[test]
fn hop_limits_towards_clients_do_not_count() {
    let mut bench = Bench::new();
    for hop_limit in [0, 1, 255] {
        let mut bubble = bubble_to(client(NAT).octets());
        bubble[7] = hop_limit;
        let echo = echo_request(HOST, client(NAT).octets(), hop_limit);
        for packet in [bubble, echo] {
            assert_eq!(
                bench.forwarded(RELAY, &packet).1,
                with_origin(RELAY, &packet)
            );
        }
    }
}

/// S-15, A-1.
#[test]
fn nothing_is_forwarded_to_an_address_that_is_no_host_of_the_internet() {
    let mut bench = Bench::new();
    bench
        .server
        .set_own_ipv4(&[], &[Ipv4Addr::new(198, 51, 100, 255)]);
    for ip in [
        [0, 1, 2, 3],
        [10, 0, 0, 1],
        [100, 64, 0, 1],
        [127, 0, 0, 1],
        [169, 254, 1, 1],
        [192, 168, 0, 1],
        [224, 0, 0, 253],
        [240, 0, 0, 1],
        [255; 4],
        [198, 51, 100, 255],
    ] {
        let bubble = bubble_to(client(at(ip, 40000)).octets());
        let fate = bench.refused(RELAY, &bubble);
        assert_eq!(fate, Fate::MappedAddressNotGlobal, "{ip:?}");
    }
    let port_0 = bubble_to(client(Mapped { port: 0, ..NAT }).octets());
    assert_eq!(bench.refused(RELAY, &port_0), Fate::MappedPortZero);
}

/// S-8, A-8: a bubble from and to the server's own address would circle for ever.
#[test]
fn nothing_is_forwarded_to_this_machine() {
    let mut bench = Bench::new();
    let own = Ipv4Addr::new(203, 0, 113, 77);
    bench.server.set_own_ipv4(&[own], &[]);
    for ip in [PRIMARY, SECONDARY, own] {
        for port in [1, 3544, 3545, u16::MAX] {
            let bubble = bubble_to(client(Mapped { ip, port }).octets());
            assert_eq!(bench.refused(RELAY, &bubble), Fate::MappedAddressOwn);
        }
    }
}

/// S-14, S-16, A-18: 88 bytes pass, 89 do not, both ways.
#[test]
fn icmp6_is_carried_up_to_88_bytes() {
    assert_eq!(SERVER_ICMP6_MAX_LEN, 88);
    let mut bench = Bench::new();
    let source = client(NAT).octets();
    for (destination, carried) in [
        (client(OTHER_NAT).octets(), Fate::ForwardedToClient),
        (HOST, Fate::ForwardedToNative),
    ] {
        for (len, expected) in [
            (4, carried),
            (88, carried),
            (89, Fate::Icmp6TooLarge),
            (1240, Fate::Icmp6TooLarge),
        ] {
            let echo = icmp6(128, source, destination, len);
            assert_eq!(bench.receive(NAT, &echo).0, expected, "{len}");
        }
    }
}

/// S-14: between clients any message but neighbour discovery, to native IPv6 echo alone.
#[test]
fn only_echo_reaches_native_ipv6_and_no_neighbour_discovery_anybody() {
    let mut bench = Bench::new();
    for kind in 0..=u8::MAX {
        bench.pass(20);
        let to_client = icmp6(kind, client(NAT).octets(), client(OTHER_NAT).octets(), 16);
        let to_native = icmp6(kind, client(NAT).octets(), HOST, 16);
        let (client_fate, native_fate) = match kind {
            128 | 129 => (Fate::ForwardedToClient, Fate::ForwardedToNative),
            133..=137 => (Fate::Icmp6NotCarried, Fate::Icmp6NotCarried),
            _ => (Fate::ForwardedToClient, Fate::Icmp6NotCarried),
        };
        assert_eq!(bench.receive(NAT, &to_client).0, client_fate, "{kind}");
        assert_eq!(bench.receive(NAT, &to_native).0, native_fate, "{kind}");
    }
}

/// S-14: neither a bubble nor an empty message is an echo.
#[test]
fn what_has_no_type_does_not_reach_native_ipv6() {
    let mut bench = Bench::new();
    let source = client(NAT).octets();
    for packet in [bubble_between(source, HOST), icmp6(0, source, HOST, 0)] {
        assert_eq!(bench.refused(NAT, &packet), Fate::Icmp6NotCarried);
    }
    let empty = icmp6(0, source, client(OTHER_NAT).octets(), 0);
    assert_eq!(bench.refused(NAT, &empty), Fate::Icmp6NotCarried);
}

/// S-14: the server is a router of native IPv6, where trailers and headers mean nothing.
#[test]
fn an_echo_reaches_native_ipv6_one_hop_older_and_alone() {
    let mut bench = Bench::new();
    let echo = echo_request(client(NAT).octets(), HOST, 64);
    let older = echo_request(client(NAT).octets(), HOST, 63);
    let tail = [1, 4, 1, 2, 3, 4];
    for sent in [
        echo.clone(),
        [&echo[..], &tail].concat(),
        with_nonce([3; 8], &echo),
        with_origin(OTHER_NAT, &echo),
    ] {
        let packet = older.clone();
        let forwarded = (Fate::ForwardedToNative, Some(Command::Forward { packet }));
        assert_eq!(bench.receive(NAT, &sent), forwarded);
    }
}

/// S-14, S-16: and nobody is told.
#[test]
fn an_echo_without_hops_left_ends_in_silence() {
    let mut bench = Bench::new();
    for hop_limit in [0, 1] {
        let echo = echo_request(client(NAT).octets(), HOST, hop_limit);
        assert_eq!(bench.refused(NAT, &echo), Fate::HopLimitExceeded);
    }
    let echo = echo_request(client(NAT).octets(), HOST, 2);
    assert_eq!(bench.receive(NAT, &echo).0, Fate::ForwardedToNative);
}

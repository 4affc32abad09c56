//! S-1, S-3 to S-9, S-13, S-16: what is accepted, and what is dropped in silence.

use super::*;

/// S-3: what 2.1 calls malformed, cut anywhere.
#[test]
fn a_payload_that_is_not_whole_is_dropped() {
    let mut bench = Bench::new();
    let bubble = bubble_to(client(NAT).octets());
    let auth = Auth::with_nonce([1; 8]);
    let whole = payload::build(Some(&auth), Some(&Origin { mapped: NAT }), &bubble);
    for len in 0..whole.len() {
        let expected = match len {
            0..2 => Fate::PayloadNotTeredo,
            2..13 => Fate::AuthenticationTruncated,
            15..21 => Fate::OriginTruncated,
            _ => Fate::InnerTruncated,
        };
        assert_eq!(bench.refused(RELAY, &whole[..len]), expected, "{len}");
    }
    let twice = with_origin(NAT, &with_origin(NAT, &bubble));
    assert_eq!(bench.refused(RELAY, &twice), Fate::HeaderOutOfOrder);
    let mut ipv4 = bubble;
    ipv4[0] = 0x45;
    assert_eq!(bench.refused(RELAY, &ipv4), Fate::PayloadNotTeredo);
    assert_eq!(
        bench.refused(RELAY, &with_origin(NAT, &ipv4)),
        Fate::InnerVersionNot6
    );
}

/// S-3, S-16, A-18: no transport, no fragments, no extension headers, whatever is behind them.
#[test]
fn nothing_but_bubbles_and_icmp6_is_carried() {
    let mut bench = Bench::new();
    let mut packet = icmp6(128, client(NAT).octets(), client(OTHER_NAT).octets(), 16);
    for next_header in (0..=u8::MAX).filter(|next| *next != ipv6::ICMP6) {
        packet[6] = next_header;
        assert_eq!(
            bench.refused(NAT, &packet),
            Fate::NotBubbleNorIcmp6,
            "{next_header}"
        );
    }
    let mut data = bubble_to(client(NAT).octets());
    data[5] = 1;
    data.push(0);
    assert_eq!(bench.refused(RELAY, &data), Fate::NotBubbleNorIcmp6);
}

/// S-4, A-1.
#[test]
fn an_outer_source_that_is_no_host_of_the_internet_is_dropped() {
    let mut bench = Bench::new();
    bench
        .server
        .set_own_ipv4(&[PRIMARY, SECONDARY], &[Ipv4Addr::new(198, 51, 100, 255)]);
    for ip in [
        [0, 0, 0, 1],
        [10, 0, 0, 1],
        [100, 64, 0, 1],
        [127, 0, 0, 1],
        [169, 254, 0, 1],
        [172, 16, 0, 1],
        [192, 168, 0, 1],
        [198, 18, 0, 1],
        [224, 0, 0, 253],
        [240, 0, 0, 1],
        [255; 4],
        [198, 51, 100, 255],
    ] {
        let source = at(ip, 40000);
        let fate = bench.refused(source, &solicitation(RESTRICTED_SOURCE));
        assert_eq!(fate, Fate::OuterSourceNotGlobal, "{ip:?}");
    }
    let port_0 = Mapped { port: 0, ..NAT };
    assert_eq!(
        bench.refused(port_0, &solicitation(RESTRICTED_SOURCE)),
        Fate::OuterSourcePortZero
    );
}

/// S-4 as it is without a laboratory's switch.
#[test]
fn documentation_ranges_are_refused_unless_opened() {
    let mut bench = Bench::configured(|config| config.allow_non_global.clear());
    let fate = bench.refused(NAT, &solicitation(RESTRICTED_SOURCE));
    assert_eq!(fate, Fate::OuterSourceNotGlobal);
    let (fate, _) = bench.receive(at([9, 9, 9, 9], 40000), &solicitation(RESTRICTED_SOURCE));
    assert_eq!(fate, Fate::Advertised);
}

/// S-6: a client speaks for itself, whoever its server is.
#[test]
fn a_client_at_its_mapped_address_is_accepted() {
    let mut bench = Bench::new();
    for server in [PRIMARY, ANOTHER_SERVER] {
        let bubble = bubble_between(client_of(server, NAT).octets(), client(OTHER_NAT).octets());
        assert_eq!(bench.forwarded(NAT, &bubble).0, OTHER_NAT);
    }
}

/// S-6, S-7: neither another address nor another port may speak for a client.
#[test]
fn a_client_at_another_address_than_its_own_is_dropped() {
    let mut bench = Bench::new();
    let bubble = bubble_between(client(NAT).octets(), client(OTHER_NAT).octets());
    let other_port = Mapped { port: 40001, ..NAT };
    let other_ip = Mapped {
        ip: OTHER_NAT.ip,
        ..NAT
    };
    for outer in [other_port, other_ip, RELAY] {
        assert_eq!(bench.refused(outer, &bubble), Fate::OuterSourceMismatch);
    }
}

/// S-6: link-local cookies of relays, and their native addresses.
#[test]
fn anybody_without_a_teredo_address_reaches_clients_of_this_server() {
    let mut bench = Bench::new();
    for source in [COOKIE, HOST, [0; 16]] {
        let bubble = bubble_between(source, client(NAT).octets());
        assert_eq!(bench.forwarded(RELAY, &bubble).0, NAT);
    }
}

/// S-7: a server is no way to clients of others, nor to native IPv6, for who has no Teredo address.
#[test]
fn nobody_without_a_teredo_address_reaches_anybody_else() {
    let mut bench = Bench::new();
    let of_another = client_of(ANOTHER_SERVER, NAT).octets();
    let of_secondary = client_of(SECONDARY, NAT).octets();
    for destination in [of_another, of_secondary, HOST, v6("ff02::1")] {
        for source in [COOKIE, HOST] {
            let bubble = bubble_between(source, destination);
            assert_eq!(bench.refused(RELAY, &bubble), Fate::ClientOfAnotherServer);
            let echo = echo_request(source, destination, 64);
            assert_eq!(bench.refused(RELAY, &echo), Fate::ClientOfAnotherServer);
        }
    }
}

/// S-8, A-8: nothing comes from the server itself. Another port of its addresses is somebody else, a relay perhaps.
#[test]
fn what_comes_from_the_server_itself_is_dropped() {
    let mut bench = Bench::new();
    for ip in [PRIMARY, SECONDARY] {
        let own = Mapped { ip, port: 3544 };
        for payload in [
            solicitation(RESTRICTED_SOURCE),
            bubble_to(client(NAT).octets()),
        ] {
            assert_eq!(bench.refused(own, &payload), Fate::OuterSourceOwn);
            let beside = Mapped { ip, port: 3545 };
            let (_, command) = bench.receive(beside, &payload);
            assert!(command.is_some());
        }
    }
}

/// S-8, A-8: an echo service at the mapped address would keep a packet on its way between itself and the server.
#[test]
fn what_comes_from_where_it_is_to_go_is_dropped() {
    let mut bench = Bench::new();
    let echo_service = Mapped { port: 7, ..NAT };
    let to = client(echo_service).octets();
    for source in [
        COOKIE,
        HOST,
        client(echo_service).octets(),
        client_of(ANOTHER_SERVER, echo_service).octets(),
    ] {
        let bubble = bubble_between(source, to);
        let fate = bench.refused(echo_service, &with_origin(RELAY, &bubble));
        assert_eq!(fate, Fate::OuterSourceMismatch);
    }
    let (to, forwarded) = bench.forwarded(RELAY, &bubble_to(to));
    assert_eq!(bench.refused(to, &forwarded), Fate::OuterSourceMismatch);
    let beside = Mapped { port: 8, ..NAT };
    let neighbour = bubble_between(client(beside).octets(), client(echo_service).octets());
    assert_eq!(bench.forwarded(beside, &neighbour).0, echo_service);
}

/// S-9. What the RFC allows and nobody needs: an echo of the server.
#[test]
fn the_server_itself_answers_solicitations_alone() {
    let mut bench = Bench::new();
    let link_local = v6("fe80::8000:f227:3fff:fdfe");
    let all_routers = v6("ff02::2");
    for destination in [link_local, all_routers] {
        for payload in [
            icmp6(128, RESTRICTED_SOURCE, destination, 16),
            icmp6(134, RESTRICTED_SOURCE, destination, 16),
            bubble_between(COOKIE, destination),
            bubble_between(client(NAT).octets(), destination),
            icmp6(133, client(NAT).octets(), destination, 8),
            icmp6(133, HOST, destination, 8),
        ] {
            assert_eq!(bench.refused(NAT, &payload), Fate::ServerAddressed);
        }
    }
    let unicast = icmp6(133, RESTRICTED_SOURCE, link_local, 8);
    assert_eq!(bench.refused(NAT, &unicast), Fate::ServerAddressed);
    let no_message = icmp6(133, RESTRICTED_SOURCE, all_routers, 0);
    assert_eq!(bench.refused(NAT, &no_message), Fate::ServerAddressed);
}

/// S-13, A-10.
#[test]
fn a_destination_that_is_not_global_is_never_forwarded_to() {
    let mut bench = Bench::new();
    for (destination, expected) in [
        ("ff02::1", Fate::DestinationMulticast),
        ("ff0e::1", Fate::DestinationMulticast),
        ("fe80::1", Fate::DestinationNotGlobal),
        ("fe80::8000:f227:3fff:fdfd", Fate::DestinationNotGlobal),
        ("::", Fate::DestinationNotGlobal),
        ("::1", Fate::DestinationNotGlobal),
        ("::ffff:9.9.9.9", Fate::DestinationNotGlobal),
        ("::9.9.9.9", Fate::DestinationNotGlobal),
        ("fc00::1", Fate::DestinationNotServed),
        ("fec0::1", Fate::DestinationNotServed),
    ] {
        let echo = echo_request(client(NAT).octets(), v6(destination), 64);
        assert_eq!(bench.refused(NAT, &echo), expected, "{destination}");
    }
}

/// no packet for this machine's 6to4 or ISATAP router, nor through 6to4 to private addresses.
#[test]
fn a_destination_in_another_tunnel_of_this_machine_is_dropped() {
    let mut bench = Bench::new();
    let own = Ipv4Addr::new(203, 0, 113, 77);
    bench.server.set_own_ipv4(&[own], &[]);
    for destination in [
        "2002:c000:201::1",
        "2002:c000:202::1",
        "2002:cb00:714d::1",
        "2002:a00:1::1",
        "2001:db8::5efe:c000:201",
        "2001:db8::200:5efe:cb00:714d",
    ] {
        let echo = echo_request(client(NAT).octets(), v6(destination), 64);
        let fate = bench.refused(NAT, &echo);
        assert_eq!(
            fate,
            Fate::DestinationEmbedsForbiddenAddress,
            "{destination}"
        );
    }
    for elsewhere in ["2002:909:909::1", "2001:db8::5efe:a00:1"] {
        let echo = echo_request(client(NAT).octets(), v6(elsewhere), 64);
        assert_eq!(bench.receive(NAT, &echo).0, Fate::ForwardedToNative);
    }
}

/// S-1: where clients look for it.
#[test]
fn the_secondary_address_is_the_one_behind_the_primary() {
    let config = Config::new(PRIMARY);
    assert_eq!(config.secondary, SECONDARY);
}

/// S-1, S-17: what came before changes no answer.
#[test]
fn the_server_remembers_no_client() {
    let datagrams = [
        (NAT, with_nonce([1; 8], &solicitation(RESTRICTED_SOURCE))),
        (OTHER_NAT, solicitation(CONE_SOURCE)),
        (RELAY, bubble_to(client(NAT).octets())),
        (NAT, echo_request(client(NAT).octets(), HOST, 64)),
        (NAT, bubble_to(HOST)),
    ];
    let mut seasoned = Bench::new();
    for _ in 0..2 {
        for (source, payload) in &datagrams {
            let alone = Bench::new().receive(*source, payload);
            assert_eq!(seasoned.receive(*source, payload), alone);
        }
    }
}

/// Invariant 4.
#[test]
fn every_datagram_is_counted_once() {
    let mut bench = Bench::new();
    let bubble = bubble_to(client(NAT).octets());
    bench.receive(RELAY, &with_origin(NAT, &bubble));
    bench.receive(RELAY, &bubble[..39]);
    bench.receive(NAT, &solicitation(RESTRICTED_SOURCE));
    let total = bench.server.tally().total();
    assert_eq!((total.packets, total.bytes), (3, 40 + 39 + 48));
    assert_eq!(bench.count(Fate::ForwardedToClient), 1);
    assert_eq!(bench.count(Fate::InnerTruncated), 1);
    assert_eq!(bench.count(Fate::Advertised), 1);
}

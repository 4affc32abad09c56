//! what comes from the IPv4 side.

use super::*;
use crate::wire::trailer::NdKind;

const ORIGIN: [u8; 8] = [0, 0, 0xf2, 0x26, 0x34, 0xff, 0x8e, 0xf6];

fn fate(outer: Mapped, payload: &[u8]) -> (Fate, Vec<Command>) {
    let mut bench = Bench::trusting(&peer());
    let fate = bench.client(outer, payload);
    (fate, bench.sent())
}

/// The fate of data from a trusted peer to `destination`.
fn data_to(destination: &str) -> (Fate, Vec<Command>) {
    fate(
        peer().mapped(),
        &packet(peer().octets(), v6(destination), b"data"),
    )
}

/// c.
#[test]
fn an_outer_source_that_cannot_be_a_client_is_dropped() {
    let data = to_host(&peer(), b"data");
    let from = |ip: [u8; 4], port| {
        fate(
            Mapped {
                ip: ip.into(),
                port,
            },
            &data,
        )
    };
    assert_eq!(from(NAT.octets(), 0), (Fate::OuterSourcePortZero, vec![]));
    assert_eq!(from([10, 0, 0, 1], 1), (Fate::OuterSourceNotGlobal, vec![]));
    assert_eq!(
        from([224, 0, 0, 1], 1),
        (Fate::OuterSourceNotGlobal, vec![])
    );
    assert_eq!(
        from(RELAY.ip().octets(), RELAY.port()),
        (Fate::OuterSourceOwn, vec![])
    );
}

/// R-31, pitfall 16.
#[test]
fn what_is_not_teredo_is_dropped() {
    for payload in [&[][..], &[0x60], &[0, 2, 0, 0], b"GET /"] {
        assert_eq!(
            fate(peer().mapped(), payload),
            (Fate::PayloadNotTeredo, vec![])
        );
    }
    let cut = &to_host(&peer(), b"data")[..43];
    assert_eq!(fate(peer().mapped(), cut), (Fate::InnerTruncated, vec![]));
}

///
#[test]
fn headers_in_front_of_data_mean_nothing() {
    let data = to_host(&peer(), b"data");
    let authenticated = [&[0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0], &ORIGIN[..], &data].concat();
    for payload in [[&ORIGIN[..], &data].concat(), authenticated] {
        let expected = Command::Forward {
            packet: data.clone(),
        };
        assert_eq!(
            fate(peer().mapped(), &payload),
            (Fate::Decapsulated, vec![expected])
        );
    }
}

///
#[test]
fn an_inner_source_outside_the_teredo_prefix_is_dropped() {
    for source in ["fe80::8000:f227:3fff:fdfe", "2001:db8::1", "ff02::1", "::"] {
        let spoofed = packet(v6(source), HOST, b"data");
        assert_eq!(
            fate(peer().mapped(), &spoofed),
            (Fate::SourceNotTeredo, vec![])
        );
    }
}

///
#[test]
fn multicast_and_jumbogram_forms_are_dropped() {
    assert_eq!(data_to("ff02::1"), (Fate::DestinationMulticast, vec![]));
    assert_eq!(
        fate(peer().mapped(), &to_host(&peer(), b"")),
        (Fate::JumbogramForm, vec![])
    );
}

///
#[test]
fn a_peer_never_written_to_is_dropped_and_leaves_no_state() {
    let stranger = peer_at(NAT, 1);
    for payload in [
        to_host(&stranger, b"data"),
        bubble_from(&stranger, HOST, &Trailers::default()),
    ] {
        let mut bench = Bench::new();
        assert_eq!(bench.client(stranger.mapped(), &payload), Fate::PeerUnknown);
        assert_eq!((bench.sent(), bench.relay.pending().count()), (vec![], 0));
        assert!(bench.relay.table().entries.is_empty());
    }
}

/// R-39, pitfall 1.
#[test]
fn a_bubble_ends_at_the_relay_whatever_its_hop_limit() {
    let mut bubble = bubble_from(&peer(), HOST, &Trailers::default());
    for hop_limit in [0, 1, 255] {
        bubble[7] = hop_limit;
        assert_eq!(
            fate(peer().mapped(), &bubble),
            (Fate::BubbleAccepted, vec![])
        );
    }
}

/// RFC 6081 4.1.
#[test]
fn an_unknown_trailer_may_discard_the_packet() {
    let bubble = bubble_from(&peer(), HOST, &Trailers::default());
    let with = |trailer: &[u8]| fate(peer().mapped(), &[&bubble[..], trailer].concat()).0;
    assert_eq!(with(&[0x42, 0]), Fate::TrailerDiscards);
    assert_eq!(with(&[0x82, 0]), Fate::BubbleAccepted);
    assert_eq!(with(&[0x03, 0]), Fate::TrailerMalformed);
}

///
#[test]
fn a_solicitation_of_a_trusted_peer_is_advertised_once_in_two_seconds() {
    let trailers = Trailers {
        nd: Some(NdKind::Solicitation),
        ..Trailers::default()
    };
    let solicitation = bubble_from(&peer(), HOST, &trailers);
    let mut bench = Bench::trusting(&peer());
    for expected in [1, 0] {
        assert_eq!(
            bench.client(peer().mapped(), &solicitation),
            Fate::BubbleAccepted
        );
        let sent = bench.bubbles();
        assert_eq!(sent.len(), expected);
        for bubble in sent {
            assert_eq!(
                (bubble.to, bubble.source, bubble.destination),
                (peer().mapped(), HOST, peer().octets())
            );
            assert_eq!(bubble.trailers.nd, Some(NdKind::Advertisement));
        }
    }
    bench.pass(2);
    bench.client(peer().mapped(), &solicitation);
    assert_eq!(bench.bubbles().len(), 1);
    let (mut bench, _) = probing();
    assert_eq!(
        bench.client(peer().mapped(), &solicitation),
        Fate::BubbleAccepted
    );
    assert!(bench.bubbles().is_empty(), "it was not trusted before");
}

///
#[test]
fn a_destination_that_is_not_global_is_dropped() {
    for destination in ["::", "::1", "fe80::1", "::ffff:192.0.2.1", "::192.0.2.1"] {
        assert_eq!(
            data_to(destination),
            (Fate::DestinationNotGlobal, vec![]),
            "{destination}"
        );
    }
}

/// b.
#[test]
fn a_teredo_destination_is_dropped() {
    assert_eq!(
        data_to("2001:0:c000:201::1"),
        (Fate::DestinationTeredo, vec![])
    );
}

///
#[test]
fn a_tunnel_destination_that_embeds_a_forbidden_address_is_dropped() {
    let own = [
        "2002:cb00:7109::1",
        "2001:db8::5efe:cb00:7109",
        "2001:db8::200:5efe:cb00:7109",
        // Outside what is served as well: R-44 comes after.
        "fc00::200:5efe:cb00:7109",
    ];
    for destination in own.into_iter().chain(["2002:a00:1::1"]) {
        let expected = (Fate::DestinationEmbedsForbiddenAddress, vec![]);
        assert_eq!(data_to(destination), expected, "{destination}");
    }
    for destination in ["2002:808:808::1", "2001:db8::5efe:a00:1"] {
        assert_eq!(data_to(destination).0, Fate::Decapsulated, "{destination}");
    }
}

///
#[test]
fn a_destination_outside_global_unicast_is_not_served() {
    for destination in ["fc00::1", "4000::1", "64:ff9b::1"] {
        assert_eq!(
            data_to(destination),
            (Fate::DestinationNotServed, vec![]),
            "{destination}"
        );
    }
}

/// pitfall 5.
#[test]
fn exactly_the_packet_is_forwarded_and_its_hop_limit_left_alone() {
    let mut data = to_host(&peer(), b"data");
    data[7] = 1;
    let payload = [&data[..], &[1, 4, 9, 9, 9, 9]].concat();
    let mut bench = Bench::trusting(&peer());
    assert_eq!(bench.client(peer().mapped(), &payload), Fate::Decapsulated);
    assert_eq!(
        bench.sent(),
        [Command::Forward {
            packet: data.clone()
        }]
    );
    assert_eq!(bench.relay.tally().total().bytes, data.len() as u64);
}

/// R-37 before R-41 (pitfall 2): the peer is heard though its data goes nowhere.
#[test]
fn a_dropped_destination_still_counts_as_reception() {
    let mut bench = Bench::trusting(&peer());
    bench.pass(25);
    let data = packet(peer().octets(), v6("fe80::1"), b"data");
    assert_eq!(
        bench.client(peer().mapped(), &data),
        Fate::DestinationNotGlobal
    );
    assert_eq!(
        bench.relay.table().get(&peer()).map(|e| e.last_rx),
        Some(bench.now)
    );
}

///
#[test]
fn routing_header_type_0_is_dropped_also_behind_options() {
    let options = |next: u8| vec![next, 0, 1, 4, 0, 0, 0, 0];
    let routing = |kind: u8| vec![ipv6::UDP, 0, kind, 0, 0, 0, 0, 0];
    let with = |first: u8, headers: &[Vec<u8>]| {
        let mut data = to_host(&peer(), &headers.concat());
        data[6] = first;
        fate(peer().mapped(), &data).0
    };
    assert_eq!(with(43, &[routing(0)]), Fate::RoutingHeaderType0);
    assert_eq!(
        with(0, &[options(60), options(43), routing(0)]),
        Fate::RoutingHeaderType0
    );
    assert_eq!(
        with(43, &[vec![43, 0, 4, 0, 0, 0, 0, 0], routing(0)]),
        Fate::RoutingHeaderType0
    );
    assert_eq!(with(43, &[routing(4)]), Fate::Decapsulated);
    assert_eq!(with(0, &[options(17)]), Fate::Decapsulated);
    assert_eq!(
        with(0, &[vec![43, 200, 0, 0, 0, 0, 0, 0], routing(0)]),
        Fate::Decapsulated
    );
}

/// a server's forwarded bubble speaks for nobody, and its origin is not sent to.
#[test]
fn an_origin_indication_is_never_answered() {
    let (mut bench, _) = probing();
    let forwarded = [
        &ORIGIN[..],
        &bubble_from(&peer(), HOST, &Trailers::default()),
    ]
    .concat();
    let server = Mapped {
        ip: SERVER,
        port: 3544,
    };
    assert_eq!(bench.client(server, &forwarded), Fate::OuterSourceMismatch);
    assert!(bench.sent().is_empty());
}

/// RFC 6040 4.2.
#[test]
fn congestion_marks_are_carried_inside_or_the_packet_is_dropped() {
    let mut bench = Bench::trusting(&peer());
    let mut data = to_host(&peer(), b"data");
    let mut receive = |bench: &mut Bench, inner: u8, outer: u8| {
        data[1] = inner << 4;
        let fate = bench
            .relay
            .from_client(bench.now, peer().mapped().into(), outer, &data);
        (fate, bench.sent())
    };
    assert_eq!(
        receive(&mut bench, 0, 3),
        (Fate::CongestionMarkedNotEct, vec![])
    );
    let (fate, sent) = receive(&mut bench, 2, 3);
    assert_eq!(fate, Fate::Decapsulated);
    assert!(matches!(&sent[..], [Command::Forward { packet }] if packet[1] == 0x30));
}

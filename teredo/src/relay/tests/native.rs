//! checks and sending towards a client.

use super::*;
use crate::relay::peer::PEER_FRESH;

const OWN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
const BROADCAST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 255);

/// The fate of one packet and whether anything was sent for it.
fn fate(packet: &[u8]) -> (Option<Fate>, Vec<Command>) {
    let mut bench = Bench::trusting(&peer());
    bench.relay.set_own_ipv4(&[OWN], &[BROADCAST]);
    let fate = bench.native(packet);
    (fate, bench.sent())
}

fn silent(fate: Fate) -> (Option<Fate>, Vec<Command>) {
    (Some(fate), Vec::new())
}

///
#[test]
fn a_packet_that_is_not_whole_or_not_ipv6_is_dropped_silently() {
    let whole = to_peer(&peer(), b"data");
    for len in 0..whole.len() {
        assert_eq!(fate(&whole[..len]), silent(Fate::InnerTruncated), "{len}");
    }
    let mut ipv4 = whole.clone();
    ipv4[0] = 0x45;
    assert_eq!(fate(&ipv4), silent(Fate::InnerVersionNot6));
}

/// only a payload length greater than what was read is wrong.
#[test]
fn bytes_behind_the_packet_are_cut_off() {
    let mut bench = Bench::trusting(&peer());
    let whole = to_peer(&peer(), b"data");
    assert_eq!(
        bench.native(&[&whole[..], b"padding"].concat()),
        Some(Fate::Encapsulated)
    );
    assert_eq!(bench.sent(), [udp(peer().mapped(), &whole, UdpKind::Data)]);
    assert_eq!(bench.relay.tally().total().bytes, whole.len() as u64);
}

///
#[test]
fn a_multicast_destination_is_dropped_silently() {
    assert_eq!(
        fate(&packet(HOST, v6("ff02::2"), b"")),
        silent(Fate::DestinationMulticast)
    );
}

///
#[test]
fn a_destination_outside_the_teredo_prefix_is_answered_unreachable() {
    for destination in ["2001:1::1", "2001:db8::1", "fe80::1", "::"] {
        let misrouted = packet(HOST, v6(destination), b"data");
        let expected = (
            Some(Fate::DestinationNotTeredo),
            vec![unreachable(&misrouted)],
        );
        assert_eq!(fate(&misrouted), expected);
    }
    let from_teredo = packet(peer().octets(), v6("2001:db8::1"), b"data");
    assert_eq!(fate(&from_teredo), silent(Fate::DestinationNotTeredo));
}

/// R-13 and pitfall 15.
#[test]
fn a_source_nobody_could_answer_is_dropped_silently() {
    for source in [
        "::",
        "::1",
        "ff02::1",
        "fe80::ffff:ffff:ffff",
        "::ffff:192.0.2.1",
    ] {
        let packet = packet(v6(source), peer().octets(), b"");
        assert_eq!(fate(&packet), silent(Fate::SourceNotGlobal), "{source}");
    }
}

/// b.
#[test]
fn teredo_to_teredo_is_dropped_silently() {
    let packet = packet(peer_at(NAT, 1).octets(), peer().octets(), b"");
    assert_eq!(fate(&packet), silent(Fate::SourceTeredo));
}

///
#[test]
fn a_tunnel_source_that_embeds_an_own_address_is_dropped() {
    for source in [
        "2002:cb00:710a::1",
        "2001:db8::5efe:cb00:710a",
        "2001:db8::200:5efe:cb00:7109",
    ] {
        let packet = packet(v6(source), peer().octets(), b"");
        assert_eq!(
            fate(&packet),
            silent(Fate::SourceEmbedsOwnAddress),
            "{source}"
        );
    }
    let other = packet(v6("2002:cb00:710b::1"), peer().octets(), b"data");
    assert_eq!(fate(&other).0, Some(Fate::Encapsulated));
}

/// the form is no packet in this direction either.
#[test]
fn a_jumbogram_form_is_dropped_silently() {
    assert_eq!(fate(&to_peer(&peer(), b"")), silent(Fate::JumbogramForm));
}

fn towards(server: [u8; 4], mapped: [u8; 4], port: u16) -> Vec<u8> {
    let mapped = Mapped {
        ip: mapped.into(),
        port,
    };
    to_peer(
        &TeredoAddr::new(ServerV4(server.into()), 0, mapped),
        b"data",
    )
}

///
#[test]
fn a_mapped_address_that_is_not_global_is_dropped_silently() {
    for ip in [
        [10, 0, 0, 1],
        [100, 64, 0, 1],
        [224, 0, 0, 253],
        [240, 0, 0, 1],
        [203, 0, 113, 255],
    ] {
        let packet = towards([192, 0, 2, 1], ip, 40000);
        assert_eq!(
            fate(&packet),
            silent(Fate::MappedAddressNotGlobal),
            "{ip:?}"
        );
    }
}

///
#[test]
fn a_server_address_that_is_not_global_is_dropped_silently() {
    for ip in [
        [192, 168, 0, 1],
        [127, 0, 0, 1],
        [255; 4],
        [203, 0, 113, 255],
    ] {
        let packet = towards(ip, [198, 51, 100, 7], 40000);
        assert_eq!(
            fate(&packet),
            silent(Fate::ServerAddressNotGlobal),
            "{ip:?}"
        );
    }
}

///
#[test]
fn mapped_port_0_and_own_addresses_are_dropped() {
    let (server, nat) = (SERVER.octets(), NAT.octets());
    assert_eq!(fate(&towards(server, nat, 0)), silent(Fate::MappedPortZero));
    for own in [OWN, *RELAY.ip()] {
        let own = own.octets();
        assert_eq!(
            fate(&towards(server, own, 1)),
            silent(Fate::MappedAddressOwn)
        );
        assert_eq!(fate(&towards(own, nat, 1)), silent(Fate::ServerAddressOwn));
    }
}

/// "no server running there".
#[test]
fn clients_of_a_server_on_this_machine_are_served() {
    let mut bench = Bench::configured(|config| config.own_server = Some(SERVER));
    bench.relay.set_own_ipv4(&[OWN, SERVER], &[]);
    assert_eq!(bench.native(&to_peer(&peer(), b"data")), None);
    let [bubble] = bench.bubbles().try_into().expect("one bubble");
    assert_eq!(
        bubble.to,
        Mapped {
            ip: SERVER,
            port: 3544
        }
    );
    assert_eq!(
        bench.client(peer().mapped(), &answer(&bubble)),
        Fate::BubbleAccepted
    );
    assert_eq!(bench.count(Fate::EncapsulatedFromQueue), 1);
    let of_another = towards(OWN.octets(), NAT.octets(), 1);
    assert_eq!(bench.native(&of_another), Some(Fate::ServerAddressOwn));
    let client_there = towards(SERVER.octets(), SERVER.octets(), 1);
    assert_eq!(bench.native(&client_there), Some(Fate::MappedAddressOwn));
}

///
#[test]
fn a_packet_larger_than_the_tunnel_mtu_is_answered_too_big() {
    let fits = to_peer(&peer(), &[0; 1240]);
    assert_eq!(fate(&fits).0, Some(Fate::Encapsulated));
    let large = to_peer(&peer(), &[0; 1241]);
    let answer = error(&large, Icmp6Error::PacketTooBig { mtu: 1280 });
    assert_eq!(fate(&large), (Some(Fate::PacketTooBig), vec![answer]));
}

///
#[test]
fn the_hop_limit_goes_down_by_one_exactly_once() {
    let mut bench = Bench::trusting(&peer());
    for (hop, hop_limit, sent) in [
        (Hop::Pending, 64, 63),
        (Hop::Done, 64, 64),
        (Hop::Done, 1, 1),
        (Hop::Pending, 2, 1),
    ] {
        let mut packet = to_peer(&peer(), b"data");
        packet[7] = hop_limit;
        assert_eq!(
            bench.relay.from_native(bench.now, &packet, hop),
            Some(Fate::Encapsulated)
        );
        packet[7] = sent;
        assert_eq!(bench.sent(), [udp(peer().mapped(), &packet, UdpKind::Data)]);
    }
}

///
#[test]
fn an_exhausted_hop_limit_is_answered() {
    for hop_limit in [0, 1] {
        let mut bench = Bench::trusting(&peer());
        let mut packet = to_peer(&peer(), b"data");
        packet[7] = hop_limit;
        let fate = bench.relay.from_native(bench.now, &packet, Hop::Pending);
        assert_eq!(fate, Some(Fate::HopLimitExceeded));
        assert_eq!(bench.sent(), [error(&packet, Icmp6Error::HopLimitExceeded)]);
    }
}

/// R-20 in a queue: the packet is quoted as it came and sent one hop older.
#[test]
fn a_queued_packet_loses_its_hop_when_it_is_sent() {
    let mut packet = to_peer(&peer(), b"data");
    let mut bench = Bench::new();
    assert_eq!(
        bench.relay.from_native(bench.now, &packet, Hop::Pending),
        None
    );
    let failed = bench.pass(8);
    assert_eq!(failed.last(), Some(&(8000, unreachable(&packet))));

    let mut bench = Bench::new();
    assert_eq!(
        bench.relay.from_native(bench.now, &packet, Hop::Pending),
        None
    );
    let bubble = bench.bubbles().remove(0);
    assert_eq!(
        bench.client(peer().mapped(), &answer(&bubble)),
        Fate::BubbleAccepted
    );
    packet[7] = 63;
    assert_eq!(
        bench.sent(),
        [udp(peer().mapped(), &packet, UdpKind::Queued)]
    );
}

/// simple encapsulation, to the entry's mapped address, which need not be the embedded one.
#[test]
fn data_to_a_trusted_peer_is_the_whole_payload() {
    let mut bench = Bench::new();
    let learned = Mapped {
        ip: NAT,
        port: 50000,
    };
    bench.hear(&peer(), learned);
    let packet = to_peer(&peer(), b"data");
    assert_eq!(bench.native(&packet), Some(Fate::Encapsulated));
    assert_eq!(bench.sent(), [udp(learned, &packet, UdpKind::Data)]);
}

/// valid for 30 s after the last reception, to the nanosecond.
#[test]
fn a_peer_is_fresh_for_thirty_seconds() {
    let mut bench = Bench::trusting(&peer());
    bench.now = bench.now + PEER_FRESH;
    assert_eq!(
        bench.native(&to_peer(&peer(), b"data")),
        Some(Fate::Encapsulated)
    );
    let mut bench = Bench::trusting(&peer());
    bench.now = bench.now + PEER_FRESH + Duration::from_nanos(1);
    assert_eq!(bench.native(&to_peer(&peer(), b"data")), None);
}

/// no data before the handshake, whatever the flags say.
#[test]
fn the_cone_bit_is_no_shortcut() {
    let cone = TeredoAddr::new(ServerV4(SERVER), 0x8000, peer().mapped());
    let mut bench = Bench::new();
    assert_eq!(bench.native(&to_peer(&cone, b"data")), None);
    let sent = bench.bubbles();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].to.ip, SERVER);
}

/// R-2 and 1.2: flags are part of the key.
#[test]
fn peers_that_differ_in_flags_are_different_peers() {
    let other = TeredoAddr::new(ServerV4(SERVER), 0, peer().mapped());
    let mut bench = Bench::trusting(&peer());
    assert_eq!(bench.native(&to_peer(&other, b"data")), None);
}

/// RFC 6040 4.1.
#[test]
fn the_traffic_class_is_copied_to_the_outer_header() {
    let mut bench = Bench::trusting(&peer());
    let mut packet = to_peer(&peer(), b"data");
    packet[0] = 0x6b;
    packet[1] = 0x90;
    assert_eq!(bench.native(&packet), Some(Fate::Encapsulated));
    assert!(matches!(
        bench.sent()[..],
        [Command::SendUdp { tos: 0xb9, .. }]
    ));
}

/// Invariant 8: an entry written before the addresses of this machine changed.
#[test]
fn nothing_is_sent_to_an_entry_whose_mapping_became_our_own() {
    let mut bench = Bench::new();
    bench.hear(&peer(), Mapped { ip: OWN, port: 7 });
    bench.relay.set_own_ipv4(&[OWN], &[]);
    assert_eq!(bench.native(&to_peer(&peer(), b"data")), None);
    assert_eq!(bench.bubbles().len(), 1);
    assert_eq!(bench.relay.table().get(&peer()), None);
}

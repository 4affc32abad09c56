use super::*;

const NATIVE: [u8; 16] = *b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x80";
const CLIENT: [u8; 16] = *b"\x20\x01\0\0\xc0\0\x02\x01\x20\x93\x63\xbf\x39\xcc\x9b\xf8";
const ALL_NODES: [u8; 16] = *b"\xff\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\x01";
const ERRORS: [Icmp6Error; 3] = [
    Icmp6Error::AddressUnreachable,
    Icmp6Error::PacketTooBig { mtu: 1280 },
    Icmp6Error::HopLimitExceeded,
];

fn packet(source: [u8; 16], destination: [u8; 16], next_header: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap();
    let header = Ipv6Header::new(source, destination, next_header, 64, len);
    [header.as_bytes(), body].concat()
}

fn forbidden(next_header: u8, body: &[u8]) -> bool {
    let invoking = packet(NATIVE, CLIENT, next_header, body);
    let verdicts = ERRORS.map(|error| forbids_error(error, &invoking));
    assert!(verdicts.iter().all(|v| *v == verdicts[0]));
    verdicts[0]
}

#[test]
fn an_error_never_exceeds_the_minimum_mtu() {
    for len in [0, 1, 40, 1231, 1232, 1233, 1500, 65_535] {
        let invoking = vec![0x60; len];
        let packet = build_error(NATIVE, CLIENT, ERRORS[0], &invoking);
        let quoted = len.min(QUOTE_MAX_LEN);
        assert_eq!(packet.len(), 48 + quoted);
        assert!(packet.len() <= ERROR_MAX_LEN);
        assert_eq!(&packet[48..], &invoking[..quoted]);
        assert_eq!(quote(&invoking).len(), quoted);
    }
}

#[test]
fn an_error_is_a_packet_with_the_right_checksum_type_and_parameter() {
    let expected = [(1, 3, 0), (2, 0, 1280), (3, 0, 0)];
    for (error, (kind, code, parameter)) in ERRORS.into_iter().zip(expected) {
        let packet = build_error(NATIVE, CLIENT, error, b"odd");
        let (header, body, tail) = ipv6::parse(&packet).unwrap();
        assert!(tail.is_empty());
        assert_eq!((header.source, header.destination), (NATIVE, CLIENT));
        assert_eq!(
            (header.next_header, header.hop_limit),
            (ipv6::ICMP6, ERROR_HOP_LIMIT)
        );
        assert_eq!((body[0], body[1]), (kind, code));
        assert_eq!(body[4..8], u32::to_be_bytes(parameter));
        assert_eq!(
            checksum::upper_layer(&NATIVE, &CLIENT, ipv6::ICMP6, body),
            0
        );
    }
}

/// RFC 4443 2.4 e.1 and e.2.
#[test]
fn nothing_answers_an_icmp6_error_or_a_redirect() {
    for kind in 0..=u8::MAX {
        let expected = kind < 128 || kind == 137;
        assert_eq!(
            forbidden(ipv6::ICMP6, &[kind, 0, 0, 0, 0, 0, 0, 0]),
            expected,
            "{kind}"
        );
    }
}

#[test]
fn an_icmp6_error_does_not_hide_behind_extension_headers() {
    let error = [1, 3, 0, 0, 0, 0, 0, 0];
    let request = [128, 0, 0, 0, 0, 0, 0, 0];
    for (message, expected) in [(error, true), (request, false)] {
        let options = |next| [&[next, 1][..], &[0; 14]].concat();
        for first in [ipv6::HOP_BY_HOP, ipv6::ROUTING, 60] {
            let body = [options(ipv6::ICMP6), message.to_vec()].concat();
            assert_eq!(forbidden(first, &body), expected);
            let body = [options(60), options(ipv6::ICMP6), message.to_vec()].concat();
            assert_eq!(forbidden(first, &body), expected);
        }
        let first_fragment = [&[ipv6::ICMP6, 0, 0, 1, 0, 0, 0, 0][..], &message].concat();
        assert_eq!(forbidden(ipv6::FRAGMENT, &first_fragment), expected);
        // The length of an authentication header counts words of four bytes, minus two.
        let authenticated = [&[ipv6::ICMP6, 4][..], &[0; 22], &message].concat();
        assert_eq!(forbidden(51, &authenticated), expected);
    }
}

#[test]
fn what_might_be_an_icmp6_error_is_not_answered() {
    assert!(forbidden(ipv6::ICMP6, &[]));
    assert!(forbidden(
        ipv6::FRAGMENT,
        &[ipv6::ICMP6, 0, 0, 8, 0, 0, 0, 0, 128]
    ));
    assert!(forbidden(ipv6::HOP_BY_HOP, &[ipv6::TCP, 9, 0, 0]));
    assert!(forbidden(ipv6::FRAGMENT, &[ipv6::TCP, 0]));
    assert!(forbidden(60, &[60, 0, 0, 0, 0, 0, 0, 0].repeat(100)));
    assert!(!forbidden(
        ipv6::FRAGMENT,
        &[ipv6::UDP, 0, 0, 8, 0, 0, 0, 0, 1]
    ));
    for error in ERRORS {
        assert!(forbids_error(error, &[]));
        assert!(forbids_error(error, &[0x60; 39]));
        assert!(forbids_error(error, &[0x45; 60]));
    }
}

/// RFC 4443 2.4 e.3 and e.6.
#[test]
fn only_packet_too_big_answers_multicast_and_nothing_an_anonymous_source() {
    for error in ERRORS {
        let too_big = matches!(error, Icmp6Error::PacketTooBig { .. });
        let to_group = packet(NATIVE, ALL_NODES, ipv6::UDP, &[0; 8]);
        assert_eq!(forbids_error(error, &to_group), !too_big);
        for source in [[0; 16], ALL_NODES] {
            assert!(forbids_error(
                error,
                &packet(source, CLIENT, ipv6::UDP, &[0; 8])
            ));
        }
        assert!(!forbids_error(
            error,
            &packet(NATIVE, CLIENT, ipv6::UDP, &[0; 8])
        ));
        assert!(!forbids_error(
            error,
            &packet(NATIVE, CLIENT, ipv6::TCP, &[0; 20])
        ));
    }
}

#[test]
fn an_echo_reads_back_and_a_broken_one_does_not() {
    let echo = Echo {
        kind: EchoKind::Reply,
        identifier: 0x1234,
        sequence: 0x5678,
        data: b"odd",
    };
    let packet = echo.build(NATIVE, CLIENT, 63).unwrap();
    let (header, body, _) = ipv6::parse(&packet).unwrap();
    assert_eq!(header.hop_limit, 63);
    assert_eq!(Echo::parse(header, body), Some(echo));
    for at in 0..body.len() {
        let mut broken = body.to_vec();
        broken[at] ^= 1;
        assert_eq!(Echo::parse(header, &broken), None, "{at}");
    }
    assert_eq!(Echo::parse(header, &body[..7]), None);
    let mut udp = *header;
    udp.next_header = ipv6::UDP;
    assert_eq!(Echo::parse(&udp, body), None);
    let data = vec![0; 65_528];
    let too_long = Echo {
        data: &data,
        ..echo
    };
    assert_eq!(too_long.build(NATIVE, CLIENT, 64), None);
}

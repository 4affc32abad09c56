//! S-2, S-5, S-10 to S-12, S-23: solicitations and their answers.

use super::*;
use crate::server::TUNNEL_MTU;
use crate::wire::rs_ra::{self, RouterAdvertisement};

/// What stands in an answer.
fn read(payload: &[u8]) -> (Option<Auth<'_>>, Mapped, RouterAdvertisement) {
    let parsed = payload::parse(payload).unwrap();
    assert!(parsed.tail.is_empty());
    let advertisement = RouterAdvertisement::parse(parsed.header, parsed.body).unwrap();
    let origin = parsed.origin.expect("an origin indication");
    (parsed.auth, origin.mapped, advertisement)
}

/// S-2, S-10: origin, prefix, link-local address of the primary, MTU, to the source of the solicitation.
#[test]
fn an_answer_says_what_the_client_needs() {
    let mut bench = Bench::new();
    for at in [Local::Primary, Local::Secondary] {
        for source in [RESTRICTED_SOURCE, CONE_SOURCE, v6("febf::1234")] {
            let (_, payload) = bench.advertised(at, NAT, &solicitation(source));
            let (auth, origin, advertisement) = read(&payload);
            assert_eq!((auth, origin), (None, NAT));
            let expected = RouterAdvertisement {
                source: rs_ra::server_link_local(ServerV4(PRIMARY)),
                destination: source,
                prefix: [0x20, 1, 0, 0, 192, 0, 2, 1],
                mtu: Some(TUNNEL_MTU),
            };
            assert_eq!(advertisement, expected);
        }
    }
}

/// S-10: the cone bit decides, in any link-local source, on both addresses.
#[test]
fn a_cone_client_is_answered_from_the_other_address() {
    let mut bench = Bench::new();
    for (source, is_cone) in [
        (RESTRICTED_SOURCE, false),
        (v6("fe80::5445:5245:444f"), false),
        (v6("fe80::7fff:0:0:1"), false),
        (CONE_SOURCE, true),
        (v6("fe80::a000:0:0:1"), true),
    ] {
        for at in [Local::Primary, Local::Secondary] {
            let (from, _) = bench.advertised(at, NAT, &solicitation(source));
            let expected = if is_cone { at.other() } else { at };
            assert_eq!(from, expected, "{source:02x?}");
        }
    }
}

/// S-10, A-19, A-22: an origin indication in a solicitation is nobody's word.
#[test]
fn an_answer_goes_where_the_solicitation_came_from() {
    let mut bench = Bench::new();
    let asked = with_origin(OTHER_NAT, &solicitation(RESTRICTED_SOURCE));
    let (_, payload) = bench.advertised(Local::Primary, NAT, &asked);
    assert_eq!(read(&payload).1, NAT);
}

/// S-11, RFC 4861 6.1.1.
#[test]
fn an_invalid_solicitation_is_not_answered() {
    let mut bench = Bench::new();
    let good = solicitation(RESTRICTED_SOURCE);
    let mut hop_limit = good.clone();
    hop_limit[7] = 254;
    let mut wrong_sum = good.clone();
    wrong_sum[42] ^= 1;
    let mut code = good.clone();
    code[41] = 1;
    code[43] -= 1;
    let short = icmp6(133, RESTRICTED_SOURCE, rs_ra::ALL_ROUTERS, 7);
    let mut short = short;
    short[7] = 255;
    for invalid in [hop_limit, wrong_sum, code, short] {
        assert_eq!(bench.refused(NAT, &invalid), Fate::SolicitationInvalid);
    }
    let (fate, _) = bench.receive(NAT, &good);
    assert_eq!(fate, Fate::Advertised);
}

/// S-11: options are read, so that a malformed one is noticed, and ignored.
#[test]
fn a_solicitation_with_options_is_answered() {
    let with_options = |options: &[u8]| {
        let len = u16::try_from(8 + options.len()).unwrap();
        let mut packet = icmp6(133, RESTRICTED_SOURCE, rs_ra::ALL_ROUTERS, len);
        packet[7] = 255;
        packet[42..48].fill(0);
        packet[48..].copy_from_slice(options);
        let sum = checksum::upper_layer(
            &RESTRICTED_SOURCE,
            &rs_ra::ALL_ROUTERS,
            ipv6::ICMP6,
            &packet[40..],
        );
        packet[42..44].copy_from_slice(&sum.to_be_bytes());
        packet
    };
    let mut bench = Bench::new();
    let good = with_options(&[1, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(bench.receive(NAT, &good).0, Fate::Advertised);
    for bad in [[1, 0, 2, 3, 4, 5, 6, 7], [1, 2, 2, 3, 4, 5, 6, 7]] {
        assert_eq!(
            bench.refused(NAT, &with_options(&bad)),
            Fate::SolicitationInvalid
        );
    }
}

/// S-12, S-23: the form of every deployed client.
#[test]
fn a_nonce_comes_back_in_a_header_without_credentials() {
    let mut bench = Bench::new();
    let nonce = [1, 2, 3, 4, 5, 6, 7, 8];
    let asked = with_nonce(nonce, &solicitation(RESTRICTED_SOURCE));
    let (_, payload) = bench.advertised(Local::Primary, NAT, &asked);
    assert_eq!(read(&payload).0, Some(Auth::with_nonce(nonce)));
    assert_eq!(payload.len(), 117);
}

/// S-12: whatever a client writes there, the server's answer is "the key is good".
#[test]
fn a_confirmation_byte_is_not_repeated() {
    let mut bench = Bench::new();
    let auth = Auth::secure(&[], &[], [9; 8], 0xff).unwrap();
    let asked = payload::build(Some(&auth), None, &solicitation(RESTRICTED_SOURCE));
    let (_, payload) = bench.advertised(Local::Primary, NAT, &asked);
    assert_eq!(read(&payload).0, Some(Auth::with_nonce([9; 8])));
}

/// S-12, A-23: others answer such a client with a header, and in it the nonce of the one before.
#[test]
fn a_client_that_sent_no_nonce_gets_none_of_another() {
    let mut bench = Bench::new();
    let asked = with_nonce([0xa5; 8], &solicitation(RESTRICTED_SOURCE));
    bench.advertised(Local::Primary, OTHER_NAT, &asked);
    let (_, payload) = bench.advertised(Local::Primary, NAT, &solicitation(RESTRICTED_SOURCE));
    assert_eq!(read(&payload).0, None);
    assert_eq!(payload.len(), 104);
    assert!(!payload.windows(4).any(|bytes| bytes == [0xa5; 4]));
}

/// RS 48 and 61 bytes, RA 104 and 117. Bytes behind the solicitation buy nothing.
#[test]
fn an_answer_is_little_more_than_the_question() {
    let mut bench = Bench::new();
    for (asked, most) in [
        (solicitation(RESTRICTED_SOURCE), 104),
        (with_nonce([7; 8], &solicitation(CONE_SOURCE)), 117),
    ] {
        let longer = [&asked[..], &[0x82, 200], &[0; 200]].concat();
        for asked in [asked, longer] {
            let (_, payload) = bench.advertised(Local::Primary, NAT, &asked);
            assert_eq!(payload.len(), most);
        }
    }
}

/// The shortcut of the template against the builder.
#[test]
fn advertisements_from_the_template_are_those_of_the_builder() {
    let primary = ServerV4(PRIMARY);
    let template = rs_ra::AdvertisementTemplate::new(primary, TUNNEL_MTU);
    let copied = rs_ra::AdvertisementTemplate::from_bytes(*template.bytes());
    for byte in 0..=u8::MAX {
        for source in [[byte; 16], RESTRICTED_SOURCE, CONE_SOURCE, [0; 16]] {
            let asked = RouterSolicitation { source };
            let built = RouterAdvertisement::answer(&asked, primary, Some(TUNNEL_MTU)).build();
            assert_eq!(template.to(&source).as_slice(), built);
            assert_eq!(copied.to(&source).as_slice(), built);
        }
    }
}

//! Solicitations turned around (S-10 to S-12).

use relay_common::Reason;

use super::super::frames::{at, fill_header_checksum, received, sent, sum, udp_checksum_is_right};
use super::super::rig::{CUSTOMER_TAG, Outcome, Rig, SERVICE_TAG, action, hex};
use super::super::vectors::vector;
use super::*;

/// Bytes of the IPv6 packet in the answer.
const PACKET_LEN: usize = 96;

/// The answer to `solicitation` sent to `to`, and that it leaves from `from` with `payload` in it.
fn assert_answered(
    rig: &mut Rig,
    tags: &[[u8; 4]],
    asked: &Outer,
    solicitation: &[u8],
    from: Mapped,
    payload: &[u8],
) -> Outcome {
    let outcome = rig.run(rig.wan, &received(tags, &asked.around(solicitation)));
    assert_eq!(outcome.reason, Reason::Advertised);
    assert_eq!(outcome.action, action::TX);
    assert_eq!(outcome.bytes, PACKET_LEN);
    let link = 14 + 4 * tags.len();
    let outer = Outer {
        from,
        to: asked.from,
        ..from_primary(asked.from, &outcome.frame[link..], 0)
    };
    assert_ne!(outer.identification, 0);
    assert_eq!(
        hex(&outcome.frame),
        hex(&sent(tags, &outer.around(payload)))
    );
    outcome
}

/// 2.7, byte for byte as recorded from a real server.
#[test]
fn every_recorded_solicitation_gets_the_recorded_advertisement() {
    in_server(|rig| {
        for tags in [&[][..], &[CUSTOMER_TAG], &[SERVICE_TAG, CUSTOMER_TAG]] {
            let plain = vector("rs_restricted_plain");
            let auth = vector("rs_restricted_auth");
            let cone = [&AUTH[..], &vector("rs_cone_plain")].concat();
            for (asked, answer, at, from) in [
                (&auth, "ra_restricted_auth_origin", PRIMARY, PRIMARY),
                (&auth, "ra_restricted_auth_origin", SECONDARY, SECONDARY),
                (&cone, "ra_cone_auth_origin", PRIMARY, SECONDARY),
                (&cone, "ra_cone_auth_origin", SECONDARY, PRIMARY),
                (&plain, "ra_restricted_origin", PRIMARY, PRIMARY),
                (&plain, "ra_restricted_origin", SECONDARY, SECONDARY),
            ] {
                assert_answered(rig, tags, &to(at), asked, from, &vector(answer));
            }
        }
    });
}

/// S-12, A-23: who sends no nonce gets none, and nobody another's.
#[test]
fn a_solicitation_without_authentication_gets_an_answer_without() {
    in_server(|rig| {
        let with = [&AUTH[..], &vector("rs_cone_plain")].concat();
        let answer = vector("ra_cone_auth_origin");
        for (asked, expected) in [(&with[..], &answer[..]), (&with[13..], &answer[13..])] {
            assert_answered(rig, &[], &to(PRIMARY), asked, SECONDARY, expected);
        }
        let mut other = with;
        other[4..12].copy_from_slice(&[0xa5; 8]);
        // Confirmation is the server's to give.
        other[12] = 1;
        let mut expected = answer;
        expected[4..12].copy_from_slice(&[0xa5; 8]);
        assert_answered(rig, &[], &to(PRIMARY), &other, SECONDARY, &expected);
    });
}

/// S-10: mapped is what the datagram came from, and the destination the source of the solicitation, whatever it is.
#[test]
fn the_answer_names_whoever_asked_and_its_checksums_are_right() {
    in_server(|rig| {
        for (nat, port) in [(1, 1), (7, 40000), (254, 65535), (77, 3544)] {
            for (source, is_cone) in [
                ("fe80::ffff:ffff:ffff", false),
                ("fe80::8000:5445:5245:444f", true),
                ("fe80::5445:5245:444f", false),
                ("febf:ffff:1234:5678:7fff:0:1:2", false),
                ("fe80::ffff:0:0:0", true),
            ] {
                let asked = Outer {
                    from: at([198, 51, 100, nat], port),
                    ..to(SECONDARY)
                };
                let packet = solicitation(source.parse().unwrap(), 0).bytes();
                for auth in [&[][..], &AUTH] {
                    let payload = [auth, &packet].concat();
                    let outcome = rig.run(rig.wan, &received(&[], &asked.around(&payload)));
                    assert_eq!(outcome.reason, Reason::Advertised, "{source}");
                    let answer = &outcome.frame[14..];
                    assert!(udp_checksum_is_right(answer), "{}", hex(answer));
                    assert_ne!(answer[26..28], [0, 0]);
                    assert_eq!(sum(&[&answer[..20]]), 0xffff);
                    let from = if is_cone { PRIMARY } else { SECONDARY };
                    assert_eq!(answer[12..16], from.ip.octets());
                    let behind = 28 + auth.len();
                    assert_eq!(answer[behind..behind + 8], origin(asked.from));
                    let inner = &answer[behind + 8..];
                    assert_eq!(inner[24..40], packet[8..24]);
                    let pseudo = [&inner[8..40], &[0, 0, 0, 56, 0, 0, 0, 58]].concat();
                    assert_eq!(sum(&[&pseudo, &inner[40..]]), 0xffff);
                }
            }
        }
    });
}

/// Padding, and bytes of the IPv4 packet behind the datagram.
#[test]
fn what_stands_behind_a_solicitation_is_not_sent_back() {
    in_server(|rig| {
        let (asked, answer) = (
            vector("rs_restricted_plain"),
            vector("ra_restricted_origin"),
        );
        for behind in [1, 6, 300] {
            let mut packet = to(PRIMARY).around(&asked);
            packet.extend(vec![0xee; behind]);
            for is_in_packet in [false, true] {
                if is_in_packet {
                    let total_len = u16::try_from(packet.len()).unwrap();
                    packet[2..4].copy_from_slice(&total_len.to_be_bytes());
                    fill_header_checksum(&mut packet);
                }
                let outcome = rig.run(rig.wan, &received(&[], &packet));
                assert_eq!(outcome.reason, Reason::Advertised);
                assert_eq!(hex(&outcome.frame[14 + 28..]), hex(&answer));
            }
        }
    });
}

/// Invariant 7.
#[test]
fn identifications_of_answers_to_one_client_differ() {
    in_server(|rig| {
        let frame = received(&[], &to(PRIMARY).around(&vector("rs_restricted_plain")));
        let mut seen = std::collections::HashSet::new();
        for _ in 0..64 {
            let outcome = rig.run(rig.wan, &frame);
            seen.insert([outcome.frame[18], outcome.frame[19]]);
        }
        assert!(seen.len() > 60, "{}", seen.len());
        assert!(!seen.contains(&[0, 0]));
    });
}

#[test]
fn a_driver_without_room_leaves_the_solicitation_to_the_socket() {
    in_server(|rig| {
        let mut frame = received(&[], &to(PRIMARY).around(&vector("rs_restricted_plain")));
        frame.extend([0; 16]);
        let outcome = rig.run_without_headroom(rig.wan, &frame);
        assert_eq!(
            (outcome.reason, outcome.action),
            (Reason::PassToServer, action::PASS)
        );
        assert!(outcome.frame.starts_with(&frame[..96]));
    });
}

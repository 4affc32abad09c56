//! Bubbles and small ICMPv6 sent on (S-6, S-13 to S-16).

use relay_common::Reason;

use super::super::frames::{data, frame, received, sent, udp_checksum_is_right};
use super::super::rig::{
    CUSTOMER_TAG, GATEWAY_MAC, Outcome, PORT_MAC, Rig, SERVICE_TAG, action, hex,
};
use super::super::vectors::vector;
use super::*;

/// Runs a datagram with `payload` and holds what leaves for `target` against `expected`.
fn assert_forwarded(
    rig: &mut Rig,
    asked: &Outer,
    payload: &[u8],
    (target, tags): (Mapped, &[[u8; 4]]),
    expected: &[u8],
) -> Outcome {
    let outcome = rig.run(rig.wan, &received(&[], &asked.around(payload)));
    assert_eq!(outcome.reason, Reason::ForwardedToClient);
    assert_eq!(outcome.action, action::TX);
    let outer = Outer {
        has_checksum: asked.has_checksum,
        ..from_primary(target, &outcome.frame, 14 + 4 * tags.len())
    };
    assert_ne!(outer.identification, 0);
    assert_eq!(
        hex(&outcome.frame),
        hex(&sent(tags, &outer.around(expected)))
    );
    outcome
}

/// As recorded from a real server: a relay's bubble, with and without trailer.
#[test]
fn recorded_bubbles_leave_as_recorded() {
    in_topology(|| {
        let relay = Outer {
            from: at([203, 0, 113, 9], 3545),
            ..to(PRIMARY)
        };
        let role = ServerRole {
            allow_non_global: vec![
                Ipv4Net::new([198, 51, 100, 0].into(), 24).unwrap(),
                Ipv4Net::new([203, 0, 113, 0].into(), 24).unwrap(),
            ],
            ..role()
        };
        let mut rig = Rig::load(&Settings {
            server: Some(role),
            ..Settings::default()
        });
        for (arrives, leaves) in [
            ("bubble_relay_to_server", "bubble_indirect_with_origin"),
            (
                "bubble_indirect_nonce_to_server",
                "bubble_indirect_nonce_origin",
            ),
        ] {
            let target = (mapped(nat::PLAIN), &[][..]);
            assert_forwarded(&mut rig, &relay, &vector(arrives), target, &vector(leaves));
        }
    });
}

/// S-15: what stood in front is removed, the true origin put in its place; trailers are kept.
#[test]
fn headers_are_replaced_and_trailers_kept() {
    in_server(|rig| {
        let forged = origin(at([9, 9, 9, 9], 9));
        let packets = [
            bubble(sender(), receiver()).bytes(),
            Inner::echo(sender(), receiver(), b"").bytes(),
            Inner::echo(sender(), receiver(), &data(80)).bytes(),
            icmp6(sender(), receiver(), &[1, 3, 0, 0, 0, 0, 0, 0, 0x60]).bytes(),
        ];
        let trailers = [
            vec![],
            vec![1, 4, 0xa1, 0xb2, 0xc3, 0xd4],
            data(33),
            data(88),
        ];
        for packet in packets {
            for trailer in &trailers {
                for front in [
                    vec![],
                    AUTH.to_vec(),
                    forged.to_vec(),
                    [&AUTH[..], &forged].concat(),
                ] {
                    for (server, has_checksum) in
                        [(PRIMARY, true), (SECONDARY, true), (PRIMARY, false)]
                    {
                        let asked = Outer {
                            has_checksum,
                            ..to(server)
                        };
                        let arrives = [&front[..], &packet, trailer].concat();
                        let leaves = [&origin(mapped(nat::PLAIN))[..], &packet, trailer].concat();
                        let target = (mapped(RECEIVER), &[][..]);
                        let outcome = assert_forwarded(rig, &asked, &arrives, target, &leaves);
                        assert_eq!(outcome.bytes, packet.len());
                    }
                }
            }
        }
    });
}

/// S-15: a client of another server is told no origin, though a client of any may write to it.
#[test]
fn clients_of_other_servers_get_no_origin() {
    in_server(|rig| {
        let packet = bubble(sender(), of_another_server(RECEIVER)).bytes();
        for front in [&[][..], &AUTH] {
            let arrives = [front, &packet, &[0x82, 2, 7, 7]].concat();
            let leaves = [&packet[..], &[0x82, 2, 7, 7]].concat();
            let target = (mapped(RECEIVER), &[][..]);
            assert_forwarded(rig, &to(PRIMARY), &arrives, target, &leaves);
        }
    });
}

/// S-6: a client of another server, a native host and a relay's cookie may all write to ours.
#[test]
fn whoever_may_speak_is_heard_and_hop_limits_do_not_change() {
    in_server(|rig| {
        for source in [
            of_another_server(nat::PLAIN),
            "2001:db8::80".parse().unwrap(),
            "fe80::1c3d:2e4f:5a6b:7c8d".parse().unwrap(),
            "::".parse().unwrap(),
        ] {
            for hop_limit in [0, 1, 255] {
                for inner in [
                    bubble(source, receiver()),
                    Inner::echo(source, receiver(), b"ping"),
                ] {
                    let packet = inner.hop_limit(hop_limit).bytes();
                    let leaves = [&origin(mapped(nat::PLAIN))[..], &packet].concat();
                    let target = (mapped(RECEIVER), &[][..]);
                    assert_forwarded(rig, &to(PRIMARY), &packet, target, &leaves);
                }
            }
        }
    });
}

#[test]
fn a_route_over_vlan_devices_gives_the_frame_its_tags() {
    in_server(|rig| {
        for (nat, tags) in [
            (nat::ONE_TAG, &[CUSTOMER_TAG][..]),
            (nat::TWO_TAGS, &[SERVICE_TAG, CUSTOMER_TAG]),
        ] {
            let packet = bubble(sender(), ip(&client(nat))).bytes();
            let leaves = [&origin(mapped(nat::PLAIN))[..], &packet].concat();
            assert_forwarded(rig, &to(PRIMARY), &packet, (mapped(nat), tags), &leaves);
            let arrives = [&AUTH[..], &origin(PRIMARY), &packet].concat();
            assert_forwarded(rig, &to(PRIMARY), &arrives, (mapped(nat), tags), &leaves);
        }
    });
}

/// Invariant 6: what arrives damaged leaves damaged, and nothing is hidden.
#[test]
fn a_wrong_checksum_stays_wrong() {
    in_server(|rig| {
        for front in [&[][..], &AUTH] {
            let payload = [front, &bubble(sender(), receiver()).bytes(), &[9; 5]].concat();
            let mut packet = to(PRIMARY).around(&payload);
            let last = packet.len() - 1;
            packet[last] ^= 0x10;
            let outcome = rig.run(rig.wan, &received(&[], &packet));
            assert_eq!(outcome.reason, Reason::ForwardedToClient);
            assert!(!udp_checksum_is_right(&outcome.frame[14..]));
            assert_ne!(outcome.frame[14 + 26..14 + 28], [0, 0]);
        }
    });
}

/// The kernel's route is asked for once where it may be kept, and keeps its port apart.
#[test]
fn a_kept_next_hop_serves_without_asking_the_kernel() {
    in_server(|rig| {
        rig.keep_plain_hops();
        let packet = bubble(sender(), receiver()).bytes();
        let leaves = [&origin(mapped(nat::PLAIN))[..], &packet].concat();
        let target = (mapped(RECEIVER), &[][..]);
        assert_forwarded(rig, &to(PRIMARY), &packet, target, &leaves);
        let status = std::process::Command::new("ip")
            .args(["route", "replace", "blackhole", "198.51.100.0/26"])
            .status();
        assert!(status.unwrap().success());
        assert_forwarded(rig, &to(PRIMARY), &packet, target, &leaves);
        let other_port = bubble(sender(), mapped_to([198, 51, 100, RECEIVER], 40001)).bytes();
        let outcome = rig.run(rig.wan, &received(&[], &to(PRIMARY).around(&other_port)));
        assert_eq!(outcome.reason, Reason::PassToServer);
    });
}

#[test]
fn a_frame_to_another_host_is_not_looked_at() {
    in_server(|rig| {
        let packet = to(PRIMARY).around(&bubble(sender(), receiver()).bytes());
        let flooded = frame([2, 0, 0, 0, 0, 77], GATEWAY_MAC, &[], &packet);
        assert_eq!(rig.run(rig.wan, &flooded).reason, Reason::NotOurs);
        let ours = frame(PORT_MAC, GATEWAY_MAC, &[], &packet);
        assert_eq!(rig.run(rig.wan, &ours).reason, Reason::ForwardedToClient);
    });
}

#[test]
fn a_driver_without_room_leaves_the_bubble_to_the_socket() {
    in_server(|rig| {
        // An origin and two tags.
        let packet = bubble(sender(), ip(&client(nat::TWO_TAGS))).bytes();
        let frame = received(&[], &to(PRIMARY).around(&[&packet[..], &[0; 88]].concat()));
        let outcome = rig.run_without_headroom(rig.wan, &frame);
        assert_eq!(
            (outcome.reason, outcome.action),
            (Reason::PassToServer, action::PASS)
        );
        assert!(outcome.frame.starts_with(&frame[..96]));
    });
}

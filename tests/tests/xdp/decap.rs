//! From a client towards native IPv6, invariant 5.

use std::net::Ipv6Addr;

use relay_common::Reason;

use super::frames::{Inner, Outer, at, data, fill_header_checksum, received, sent};
use super::rig::{Outcome, Rig, action, client, hex, in_rig, ip, mapped, now};
use super::topology::{nat, native};

fn trusted_client(rig: &mut Rig) -> Ipv6Addr {
    let peer = client(nat::PLAIN);
    rig.trust(&peer, mapped(nat::PLAIN), 0);
    ip(&peer)
}

fn outer() -> Outer {
    Outer::from_client(mapped(nat::PLAIN))
}

fn assert_leaves_as(outcome: &Outcome, inner: Inner) {
    assert_eq!(outcome.reason, Reason::Decapsulated);
    let expected = sent(&[], &inner.one_hop_later().bytes());
    assert_eq!(hex(&outcome.frame), hex(&expected));
}

///
#[test]
fn a_packet_of_a_fresh_peer_leaves_byte_for_byte_as_built_by_hand() {
    in_rig(|rig| {
        let from = trusted_client(rig);
        for len in [0, 1, 2, 63, 64, 999, 1200, 1400] {
            let data = data(len);
            for inner in [
                Inner::udp(from, native::PLAIN, &data),
                Inner::tcp(from, native::PLAIN, &data),
                Inner::echo(from, native::PLAIN, &data),
                Inner::raw(from, native::PLAIN, 44, &[17, 0, 0, 0, 0, 0, 0, 1, 2]),
            ] {
                let outcome = rig.run(rig.wan, &received(&[], &outer().around(&inner.bytes())));
                assert_eq!(outcome.action, action::REDIRECT);
                assert_eq!(outcome.bytes, inner.bytes().len());
                assert_leaves_as(&outcome, inner);
            }
        }
    });
}

/// R-36 b.
#[test]
fn a_learned_mapping_speaks_for_its_peer() {
    in_rig(|rig| {
        let peer = client(nat::PLAIN);
        let learned = at([198, 51, 100, 9], 1234);
        rig.trust(&peer, learned, 0);
        let inner = Inner::udp(ip(&peer), native::PLAIN, b"data");
        let frame = received(&[], &Outer::from_client(learned).around(&inner.bytes()));
        let outcome = rig.run(rig.wan, &frame);
        assert_leaves_as(&outcome, inner);
    });
}

/// RFC 6040 figure 4: rows inner, columns outer, in the order 00, 10, 01, 11. DSCP stays the inner one.
#[test]
fn ecn_is_combined_as_figure_4_of_rfc_6040_says() {
    const ORDER: [u8; 4] = [0b00, 0b10, 0b01, 0b11];
    const FIGURE: [[Option<u8>; 4]; 4] = [
        [Some(0b00), Some(0b00), Some(0b00), None],
        [Some(0b10), Some(0b10), Some(0b01), Some(0b11)],
        [Some(0b01), Some(0b01), Some(0b01), Some(0b11)],
        [Some(0b11), Some(0b11), Some(0b11), Some(0b11)],
    ];
    in_rig(|rig| {
        let from = trusted_client(rig);
        for (row, inner_ecn) in FIGURE.iter().zip(ORDER) {
            for (result, outer_ecn) in row.iter().zip(ORDER) {
                for (inner_dscp, outer_dscp) in [(0, 0), (0b1011_1000, 0b0100_0000)] {
                    let inner = Inner::udp(from, native::PLAIN, b"data");
                    let arrives = inner.clone().class(inner_dscp | inner_ecn);
                    let packet = outer().tos(outer_dscp | outer_ecn).around(&arrives.bytes());
                    let outcome = rig.run(rig.wan, &received(&[], &packet));
                    match result {
                        Some(ecn) => assert_leaves_as(&outcome, inner.class(inner_dscp | ecn)),
                        None => assert_eq!(outcome.reason, Reason::CongestionMarkedNotEct),
                    }
                }
            }
        }
    });
}

/// Padding behind the IPv4 packet, and bytes of the IPv4 packet behind the UDP datagram.
#[test]
fn what_stands_behind_the_datagram_does_not_leave_the_tunnel() {
    in_rig(|rig| {
        let from = trusted_client(rig);
        let inner = Inner::raw(from, native::PLAIN, 59, b"x");
        for behind in [1, 6, 46, 500] {
            let packet = outer().around(&inner.bytes());
            let junk = vec![0xee; behind];
            let padded = received(&[], &[&packet[..], &junk].concat());
            let outcome = rig.run(rig.wan, &padded);
            assert_leaves_as(&outcome, inner.clone());

            let mut slack = [packet, junk].concat();
            let total_len = u16::try_from(slack.len()).unwrap();
            slack[2..4].copy_from_slice(&total_len.to_be_bytes());
            fill_header_checksum(&mut slack);
            let outcome = rig.run(rig.wan, &received(&[], &slack));
            assert_leaves_as(&outcome, inner.clone());
        }
    });
}

/// The inner transport checksum is end to end; the outer one guards nothing more.
#[test]
fn the_outer_udp_checksum_is_not_looked_at() {
    in_rig(|rig| {
        let from = trusted_client(rig);
        let inner = Inner::udp(from, native::PLAIN, b"data");
        for checksum in [[0, 0], [0xde, 0xad]] {
            let mut packet = outer().around(&inner.bytes());
            packet[26..28].copy_from_slice(&checksum);
            let outcome = rig.run(rig.wan, &received(&[], &packet));
            assert_leaves_as(&outcome, inner.clone());
        }
    });
}

#[test]
fn a_frame_in_several_buffers_is_carried_whole() {
    in_rig(|rig| {
        let from = trusted_client(rig);
        let inner = Inner::udp(from, native::PLAIN, &data(7000));
        let mut frame = received(&[], &outer().around(&inner.bytes()));
        frame.extend([0xee; 9]);
        let outcome = rig.run(rig.wan, &frame);
        assert_leaves_as(&outcome, inner);
    });
}

#[test]
fn a_relay_with_one_port_sends_back_through_it() {
    in_rig(|rig| {
        let from = trusted_client(rig);
        let inner = Inner::udp(from, native::BEHIND_WAN, b"data");
        let outcome = rig.run(rig.wan, &received(&[], &outer().around(&inner.bytes())));
        assert_eq!(outcome.action, action::TX);
        assert_leaves_as(&outcome, inner);
    });
}

/// acceptance is what counts, not what becomes of the packet.
#[test]
fn every_accepted_reception_refreshes_the_peer_and_no_other_does() {
    const AGE: u32 = 40;
    in_rig(|rig| {
        let peer = client(nat::PLAIN);
        let stranger = at([198, 51, 100, 8], 40000);
        for (from, destination, is_accepted) in [
            (mapped(nat::PLAIN), native::PLAIN, true),
            (mapped(nat::PLAIN), native::NO_NEIGHBOUR, true),
            (mapped(nat::PLAIN), Ipv6Addr::LOCALHOST, true),
            (stranger, native::PLAIN, false),
        ] {
            rig.trust(&peer, mapped(nat::PLAIN), AGE);
            let inner = Inner::udp(ip(&peer), destination, b"data");
            rig.run(
                rig.wan,
                &received(&[], &Outer::from_client(from).around(&inner.bytes())),
            );
            let age = now().since(rig.entry(&peer).last_rx);
            assert_eq!(age < AGE / 2, is_accepted, "{from} {destination}: {age}");
        }
    });
}

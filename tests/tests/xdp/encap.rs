//! Native IPv6 towards a client, invariants 5 to 7.

use std::collections::HashSet;

use relay_common::Reason;

use super::frames::{
    ICMP6, Inner, NO_NEXT_HEADER, Outer, TCP, UDP, data, received, sent, udp_checksum_is_right,
};
use super::rig::{Outcome, Rig, action, client, hex, in_rig, ip, mapped};
use super::topology::{nat, native};

/// Offsets in the frame that leaves, untagged.
const IPV4: usize = 14;
const INNER: usize = IPV4 + 28;

const LENGTHS: [usize; 9] = [0, 1, 2, 7, 8, 63, 100, 999, 1200];

fn encapsulate(rig: &mut Rig, inner: &Inner) -> Outcome {
    let outcome = rig.run(rig.lan, &received(&[], &inner.bytes()));
    assert_eq!(outcome.reason, Reason::Encapsulated);
    outcome
}

fn identification(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[IPV4 + 4], frame[IPV4 + 5]])
}

fn udp_checksum(frame: &[u8]) -> [u8; 2] {
    [frame[IPV4 + 26], frame[IPV4 + 27]]
}

/// Compares with the frame built by hand; the identification is whatever it is.
fn assert_leaves_as(outcome: &Outcome, inner: Inner, outer: &Outer) {
    let outer = Outer {
        identification: identification(&outcome.frame),
        ..outer.clone()
    };
    let expected = sent(&[], &outer.around(&inner.one_hop_later().bytes()));
    assert_eq!(hex(&outcome.frame), hex(&expected));
}

fn trusted_client(rig: &mut Rig) -> std::net::Ipv6Addr {
    let peer = client(nat::PLAIN);
    rig.trust(&peer, mapped(nat::PLAIN), 0);
    ip(&peer)
}

/// invariants 6 and 7: the outer checksum is compared with one over all bytes.
#[test]
fn a_packet_to_a_fresh_peer_leaves_byte_for_byte_as_built_by_hand() {
    in_rig(|rig| {
        let to = trusted_client(rig);
        for len in LENGTHS {
            let data = data(len);
            for inner in [
                Inner::udp(native::PLAIN, to, &data),
                Inner::tcp(native::PLAIN, to, &data),
                Inner::echo(native::PLAIN, to, &data),
            ] {
                let outcome = encapsulate(rig, &inner);
                assert_eq!(outcome.action, action::REDIRECT);
                assert_eq!(outcome.bytes, inner.bytes().len());
                assert_leaves_as(&outcome, inner, &Outer::to_client(mapped(nat::PLAIN)));
            }
        }
    });
}

/// R-36 b: data goes where the peer was heard from, whatever its address says.
#[test]
fn data_goes_to_the_learned_mapping() {
    in_rig(|rig| {
        let peer = client(nat::PLAIN);
        let learned = super::frames::at([198, 51, 100, 9], 1234);
        rig.trust(&peer, learned, 0);
        let inner = Inner::udp(native::PLAIN, ip(&peer), b"data");
        let outcome = encapsulate(rig, &inner);
        assert_leaves_as(&outcome, inner, &Outer::to_client(learned));
    });
}

/// RFC 6040 4.1 normal mode and RFC 2983: DSCP and ECN are copied outwards, and stay inside.
#[test]
fn the_outer_tos_is_the_inner_traffic_class() {
    in_rig(|rig| {
        let to = trusted_client(rig);
        for class in 0..=u8::MAX {
            let inner = Inner {
                flow: 0xf_1234,
                ..Inner::udp(native::PLAIN, to, b"data").class(class)
            };
            let outcome = encapsulate(rig, &inner);
            let outer = Outer::to_client(mapped(nat::PLAIN)).tos(class);
            assert_leaves_as(&outcome, inner, &outer);
        }
    });
}

/// Invariant 7, whichever CPU a packet of one destination comes to.
#[test]
fn the_identification_is_never_zero_and_never_the_same_for_long() {
    const PACKETS: usize = 500;
    let cpus = core_affinity::get_core_ids().expect("the CPUs are known");
    in_rig(|rig| {
        let to = trusted_client(rig);
        let inner = Inner::udp(native::PLAIN, to, b"data");
        let seen: Vec<u16> = (0..PACKETS)
            .zip(cpus.iter().cycle())
            .map(|(_, &cpu)| {
                assert!(core_affinity::set_for_current(cpu));
                identification(&encapsulate(rig, &inner).frame)
            })
            .collect();
        assert!(!seen.contains(&0));
        let distinct: HashSet<u16> = seen.iter().copied().collect();
        // 500 draws out of 65535 collide twice on average.
        assert!(distinct.len() > PACKETS - 20, "{} distinct", distinct.len());
        let steps: HashSet<u16> = seen.windows(2).map(|w| w[1].wrapping_sub(w[0])).collect();
        assert!(steps.len() > PACKETS - 20, "{} distinct steps", steps.len());
    });
}

/// Invariant 6: what does not have the checksum that would imply the outer one gets none.
#[test]
fn the_outer_checksum_is_zero_where_nothing_implies_it() {
    in_rig(|rig| {
        let to = trusted_client(rig);
        let from = native::PLAIN;
        let udp = Inner::udp(from, to, b"four");
        let mut unchecked = udp.clone();
        unchecked.payload[6..8].fill(0);
        let mut longer = udp.clone();
        longer.payload.extend(b"behind the datagram");
        let mut shorter = udp.clone();
        shorter.payload[4..6].copy_from_slice(&[0, 7]);
        let icmp = Inner::echo(from, to, b"data").payload;
        for inner in [
            unchecked,
            longer,
            shorter,
            Inner::raw(from, to, UDP, &udp.payload[..7]),
            Inner::raw(from, to, TCP, &[1; 17]),
            Inner::raw(from, to, ICMP6, &[128, 0, 1]),
            Inner::raw(
                from,
                to,
                44,
                &[&[UDP, 0, 0, 1, 0, 0, 0, 1][..], &udp.payload].concat(),
            ),
            Inner::raw(
                from,
                to,
                0,
                &[&[ICMP6, 0, 1, 4, 0, 0, 0, 0][..], &icmp].concat(),
            ),
            Inner::raw(
                from,
                to,
                60,
                &[&[ICMP6, 0, 1, 4, 0, 0, 0, 0][..], &icmp].concat(),
            ),
            Inner::raw(from, to, 50, b"encrypted"),
            Inner::raw(from, to, NO_NEXT_HEADER, b""),
        ] {
            let outcome = encapsulate(rig, &inner);
            assert_eq!(udp_checksum(&outcome.frame), [0, 0], "{inner:?}");
            let outer = Outer {
                has_checksum: false,
                ..Outer::to_client(mapped(nat::PLAIN))
            };
            assert_leaves_as(&outcome, inner, &outer);
        }
    });
}

/// Invariant 6: inner packets are never repaired.
#[test]
fn a_packet_damaged_before_stays_detectably_damaged() {
    in_rig(|rig| {
        let to = trusted_client(rig);
        for at in [0, 9, 25, 26] {
            let mut inner = Inner::tcp(native::PLAIN, to, b"payload");
            inner.payload[at] ^= 0x10;
            let outcome = encapsulate(rig, &inner);
            assert!(!udp_checksum_is_right(&outcome.frame[IPV4..]));
            assert_eq!(
                hex(&outcome.frame[INNER + 40..]),
                hex(&inner.payload),
                "the payload is as it was"
            );
        }
    });
}

#[test]
fn ethernet_padding_does_not_enter_the_tunnel() {
    in_rig(|rig| {
        let to = trusted_client(rig);
        for padding in [1, 2, 5, 46, 500] {
            let inner = Inner::raw(native::PLAIN, to, NO_NEXT_HEADER, b"x");
            let mut frame = received(&[], &inner.bytes());
            frame.extend(vec![0xee; padding]);
            let outcome = rig.run(rig.lan, &frame);
            let outer = Outer {
                has_checksum: false,
                ..Outer::to_client(mapped(nat::PLAIN))
            };
            assert_leaves_as(&outcome, inner, &outer);
        }
    });
}

#[test]
fn a_relay_with_one_port_sends_back_through_it() {
    in_rig(|rig| {
        let to = trusted_client(rig);
        let inner = Inner::udp(native::PLAIN, to, b"data");
        let outcome = rig.run(rig.wan, &received(&[], &inner.bytes()));
        assert_eq!(outcome.action, action::TX);
        assert_leaves_as(&outcome, inner, &Outer::to_client(mapped(nat::PLAIN)));
    });
}

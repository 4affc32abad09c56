//! Ethernet, 802.1Q and 802.1ad: which frames are ours, and the tags of those that leave.

use relay_common::Reason;

use super::frames::{Inner, Outer, frame, received, sent};
use super::rig::{
    CUSTOMER_TAG, GATEWAY_MAC, PORT_MAC, Rig, SERVICE_TAG, action, client, hex, in_rig, ip, mapped,
};
use super::topology::{nat, native};

const TAGS: [[u8; 4]; 2] = [SERVICE_TAG, CUSTOMER_TAG];

/// 0, 1 and 2 tags, outermost first.
const TAGGINGS: [&[[u8; 4]]; 3] = [&[], &[CUSTOMER_TAG], &TAGS];

fn trust(rig: &mut Rig, nat: u8) {
    rig.trust(&client(nat), mapped(nat), 0);
}

#[test]
fn encapsulation_takes_any_tags_and_writes_those_of_the_route() {
    in_rig(|rig| {
        for tags_in in TAGGINGS {
            for (nat, tags_out) in [nat::PLAIN, nat::ONE_TAG, nat::TWO_TAGS]
                .into_iter()
                .zip(TAGGINGS)
            {
                trust(rig, nat);
                let inner = Inner::udp(native::PLAIN, ip(&client(nat)), b"data");
                let outcome = rig.run(rig.lan, &received(tags_in, &inner.bytes()));
                assert_eq!(outcome.action, action::REDIRECT);
                let ipv4 = 14 + 4 * tags_out.len();
                let outer = Outer {
                    identification: u16::from_be_bytes([
                        outcome.frame[ipv4 + 4],
                        outcome.frame[ipv4 + 5],
                    ]),
                    ..Outer::to_client(mapped(nat))
                };
                let expected = sent(tags_out, &outer.around(&inner.one_hop_later().bytes()));
                assert_eq!(
                    hex(&outcome.frame),
                    hex(&expected),
                    "{tags_in:02x?} {tags_out:02x?}"
                );
            }
        }
    });
}

#[test]
fn decapsulation_takes_any_tags_and_writes_those_of_the_route() {
    in_rig(|rig| {
        trust(rig, nat::PLAIN);
        for tags_in in TAGGINGS {
            for (to, tags_out) in [native::PLAIN, native::ONE_TAG, native::TWO_TAGS]
                .into_iter()
                .zip(TAGGINGS)
            {
                let inner = Inner::udp(ip(&client(nat::PLAIN)), to, b"data");
                let packet = Outer::from_client(mapped(nat::PLAIN)).around(&inner.bytes());
                let outcome = rig.run(rig.wan, &received(tags_in, &packet));
                assert_eq!(outcome.action, action::REDIRECT);
                let expected = sent(tags_out, &inner.one_hop_later().bytes());
                assert_eq!(
                    hex(&outcome.frame),
                    hex(&expected),
                    "{tags_in:02x?} {tags_out:02x?}"
                );
            }
        }
    });
}

/// Both directions' frames, which are carried when they are the port's own.
fn carried_frames(tags: &[[u8; 4]], to: [u8; 6]) -> [Vec<u8>; 2] {
    let peer = ip(&client(nat::PLAIN));
    let inner = Inner::udp(peer, native::PLAIN, b"data");
    let packet = Outer::from_client(mapped(nat::PLAIN)).around(&inner.bytes());
    [
        frame(
            to,
            GATEWAY_MAC,
            tags,
            &Inner::udp(native::PLAIN, peer, b"data").bytes(),
        ),
        frame(to, GATEWAY_MAC, tags, &packet),
    ]
}

#[test]
fn a_third_tag_is_left_to_the_kernel() {
    in_rig(|rig| {
        trust(rig, nat::PLAIN);
        for frame in carried_frames(&[SERVICE_TAG, CUSTOMER_TAG, CUSTOMER_TAG], PORT_MAC) {
            let outcome = rig.run(rig.lan, &frame);
            assert_eq!(
                (outcome.reason, outcome.action),
                (Reason::NotOurs, action::PASS)
            );
        }
    });
}

#[test]
fn a_frame_to_another_station_or_to_a_group_does_not_notice_us() {
    in_rig(|rig| {
        trust(rig, nat::PLAIN);
        for to in [GATEWAY_MAC, [0xff; 6], [0x33, 0x33, 0, 0, 0, 1], [0; 6]] {
            for frame in carried_frames(&[], to) {
                let outcome = rig.run(rig.lan, &frame);
                assert_eq!(
                    (outcome.reason, outcome.action),
                    (Reason::NotOurs, action::PASS)
                );
            }
        }
    });
}

/// The index every namespace gives its loopback.
const LOOPBACK: u32 = 1;

#[test]
fn a_port_that_is_not_listed_takes_nothing() {
    in_rig(|rig| {
        trust(rig, nat::PLAIN);
        for frame in carried_frames(&[], PORT_MAC) {
            let outcome = rig.run(LOOPBACK, &frame);
            assert_eq!(
                (outcome.reason, outcome.action),
                (Reason::NotOurs, action::PASS)
            );
        }
    });
}

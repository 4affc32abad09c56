//! Frames nobody should send: short, random, and damaged ones. None aborts the program, and each
//! is judged as the slow path's code judges it.

use std::cell::RefCell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use relay_common::{Kind, Reason};
use teredo::addr::{Mapped, TeredoAddr};

use super::frames::{Inner, Outer, fill_header_checksum, received};
use super::oracle::judge;
use super::rig::{CUSTOMER_TAG, Rig, SERVICE_TAG, action, client, hex, ip, leaves, mapped};
use super::server::{PRIMARY, SECONDARY, in_server};
use super::topology::{nat, native};
use super::vectors::vector;

const CASES: u32 = 4000;

/// The least `BPF_PROG_TEST_RUN` takes: an Ethernet header.
const SHORTEST: usize = 14;

fn known_peers() -> Vec<(TeredoAddr, Mapped)> {
    vec![
        (client(nat::PLAIN), mapped(nat::PLAIN)),
        // Learned from a symmetric NAT.
        (client(8), mapped(9)),
    ]
}

fn trust_all(rig: &mut Rig) {
    for (peer, mapped) in known_peers() {
        rig.trust(&peer, mapped, 0);
    }
}

/// Gives the reason.
fn check(rig: &mut Rig, frame: &[u8]) -> Reason {
    let outcome = rig.run(rig.wan, frame);
    assert_ne!(outcome.action, action::ABORTED, "{}", hex(frame));
    let verdict = judge(frame, &known_peers());
    assert!(
        verdict.allows(outcome.reason),
        "{:?}, not {verdict:?}: {}",
        outcome.reason,
        hex(frame)
    );
    let expected = match outcome.reason.kind() {
        _ if leaves(outcome.reason) => &[action::TX, action::REDIRECT][..],
        Kind::Passed | Kind::Punted => &[action::PASS],
        _ => &[action::DROP],
    };
    assert!(expected.contains(&outcome.action), "{outcome:?}");
    outcome.reason
}

/// Datagrams a server answers or sends on, of real nodes.
const TO_SERVER: [&str; 6] = [
    "rs_restricted_plain",
    "rs_cone_plain",
    "rs_restricted_auth",
    "bubble_relay_to_server",
    "bubble_indirect_nonce_to_server",
    "bubble_indirect_all_trailers",
];

/// Frames the program carries, or answers.
fn good_frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (number, name) in TO_SERVER.iter().enumerate() {
        let asked = Outer {
            to: [PRIMARY, SECONDARY][number % 2],
            ..Outer::from_client(mapped(9))
        };
        let tags = [&[][..], &[CUSTOMER_TAG], &[SERVICE_TAG, CUSTOMER_TAG]][number % 3];
        frames.push(received(tags, &asked.around(&vector(name))));
    }
    for (peer, mapped) in known_peers() {
        for tags in [&[][..], &[CUSTOMER_TAG], &[SERVICE_TAG, CUSTOMER_TAG]] {
            let native = native::PLAIN;
            let peer = ip(&peer);
            for (out, back) in [
                (
                    Inner::udp(native, peer, b"data"),
                    Inner::udp(peer, native, b"data"),
                ),
                (Inner::tcp(native, peer, b""), Inner::tcp(peer, native, b"")),
                (
                    Inner::echo(native, peer, &[7; 600]),
                    Inner::echo(peer, native, &[7; 600]),
                ),
            ] {
                frames.push(received(tags, &out.bytes()));
                frames.push(received(
                    tags,
                    &Outer::from_client(mapped).around(&back.bytes()),
                ));
            }
        }
    }
    frames
}

#[test]
fn frames_cut_at_every_length_are_judged_as_by_the_slow_path() {
    in_server(|rig| {
        trust_all(rig);
        for frame in good_frames() {
            for len in SHORTEST..=frame.len().min(130) {
                check(rig, &frame[..len]);
            }
            let reason = check(rig, &frame);
            assert!(leaves(reason), "{reason:?}: {}", hex(&frame));
        }
    });
}

/// What happens to a good frame on its way here.
#[derive(Clone, Debug)]
enum Damage {
    Byte(Index, u8),
    Cut(Index),
    Append(Vec<u8>),
    /// Overwrites one of the places where a value matters, with one that does.
    Place(Place, u8),
    /// Makes the outer header checksum right again, if there is one.
    Checksum,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// Relative to the IPv4 header.
    Outer(usize),
    /// Relative to the inner packet.
    Inner(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let interesting = select(vec![
        0, 1, 2, 6, 17, 43, 44, 58, 59, 60, 0x20, 0x45, 0x60, 0xfe, 0xff,
    ]);
    let place = prop_oneof![
        (0..28_usize).prop_map(Place::Outer),
        (0..48_usize).prop_map(Place::Inner)
    ];
    prop_oneof![
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, value)| Damage::Byte(at, value)),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => vec(any::<u8>(), 1..80).prop_map(Damage::Append),
        6 => (place, interesting).prop_map(|(place, value)| Damage::Place(place, value)),
        4 => Just(Damage::Checksum),
    ]
}

fn apply(frame: &mut Vec<u8>, network: usize, damage: Damage) {
    let is_ipv4 = frame[network] >> 4 == 4;
    match damage {
        Damage::Byte(at, value) => {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        Damage::Cut(at) => frame.truncate(SHORTEST.max(at.index(frame.len()))),
        Damage::Append(bytes) => frame.extend(bytes),
        Damage::Place(place, value) => {
            let at = match place {
                Place::Outer(at) => network + at,
                Place::Inner(at) => network + at + if is_ipv4 { 28 } else { 0 },
            };
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        Damage::Checksum => {
            let header_len = usize::from(frame[network] & 0xf) * 4;
            if is_ipv4 && header_len >= 20 && frame.len() >= network + header_len {
                fill_header_checksum(&mut frame[network..]);
            }
        }
    }
}

fn run_cases<S: Strategy>(rig: &mut Rig, strategy: &S, check: impl Fn(&mut Rig, S::Value)) {
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let rig = RefCell::new(rig);
    TestRunner::new(config)
        .run(strategy, |value| {
            let rig = &mut **rig.borrow_mut();
            // On a slow machine the cases take longer than a peer stays fresh.
            trust_all(rig);
            check(rig, value);
            Ok(())
        })
        .unwrap();
}

#[test]
fn damaged_frames_are_judged_as_by_the_slow_path() {
    in_server(|rig| {
        let strategy = (select(good_frames()), vec(damage(), 1..5));
        run_cases(rig, &strategy, |rig, (mut frame, damages)| {
            let network = match frame[12..14] {
                [0x81, 0x00] => 18,
                [0x88, 0xa8] => 22,
                _ => 14,
            };
            for damage in damages {
                if frame.len() > network {
                    apply(&mut frame, network, damage);
                }
            }
            check(rig, &frame);
        });
    });
}

#[test]
fn random_bytes_behind_a_plausible_beginning_are_judged_as_by_the_slow_path() {
    in_server(|rig| {
        let beginnings: Vec<Vec<u8>> = good_frames()
            .into_iter()
            .flat_map(|frame| [14, 18, 22, 34, 42, 50, 55, 58, 63].map(|len| frame[..len].to_vec()))
            .chain([vec![]])
            .collect();
        let strategy = (select(beginnings), vec(any::<u8>(), SHORTEST..300));
        run_cases(rig, &strategy, |rig, (beginning, rest)| {
            check(rig, &[beginning, rest].concat());
        });
    });
}

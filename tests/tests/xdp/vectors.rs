//! The protocol's test vectors through the program.

use std::fs;

use relay_common::{Kind, Reason};
use serde_json::Value;
use teredo::Fate;
use teredo::wire::payload;

use super::frames::{HOP_LIMIT, Outer, received, sent};
use super::rig::{client, hex, in_rig, mapped};
use super::topology::nat;

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../teredo/tests/fixtures/vectors.json"
);

fn vectors() -> Vec<(String, Vec<u8>)> {
    let file: Value = serde_json::from_str(&fs::read_to_string(FILE).unwrap()).unwrap();
    file["vectors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| {
            (
                v["name"].as_str().unwrap().into(),
                unhex(v["hex"].as_str().unwrap()),
            )
        })
        .collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

pub(crate) fn vector(name: &str) -> Vec<u8> {
    let found = vectors().into_iter().find(|(n, _)| n == name);
    found.unwrap_or_else(|| panic!("{name}")).1
}

/// The vectors of what a relay sends are as it leaves: one hop earlier they were received.
#[test]
fn what_a_relay_sends_to_a_client_is_as_in_the_vectors() {
    in_rig(|rig| {
        rig.trust(&client(nat::PLAIN), mapped(nat::PLAIN), 0);
        for name in ["data_native_to_client", "echo_reply_via_relay"] {
            let leaves = vector(name);
            let mut arrives = leaves.clone();
            arrives[HOP_LIMIT] += 1;
            let outcome = rig.run(rig.lan, &received(&[], &arrives));
            assert_eq!(outcome.reason, Reason::Encapsulated, "{name}");
            let outer = Outer {
                identification: u16::from_be_bytes([outcome.frame[18], outcome.frame[19]]),
                ..Outer::to_client(mapped(nat::PLAIN))
            };
            assert_eq!(
                hex(&outcome.frame),
                hex(&sent(&[], &outer.around(&leaves))),
                "{name}"
            );
        }
    });
}

#[test]
fn data_with_a_trailer_is_punted_and_without_it_carried() {
    in_rig(|rig| {
        rig.trust(&client(nat::PLAIN), mapped(nat::PLAIN), 0);
        let outer = Outer::from_client(mapped(nat::PLAIN));
        let whole = vector("data_client_to_native_nonce_trailer");
        let outcome = rig.run(rig.wan, &received(&[], &outer.around(&whole)));
        assert_eq!(outcome.reason, Reason::PuntTrailer);

        let mut packet = whole[..54].to_vec();
        let outcome = rig.run(rig.wan, &received(&[], &outer.around(&packet)));
        assert_eq!(outcome.reason, Reason::Decapsulated);
        packet[HOP_LIMIT] -= 1;
        assert_eq!(hex(&outcome.frame), hex(&sent(&[], &packet)));
    });
}

/// Each vector arrives from the trusted client: what the parser refuses is dropped for the same
/// reason or punted, and no bubble, header or trailer is carried past the slow path.
#[test]
fn no_vector_is_judged_otherwise_than_by_the_parser() {
    in_rig(|rig| {
        rig.trust(&client(nat::PLAIN), mapped(nat::PLAIN), 0);
        let outer = Outer::from_client(mapped(nat::PLAIN));
        for (name, bytes) in vectors() {
            let reason = rig
                .run(rig.wan, &received(&[], &outer.around(&bytes)))
                .reason;
            match payload::parse(&bytes) {
                Err(fate) => assert!(
                    reason == fate.into() || reason == Reason::PuntTunnelHeader,
                    "{name}: {reason:?} {fate:?}"
                ),
                Ok(parsed) if parsed.auth.is_some() || parsed.origin.is_some() => {
                    assert_eq!(reason, Reason::PuntTunnelHeader, "{name}");
                }
                Ok(parsed) if parsed.header.is_bubble() => assert!(
                    reason == Reason::PuntBubble || is_refused_before(reason),
                    "{name}: {reason:?}"
                ),
                Ok(parsed) => assert!(
                    reason.kind() != Kind::Forwarded || parsed.tail.is_empty(),
                    "{name}: {reason:?}"
                ),
            }
        }
    });
}

/// come before the question whether it is a bubble.
fn is_refused_before(reason: Reason) -> bool {
    reason == Fate::SourceNotTeredo.into() || reason == Fate::DestinationMulticast.into()
}

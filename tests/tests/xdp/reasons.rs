//! Every reason the program can give, each with the plainest frame that earns it.

mod client;
mod native;
mod outer;

use std::collections::HashSet;
use std::net::Ipv6Addr;

use relay_common::{Kind, PEER_FRESH_TICKS, Reason};
use teredo::addr::TeredoAddr;

use super::frames::{Inner, Outer, at, received};
use super::rig::{Rig, action, client, in_rig, ip, mapped};
use super::topology::{nat, native as to_native};

/// What the program carries and what it drops on its own. What it passes and punts is every
/// reason of those kinds, but the server's, which has tests of its own.
const OTHER: [Reason; 18] = [
    Reason::Encapsulated,
    Reason::Decapsulated,
    Reason::OuterLengthMismatch,
    Reason::OuterChecksumWrong,
    Reason::NoHeadroom,
    Reason::InnerTruncated,
    Reason::SourceNotGlobal,
    Reason::SourceTeredo,
    Reason::JumbogramForm,
    Reason::OuterSourcePortZero,
    Reason::PayloadNotTeredo,
    Reason::SourceNotTeredo,
    Reason::OuterSourceMismatch,
    Reason::DestinationMulticast,
    Reason::DestinationNotGlobal,
    Reason::DestinationTeredo,
    Reason::DestinationNotServed,
    Reason::CongestionMarkedNotEct,
];

/// A frame and what should become of it.
struct Case {
    what: &'static str,
    frame: Vec<u8>,
    reason: Reason,
}

fn case(what: &'static str, frame: Vec<u8>, reason: Reason) -> Case {
    Case {
        what,
        frame,
        reason,
    }
}

fn addr(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// The peer of most cases.
fn peer() -> Ipv6Addr {
    ip(&client(nat::PLAIN))
}

/// The NAT of a peer that is trusted but was not heard for 30 s.
const STALE: u8 = 20;
/// The NAT of a client nobody knows.
const STRANGER: u8 = 30;

/// A peer heard from elsewhere than its address says.
fn moved() -> TeredoAddr {
    client(21)
}

/// A peer that says it is where this machine is.
fn impostor() -> TeredoAddr {
    client(22)
}

fn trust_all(rig: &mut Rig) {
    for nat in [
        nat::PLAIN,
        nat::BLACKHOLE,
        nat::UNREACHABLE,
        nat::PROHIBITED,
        nat::NO_NEIGHBOUR,
        nat::SMALL_MTU,
        nat::FOREIGN_DEVICE,
        nat::UNLISTED_PORT,
        nat::NO_ROUTE,
    ] {
        rig.trust(&client(nat), mapped(nat), 0);
    }
    rig.trust(&client(STALE), mapped(STALE), PEER_FRESH_TICKS + 1);
    rig.trust(&moved(), at([198, 51, 100, 9], 1234), 0);
    rig.trust(&impostor(), at([203, 0, 113, 18], 40000), 0);
}

/// A datagram with `payload` from the peer's NAT.
fn payload(payload: &[u8]) -> Vec<u8> {
    received(&[], &Outer::from_client(mapped(nat::PLAIN)).around(payload))
}

fn expected_action(reason: Reason) -> u32 {
    match reason.kind() {
        Kind::Forwarded => action::REDIRECT,
        Kind::Passed | Kind::Punted => action::PASS,
        Kind::Dropped | Kind::Consumed => action::DROP,
    }
}

/// Runs `cases` on the port their packets come from and gives the reasons seen.
fn run(rig: &mut Rig, port: u32, cases: Vec<Case>) -> HashSet<Reason> {
    cases
        .into_iter()
        .map(|case| {
            let outcome = rig.run(port, &case.frame);
            assert_eq!(outcome.reason, case.reason, "{}", case.what);
            assert_eq!(
                outcome.action,
                expected_action(case.reason),
                "{}",
                case.what
            );
            if outcome.reason.kind() != Kind::Forwarded {
                assert_eq!(outcome.bytes, case.frame.len(), "{}", case.what);
            }
            outcome.reason
        })
        .collect()
}

/// Invariant 4.
#[test]
fn every_reason_of_the_relays_fast_path_can_be_earned_and_their_sum_is_the_packets_seen() {
    in_rig(|rig| {
        trust_all(rig);
        let (wan, lan) = (rig.wan, rig.lan);
        let mut seen = run(rig, lan, native::cases());
        seen.extend(run(rig, wan, outer::cases()));
        seen.extend(run(rig, wan, client::cases()));
        seen.extend(run(rig, wan, client::route_cases()));
        seen.insert(no_headroom(rig));

        let expected: HashSet<Reason> = Reason::ALL
            .iter()
            .filter(|reason| matches!(reason.kind(), Kind::Passed | Kind::Punted))
            .chain(&OTHER)
            .copied()
            .filter(|reason| *reason != Reason::PassToServer)
            .collect();
        assert_eq!(names(&seen), names(&expected), "seen, and on the list");
        let packets: u64 = rig.counters().iter().map(|counter| counter.packets).sum();
        assert_eq!(packets, rig.sent);
    });
}

fn no_headroom(rig: &mut Rig) -> Reason {
    let inner = Inner::udp(to_native::PLAIN, peer(), &[0; 200]);
    let outcome = rig.run_without_headroom(rig.lan, &received(&[], &inner.bytes()));
    assert_eq!(outcome.action, action::DROP);
    outcome.reason
}

fn names(reasons: &HashSet<Reason>) -> Vec<&'static str> {
    let mut names: Vec<_> = reasons.iter().map(|reason| reason.as_str()).collect();
    names.sort_unstable();
    names
}

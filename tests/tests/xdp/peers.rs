//! Freshness and early probes: invariants 2 and 3, R-36, R-53.

use relay_common::{PEER_FRESH_TICKS, PROBE_AFTER_TICKS, PeerKey, Reason};

use super::frames::{Inner, received};
use super::rig::{Rig, client, in_rig, ip, mapped};
use super::topology::{nat, native};

/// Ticks by which the clock may move on while a test runs, and more.
const MARGIN_TICKS: u32 = 15;

fn send(rig: &mut Rig) -> Reason {
    let inner = Inner::udp(native::PLAIN, ip(&client(nat::PLAIN)), b"data");
    rig.run(rig.lan, &received(&[], &inner.bytes())).reason
}

fn trust(rig: &mut Rig, age: u32) {
    rig.trust(&client(nat::PLAIN), mapped(nat::PLAIN), age);
}

#[test]
fn a_peer_is_fresh_until_thirty_seconds_after_its_last_packet() {
    in_rig(|rig| {
        for (age, reason) in [
            (0, Reason::Encapsulated),
            (PEER_FRESH_TICKS - MARGIN_TICKS, Reason::Encapsulated),
            (PEER_FRESH_TICKS, Reason::PuntPeerStale),
            (PEER_FRESH_TICKS + MARGIN_TICKS, Reason::PuntPeerStale),
        ] {
            trust(rig, age);
            assert_eq!(send(rig), reason, "{age}");
        }
    });
}

#[test]
fn a_peer_silent_for_twenty_seconds_is_reported_once_while_its_data_goes_on() {
    in_rig(|rig| {
        trust(rig, PROBE_AFTER_TICKS);
        for _ in 0..5 {
            assert_eq!(send(rig), Reason::Encapsulated);
        }
        assert_eq!(rig.probes(), [PeerKey::from(&client(nat::PLAIN))]);
    });
}

#[test]
fn a_peer_heard_lately_and_a_stale_one_are_not_reported() {
    in_rig(|rig| {
        for age in [0, PROBE_AFTER_TICKS - MARGIN_TICKS, PEER_FRESH_TICKS] {
            trust(rig, age);
            send(rig);
        }
        assert_eq!(rig.probes(), []);
    });
}

#[test]
fn sending_is_not_hearing() {
    in_rig(|rig| {
        trust(rig, 40);
        let heard = rig.entry(&client(nat::PLAIN)).last_rx;
        assert_eq!(send(rig), Reason::Encapsulated);
        assert_eq!(rig.entry(&client(nat::PLAIN)).last_rx, heard);
    });
}

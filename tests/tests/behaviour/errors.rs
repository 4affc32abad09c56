//! The relay as a router: what is too big or has no hops left is reported to its sender.

use std::net::Ipv6Addr;
use std::time::Duration;

use lab::shipworm::Datapath;
use lab::teredo_client::Bubbles;
use lab::{Lab, wait_for};
use relay_common::Reason;

use crate::for_each_datapath;
use crate::observed::{Captures, Error, error};
use crate::packet::{self, with_hop_limit};
use crate::scene::{SERVICE, SOON, Scene, status};

const PACKET_TOO_BIG: (u8, u8) = (2, 0);
const TIME_EXCEEDED: (u8, u8) = (3, 0);
const TUNNEL_MTU: usize = 1280;
/// What leaves 1280 bytes for the error with its headers.
const QUOTE_MAX: usize = 1280 - 40 - 8;
const UDP_AND_IPV6_LEN: usize = 48;

fn datagram_of(packet_len: usize, to: Ipv6Addr) -> Vec<u8> {
    packet::udp(Lab::HOST, to, &vec![0xa5; packet_len - UDP_AND_IPV6_LEN])
}

fn assert_error(error: &Error, kind: (u8, u8), parameter: u32, invoking: &[u8]) {
    assert_eq!(error.kind, kind);
    assert_eq!(error.parameter, parameter);
    assert_eq!((error.source, error.to), (Lab::RELAY_V6, Lab::HOST));
    let quoted = &invoking[..invoking.len().min(QUOTE_MAX)];
    assert_eq!(error.quote, quoted, "the quote is the packet as it came");
}

fn senders_hear_why(datapath: Datapath) {
    let scene = Scene::new(2, Bubbles::Answered);
    let relay = scene.relay(datapath);
    scene.establish(1);
    let (trusted, unknown) = (scene.clients.ipv6(0), scene.clients.ipv6(1));
    let captures = Captures::start(&scene.lab);
    let mut expected = Vec::new();
    // For a stranger too: no bubble is spent on what cannot be sent anyway.
    for to in [trusted, unknown] {
        for len in [TUNNEL_MTU + 1, 1500] {
            expected.push((PACKET_TOO_BIG, 1280, datagram_of(len, to)));
        }
        for hop_limit in [1, 0] {
            let last_hop = with_hop_limit(datagram_of(100, to), hop_limit);
            expected.push((TIME_EXCEEDED, 0, last_hop));
        }
    }
    for (.., packet) in &expected {
        scene.v6.send(packet);
    }
    // What just fits behind them: when it has arrived, so have the errors.
    let largest = datagram_of(TUNNEL_MTU, trusted);
    scene.v6.send(&largest);
    let arrivals = scene.arrivals(1);
    assert_eq!(
        arrivals[0].payload,
        with_hop_limit(largest, packet::HOP_LIMIT - 1)
    );
    if datapath != Datapath::Userspace {
        // There the kernel has answered before the relay saw anything.
        let counted = || {
            let reasons = status(&relay).reasons;
            [Reason::PacketTooBig, Reason::HopLimitExceeded]
                .map(|reason| reasons.of(reason).slow.packets)
        };
        wait_for("the errors to be counted", SOON, || counted() == [4, 4])
            .unwrap_or_else(|e| panic!("{e}: {:?}", counted()));
    }
    relay.stop().unwrap();
    let observed = captures.stop();
    observed.v6.assert_checksums_right().unwrap();
    let errors = observed.errors();
    assert_eq!(errors.len(), expected.len(), "{errors:?}");
    for (error, (kind, parameter, packet)) in errors.iter().zip(&expected) {
        assert_error(error, *kind, *parameter, packet);
    }
}

/// the error goes through the tunnel like any packet for the client.
fn a_client_hears_that_its_hops_are_used_up(datapath: Datapath) {
    let scene = Scene::new(1, Bubbles::Answered);
    let relay = scene.relay(datapath);
    scene.establish(1);
    let sent = with_hop_limit(
        packet::echo(scene.clients.ipv6(0), Lab::HOST, b"far away"),
        1,
    );
    scene.clients.send(0, SERVICE, &sent).unwrap();
    let arrivals = scene.arrivals(1);
    let error = error(Duration::ZERO, &arrivals[0].payload).expect("an ICMPv6 error");
    assert_eq!(error.kind, TIME_EXCEEDED);
    assert_eq!(error.to, scene.clients.ipv6(0));
    assert_eq!(error.source, Lab::RELAY_V6);
    assert_eq!(error.quote, sent);
    relay.stop().unwrap();
}

for_each_datapath! {
    senders_hear_why:
        xdp_reports_what_is_too_big_or_has_no_hops_left,
        generic_xdp_reports_what_is_too_big_or_has_no_hops_left,
        user_space_reports_what_is_too_big_or_has_no_hops_left;
    a_client_hears_that_its_hops_are_used_up:
        xdp_reports_to_a_client_that_its_hops_are_used_up,
        generic_xdp_reports_to_a_client_that_its_hops_are_used_up,
        user_space_reports_to_a_client_that_its_hops_are_used_up;
}

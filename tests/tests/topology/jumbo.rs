//! Ports with an MTU of 9000.

use lab::shipworm::Datapath;
use lab::{Cabling, Lab, Ping, wait_for};
use relay_common::Reason;

use crate::figures::Figures;
use crate::peer::{Peer, SOON, is_complete};
use crate::{bare, each_datapath, flow, start_with_peer};

each_datapath! {
    a_jumbo_packet_is_answered_with_packet_too_big = jumbo;
}

fn jumbo(datapath: Datapath) {
    let lab = bare(Cabling::TwoArmed);
    for (node, interface) in [
        (&lab.inet, "lb-rly"),
        (&lab.v6r, "lb-rly"),
        (&lab.relay, "lb-v4"),
        (&lab.relay, "lb-v6"),
        (&lab.v6r, "lb-host"),
        (&lab.host, "lb-v6"),
    ] {
        node.run(["ip", "link", "set", interface, "mtu", "9000"])
            .unwrap();
    }
    let (peer, relay) = start_with_peer(&lab, datapath);
    let report = peer.pinged(&flow(100));
    assert!(is_complete(&report), "{report:?}\n{}", relay.log());

    // 1232 bytes of data fill the tunnel; one more is too long, and so is a frame of 5000 bytes, which no buffer
    // of the slow path takes.
    let whole = Ping {
        data_len: 1232,
        ..flow(10)
    };
    assert!(is_complete(&peer.pinged(&whole)));
    assert_eq!(path_mtu(&lab, &peer), None);
    for data_len in [1233, 5000] {
        assert_too_big(&lab, &peer, data_len);
    }
    let figures = Figures::of(&relay);
    if datapath != Datapath::Userspace {
        assert_eq!(figures.fast(Reason::PuntPacketTooBig), 1);
        assert_eq!(figures.fast(Reason::FrameTooLargeToPunt), 1);
    }
    assert!(is_complete(&peer.pinged(&flow(100))));
    relay.stop().unwrap();
}

/// One packet, no answer, and the host knows the path better.
fn assert_too_big(lab: &Lab, peer: &Peer<'_>, data_len: usize) {
    lab.host.ip(&["-6 route flush cache"]).unwrap();
    let too_long = Ping {
        data_len,
        linger: std::time::Duration::from_millis(50),
        ..flow(1)
    };
    assert_eq!(peer.pinged(&too_long).received, 0);
    wait_for("Packet Too Big", SOON, || path_mtu(lab, peer) == Some(1280))
        .unwrap_or_else(|e| panic!("{data_len}: {e}"));
}

/// What the native host has learned about the path to the peer.
fn path_mtu(lab: &Lab, peer: &Peer<'_>) -> Option<u64> {
    let to = peer.ipv6().to_string();
    let json = lab
        .host
        .run(["ip", "-6", "-j", "route", "get", &to])
        .unwrap();
    let routes: serde_json::Value = serde_json::from_str(&json).unwrap();
    routes[0]["metrics"][0]["mtu"].as_u64()
}

//! What a running relay says about itself.

use lab::shipworm::Datapath;
use lab::wait_for;
use relay_common::{Kind, Reason};
use serde_json::Value;

use crate::daemon::{Daemon, SOON, flags};
use crate::figures::driver_counter;
use crate::peer::{Peer, is_complete};
use crate::{bare, flow};

#[test]
fn status_and_peers_show_addresses_modes_one_peer_and_every_reason() {
    for datapath in Datapath::ALL {
        let lab = bare();
        let peer = Peer::start(&lab);
        let daemon = Daemon::start(&lab, &flags(&lab, datapath.as_str()));
        assert!(is_complete(&peer.pinged(&flow(20))));

        let status: Value = serde_json::from_str(&daemon.ask(&["status", "--json"])).unwrap();
        assert_eq!(status["service_address"], "203.0.113.18:3545");
        assert_eq!(status["native_address"], "2001:db8:1::2");
        assert_eq!(status["state"], "running");
        assert_eq!(status["pid"], daemon.pid());
        assert_eq!(status["datapath"]["active"], datapath.as_str());
        assert_eq!(status["datapath"]["fell_back"], Value::Null);
        assert_eq!(status["warnings"], Value::Array(Vec::new()));
        for (interface, name) in status["interfaces"]
            .as_array()
            .unwrap()
            .iter()
            .zip(["lb-v4", "lb-v6"])
        {
            assert_eq!(interface["name"], name);
            assert_eq!(interface["mode"], datapath.as_str());
        }
        assert_eq!(
            (&status["peers"]["fresh"], &status["peers"]["probing"]),
            (&1.into(), &0.into())
        );
        for reason in Reason::ALL {
            assert_eq!(
                status["reasons"][reason.as_str()]["kind"],
                reason.kind().as_str()
            );
        }

        let peers: Value = serde_json::from_str(&daemon.ask(&["peers", "--json"])).unwrap();
        assert_eq!(peers["total"], 1);
        assert_eq!(peers["peers"][0]["address"], peer.ipv6().to_string());
        assert_eq!(peers["peers"][0]["mapped"], peer.mapped().to_string());
        assert_eq!(peers["peers"][0]["state"], "fresh");

        let text = daemon.ask(&["status"]);
        for part in [
            "203.0.113.18:3545",
            "2001:db8:1::2",
            "1 fresh, 0 stale, 0 probing, 0 blocked",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let text = daemon.ask(&["peers"]);
        assert!(
            text.contains(&peer.ipv6().to_string()) && text.ends_with("1 peers\n"),
            "{text}"
        );
    }
}

#[test]
fn each_frame_the_program_saw_has_one_reason() {
    let lab = bare();
    let peer = Peer::start(&lab);
    let daemon = Daemon::start(&lab, &flags(&lab, "xdp"));
    assert!(is_complete(&peer.pinged(&flow(1))));
    assert!(is_complete(&peer.pinged(&flow(500))));
    let mut last = (0, 0);
    // The machine's own neighbour discovery goes on between the two readings.
    wait_for("equal sums", SOON, || {
        let seen = |interface| driver_counter(&lab.relay, interface, "xdp_packets");
        let status: Value = serde_json::from_str(&daemon.ask(&["status", "--json"])).unwrap();
        let counted = |reason: &Reason| {
            status["reasons"][reason.as_str()]["fast"]["packets"]
                .as_u64()
                .unwrap()
        };
        last = (
            Reason::ALL.iter().map(counted).sum(),
            seen("lb-v4") + seen("lb-v6"),
        );
        last.0 == last.1
    })
    .unwrap_or_else(|e| panic!("{e}: {last:?}"));
    assert!(last.0 > 1000, "{last:?}");
}

#[test]
fn auto_falls_back_where_a_device_has_no_native_xdp_and_says_so() {
    let lab = bare();
    lab.relay
        .run(["ip", "link", "add", "lb-br", "type", "bridge"])
        .unwrap();
    lab.relay.ip(&["link set lb-br up"]).unwrap();
    let peer = Peer::start(&lab);
    let mut flags = flags(&lab, "auto");
    flags.extend(["--iface".to_owned(), "lb-br".to_owned()]);
    let daemon = Daemon::start(&lab, &flags);
    assert!(is_complete(&peer.pinged(&flow(100))));

    let why = "relay: --iface lb-br: driver bridge has no native XDP (use --datapath xdp-generic, or auto)";
    let warning = format!("native XDP does not work here, running xdp-generic instead: {why}");
    assert!(daemon.log().contains(&warning), "{}", daemon.log());
    let status: Value = serde_json::from_str(&daemon.ask(&["status", "--json"])).unwrap();
    assert_eq!(status["datapath"]["requested"], "auto");
    assert_eq!(status["datapath"]["active"], "xdp-generic");
    assert_eq!(status["datapath"]["fell_back"], why);
    assert_eq!(status["warnings"][0], *warning);
    for interface in status["interfaces"].as_array().unwrap() {
        assert_eq!(interface["mode"], "xdp-generic");
    }
    let carried: u64 = Reason::ALL
        .iter()
        .filter(|reason| reason.kind() == Kind::Forwarded)
        .map(|reason| {
            status["reasons"][reason.as_str()]["fast"]["packets"]
                .as_u64()
                .unwrap()
        })
        .sum();
    assert!(carried > 150, "{carried}");
    assert!(daemon.ask(&["status"]).starts_with("WARNING"));
}

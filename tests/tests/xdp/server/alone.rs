//! A server without a relay, and a relay without a server.

use relay_common::Reason;

use super::super::frames::{Inner, Outer, received};
use super::super::rig::{Rig, Settings, client, in_topology, mapped};
use super::super::topology::{nat, native};
use super::*;

fn alone(test: impl FnOnce(&mut Rig) + Send) {
    in_topology(|| {
        test(&mut Rig::load(&Settings {
            has_relay: false,
            server: Some(role()),
            ..Settings::default()
        }));
    });
}

fn let_loopback_forward(value: &str) {
    std::fs::write("/proc/sys/net/ipv4/conf/lo/forwarding", value).unwrap();
}

fn asks() -> Vec<u8> {
    received(
        &[],
        &to(PRIMARY).around(&solicitation(RESTRICTED, 0).bytes()),
    )
}

fn bubbles() -> Vec<u8> {
    received(
        &[],
        &to(PRIMARY).around(&bubble(sender(), receiver()).bytes()),
    )
}

#[test]
fn a_server_alone_leaves_the_relays_packets_to_the_kernel() {
    alone(|rig| {
        let peer = client(nat::PLAIN);
        rig.trust(&peer, mapped(nat::PLAIN), 0);
        let out = Inner::udp(native::PLAIN, ip(&peer), b"data");
        assert_eq!(
            rig.run(rig.lan, &received(&[], &out.bytes())).reason,
            Reason::NotOurs
        );
        let back = Inner::udp(ip(&peer), native::PLAIN, b"data");
        let frame = received(
            &[],
            &Outer::from_client(mapped(nat::PLAIN)).around(&back.bytes()),
        );
        assert_eq!(rig.run(rig.wan, &frame).reason, Reason::NotOurs);
        assert_eq!(rig.run(rig.wan, &asks()).reason, Reason::Advertised);
    });
}

/// Routes are those of the machine's own packets; where the kernel says nothing for want of forwarding, the socket sends.
#[test]
fn a_server_alone_looks_routes_up_from_the_loopback_device() {
    alone(|rig| {
        let_loopback_forward("0");
        assert_eq!(rig.run(rig.wan, &bubbles()).reason, Reason::PassToServer);
        let_loopback_forward("1");
        assert_eq!(
            rig.run(rig.wan, &bubbles()).reason,
            Reason::ForwardedToClient
        );
    });
}

#[test]
fn without_a_server_nobody_listens_at_its_port() {
    super::super::rig::in_rig(|rig| {
        for frame in [asks(), bubbles()] {
            assert_eq!(rig.run(rig.wan, &frame).reason, Reason::NotOurs);
        }
    });
}

/// One address for both: the port tells them apart.
#[test]
fn relay_and_server_may_share_an_address() {
    in_topology(|| {
        let mut rig = Rig::load(&Settings {
            server: Some(ServerRole {
                secondary: super::super::rig::SERVICE.ip,
                ..role()
            }),
            ..Settings::default()
        });
        let peer = client(nat::PLAIN);
        rig.trust(&peer, mapped(nat::PLAIN), 0);
        let at_secondary = Outer {
            to: at([203, 0, 113, 9], 3544),
            ..to(PRIMARY)
        };
        let asks = at_secondary.around(&solicitation(RESTRICTED, 0).bytes());
        assert_eq!(
            rig.run(rig.wan, &received(&[], &asks)).reason,
            Reason::Advertised
        );
        let back = Inner::udp(ip(&peer), native::PLAIN, b"data");
        let frame = received(
            &[],
            &Outer::from_client(mapped(nat::PLAIN)).around(&back.bytes()),
        );
        assert_eq!(rig.run(rig.wan, &frame).reason, Reason::Decapsulated);
    });
}

//! The note in front of a punted bubble, and what user space sends by it (`docs/decisions/0017`).

use std::net::SocketAddrV4;
use std::os::fd::AsRawFd as _;
use std::process::Command;

use relay_common::{
    AF_INET, Egress, HOP_RETIRED, HopKey, MappedWord, NextHop, Reason, Routing, VlanTag, WayBack,
};
use relay_user::slowpath::outer::Datagram;
use teredo::addr::Mapped;

use super::frames::{Inner, Outer, received};
use super::punt::af_xdp_socket;
use super::rig::{
    CUSTOMER_TAG, GATEWAY_MAC, PORT_MAC, Rig, SERVICE, SERVICE_TAG, action, client, hex, in_rig,
    ip, mapped,
};
use super::topology::{ifindex, nat, native};

const NO_NEXT_HEADER: u8 = 59;

/// What `nat` answers the relay with.
fn bubble(nat: u8) -> Vec<u8> {
    let bubble = Inner::raw(ip(&client(nat)), native::PLAIN, NO_NEXT_HEADER, b"");
    received(
        &[],
        &Outer::from_client(mapped(nat)).around(&bubble.bytes()),
    )
}

fn key(device: &str) -> HopKey {
    HopKey {
        ifindex: ifindex(device),
        mtu: 1500,
        destination_mac: GATEWAY_MAC,
        source_mac: PORT_MAC,
        family: AF_INET.into(),
    }
}

/// By the port `wan`, under `tags`.
fn egress(rig: &Rig, tags: &[[u8; 4]]) -> Egress {
    let mut egress = Egress {
        port: rig.number_of(rig.wan),
        tag_count: u32::try_from(tags.len()).unwrap(),
        ..Egress::default()
    };
    for (to, [a, b, c, d]) in egress.tags.iter_mut().zip(tags) {
        *to = VlanTag {
            protocol: [*a, *b],
            tci: [*c, *d],
        };
    }
    egress
}

fn keep_ipv4(rig: &mut Rig, keep: bool) {
    rig.set_routing(Routing {
        keep_ipv4: keep.into(),
        ..Routing::default()
    });
}

/// Sockets for both ports, and the next hop through `wan`, as `version`. The sockets close with what is given.
fn with_a_kept_hop(rig: &mut Rig, version: u32) -> (u32, impl Drop + use<>) {
    let socket = af_xdp_socket();
    for port in [rig.wan, rig.lan] {
        rig.set_port(port, 1);
    }
    rig.set_socket(0, socket.as_raw_fd());
    keep_ipv4(rig, true);
    let egress = egress(rig, &[]);
    (rig.enter_hop(key("wan"), egress, version), socket)
}

/// What came out in front of a punted `frame`.
fn in_front(rig: &mut Rig, frame: &[u8]) -> (Reason, u32, Vec<u8>) {
    let outcome = rig.run_on_queue(rig.wan, 0, frame);
    let (front, rest) = outcome.frame.split_at(outcome.frame.len() - frame.len());
    assert_eq!(hex(rest), hex(frame), "a punted frame is as it came");
    assert_eq!(outcome.bytes, frame.len(), "a note is not counted");
    (outcome.reason, outcome.action, front.to_vec())
}

#[test]
fn a_bubble_comes_with_the_kept_way_back_in_front_of_it() {
    in_rig(|rig| {
        let (hop, _socket) = with_a_kept_hop(rig, 7);
        let (reason, action, front) = in_front(rig, &bubble(nat::PLAIN));
        assert_eq!((reason, action), (Reason::PuntBubble, action::REDIRECT));
        let Mapped { ip, port } = mapped(nat::PLAIN);
        assert_eq!(
            WayBack::from_bytes(&front.try_into().unwrap()),
            WayBack {
                to: MappedWord::new(ip.octets(), port.to_be_bytes()),
                hop,
                version: 7,
            }
        );
    });
}

#[test]
fn a_bubble_whose_way_back_is_not_kept_comes_without_a_note() {
    in_rig(|rig| {
        let (hop, _socket) = with_a_kept_hop(rig, 1);
        let bare = (Reason::PuntBubble, action::REDIRECT, vec![]);
        for no_way in [
            nat::BLACKHOLE,
            nat::UNREACHABLE,
            nat::NO_NEIGHBOUR,
            nat::NO_ROUTE,
            nat::FOREIGN_DEVICE,
            nat::ONE_TAG,
        ] {
            assert_eq!(in_front(rig, &bubble(no_way)), bare, "{no_way}");
        }
        keep_ipv4(rig, false);
        assert_eq!(in_front(rig, &bubble(nat::PLAIN)), bare, "not to be kept");
        keep_ipv4(rig, true);
        let retired = NextHop {
            state: HOP_RETIRED,
            ..rig.hop(hop)
        };
        rig.set_hop(hop, retired);
        assert_eq!(in_front(rig, &bubble(nat::PLAIN)), bare, "retired");
    });
}

/// The kernel is asked about each: a host route may lead elsewhere.
#[test]
fn the_way_back_is_the_route_to_the_sender_and_not_the_way_the_bubble_came() {
    in_rig(|rig| {
        let (_, _socket) = with_a_kept_hop(rig, 1);
        let egress = egress(rig, &[CUSTOMER_TAG]);
        let other = rig.enter_hop(key("wan-tag"), egress, 4);
        let (.., front) = in_front(rig, &bubble(nat::ONE_TAG));
        let note = WayBack::from_bytes(&front.try_into().unwrap());
        assert_eq!((note.hop, note.version), (other, 4));
        let status = Command::new("ip")
            .args(["route", "add", "blackhole", "198.51.100.65/32"])
            .status();
        assert!(status.expect("iproute2 is installed").success());
        assert_eq!(in_front(rig, &bubble(nat::ONE_TAG)).2, Vec::<u8>::new());
    });
}

#[test]
fn other_frames_and_what_the_kernel_gets_come_without_a_note() {
    in_rig(|rig| {
        let (_, _socket) = with_a_kept_hop(rig, 1);
        let data = Inner::udp(ip(&client(nat::PLAIN)), native::PLAIN, b"data");
        let data = received(
            &[],
            &Outer::from_client(mapped(nat::PLAIN)).around(&data.bytes()),
        );
        assert_eq!(
            in_front(rig, &data),
            (Reason::PuntPeerUnknown, action::REDIRECT, vec![])
        );
        rig.set_port(rig.wan, 0);
        assert_eq!(
            in_front(rig, &bubble(nat::PLAIN)),
            (Reason::PuntBubble, action::PASS, vec![])
        );
    });
}

/// A client cannot tell by a frame which of the two has sent it.
#[test]
fn user_space_writes_the_frame_that_the_program_writes() {
    in_rig(|rig| {
        let both = [SERVICE_TAG, CUSTOMER_TAG];
        for (nat, device, tags) in [
            (nat::PLAIN, "wan", &[][..]),
            (nat::ONE_TAG, "wan-tag", &[CUSTOMER_TAG][..]),
            (nat::TWO_TAGS, "wan-tags", &both[..]),
        ] {
            let peer = client(nat);
            rig.trust(&peer, mapped(nat), 0);
            for (len, class) in [(0, 0), (1, 0xb8), (600, 0x02), (1232, 0xff)] {
                let inner = Inner::udp(native::PLAIN, ip(&peer), &vec![0x5a; len]).class(class);
                let sent = rig.run(rig.lan, &received(&[], &inner.bytes()));
                assert_eq!(sent.reason, Reason::Encapsulated, "{nat} {len}");
                let ipv4 = &sent.frame[14 + 4 * tags.len()..];
                let payload = inner.one_hop_later().bytes();
                let datagram = Datagram {
                    from: SocketAddrV4::new(SERVICE.ip, SERVICE.port),
                    to: mapped(nat),
                    tos: ipv4[1],
                    identification: u16::from_be_bytes([ipv4[4], ipv4[5]]),
                    payload: &payload,
                };
                let egress = egress(rig, tags);
                let mut frame = vec![0xaa; datagram.frame_len(&egress)];
                datagram.write(&key(device), &egress, &mut frame).unwrap();
                assert_eq!(hex(&frame), hex(&sent.frame), "{nat} {len}");
            }
        }
    });
}

//! The way to the slow path and its fallback.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use relay_common::Reason;

use super::frames::{Inner, Outer, at, received};
use super::rig::{PUNT_FRAME_MAX, Rig, action, client, hex, in_rig, ip, mapped};
use super::topology::{nat, native};

pub(super) fn af_xdp_socket() -> OwnedFd {
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW, 0) };
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the descriptor was just made and belongs to nobody else.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A packet to a peer that is not known, in a frame of `len` bytes.
fn unknown(len: usize) -> Vec<u8> {
    let data = vec![0; len - 14 - 48];
    received(
        &[],
        &Inner::udp(native::PLAIN, ip(&client(nat::PLAIN)), &data).bytes(),
    )
}

fn punt(rig: &mut Rig, queue: u32, frame: &[u8]) -> (Reason, u32) {
    let outcome = rig.run_on_queue(rig.lan, queue, frame);
    assert_eq!(
        hex(&outcome.frame),
        hex(frame),
        "a punted frame is as it came"
    );
    assert_eq!(outcome.bytes, frame.len());
    (outcome.reason, outcome.action)
}

#[test]
fn a_frame_goes_to_the_socket_of_its_queue_and_to_the_kernel_where_there_is_none() {
    in_rig(|rig| {
        let frame = unknown(100);
        let to_kernel = (Reason::PuntPeerUnknown, action::PASS);
        let to_socket = (Reason::PuntPeerUnknown, action::REDIRECT);
        rig.set_port(rig.lan, 2);
        assert_eq!(punt(rig, 0, &frame), to_kernel);
        let socket = af_xdp_socket();
        rig.set_socket(1, socket.as_raw_fd());
        assert_eq!(punt(rig, 0, &frame), to_kernel);
        assert_eq!(punt(rig, 1, &frame), to_socket);
        // Queues beyond those the port has sockets for.
        rig.set_port(rig.lan, 1);
        assert_eq!(punt(rig, 1, &frame), to_kernel);
    });
}

#[test]
fn a_frame_larger_than_a_socket_takes_is_left_to_the_kernel() {
    in_rig(|rig| {
        rig.set_port(rig.lan, 1);
        let socket = af_xdp_socket();
        rig.set_socket(0, socket.as_raw_fd());
        let max = PUNT_FRAME_MAX as usize;
        assert_eq!(
            punt(rig, 0, &unknown(max)),
            (Reason::PuntPacketTooBig, action::REDIRECT)
        );
        for len in [max + 1, 6000] {
            assert_eq!(
                punt(rig, 0, &unknown(len)),
                (Reason::FrameTooLargeToPunt, action::PASS)
            );
        }
    });
}

/// Everything is decided before the packet changes: also what only the route tells.
#[test]
fn a_frame_punted_for_its_route_is_as_it_came() {
    in_rig(|rig| {
        let peer = client(nat::PLAIN);
        rig.trust(&peer, mapped(nat::PLAIN), 0);
        let unreachable = client(nat::NO_NEIGHBOUR);
        rig.trust(&unreachable, mapped(nat::NO_NEIGHBOUR), 0);
        let inner = Inner::udp(ip(&peer), native::NO_NEIGHBOUR, b"data");
        for frame in [
            received(
                &[],
                &Inner::udp(native::PLAIN, ip(&unreachable), b"data").bytes(),
            ),
            received(
                &[],
                &Outer::from_client(mapped(nat::PLAIN)).around(&inner.bytes()),
            ),
        ] {
            assert_eq!(
                punt(rig, 0, &frame),
                (Reason::PuntNoNeighbour, action::PASS)
            );
        }
    });
}

/// R-36 a: the slow path may move the peer there.
#[test]
fn a_client_back_at_the_address_it_was_named_after_is_handed_to_the_slow_path() {
    in_rig(|rig| {
        let peer = client(nat::PLAIN);
        rig.trust(&peer, at([198, 51, 100, 9], 1234), 0);
        let inner = Inner::udp(ip(&peer), native::PLAIN, b"data");
        let frame = received(
            &[],
            &Outer::from_client(mapped(nat::PLAIN)).around(&inner.bytes()),
        );
        assert_eq!(
            punt(rig, 0, &frame),
            (Reason::PuntMappingChanged, action::PASS)
        );
    });
}

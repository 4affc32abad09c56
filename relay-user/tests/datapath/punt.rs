//! Frames the XDP program does not carry itself: to the `AF_XDP` socket, else to the kernel.

use relay_common::Reason;
use relay_user::datapath::{Datapath, Mode};
use relay_user::net::{self, Snapshot};
use relay_user::slowpath::frame::{self, Frame};
use relay_user::slowpath::xsk::{PUNT_FRAME_MAX, PuntSocket, Punted};

use crate::cable::{
    FAR_MAC, PORT_MAC, Wire, in_namespace, ip, lay_cable, native_frame, port, wait_for,
};
use crate::load;

const MODES: [Mode; 2] = [Mode::Xdp, Mode::XdpGeneric];

/// A datapath attached to `port0`.
fn attached(mode: Mode) -> Datapath {
    lay_cable();
    let mut datapath = load(mode);
    let port = port();
    datapath.attach(&port, net::rx_queues(&port.name)).unwrap();
    datapath.reconcile(&Snapshot::take().unwrap());
    datapath
}

fn open_socket(datapath: &mut Datapath, mode: Mode) -> PuntSocket {
    let port = &datapath.attached()[0];
    let generic = mode == Mode::XdpGeneric;
    let socket = PuntSocket::open(&port.name, 0, false, generic).unwrap();
    datapath.set_socket(port.xsk_base, &socket).unwrap();
    socket
}

fn packets(datapath: &Datapath, reason: Reason) -> u64 {
    datapath.counters().read().unwrap()[reason as usize].packets
}

/// Receives until `frame` came, and it alone.
fn expect(socket: &mut PuntSocket, frame: &[u8]) {
    wait_for("the punted frame", || {
        let mut came = None;
        socket
            .receive(|frames| came = frames.next().map(|punted| punted.frame.to_vec()))
            .unwrap();
        came.map(|received| assert_eq!(received, frame))
    });
}

#[test]
fn a_punted_frame_reaches_the_socket_as_it_came() {
    for mode in MODES {
        in_namespace(|| {
            let mut datapath = attached(mode);
            let mut socket = open_socket(&mut datapath, mode);
            let kernel = Wire::on("port0");
            let far = Wire::on("far0");
            for mark in 0..200 {
                let frame = native_frame(PORT_MAC, mark, 100);
                far.send(&frame);
                expect(&mut socket, &frame);
                assert_eq!(frame::read(&frame), Ok(Frame::Native(&frame[14..])));
                assert!(!kernel.has_received(&frame), "taken by the socket alone");
            }
            assert_eq!(packets(&datapath, Reason::PuntPeerUnknown), 200, "{mode}");
            let statistics = socket.counters().read();
            assert_eq!((statistics.frames, statistics.bytes), (200, 200 * 154));
        });
    }
}

#[test]
fn without_a_socket_the_kernel_gets_the_frame() {
    for mode in MODES {
        in_namespace(|| {
            let mut datapath = attached(mode);
            let kernel = Wire::on("port0");
            let far = Wire::on("far0");
            let before = native_frame(PORT_MAC, 1, 100);
            far.send(&before);
            wait_for("the frame in the kernel", || {
                kernel.has_received(&before).then_some(())
            });

            // A worker that ends must not leave a hole behind.
            let socket = open_socket(&mut datapath, mode);
            let watch = socket.watch();
            drop(socket);
            assert!(watch.is_quiet());
            let after = native_frame(PORT_MAC, 2, 100);
            wait_for("the frame in the kernel again", || {
                far.send(&after);
                kernel.has_received(&after).then_some(())
            });
            assert!(packets(&datapath, Reason::PuntPeerUnknown) >= 2, "{mode}");
        });
    }
}

#[test]
fn a_frame_larger_than_a_buffer_is_the_kernel_s() {
    in_namespace(|| {
        let mut datapath = attached(Mode::Xdp);
        for end in ["port0", "far0"] {
            ip(&format!("link set {end} mtu 3000"));
        }
        let mut socket = open_socket(&mut datapath, Mode::Xdp);
        let kernel = Wire::on("port0");
        let far = Wire::on("far0");
        let overhead = 14 + 40;
        let largest = u16::try_from(PUNT_FRAME_MAX).unwrap() - overhead;
        let fits = native_frame(PORT_MAC, 1, largest);
        far.send(&fits);
        expect(&mut socket, &fits);
        let too_large = native_frame(PORT_MAC, 2, largest + 1);
        far.send(&too_large);
        wait_for("the large frame in the kernel", || {
            kernel.has_received(&too_large).then_some(())
        });
        assert_eq!(packets(&datapath, Reason::FrameTooLargeToPunt), 1);
        assert_eq!(packets(&datapath, Reason::PuntPacketTooBig), 1);
    });
}

#[test]
fn buffers_go_round_for_longer_than_there_are() {
    in_namespace(|| {
        const BURSTS: usize = 1000;
        const BURST: usize = 32;
        let mut datapath = attached(Mode::Xdp);
        let mut socket = open_socket(&mut datapath, Mode::Xdp);
        let far = Wire::on("far0");
        let frame = native_frame(PORT_MAC, 3, 64);
        for _ in 0..BURSTS {
            for _ in 0..BURST {
                far.send(&frame);
            }
            let mut received = 0;
            wait_for("the burst", || {
                let all_equal = |frames: &mut dyn Iterator<Item = Punted<'_>>| {
                    frames.for_each(|received| assert_eq!(received.frame, frame));
                };
                received += socket.receive(all_equal).unwrap();
                (received == BURST).then_some(())
            });
        }
        let lost = socket.counters().read();
        assert_eq!((lost.rx_dropped, lost.rx_ring_full), (0, 0));
    });
}

#[test]
fn a_frame_that_waits_is_seen_from_outside_until_it_is_handed_over() {
    in_namespace(|| {
        let mut datapath = attached(Mode::Xdp);
        let mut socket = open_socket(&mut datapath, Mode::Xdp);
        let watch = socket.watch();
        assert!(watch.is_quiet());
        Wire::on("far0").send(&native_frame(PORT_MAC, 1, 10));
        wait_for("the frame in the ring", || {
            (!watch.is_quiet()).then_some(())
        });
        socket
            .receive(|_| {
                assert!(!watch.is_quiet(), "in the worker's hands");
            })
            .unwrap();
        assert!(watch.is_quiet());
    });
}

#[test]
fn a_port_s_new_mac_address_is_followed() {
    in_namespace(|| {
        const NEW_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xc];
        let mut datapath = attached(Mode::Xdp);
        let mut socket = open_socket(&mut datapath, Mode::Xdp);
        ip("link set port0 address 02:00:00:00:00:0c");
        datapath.reconcile(&Snapshot::take().unwrap());
        let far = Wire::on("far0");
        let other_host = native_frame(PORT_MAC, 1, 10);
        let frame = native_frame(NEW_MAC, 2, 10);
        far.send(&other_host);
        far.send(&frame);
        expect(&mut socket, &frame);
        assert_ne!(FAR_MAC, NEW_MAC);
        assert!(packets(&datapath, Reason::NotOurs) >= 1);
    });
}

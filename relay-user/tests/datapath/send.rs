//! Frames that leave through a punt socket.

use relay_user::slowpath::xsk::PuntSocket;
use relay_user::slowpath::xsk_out::FramesOut;

use crate::cable::{FAR_MAC, Wire, in_namespace, ip, lay_cable, native_frame, wait_for};

/// A cable and a socket on its near end.
fn open() -> PuntSocket {
    lay_cable();
    PuntSocket::open("port0", 0, false, false).unwrap()
}

/// The next frame at the far end that is not the kernel's own.
fn next_to_far(far: &Wire) -> Option<Vec<u8>> {
    std::iter::from_fn(|| far.next()).find(|frame| frame.starts_with(&FAR_MAC))
}

fn write(out: &FramesOut, frame: &[u8]) -> bool {
    out.write(frame.len(), |room| {
        room.copy_from_slice(frame);
        Some(())
    })
}

#[test]
fn frames_leave_in_order_as_they_were_written_and_not_before_they_are_flushed() {
    in_namespace(|| {
        let socket = open();
        let out = socket.out();
        let far = Wire::on("far0");
        let frames: Vec<_> = (0..100)
            .map(|mark| native_frame(FAR_MAC, mark, 10 * u16::from(mark)))
            .collect();
        for frame in &frames {
            assert!(write(&out, frame));
        }
        assert_eq!(socket.counters().read().sent, 0);
        assert_eq!(next_to_far(&far), None);

        assert!(out.flush());
        for frame in &frames {
            let next = wait_for("a frame", || next_to_far(&far));
            assert_eq!(next, *frame);
        }
        assert_eq!(socket.counters().read().sent, 100);
    });
}

#[test]
fn buffers_come_back_from_the_kernel_and_none_is_lost() {
    in_namespace(|| {
        let socket = open();
        let out = socket.out();
        let frame = native_frame(FAR_MAC, 7, 100);
        let fill = || (0..1_000_000).take_while(|_| write(&out, &frame)).count();
        let room = fill();
        assert!(room >= 1000, "{room}");
        for _ in 0..20 {
            assert!(out.flush());
            assert_eq!(fill(), room);
        }
        assert_eq!(socket.counters().read().sent, 20 * room as u64);
    });
}

#[test]
fn a_frame_that_is_too_long_or_is_not_written_takes_no_buffer() {
    in_namespace(|| {
        let socket = open();
        let out = socket.out();
        for _ in 0..5000 {
            assert!(!out.write(2049, |_| Some(())), "longer than a buffer");
            assert!(!out.write(60, |_| None), "declined");
        }
        assert!(write(&out, &native_frame(FAR_MAC, 1, 100)));
        assert!(out.flush());
        assert_eq!(socket.counters().read().sent, 1);
    });
}

#[test]
fn what_a_device_that_is_down_does_not_take_leaves_when_it_is_up() {
    in_namespace(|| {
        let socket = open();
        let out = socket.out();
        let frame = native_frame(FAR_MAC, 9, 100);
        ip("link set port0 down");
        assert!(write(&out, &frame));
        assert!(!out.flush(), "the kernel has not taken it");
        ip("link set port0 up");
        let far = Wire::on("far0");
        assert!(out.flush());
        assert_eq!(
            wait_for("the frame", || next_to_far(&far)),
            frame,
            "late and whole"
        );
    });
}

#[test]
fn a_closed_socket_takes_nothing_and_holds_nobody_up() {
    in_namespace(|| {
        let socket = open();
        let out = socket.out();
        let frame = native_frame(FAR_MAC, 1, 100);
        assert!(write(&out, &frame));
        drop(socket);
        assert!(!write(&out, &frame));
        assert!(out.flush());
    });
}

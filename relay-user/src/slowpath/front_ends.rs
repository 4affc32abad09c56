//! The threads that take packets from sockets and run the relay on them.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use relay_common::Reason;
use teredo::relay::Hop;
use tracing::{error, warn};

use super::engine::Input;
use super::frame::{self, Frame};
use super::poll::{STOP_CHECK, wait_any_readable, wait_readable};
use super::shards::{Broken, Front, SlowPath};
use super::tun::{Tun, TunBatch};
use super::udp::{ReceiveBatch, ServiceSocket};
use super::xsk::{PuntSocket, Punted};
use crate::datapath::ProbeEvents;

/// How long the punt worker looks for frames without sleeping after it had some. The next step of a handshake nearby comes
/// within that time, and a sleeping thread would meet it late, with cold caches.
const LINGER: Duration = Duration::from_micros(200);

/// Looks at the rings at most once the relay is to stop: more frames than they hold must have come meanwhile.
const LAST_ROUNDS: u32 = 64;

/// Serves punt sockets, each with its number as [`Front::Punt`], until `stop`. When one fails, its queue's frames come
/// by the kernel's way.
///
/// # Errors
/// [`Broken`]: the relay must end.
pub fn punts(
    mut sockets: Vec<(usize, PuntSocket)>,
    slow: &SlowPath,
    stop: &AtomicBool,
) -> Result<(), Broken> {
    let mut busy_at = Instant::now();
    let mut last_rounds = LAST_ROUNDS;
    loop {
        // Read before the rings are found empty: what was in them when the relay was told to stop is still handled.
        let stopping = stop.load(Relaxed);
        last_rounds -= u32::from(stopping);
        let mut frames = 0;
        let mut broken = Ok(());
        sockets.retain_mut(|(number, socket)| {
            let received = socket.receive(|frames| {
                let handled = slow.handle(Front::Punt(*number), frames.map(read_punted));
                broken = broken.and(handled);
            });
            match received {
                Ok(received) => {
                    frames += received;
                    true
                }
                Err(error) => {
                    error!(%error, "an AF_XDP socket failed, its queue's slow path goes through the kernel from now on");
                    false
                }
            }
        });
        broken?;
        if stopping && (frames == 0 || last_rounds == 0) {
            return Ok(());
        } else if frames > 0 {
            busy_at = Instant::now();
        } else if busy_at.elapsed() < LINGER {
            thread::yield_now();
        } else if let Err(error) =
            wait_any_readable(sockets.iter().map(|(_, s)| s.fd()), STOP_CHECK)
        {
            pause_after("punt sockets", &error);
        }
    }
}

fn read_punted(punted: Punted<'_>) -> Input<'_> {
    let bytes = punted.frame;
    match frame::read(bytes) {
        Ok(Frame::Native(packet)) => Input::Native {
            packet,
            hop: Hop::Pending,
        },
        Ok(Frame::Client {
            source,
            tos,
            payload,
        }) => Input::Client {
            source,
            tos,
            payload,
            way_back: Some(punted.note),
        },
        Err(reason) => Input::Ended {
            reason,
            bytes: bytes.len(),
        },
    }
}

/// Serves the service socket until `stop`.
///
/// # Errors
/// [`Broken`]: the relay must end.
pub fn service_socket(
    socket: &ServiceSocket,
    slow: &SlowPath,
    stop: &AtomicBool,
) -> Result<(), Broken> {
    let mut batch = ReceiveBatch::default();
    while !stop.load(Relaxed) {
        match socket.receive(&mut batch, STOP_CHECK) {
            Ok(0) => {}
            Ok(_) => slow.handle(
                Front::Other,
                batch.iter().map(|(source, tos, payload)| Input::Client {
                    source,
                    tos,
                    payload,
                    way_back: None,
                }),
            )?,
            Err(error) => pause_after("service socket", &error),
        }
    }
    Ok(())
}

/// Serves what the kernel routes into the TUN device until `stop`.
///
/// # Errors
/// [`Broken`]: the relay must end.
pub fn tun(tun: &Tun, slow: &SlowPath, stop: &AtomicBool) -> Result<(), Broken> {
    let mut batch = TunBatch::default();
    while !stop.load(Relaxed) {
        match tun.receive(&mut batch, STOP_CHECK) {
            Ok(0) => {}
            Ok(_) => slow.handle(Front::Other, batch.iter().map(read_routed))?,
            Err(error) => pause_after("TUN device", &error),
        }
    }
    Ok(())
}

fn read_routed(packet: &[u8]) -> Input<'_> {
    if is_kernels_own(packet) {
        return Input::Ended {
            reason: Reason::NotOurs,
            bytes: packet.len(),
        };
    }
    Input::Native {
        packet,
        hop: Hop::Done,
    }
}

/// Whether the kernel said it on the device by itself, such as the reports of multicast listeners: nobody
/// forwards packets of link-local multicast (pitfall 15).
fn is_kernels_own(packet: &[u8]) -> bool {
    const LINK_LOCAL_MULTICAST: [u8; 2] = [0xff, 0x02];
    const DESTINATION_AT: usize = 24;
    packet
        .get(DESTINATION_AT..)
        .is_some_and(|destination| destination.starts_with(&LINK_LOCAL_MULTICAST))
}

/// Serves the fast path's probe requests until `stop`.
///
/// # Errors
/// [`Broken`]: the relay must end.
pub fn probes(mut events: ProbeEvents, slow: &SlowPath, stop: &AtomicBool) -> Result<(), Broken> {
    while !stop.load(Relaxed) {
        match wait_readable(events.as_fd(), STOP_CHECK) {
            Ok(false) => {}
            Ok(true) => slow.handle(
                Front::Other,
                std::iter::from_fn(|| events.next()).map(Input::Probe),
            )?,
            Err(error) => pause_after("ring of probe requests", &error),
        }
    }
    Ok(())
}

/// A socket that fails once may work again (an interface that was down); one that fails always must not spin.
fn pause_after(what: &str, error: &io::Error) {
    warn!(%error, "{what}: receiving failed");
    thread::sleep(STOP_CHECK);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_tells_its_neighbours_is_not_taken_for_traffic() {
        let mut packet = [0; 40];
        packet[24..26].copy_from_slice(&[0xff, 0x02]);
        assert!(is_kernels_own(&packet));
        packet[25] = 0x0e;
        assert!(!is_kernels_own(&packet));
        assert!(!is_kernels_own(&packet[..24]));
    }
}

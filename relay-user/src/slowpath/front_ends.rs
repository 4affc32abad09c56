//! The threads that take packets from sockets and hand them to the relay thread.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use teredo::relay::Hop;
use tracing::warn;

use super::inlet::{Inlet, Input};
use super::poll::{STOP_CHECK, wait_readable};
use super::tun::Tun;
use super::udp::{ReceiveBatch, ServiceSocket};
use crate::datapath::ProbeEvents;

/// Largest packet the kernel may route into the TUN device.
const TUN_PACKET_MAX: usize = 65_575;

/// Packets read from the TUN device before the stop flag is looked at again.
const TUN_BATCH: usize = 256;

/// Receives from the service socket until `stop`.
pub fn service_socket(socket: &ServiceSocket, inlet: &Inlet, stop: &AtomicBool) {
    let mut batch = ReceiveBatch::default();
    while !stop.load(Relaxed) {
        match socket.receive(&mut batch, STOP_CHECK) {
            Ok(_) => {
                for (source, tos, payload) in batch.iter() {
                    inlet.offer(Input::Client {
                        source,
                        tos,
                        payload: payload.to_vec(),
                    });
                }
            }
            Err(error) => pause_after("service socket", &error),
        }
    }
}

/// Receives what the kernel routes into the TUN device until `stop`.
pub fn tun(tun: &Arc<Tun>, inlet: &Inlet, stop: &AtomicBool) {
    let mut buffer = vec![0; TUN_PACKET_MAX];
    while !stop.load(Relaxed) {
        match drain_tun(tun, &mut buffer, inlet) {
            Ok(()) => {}
            Err(error) => pause_after("TUN device", &error),
        }
    }
}

fn drain_tun(tun: &Tun, buffer: &mut [u8], inlet: &Inlet) -> io::Result<()> {
    let Some(packet) = tun.receive(buffer, STOP_CHECK)? else {
        return Ok(());
    };
    inlet.offer(Input::Native {
        packet: packet.to_vec(),
        hop: Hop::Done,
    });
    for _ in 1..TUN_BATCH {
        let Some(packet) = tun.try_receive(buffer)? else {
            break;
        };
        inlet.offer(Input::Native {
            packet: packet.to_vec(),
            hop: Hop::Done,
        });
    }
    Ok(())
}

/// Passes the fast path's probe requests on until `stop`.
pub fn probes(mut events: ProbeEvents, inlet: &Inlet, stop: &AtomicBool) {
    while !stop.load(Relaxed) {
        match wait_readable(events.as_fd(), STOP_CHECK) {
            Ok(_) => {
                while let Some(key) = events.next() {
                    inlet.offer(Input::Probe(key));
                }
            }
            Err(error) => pause_after("ring of probe requests", &error),
        }
    }
}

/// A socket that fails once may work again (an interface that was down); one that fails always must not spin.
fn pause_after(what: &str, error: &io::Error) {
    warn!(%error, "{what}: receiving failed");
    std::thread::sleep(STOP_CHECK);
}

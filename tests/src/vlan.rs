//! VLAN devices, also where the kernel has none.
//!
//! A kernel without 802.1Q still carries tagged frames. There a TAP device stands in for the
//! VLAN device, and two threads push and pop the tags. An XDP program on the port cannot
//! tell the difference; only netlink does not call the device a VLAN.

use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::Node;
use crate::packet_socket::{Direction, MAX_FRAME, PacketSocket};
use crate::tap::Tap;

/// The tag protocol of a single tag, and of the inner one of two.
const CUSTOMER: u16 = 0x8100;
/// The tag protocol of the outer one of two (802.1ad).
const SERVICE: u16 = 0x88a8;
const TAG_LEN: usize = 4;
/// Tags stand behind the two addresses.
const TAGS_AT: usize = 12;
const STOP_POLL: Duration = Duration::from_millis(20);

/// A VLAN device, or a stack of two, on a port of a machine.
#[derive(Debug)]
pub struct VlanDevice {
    /// The port that carries the tagged frames.
    pub port: String,
    /// The device that carries the addresses.
    pub name: String,
    /// VLAN identifiers, outermost first.
    pub ids: Vec<u16>,
    stand_in: Option<StandIn>,
}

impl VlanDevice {
    /// Makes the device for `ids`, outermost first, on `port` of `node`, and sets it up.
    ///
    /// # Errors
    /// No such port, more than two tags, or the name is taken.
    pub fn new(node: &Node, port: &str, ids: &[u16]) -> Result<Self> {
        ensure!(matches!(ids.len(), 1 | 2), "one tag or two, not {ids:?}");
        let name = ids
            .iter()
            .fold(port.to_owned(), |name, id| format!("{name}.{id}"));
        let stand_in = if kernel_has_vlans(node) {
            stack(node, port, ids)?;
            None
        } else {
            let stand_in = StandIn::start(node, port, &name, ids);
            Some(stand_in.with_context(|| format!("{}: {name}", node.name()))?)
        };
        node.run(["ip", "link", "set", &name, "up"])?;
        Ok(Self {
            port: port.to_owned(),
            name,
            ids: ids.to_vec(),
            stand_in,
        })
    }

    /// Whether the kernel has no VLAN devices and a TAP device stands in.
    pub const fn is_stand_in(&self) -> bool {
        self.stand_in.is_some()
    }

    /// The tags as they stand in frames, outermost first: protocol and TCI.
    pub fn tags(&self) -> Vec<[u8; TAG_LEN]> {
        tags(&self.ids)
    }
}

fn tags(ids: &[u16]) -> Vec<[u8; TAG_LEN]> {
    let last = ids.len().saturating_sub(1);
    ids.iter()
        .enumerate()
        .map(|(i, id)| {
            let [a, b] = if i == last { CUSTOMER } else { SERVICE }.to_be_bytes();
            let [c, d] = id.to_be_bytes();
            [a, b, c, d]
        })
        .collect()
}

fn kernel_has_vlans(node: &Node) -> bool {
    let probe = [
        "ip",
        "link",
        "add",
        "link",
        "lo",
        "name",
        "vlan-probe",
        "type",
        "vlan",
        "id",
        "1",
    ];
    let has = node.run(probe).is_ok();
    if has {
        // Left behind it would only be an unused device of this machine.
        let _ = node.run(["ip", "link", "del", "vlan-probe"]);
    }
    has
}

fn stack(node: &Node, port: &str, ids: &[u16]) -> Result<()> {
    let mut below = port.to_owned();
    for (tag, id) in tags(ids).iter().zip(ids) {
        let name = format!("{below}.{id}");
        let protocol = if tag[0] == 0x81 { "802.1Q" } else { "802.1ad" };
        node.ip(&[
            &format!("link add link {below} name {name} type vlan protocol {protocol} id {id}"),
            &format!("link set {name} up"),
        ])?;
        node.run(["ethtool", "-K", &name, "tx", "off"])?;
        below = name;
    }
    Ok(())
}

/// A TAP device and the threads that tag its frames.
#[derive(Debug)]
struct StandIn {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl StandIn {
    fn start(node: &Node, port: &str, name: &str, ids: &[u16]) -> Result<Self> {
        let ifindex = node.ifindex(port)?;
        let tap = Arc::new(node.enter(|| Tap::new(name))?);
        let socket = Arc::new(node.enter(|| PacketSocket::bind(ifindex, Direction::Incoming))?);
        // A VLAN device has its port's address.
        let mac = node.mac(port)?;
        node.run(["ip", "link", "set", name, "address", &mac])?;
        let stop = Arc::new(AtomicBool::new(false));
        let tags = tags(ids).concat();
        let threads = vec![
            thread::spawn({
                let (tap, socket) = (Arc::clone(&tap), Arc::clone(&socket));
                let (stop, tags) = (Arc::clone(&stop), tags.clone());
                move || untag(&socket, &tap, &tags, &stop)
            }),
            thread::spawn({
                let stop = Arc::clone(&stop);
                move || tag(&tap, &socket, &tags, &stop)
            }),
        ];
        Ok(Self { stop, threads })
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic of the thread has been printed.
            if let Ok(Err(error)) = thread.join() {
                eprintln!("VLAN stand-in: {error}");
            }
        }
    }
}

/// Hands frames with exactly `tags` to the device.
fn untag(socket: &PacketSocket, tap: &Tap, tags: &[u8], stop: &AtomicBool) -> io::Result<()> {
    let mut buffer = vec![MaybeUninit::uninit(); MAX_FRAME];
    while !stop.load(Ordering::Relaxed) {
        let Some(frame) = socket.receive(&mut buffer)? else {
            continue;
        };
        // The kernel has taken the outermost tag off.
        let Some((outer, inner)) = tags.split_at_checked(TAG_LEN) else {
            continue;
        };
        let Some((addresses, rest)) = frame.bytes.split_at_checked(TAGS_AT) else {
            continue;
        };
        if let Some(rest) = rest.strip_prefix(inner)
            && frame.tag.is_some_and(|tag| tag == outer)
        {
            // A device that is down refuses; the frame is lost as on any other.
            let _ = tap.write(&[addresses, rest].concat());
        }
    }
    Ok(())
}

/// Sends the device's frames through the port with `tags`.
fn tag(tap: &Tap, socket: &PacketSocket, tags: &[u8], stop: &AtomicBool) -> io::Result<()> {
    let mut buffer = vec![0; MAX_FRAME];
    while !stop.load(Ordering::Relaxed) {
        let Some(len) = tap.read(&mut buffer, STOP_POLL)? else {
            continue;
        };
        if let Some((addresses, rest)) = buffer[..len].split_at_checked(TAGS_AT) {
            // A port that is down refuses; the frame is lost as on any other.
            let _ = socket.send(&[addresses, tags, rest].concat());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_of_two_tags_is_a_service_tag() {
        assert_eq!(tags(&[100]), [[0x81, 0x00, 0, 100]]);
        assert_eq!(
            tags(&[7, 300]),
            [[0x88, 0xa8, 0, 7], [0x81, 0x00, 0x01, 0x2c]]
        );
    }
}

//! Putting the program on a port.

use std::error::Error;
use std::fs;
use std::path::Path;

use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpMode};
use relay_common::{Egress, PORT_PROBES, PORT_SLOTS, Port, maps, port_home};
use tracing::{info, warn};

use super::pod::Pod;
use super::{Datapath, Mode, pins, refusal, relay_program};
use crate::error::StartError;
use crate::net::{self, Link, LinkKind};

/// A port the program is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedPort {
    /// Name of the interface.
    pub name: String,
    /// Its index.
    pub ifindex: u32,
    /// Its number among the ports ([`Port::number`]).
    pub number: u32,
    /// Its driver; empty where unknown.
    pub driver: String,
    /// How the program is attached.
    pub mode: Mode,
    /// Receive queues that have a slot for an `AF_XDP` socket.
    pub queues: u32,
    /// Slot of queue 0, see [`Datapath::set_socket`].
    pub xsk_base: u32,
}

/// An attached port and what keeps it attached.
pub(super) struct Attachment {
    pub(super) port: AttachedPort,
    /// What is in the map of ports.
    pub(super) entry: Port,
    /// Where it stands there.
    pub(super) slot: u32,
    /// Detaches when dropped.
    _link: XdpLink,
}

impl Datapath {
    /// Attaches the program to `port`, with `AF_XDP` slots for `rx_queues` receive queues
    /// ([`net::rx_queues`]). Only devices with an Ethernet header can be ports; that of a VLAN
    /// device is found by [`Snapshot::port_of`](net::Snapshot::port_of). A port that is attached
    /// already stays as it is: two VLAN devices may stand on one port.
    ///
    /// # Errors
    /// What the driver or the kernel refuses and why; nothing is left attached or entered then.
    pub fn attach(&mut self, port: &Link, rx_queues: u32) -> Result<AttachedPort, StartError> {
        refuse_by_kind(port)?;
        if let Some(known) = self.attached.iter().find(|a| a.port.ifindex == port.index) {
            return Ok(known.port.clone());
        }
        if !port.up {
            warn!(
                iface = port.name,
                "the port is down: nothing is relayed until it is up"
            );
        }
        let driver = net::driver(&port.name).unwrap_or_default();
        let free_slots = maps::MAX_SOCKETS.saturating_sub(self.next_socket_slot);
        let queues = rx_queues.min(free_slots);
        if queues < rx_queues {
            warn!(
                iface = port.name,
                "only {queues} of {rx_queues} receive queues get an AF_XDP socket"
            );
        }
        let (number, slot) = self.free_places(port)?;
        let entry = Port {
            ifindex: port.index,
            number,
            mac: port.mac,
            xsk_base: self.next_socket_slot,
            xsk_queues: queues,
            ..Port::default()
        };
        // The maps come first: the first frame must find its port in them.
        let link = self
            .enter_port(port, slot, entry)
            .and_then(|()| self.attach_program(port, &driver))
            .inspect_err(|_| self.maps.forget_port(slot, &entry))?;

        let attached = AttachedPort {
            number,
            name: port.name.clone(),
            ifindex: port.index,
            driver,
            mode: self.mode,
            queues,
            xsk_base: self.next_socket_slot,
        };
        info!(iface = attached.name, driver = attached.driver, mode = %attached.mode, queues, "attached");
        self.next_socket_slot += queues;
        self.egress.insert(port.index, untagged(number));
        self.attached.push(Attachment {
            port: attached.clone(),
            entry,
            slot,
            _link: link,
        });
        Ok(attached)
    }

    /// A number and a slot nobody has.
    fn free_places(&self, port: &Link) -> Result<(u32, u32), StartError> {
        let is_free = |number: &u32| self.attached.iter().all(|a| a.entry.number != *number);
        let number = (0..maps::MAX_PORTS).find(is_free);
        let home = port_home(port.index);
        let slot = (home..home + PORT_PROBES)
            .map(|slot| slot % PORT_SLOTS)
            .find(|slot| self.attached.iter().all(|a| a.slot != *slot));
        number.zip(slot).ok_or_else(|| {
            StartError::new(
                "--iface",
                port.name.as_str(),
                "too many ports",
                format!("attach to {} at most", maps::MAX_PORTS),
            )
        })
    }

    fn enter_port(&mut self, port: &Link, slot: u32, entry: Port) -> Result<(), StartError> {
        let maps = &mut self.maps;
        let ports = maps.ports.set(slot, Pod(entry), 0);
        ports
            .and_then(|()| {
                maps.egress
                    .insert(port.index, Pod(untagged(entry.number)), 0)
            })
            .map_err(|error| refusal::map(port, &error))?;
        maps.devices
            .set(entry.number, port.index, None, 0)
            .map_err(|error| refusal::map(port, &error))
    }

    /// Replaces the program of a relay before in one step, if it has left it there; no frame is missed.
    fn attach_program(&mut self, port: &Link, driver: &str) -> Result<XdpLink, StartError> {
        let mode = match self.mode {
            Mode::Xdp => XdpMode::Driver,
            Mode::XdpGeneric => XdpMode::Skb,
        };
        let refuse = |error| refusal::attach(port, driver, self.mode, &error);
        let program = relay_program(&mut self.ebpf)?;
        let pins = self.pins.as_mut();
        if let Some(pins) = pins.as_ref().filter(|pins| pins.has_link(port.index)) {
            let path = pins.link(port.index);
            let link = left_link(&path).map_err(|error| cannot_pin(&path, &error))?;
            let id = program.attach_to_link(link).map_err(refuse)?;
            return program.take_link(id).map_err(refuse);
        }
        let id = program
            .attach_to_if_index(port.index, mode)
            .map_err(refuse)?;
        let link = program.take_link(id).map_err(refuse)?;
        match pins {
            Some(pins) => {
                let path = pins.link(port.index);
                let link = pin(link, &path).map_err(|error| cannot_pin(&path, error.as_ref()))?;
                pins.note_link(port.index)
                    .map_err(|error| cannot_pin(&path, &error))?;
                Ok(link)
            }
            None => Ok(link),
        }
    }
}

/// The link a relay before has pinned.
fn left_link(path: &Path) -> Result<XdpLink, LinkError> {
    XdpLink::try_from(FdLink::from(PinnedLink::from_pin(path)?))
}

/// Makes a link outlive this process.
fn pin(link: XdpLink, path: &Path) -> Result<XdpLink, Box<dyn Error>> {
    // One whose port is gone may have left its name.
    let _ = fs::remove_file(path);
    let pinned = FdLink::try_from(link)?.pin(path)?;
    Ok(XdpLink::try_from(FdLink::from(pinned))?)
}

fn cannot_pin(path: &Path, error: &(dyn Error + 'static)) -> StartError {
    StartError::new(
        "--pin-dir",
        path.display().to_string(),
        error.to_string(),
        "--pin-dir none runs without",
    )
}

/// What [`Datapath::attach`] would refuse `port` for, as far as it can be known without trying:
/// no Ethernet interface, or another program on it that is not one a relay before has left below `pins`.
///
/// # Errors
/// That refusal.
pub fn foresee(port: &Link, pins: Option<&Path>) -> Result<(), StartError> {
    refuse_by_kind(port)?;
    if pins.is_some_and(|base| pins::is_left_over(base, port.index)) {
        return Ok(());
    }
    refusal::occupied_then(port).map_or(Ok(()), Err)
}

fn untagged(port: u32) -> Egress {
    Egress {
        port,
        ..Egress::default()
    }
}

fn refuse_by_kind(port: &Link) -> Result<(), StartError> {
    let refuse =
        |cause: &str, next: &str| Err(StartError::new("--iface", port.name.as_str(), cause, next));
    match &port.kind {
        LinkKind::Other(kind) if kind == "loopback" => refuse(
            "the loopback device has no neighbours to relay for",
            "name an Ethernet interface",
        ),
        LinkKind::Vlan { .. } => refuse(
            "a VLAN device cannot run an XDP program",
            "name the port it stands on",
        ),
        LinkKind::Physical | LinkKind::Veth | LinkKind::Other(_) if port.mac == [0; 6] => {
            refuse("not an Ethernet interface", "name an Ethernet interface")
        }
        LinkKind::Physical | LinkKind::Veth | LinkKind::Other(_) => Ok(()),
    }
}

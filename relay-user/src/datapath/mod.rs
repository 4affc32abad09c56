//! The fast path seen from user space: loading the XDP program, attaching it, keeping its maps
//! in step with the machine.
//!
//! ```text
//! Settings ─► Datapath::load ─► attach(port) ... ─► reconcile(snapshot) whenever the machine changes
//!                 │
//!                 └─ peers(), counters(), probes(), set_socket(): handles for the slow path
//! ```
//!
//! # Limits of native XDP
//!
//! Drivers refuse it for reasons of their own; [`Datapath::attach`] says which. One limit shows
//! only with traffic: encapsulation moves the head of the frame 28 bytes forward (and 4 for
//! each VLAN tag added), and a driver that leaves less room in front of a frame (gVNIC leaves 2 bytes) loses
//! it as [`NoHeadroom`](relay_common::Reason::NoHeadroom). `--datapath xdp-generic` has the room there.

mod access;
mod attach;
mod block;
mod bpf_call;
mod bpf_peers;
mod clock;
mod memory_peers;
mod next_hops;
mod object;
mod peer_table;
mod peers;
mod pins;
mod pod;
mod readers;
mod refusal;
mod requirements;
mod settings;
mod shared_array;
mod staged_peers;
#[cfg(test)]
mod tests;
#[cfg(feature = "trace")]
mod trace;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::path::Path;

use aya::maps::{Array, DevMap, Map, MapData, RingBuf, XskMap};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use relay_common::{Egress, Port, Succession, TableShape, maps};
use tracing::{info, warn};

pub use access::{enter_access, of_others};
pub use attach::{AttachedPort, foresee};
pub use block::{describe_server, enter_opened, size_rates};
pub use bpf_peers::BpfPeers;
pub use clock::Clock;
pub use memory_peers::MemoryPeers;
pub use next_hops::{HopCounts, HopKeeper, NextHopKeeper, NextHops, RouteFollower};
pub use object::OBJECT;
#[cfg(feature = "rig")]
pub use object::{GENERATOR, RIG, WRAP, YARDSTICK};
pub use peers::{PEER_EXPIRE_S, PEER_EXPIRE_TICKS, Peers, SweepStep};
pub use pins::{DEFAULT_PIN_DIR, Pins};
pub use readers::{CounterReader, ProbeEvents};
pub use requirements::{kernel_version, lift_locked_memory_limit};
pub use settings::{LOOPBACK, Mode, RelayRole, Secrets, ServerLimits, ServerRole, Settings};
pub use staged_peers::StagedPeers;

use crate::error::StartError;
use crate::net::Snapshot;
use attach::Attachment;
use pod::Pod;

/// The name of the program in [`OBJECT`].
const PROGRAM: &str = "relay";
/// The name of its configuration block.
const CONFIG: &str = "CONFIG";

type BpfHash<K, V> = aya::maps::HashMap<MapData, K, V>;

/// The loaded program and its maps. Dropping it takes the program off every port, then frees the maps.
pub struct Datapath {
    // Fields are dropped in order: links before the program and its maps, files of either after them.
    attached: Vec<Attachment>,
    ebpf: Ebpf,
    mode: Mode,
    maps: Maps,
    /// What is in the map of that name.
    egress: HashMap<u32, Egress>,
    next_socket_slot: u32,
    pins: Option<Pins>,
}

struct Maps {
    peers: BpfPeers,
    counters: CounterReader,
    ports: Array<MapData, Pod<Port>>,
    egress: BpfHash<u32, Pod<Egress>>,
    devices: DevMap<MapData>,
    sockets: XskMap<MapData>,
    probes: Option<RingBuf<MapData>>,
    next_hops: NextHops,
    wanted_hops: Option<RingBuf<MapData>>,
}

impl Datapath {
    /// Loads the program; nothing is attached yet.
    ///
    /// # Minimum kernel version
    /// 5.18, for XDP programs that take multi-buffer frames.
    ///
    /// # Errors
    /// Kernel too old, capabilities missing, no memory for the peer table, or the verifier's refusal.
    pub fn load(settings: &Settings) -> Result<Self, StartError> {
        Self::load_pinned(settings, None)
    }

    /// The same, with links and maps in the files of `pins`. What a daemon before has left there is used on if it can be:
    /// its peers stay trusted, its counters go on.
    ///
    /// # Errors
    /// As [`load`](Self::load). What was left stays where it is then.
    pub fn load_pinned(settings: &Settings, mut pins: Option<Pins>) -> Result<Self, StartError> {
        requirements::check(settings.mode)?;
        requirements::lift_locked_memory_limit();
        let clock = Clock::measure()
            .map_err(|cause| StartError::new("clock", "", cause.to_string(), ""))?;
        let inherited = pins.as_mut().and_then(|pins| inherit(pins, settings));
        let shape = inherited.map_or_else(
            || TableShape::new(settings.max_peers(), settings.secrets.table),
            |left| left.table,
        );
        let config = Pod(block::config_of(settings, shape, clock));
        let mut loader = EbpfLoader::new();
        loader
            .map_max_entries(maps::PEERS, shape.lines())
            .override_global(CONFIG, &config, true);
        block::size_rates(&mut loader, settings.server.is_some())?;
        for (name, path) in pins.iter().flat_map(Pins::maps) {
            loader.map_pin_path(name, path);
        }
        let mut ebpf = loader
            .load(OBJECT)
            .map_err(|error| refusal::load(settings, &error))?;
        #[cfg(feature = "trace")]
        trace::follow(&mut ebpf);
        let program = relay_program(&mut ebpf)?;
        program
            .load()
            .map_err(|error| refusal::load(settings, &error))?;
        if let Some(relay) = &settings.relay {
            access::enter_access(&mut ebpf, &relay.access)?;
        }
        if let Some(server) = &settings.server {
            block::enter_opened(&mut ebpf, &server.allow_non_global)?;
        }
        let mut succession: Array<_, Pod<Succession>> = take_map(&mut ebpf, maps::SUCCESSION)?;
        succession
            .set(0, Pod(settings.succession(shape)), 0)
            .map_err(|error| StartError::new("map", maps::SUCCESSION, error.to_string(), ""))?;
        let maps = Maps::take(&mut ebpf, shape, settings.max_peers())?;
        Ok(Self {
            attached: Vec::new(),
            ebpf,
            mode: settings.mode,
            maps,
            egress: HashMap::new(),
            next_socket_slot: 0,
            pins,
        })
    }

    /// The directory in which links and maps outlive the daemon; `None` where they do not.
    pub fn pinned_in(&self) -> Option<&Path> {
        self.pins.as_ref().map(Pins::directory)
    }

    /// Call it when every port is attached, before next hops are kept: ports that are no longer named lose the program of a daemon
    /// before, and its next hops, of which this one knows nothing, are forgotten by the peers.
    pub fn settle(&mut self) {
        if let Some(pins) = &mut self.pins {
            let ports: Vec<u32> = self.attached.iter().map(|a| a.port.ifindex).collect();
            pins.forget_links_but(&ports);
        }
        self.maps.peers.forget_hops(|_| true);
    }

    /// Takes every `AF_XDP` socket out of the map: frames that would be punted go the kernel's way from now on.
    pub fn forget_sockets(&mut self) {
        for slot in 0..self.next_socket_slot {
            // One that was closed has emptied its slot itself.
            let _ = self.maps.sockets.unset(slot);
        }
    }

    /// Frees what belongs to this process, and leaves program and peers to whoever takes over.
    pub fn leave(mut self) {
        if let Some(pins) = &mut self.pins {
            pins.keep();
        }
    }

    /// A handle on the peer table.
    pub fn peers(&self) -> BpfPeers {
        self.maps.peers.clone()
    }

    /// A handle on the fast path's counters.
    pub fn counters(&self) -> CounterReader {
        self.maps.counters.clone()
    }

    /// The reader of probe requests (R-53); `None` from the second call on, for there is one ring.
    pub fn probes(&mut self) -> Option<ProbeEvents> {
        self.maps.probes.take().map(ProbeEvents::new)
    }

    /// A handle on the next hops the program keeps.
    pub fn next_hops(&self) -> NextHops {
        self.maps.next_hops.clone()
    }

    /// Whoever keeps them true to the kernel's routes, in the network namespace of the calling thread; `None` from the second
    /// call on, for there is one ring. Without it the program asks the kernel about every packet.
    ///
    /// # Errors
    /// The kernel does not tell of its routes, or refuses the maps used for waiting.
    pub fn next_hop_keeper(&mut self) -> io::Result<Option<NextHopKeeper>> {
        let Some(wanted) = self.maps.wanted_hops.take() else {
            return Ok(None);
        };
        let Maps {
            next_hops, peers, ..
        } = &self.maps;
        NextHopKeeper::new(next_hops, wanted, peers.clone()).map(Some)
    }

    /// Gives punted frames of the queue behind `slot` ([`AttachedPort::xsk_base`] plus the
    /// queue's number) to an `AF_XDP` socket bound to that port and queue. When the socket is closed,
    /// the slot empties itself and the frames take the kernel's way again.
    ///
    /// # Errors
    /// The kernel's refusal: no such slot, or not an `AF_XDP` socket.
    pub fn set_socket(&mut self, slot: u32, socket: impl AsFd) -> io::Result<()> {
        self.maps
            .sockets
            .set(slot, socket.as_fd().as_raw_fd(), 0)
            .map_err(io::Error::other)
    }

    /// The ports the program is attached to.
    pub fn attached(&self) -> Vec<AttachedPort> {
        self.attached.iter().map(|a| a.port.clone()).collect()
    }

    /// Brings the maps in step with the machine: MAC addresses of the ports, the VLAN devices on
    /// them, ports that are gone. Call it after the last [`attach`](Self::attach) and
    /// whenever [`net::watch`](crate::net::watch) reports a change.
    pub fn reconcile(&mut self, snapshot: &Snapshot) {
        self.reconcile_ports(snapshot);
        let ports: HashMap<u32, u32> = self
            .attached
            .iter()
            .map(|a| (a.port.ifindex, a.entry.number))
            .collect();
        follow(
            &mut self.maps.egress,
            &mut self.egress,
            snapshot.egress(&ports),
        );
        self.maps.next_hops.set_egress(&self.egress);
    }

    fn reconcile_ports(&mut self, snapshot: &Snapshot) {
        let Self { attached, maps, .. } = self;
        attached.retain_mut(|attachment| {
            let Some(link) = snapshot.by_index(attachment.port.ifindex) else {
                warn!(iface = attachment.port.name, "the port is gone");
                maps.forget_port(attachment.slot, &attachment.entry);
                return false;
            };
            attachment.port.name.clone_from(&link.name);
            if attachment.entry.mac != link.mac {
                info!(iface = link.name, "the port has a new MAC address");
                attachment.entry.mac = link.mac;
                log_refusal(
                    "PORTS",
                    maps.ports.set(attachment.slot, Pod(attachment.entry), 0),
                );
            }
            true
        });
    }

    /// Takes the program off every port, then frees program and maps.
    pub fn detach(mut self) {
        if let Some(pins) = &mut self.pins {
            pins.give_up();
        }
        drop(self);
    }
}

impl fmt::Debug for Datapath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datapath")
            .field("mode", &self.mode)
            .field("attached", &self.attached())
            .finish_non_exhaustive()
    }
}

impl Maps {
    fn take(ebpf: &mut Ebpf, shape: TableShape, max_peers: u32) -> Result<Self, StartError> {
        let peers = take_map(ebpf, maps::PEERS)?;
        Ok(Self {
            peers: BpfPeers::new(peers, shape, max_peers)
                .map_err(|error| refusal::peer_table(max_peers, &error))?,
            counters: CounterReader::new(take_any_map(ebpf, maps::COUNTERS)?)
                .map_err(|error| StartError::new("map", maps::COUNTERS, error.to_string(), ""))?,
            ports: take_map(ebpf, maps::PORTS)?,
            egress: take_map(ebpf, maps::EGRESS)?,
            devices: take_map(ebpf, maps::DEVICES)?,
            sockets: take_map(ebpf, maps::SOCKETS)?,
            probes: Some(take_map(ebpf, maps::PROBES)?),
            next_hops: NextHops::new(
                &take_map(ebpf, maps::NEXT_HOPS)?,
                &take_map(ebpf, maps::ROUTING)?,
            )
            .map_err(|error| StartError::new("map", maps::NEXT_HOPS, error.to_string(), ""))?,
            wanted_hops: Some(take_map(ebpf, maps::WANTED_HOPS)?),
        })
    }

    /// Removes what names the port. What is not there any more need not be removed; the kernel itself takes a device
    /// that goes away out of the map of devices.
    fn forget_port(&mut self, slot: u32, port: &Port) {
        let _ = self.ports.set(slot, Pod(Port::default()), 0);
        let _ = self.egress.remove(&port.ifindex);
    }
}

/// What a daemon before has left, if it is of use; else nothing of its maps is left.
fn inherit(pins: &mut Pins, settings: &Settings) -> Option<Succession> {
    let left = pins.inherited(settings.max_peers());
    if pins.has_links() {
        // It carries traffic: a start that fails must not end that.
        pins.keep();
    }
    if left.is_none() {
        pins.forget_maps();
    }
    if let Some(left) = left {
        if left.generic != settings.succession(left.table).generic {
            pins.forget_links_but(&[]);
        }
        info!(pins = %pins.directory().display(), "going on with the peers of a relay before");
    }
    left
}

/// A mismatch between the embedded program and this loader is a broken build.
fn broken_build(what: &str, name: &str, cause: impl Into<String>) -> StartError {
    StartError::new(
        what,
        name,
        cause,
        "this binary was built wrong, build it again",
    )
}

fn relay_program(ebpf: &mut Ebpf) -> Result<&mut Xdp, StartError> {
    ebpf.program_mut(PROGRAM)
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| broken_build("program", PROGRAM, "not in the embedded object"))
}

fn take_map<M>(ebpf: &mut Ebpf, name: &str) -> Result<M, StartError>
where
    M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    M::try_from(take_any_map(ebpf, name)?)
        .map_err(|error| broken_build("map", name, error.to_string()))
}

fn take_any_map(ebpf: &mut Ebpf, name: &str) -> Result<Map, StartError> {
    ebpf.take_map(name)
        .ok_or_else(|| broken_build("map", name, "not in the embedded object"))
}

/// Makes `map`, which holds `known`, hold `wanted`.
fn follow(
    map: &mut BpfHash<u32, Pod<Egress>>,
    known: &mut HashMap<u32, Egress>,
    wanted: HashMap<u32, Egress>,
) {
    for gone in known.keys().filter(|i| !wanted.contains_key(i)) {
        log_refusal("EGRESS", map.remove(gone));
    }
    for (ifindex, egress) in &wanted {
        if known.get(ifindex) != Some(egress) {
            log_refusal("EGRESS", map.insert(ifindex, Pod(*egress), 0));
        }
    }
    *known = wanted;
}

/// A map that cannot follow the machine leaves a route to the slow path: worth a line, not the end.
fn log_refusal<T, E: fmt::Display>(map: &str, result: Result<T, E>) {
    if let Err(error) = result {
        warn!(map, %error, "cannot bring the map in step with the machine");
    }
}

/// The parts go to threads of their own.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Datapath>();
    is_send::<StagedPeers>();
    is_send::<CounterReader>();
    is_send::<ProbeEvents>();
};

#[cfg(feature = "rig")]
impl Datapath {
    /// The loaded program, to be run by `BPF_PROG_TEST_RUN`.
    ///
    /// # Panics
    /// Never: [`load`](Self::load) has found the program.
    pub fn program_for_test_run(&mut self) -> &mut Xdp {
        relay_program(&mut self.ebpf).expect("found when it was loaded")
    }
}

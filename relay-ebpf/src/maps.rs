//! The maps. Names and capacities are `relay_common::maps`', where writer and reader of each are noted.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{DevMapHash, HashMap, PerCpuArray, RingBuf, XskMap};
use relay_common::maps::{DEFAULT_MAX_PEERS, MAX_EGRESS, MAX_PORTS, MAX_SOCKETS, PROBES_BYTES};
use relay_common::{Counter, Egress, PeerEntry, PeerKey, Port, Reason};

#[map]
pub(crate) static PEERS: HashMap<PeerKey, PeerEntry> =
    HashMap::with_max_entries(DEFAULT_MAX_PEERS, 0);

#[map]
pub(crate) static COUNTERS: PerCpuArray<Counter> =
    PerCpuArray::with_max_entries(Reason::COUNT as u32, 0);

#[map]
pub(crate) static PORTS: HashMap<u32, Port> = HashMap::with_max_entries(MAX_PORTS, 0);

#[map]
pub(crate) static EGRESS: HashMap<u32, Egress> = HashMap::with_max_entries(MAX_EGRESS, 0);

#[map]
pub(crate) static DEVICES: DevMapHash = DevMapHash::with_max_entries(MAX_PORTS, 0);

#[map]
pub(crate) static SOCKETS: XskMap = XskMap::with_max_entries(MAX_SOCKETS, 0);

#[map]
pub(crate) static PROBES: RingBuf = RingBuf::with_byte_size(PROBES_BYTES, 0);

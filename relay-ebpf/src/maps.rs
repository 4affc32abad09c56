//! The maps. Names and capacities are `relay_common::maps`', where writer and reader of each are noted.

use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::LpmTrie;
use aya_ebpf::maps::{Array, DevMap, HashMap, PerCpuArray, RingBuf, XskMap};
use relay_common::maps::{
    DEFAULT_MAX_PEERS, MAX_ACCESS, MAX_EGRESS, MAX_KEPT_ROUTES, MAX_OPENED, MAX_PORTS, MAX_SOCKETS,
    PROBES_BYTES, WANTED_HOPS_BYTES,
};
use relay_common::{
    Counter, Egress, HOPS, KeptRoute, Line, NextHop, PORT_SLOTS, Port, RATE_KINDS, RATE_LINES,
    RateLine, Reason, Routing, Succession, TableShape,
};

/// `BPF_F_MMAPABLE`: user space reads and writes it as memory.
const MMAPABLE: u32 = 1 << 10;

#[map]
pub(crate) static PEERS: Array<Line> =
    Array::with_max_entries(TableShape::new(DEFAULT_MAX_PEERS, [0; 4]).lines(), MMAPABLE);

#[map]
pub(crate) static COUNTERS: PerCpuArray<Counter> =
    PerCpuArray::with_max_entries(Reason::COUNT as u32, 0);

#[map]
pub(crate) static PORTS: Array<Port> = Array::with_max_entries(PORT_SLOTS, 0);

#[map]
pub(crate) static EGRESS: HashMap<u32, Egress> = HashMap::with_max_entries(MAX_EGRESS, 0);

#[map]
pub(crate) static DEVICES: DevMap = DevMap::with_max_entries(MAX_PORTS, 0);

#[map]
pub(crate) static SOCKETS: XskMap = XskMap::with_max_entries(MAX_SOCKETS, 0);

#[map]
pub(crate) static PROBES: RingBuf = RingBuf::with_byte_size(PROBES_BYTES, 0);

#[map]
pub(crate) static NEXT_HOPS: Array<NextHop> = Array::with_max_entries(HOPS, MMAPABLE);

#[map]
pub(crate) static ROUTING: Array<Routing> = Array::with_max_entries(1, MMAPABLE);

#[map]
pub(crate) static KEPT_ROUTES: PerCpuArray<KeptRoute> =
    PerCpuArray::with_max_entries(2 * MAX_KEPT_ROUTES, 0);

#[map]
pub(crate) static WANTED_HOPS: RingBuf = RingBuf::with_byte_size(WANTED_HOPS_BYTES, 0);

/// For user space alone.
#[map]
pub(crate) static SUCCESSION: Array<Succession> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static REPORTED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub(crate) static NATIVE_ACCESS: LpmTrie<[u8; 16], u8> = LpmTrie::with_max_entries(MAX_ACCESS, 0);

#[map]
pub(crate) static CLIENT_ACCESS: LpmTrie<[u8; 4], u8> = LpmTrie::with_max_entries(MAX_ACCESS, 0);

#[map]
pub(crate) static SERVER_ACCESS: LpmTrie<[u8; 4], u8> = LpmTrie::with_max_entries(MAX_ACCESS, 0);

/// As large as user space says, which knows the machine's CPUs.
#[map]
pub(crate) static RATES: Array<RateLine> =
    Array::with_max_entries(RATE_KINDS * RATE_LINES, MMAPABLE);

#[map]
pub(crate) static SERVER_OPENED: LpmTrie<[u8; 4], u8> = LpmTrie::with_max_entries(MAX_OPENED, 0);

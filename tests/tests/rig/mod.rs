//! A namespace with routes, and the program loaded into it: what every test binary that runs the XDP program
//! shares.
#![allow(dead_code, reason = "each binary uses its part")]

mod hops;
mod run;
pub(crate) mod topology;

#[allow(unused_imports, reason = "each binary uses its part")]
pub(crate) use run::Outcome;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use aya::maps::{Array, DevMap, HashMap, PerCpuArray, RingBuf, XskMap};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use lab::Netns;
use relay_common::{
    Counter, Egress, Kind, NextHop, PeerEntry, PeerKey, Port, RATE_KINDS, RATE_LINES, RateLine,
    Reason, RelayConfig, Routing, TableShape, Ticks, VlanTag, maps, port_home, rate_line,
};
use relay_user::datapath::{
    BpfPeers, Clock, LOOPBACK, OBJECT, RIG, Secrets, ServerRole, describe_server, enter_access,
    enter_opened, of_others, size_rates,
};
use teredo::addr::{Mapped, ServerV4, TeredoAddr};
use teredo::relay::Access;

use topology::{ifindex, lay_out};

/// The service socket.
pub(crate) const SERVICE: Mapped = Mapped {
    ip: Ipv4Addr::new(203, 0, 113, 9),
    port: 3545,
};
/// Largest inner packet.
pub(crate) const TUNNEL_MTU: u16 = 1280;
/// Largest frame for the slow path's sockets.
pub(crate) const PUNT_FRAME_MAX: u32 = 2048;
/// Room in the peer table.
const MAX_PEERS: u32 = 1024;

/// MAC address of every port.
pub(crate) const PORT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// MAC address of every next hop.
pub(crate) const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// What the program returns.
pub(crate) mod action {
    pub(crate) const ABORTED: u32 = 0;
    pub(crate) const DROP: u32 = 1;
    pub(crate) const PASS: u32 = 2;
    pub(crate) const TX: u32 = 3;
    pub(crate) const REDIRECT: u32 = 4;
}

/// A customer tag (802.1Q), as it stands in a frame.
pub(crate) const CUSTOMER_TAG: [u8; 4] = [0x81, 0x00, 0x60, 0x0a];
/// A service tag (802.1ad).
pub(crate) const SERVICE_TAG: [u8; 4] = [0x88, 0xa8, 0x00, 0x14];

/// A shared layout as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Pod<T>(T);

macro_rules! pod {
    ($($layout:ty)+) => {
        $(
            // SAFETY: `repr(C)` of integers and byte arrays without padding.
            unsafe impl aya::Pod for Pod<$layout> {}
        )+
    };
}
pod!(Counter Egress NextHop Port RateLine RelayConfig Routing);

/// What a loaded program is told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The service socket.
    pub(crate) service: Mapped,
    /// Largest inner packet.
    pub(crate) tunnel_mtu: u16,
    /// Largest frame for the slow path's sockets.
    pub(crate) punt_frame_max: u32,
    /// Whom the relay serves.
    pub(crate) access: Access,
    /// Whether there is a relay; without one the loopback device's point of view is taken.
    pub(crate) has_relay: bool,
    /// The server, if there is one.
    pub(crate) server: Option<ServerRole>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            service: SERVICE,
            tunnel_mtu: TUNNEL_MTU,
            punt_frame_max: PUNT_FRAME_MAX,
            access: Access::default(),
            has_relay: true,
            server: None,
        }
    }
}

/// Random keys that are not.
const SECRETS: Secrets = Secrets {
    identification: 0x9e37_79b9_7f4a_7c15,
    table: [
        1,
        0x9e37_79b9_7f4a_7c15,
        0x94d0_49bb_1331_11eb,
        0xbf58_476d_1ce4_e5b9,
    ],
    routes: 0xbf58_476d_1ce4_e5b9,
    rates: 0x2545_f491_4f6c_dd1d,
};

/// The loaded program and the namespace's devices.
pub(crate) struct Rig {
    ebpf: Ebpf,
    companion: Ebpf,
    peers: BpfPeers,
    /// Packets sent so far.
    pub(crate) sent: u64,
    pub(crate) wan: u32,
    pub(crate) lan: u32,
}

/// Runs `test` in a fresh namespace with the program loaded.
pub(crate) fn in_rig(test: impl FnOnce(&mut Rig) + Send) {
    in_rig_with(&Settings::default(), test);
}

/// The same for a program that is told `settings`.
pub(crate) fn in_rig_with(settings: &Settings, test: impl FnOnce(&mut Rig) + Send) {
    in_topology(|| test(&mut Rig::load(settings)));
}

/// Runs `test` in a fresh namespace with the devices and routes of [`topology`].
pub(crate) fn in_topology(test: impl FnOnce() + Send) {
    Netns::new()
        .expect("network namespaces need CAP_SYS_ADMIN")
        .enter(|| {
            lay_out();
            test();
        })
        .expect("the namespace can be entered");
}

impl Rig {
    /// Loads the program, for the topology of the calling thread's namespace.
    pub(crate) fn load(settings: &Settings) -> Self {
        let access = &settings.access;
        let shape = TableShape::new(MAX_PEERS, SECRETS.table);
        let clock = Clock::measure().expect("the kernel runs programs");
        let mut config = RelayConfig {
            table: shape,
            jiffy_ns: clock.jiffy_ns,
            clock_offset_ns: clock.offset_ns,
            route_key: SECRETS.routes,
            id_key: SECRETS.identification,
            fib_ifindex: LOOPBACK,
            punt_frame_max: settings.punt_frame_max,
            ..RelayConfig::default()
        };
        if settings.has_relay {
            config.fib_ifindex = ifindex("tun");
            config.service_ipv4 = settings.service.ip.octets();
            config.service_port = settings.service.port.to_be_bytes();
            config.tunnel_mtu = settings.tunnel_mtu;
            config.native_access = of_others(&access.native);
            config.client_access = of_others(&access.clients);
            config.server_access = of_others(&access.servers);
        }
        if let Some(server) = &settings.server {
            describe_server(&mut config, server, &SECRETS);
        }
        let config = Pod(config);
        let mut loader = EbpfLoader::new();
        loader
            .map_max_entries(maps::PEERS, shape.lines())
            .override_global("CONFIG", &config, true);
        size_rates(&mut loader, settings.server.is_some()).expect("the machine knows its CPUs");
        let mut ebpf = loader.load(OBJECT).expect("the object loads");
        if let Some(server) = &settings.server {
            enter_opened(&mut ebpf, &server.allow_non_global).expect("the prefixes fit");
        }
        enter_access(&mut ebpf, access).expect("the prefixes fit");
        program(&mut ebpf, "relay")
            .load()
            .expect("the verifier accepts the program");
        let mut rig = Self {
            peers: BpfPeers::of(&mut ebpf, shape, MAX_PEERS),
            ebpf,
            companion: Ebpf::load(RIG).expect("the companion object loads"),
            sent: 0,
            wan: ifindex("wan"),
            lan: ifindex("lan"),
        };
        rig.list_ports();
        rig
    }

    fn list_ports(&mut self) {
        for port in [self.wan, self.lan] {
            self.set_port(port, 0);
            let number = self.number_of(port);
            let mut devices = DevMap::try_from(self.map(maps::DEVICES)).unwrap();
            devices.set(number, port, None, 0).unwrap();
        }
        let tag = |bytes: [u8; 4]| VlanTag {
            protocol: [bytes[0], bytes[1]],
            tci: [bytes[2], bytes[3]],
        };
        let (one, two) = (tag(CUSTOMER_TAG), tag(SERVICE_TAG));
        let none = VlanTag::default();
        let (wan, lan) = (self.number_of(self.wan), self.number_of(self.lan));
        let unlisted = maps::MAX_PORTS - 1;
        for (device, port, tag_count, tags) in [
            ("wan", wan, 0, [none, none]),
            ("lan", lan, 0, [none, none]),
            ("wan-tag", wan, 1, [one, none]),
            ("lan-tag", lan, 1, [one, none]),
            ("wan-tags", wan, 2, [two, one]),
            ("lan-tags", lan, 2, [two, one]),
            ("unlisted", unlisted, 0, [none, none]),
        ] {
            let egress = Egress {
                port,
                tag_count,
                tags,
            };
            let mut map: HashMap<_, u32, Pod<Egress>> =
                HashMap::try_from(self.map(maps::EGRESS)).unwrap();
            map.insert(ifindex(device), Pod(egress), 0).unwrap();
        }
    }

    fn map(&mut self, name: &str) -> &mut aya::maps::Map {
        self.ebpf.map_mut(name).expect("the map is in the object")
    }

    /// Lists a port with `xsk_queues` queues, whose sockets begin at slot 0.
    pub(crate) fn set_port(&mut self, ifindex: u32, xsk_queues: u32) {
        let port = Port {
            ifindex,
            number: self.number_of(ifindex),
            mac: PORT_MAC,
            xsk_queues,
            ..Port::default()
        };
        let mut map: Array<_, Pod<Port>> = Array::try_from(self.map(maps::PORTS)).unwrap();
        map.set(port_home(ifindex), Pod(port), 0).unwrap();
    }

    pub(crate) fn number_of(&self, ifindex: u32) -> u32 {
        u32::from(ifindex == self.lan)
    }

    /// Fills the buckets that share a line with those of `address` on this CPU.
    pub(crate) fn fill_buckets(&mut self, address: Ipv4Addr) {
        let cpu = this_cpu();
        let address = u32::from_ne_bytes(address.octets());
        let mut lines: Array<_, Pod<RateLine>> = Array::try_from(self.map(maps::RATES)).unwrap();
        for kind in 0..RATE_KINDS {
            let line = rate_line(address, SECRETS.rates);
            let number = (cpu * RATE_KINDS + kind) * RATE_LINES + line;
            lines.set(number, Pod(RateLine::default()), 0).unwrap();
        }
    }

    /// Puts an `AF_XDP` socket into a slot.
    pub(crate) fn set_socket(&mut self, slot: u32, socket: impl std::os::fd::AsRawFd) {
        let mut map = XskMap::try_from(self.map(maps::SOCKETS)).unwrap();
        map.set(slot, socket, 0).unwrap();
    }

    /// Makes a peer trusted, last heard `age` ticks ago.
    pub(crate) fn trust(&mut self, peer: &TeredoAddr, mapped: Mapped, age: u32) {
        let heard = Ticks(
            now()
                .0
                .checked_sub(age)
                .expect("the machine is up long enough"),
        );
        let entry = PeerEntry::new(mapped, heard);
        self.peers.insert(PeerKey::from(peer), entry).unwrap();
    }

    /// The object and its programs.
    pub(crate) fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// The entry of a peer.
    pub(crate) fn entry(&mut self, peer: &TeredoAddr) -> PeerEntry {
        self.peers.get(PeerKey::from(peer)).unwrap()
    }

    /// Probe requests since the last call.
    pub(crate) fn probes(&mut self) -> Vec<PeerKey> {
        let mut ring = RingBuf::try_from(self.map(maps::PROBES)).unwrap();
        let mut keys = Vec::new();
        while let Some(item) = ring.next() {
            keys.push(PeerKey(item[..].try_into().unwrap()));
        }
        keys
    }

    /// The peer table.
    pub(crate) fn peers(&mut self) -> &mut BpfPeers {
        &mut self.peers
    }

    /// The counter of a reason, summed over CPUs.
    pub(crate) fn count_of(&mut self, reason: Reason) -> Counter {
        let map: PerCpuArray<_, Pod<Counter>> =
            PerCpuArray::try_from(self.map(maps::COUNTERS)).unwrap();
        sum_of(&map, reason)
    }

    /// Every counter, summed over CPUs, by reason.
    pub(crate) fn counters(&mut self) -> Vec<Counter> {
        let map: PerCpuArray<_, Pod<Counter>> =
            PerCpuArray::try_from(self.map(maps::COUNTERS)).unwrap();
        Reason::ALL
            .iter()
            .map(|reason| sum_of(&map, *reason))
            .collect()
    }
}

/// Whether the program rewrites and sends a frame it counts under `reason`.
pub(crate) fn leaves(reason: Reason) -> bool {
    reason.kind() == Kind::Forwarded || reason == Reason::Advertised
}

/// Keeps the calling thread where it is: buckets are each CPU's own.
pub(crate) fn stay_on_this_cpu() {
    let core = core_affinity::CoreId {
        id: this_cpu() as usize,
    };
    assert!(core_affinity::set_for_current(core));
}

fn this_cpu() -> u32 {
    // SAFETY: the call has no arguments.
    let cpu = unsafe { libc::sched_getcpu() };
    u32::try_from(cpu).expect("a CPU")
}

/// A client of server 192.0.2.1 behind the NAT 198.51.100.`nat`.
pub(crate) fn client(nat: u8) -> TeredoAddr {
    TeredoAddr::new(ServerV4(Ipv4Addr::new(192, 0, 2, 1)), 0x2093, mapped(nat))
}

/// Where that client is.
pub(crate) fn mapped(nat: u8) -> Mapped {
    Mapped {
        ip: Ipv4Addr::new(198, 51, 100, nat),
        port: 40000,
    }
}

/// The address of a client as an IPv6 address.
pub(crate) fn ip(peer: &TeredoAddr) -> Ipv6Addr {
    (*peer).into()
}

/// For messages and comparisons a person can read.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The tick the program sees.
pub(crate) fn now() -> Ticks {
    Ticks::from_nanos(now_ns())
}

/// The clock of ticks, in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live `timespec`.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    assert_eq!(result, 0);
    let [seconds, nanos] = [time.tv_sec, time.tv_nsec].map(|part| u64::try_from(part).unwrap());
    seconds * 1_000_000_000 + nanos
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut Xdp {
    ebpf.program_mut(name)
        .expect("the program is in the object")
        .try_into()
        .unwrap()
}

fn sum_of<T: std::borrow::Borrow<aya::maps::MapData>>(
    map: &PerCpuArray<T, Pod<Counter>>,
    reason: Reason,
) -> Counter {
    let values = map.get(&(reason as u32), 0).unwrap();
    values
        .iter()
        .fold(Counter::default(), |sum, Pod(cpu)| Counter {
            packets: sum.packets + cpu.packets,
            bytes: sum.bytes + cpu.bytes,
        })
}

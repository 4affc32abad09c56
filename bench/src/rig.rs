//! A namespace with a route each way, the program, and the companion in front of it.

use std::ffi::CString;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, DevMapHash, HashMap, MapData, PerCpuArray, ProgramArray};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use relay_common::{Counter, Egress, PeerEntry, PeerKey, Port, Reason, RelayConfig, Ticks, maps};
use relay_user::datapath::{OBJECT, RIG};

use crate::frame::{PORT_MAC, SERVICE, client, mapped};

/// How long a peer's entry is used before it is written again: well within the 20 s after which
/// the program would ask for probes.
const REFRESH: Duration = Duration::from_secs(10);

/// Frames come in through `in`; everything leaves through `out`.
const TOPOLOGY: &str = "
link set lo up
tuntap add name tun mode tun
link set tun up
link add name in address 02:00:00:00:00:01 type veth peer name in-far
link add name out address 02:00:00:00:00:01 type veth peer name out-far
link set in up
link set in-far up
link set out up
link set out-far up
addr add 203.0.113.9/28 dev out
addr add 2001:db8:ffff::2/64 dev out nodad
neigh add 203.0.113.1 lladdr 02:00:00:00:00:02 dev out nud permanent
neigh add 2001:db8:ffff::1 lladdr 02:00:00:00:00:02 dev out nud permanent
route add default via 203.0.113.1
route add ::/0 via 2001:db8:ffff::1
";

/// The programs of the rig object that restore a frame.
#[derive(Clone, Copy)]
pub(crate) enum Companion {
    /// For frames from the native side.
    Native,
    /// For frames from a client.
    Client,
}

impl Companion {
    const fn program(self) -> &'static str {
        match self {
            Self::Native => "restore_native",
            Self::Client => "restore_client",
        }
    }
}

/// A shared layout as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Pod<T>(T);

/// Bytes at the front of a frame that the companion restores.
const FRONT_LEN: usize = 96;

/// What the companion restores, as it declares it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Original {
    front: [u8; FRONT_LEN],
    len: u32,
    peer_mask: u32,
}

macro_rules! pod {
    ($($layout:ty)+) => {
        $(
            // SAFETY: `repr(C)` of integers and byte arrays without padding.
            unsafe impl aya::Pod for Pod<$layout> {}
        )+
    };
}
pod!(Counter Egress Original PeerEntry PeerKey Port RelayConfig);

pub(crate) struct Rig {
    relay: Ebpf,
    companion: Ebpf,
    ingress: u32,
    peers: u32,
    peers_written: Option<Instant>,
}

impl Rig {
    /// Lays everything out in the calling thread's namespace, with room for `peers` peers.
    pub(crate) fn new(peers: u32) -> Result<Self> {
        lay_out()?;
        let (ingress, egress) = (ifindex("in")?, ifindex("out")?);
        let config = Pod(RelayConfig {
            id_key: 0x9e37_79b9_7f4a_7c15,
            fib_ifindex: ifindex("tun")?,
            service_ipv4: SERVICE.ip.octets(),
            service_port: SERVICE.port.to_be_bytes(),
            tunnel_mtu: 1280,
            punt_frame_max: 2048,
        });
        let mut relay = EbpfLoader::new()
            .map_max_entries(maps::PEERS, peers)
            .override_global("CONFIG", &config, true)
            .load(OBJECT)?;
        program(&mut relay, "relay")?.load()?;
        let mut companion = Ebpf::load(RIG)?;
        for name in [
            "empty",
            Companion::Native.program(),
            Companion::Client.program(),
        ] {
            program(&mut companion, name)?.load()?;
        }
        let mut rig = Self {
            relay,
            companion,
            ingress,
            peers,
            peers_written: None,
        };
        rig.list_ports(egress)?;
        Ok(rig)
    }

    fn list_ports(&mut self, egress: u32) -> Result<()> {
        let port = Port {
            mac: PORT_MAC,
            ..Port::default()
        };
        let ingress = self.ingress;
        let mut ports: HashMap<_, u32, Pod<Port>> = HashMap::try_from(self.map(maps::PORTS)?)?;
        ports.insert(ingress, Pod(port), 0)?;
        let mut devices = DevMapHash::try_from(self.map(maps::DEVICES)?)?;
        devices.insert(egress, egress, None, 0)?;
        let out = Egress {
            port_ifindex: egress,
            ..Egress::default()
        };
        let mut map: HashMap<_, u32, Pod<Egress>> = HashMap::try_from(self.map(maps::EGRESS)?)?;
        map.insert(egress, Pod(out), 0)?;
        Ok(())
    }

    fn map(&mut self, name: &str) -> Result<&mut aya::maps::Map> {
        self.relay.map_mut(name).context("the map is in the object")
    }

    /// Instructions the verifier looked at.
    pub(crate) fn verified_instructions(&mut self) -> Result<u32> {
        let info = program(&mut self.relay, "relay")?.info()?;
        info.verified_instruction_count()
            .context("kernel 5.16 or newer")
    }

    /// Size of the program as it runs.
    pub(crate) fn jited_bytes(&mut self) -> Result<u32> {
        Ok(program(&mut self.relay, "relay")?.info()?.size_jitted())
    }

    /// The empty program on `frame`.
    pub(crate) fn run_empty(&mut self, frame: &[u8], packets: u32) -> Result<f64> {
        test_run(
            program(&mut self.companion, "empty")?,
            self.ingress,
            frame,
            packets,
        )
    }

    /// The relay on a frame it leaves as it is.
    pub(crate) fn run_relay(&mut self, frame: &[u8], packets: u32, reason: Reason) -> Result<f64> {
        let before = self.counted(reason)?;
        let ingress = self.ingress;
        let ns = test_run(program(&mut self.relay, "relay")?, ingress, frame, packets)?;
        self.check(reason, before, packets)?;
        Ok(ns)
    }

    /// The companion and the relay on a frame it carries.
    pub(crate) fn run_behind(
        &mut self,
        companion: Companion,
        frame: &[u8],
        peers: u32,
        packets: u32,
        reason: Reason,
    ) -> Result<f64> {
        self.keep_peers_fresh()?;
        let next = program(&mut self.relay, "relay")?.fd()?.try_clone()?;
        let before = self.counted(reason)?;
        let ns = self.run_companion(companion, &next, frame, peers, packets)?;
        self.check(reason, before, packets)?;
        Ok(ns)
    }

    /// The companion in front of nothing.
    pub(crate) fn run_companion_alone(
        &mut self,
        companion: Companion,
        frame: &[u8],
        peers: u32,
        packets: u32,
    ) -> Result<f64> {
        let next = program(&mut self.companion, "empty")?.fd()?.try_clone()?;
        self.run_companion(companion, &next, frame, peers, packets)
    }

    fn run_companion(
        &mut self,
        companion: Companion,
        next: &aya::programs::ProgramFd,
        frame: &[u8],
        peers: u32,
        packets: u32,
    ) -> Result<f64> {
        let front = frame.first_chunk().context("the frame is long enough")?;
        let original = Original {
            front: *front,
            len: u32::try_from(frame.len())?,
            peer_mask: peers - 1,
        };
        let map = self.companion.map_mut("ORIGINAL").context("ORIGINAL")?;
        Array::try_from(map)?.set(0, Pod(original), 0)?;
        let map = self.companion.map_mut("NEXT").context("NEXT")?;
        ProgramArray::try_from(map)?.set(0, next, 0)?;
        let first = program(&mut self.companion, companion.program())?;
        test_run(first, self.ingress, frame, packets)
    }

    /// Writes every peer's entry, unless that was done lately.
    fn keep_peers_fresh(&mut self) -> Result<()> {
        if self.peers_written.is_some_and(|at| at.elapsed() < REFRESH) {
            return Ok(());
        }
        let now = now()?;
        let mut map: HashMap<&mut MapData, Pod<PeerKey>, Pod<PeerEntry>> =
            HashMap::try_from(self.relay.map_mut(maps::PEERS).context("PEERS")?)?;
        for peer in 0..self.peers {
            let key = PeerKey::from(&client(peer));
            map.insert(Pod(key), Pod(PeerEntry::new(mapped(peer), now)), 0)?;
        }
        self.peers_written = Some(Instant::now());
        Ok(())
    }

    fn counted(&mut self, reason: Reason) -> Result<u64> {
        let map: PerCpuArray<_, Pod<Counter>> = PerCpuArray::try_from(self.map(maps::COUNTERS)?)?;
        let values = map.get(&(reason as u32), 0)?;
        Ok(values.iter().map(|Pod(counter)| counter.packets).sum())
    }

    fn check(&mut self, reason: Reason, before: u64, packets: u32) -> Result<()> {
        let counted = self.counted(reason)? - before;
        ensure!(
            counted == u64::from(packets),
            "{counted} of {packets} packets ended as {}",
            reason.as_str()
        );
        Ok(())
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name).with_context(|| name.to_string())?;
    Ok(program.try_into()?)
}

/// Nanoseconds a packet; the kernel gives whole ones.
fn test_run(program: &Xdp, port: u32, frame: &[u8], packets: u32) -> Result<f64> {
    let len = u32::try_from(frame.len())?;
    // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
    let context: Vec<u8> = [0, len, 0, port, 0, 0]
        .into_iter()
        .flat_map(u32::to_ne_bytes)
        .collect();
    let result = program.test_run(TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(&context),
        repeat: packets,
        ..TestRunOptions::default()
    })?;
    Ok(result.duration.as_secs_f64() * 1e9)
}

fn now() -> Result<Ticks> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live `timespec`.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    ensure!(result == 0, "the clock is there");
    let nanos = u64::try_from(time.tv_sec)? * 1_000_000_000 + u64::try_from(time.tv_nsec)?;
    Ok(Ticks::from_nanos(nanos))
}

fn lay_out() -> Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .context("iproute2 is installed")?;
    child
        .stdin
        .take()
        .context("a pipe")?
        .write_all(TOPOLOGY.as_bytes())?;
    ensure!(child.wait()?.success(), "ip refuses the topology");
    for family in ["ipv4", "ipv6"] {
        fs::write(format!("/proc/sys/net/{family}/conf/tun/forwarding"), "1")?;
    }
    Ok(())
}

fn ifindex(name: &str) -> Result<u32> {
    let text = CString::new(name)?;
    // SAFETY: a terminated string that lives through the call.
    let index = unsafe { libc::if_nametoindex(text.as_ptr()) };
    ensure!(index != 0, "no device {name}");
    Ok(index)
}

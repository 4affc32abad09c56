//! The generator and the farm, seen from user space.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::{Array, DevMap, PerCpuArray};
use aya::programs::xdp::XdpMode;
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp};
use lab::Node;
use relay_common::farm::{self, BUCKETS, Interval, Order, Tally};
use relay_user::datapath::GENERATOR;

use super::cpu;
use super::frame::{Direction, Template};
use super::histogram::Histogram;

/// Packets the kernel hands on at once.
const BATCH: u32 = 64;
/// Packets in one system call at full rate: some tens of milliseconds.
const FLOOD_CALL: u32 = 1 << 15;
/// Longest wait for packets that are still on their way.
const SETTLE: Duration = Duration::from_millis(100);

/// An [`Order`] as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Pod(Order);

// SAFETY: `repr(C)` of integers without padding.
unsafe impl aya::Pod for Pod {}

/// Which peers packets go to or come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peers {
    /// One after the other from this number on.
    From(u32),
    /// A random one of this many, a power of two, for every packet.
    Random(u32),
}

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// As fast as the generator can.
    Flood,
    /// So many packets a second, in bursts of so many.
    Rate { per_s: f64, burst: u32 },
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    pub(crate) elapsed: Duration,
    /// Processor time of the thread that sent.
    pub(crate) cpu: Duration,
}

/// One instance of the generator's object in the far namespace of a test bed.
pub(crate) struct Generator {
    far: Arc<Node>,
    ebpf: Ebpf,
    core: usize,
    /// Its programs are attached here, where no packet comes: the kernel's table of XDP programs then
    /// has them already, and a test run does not wait some 20 ms for code to be patched before and after.
    _parking: Node,
}

impl Generator {
    /// Loads it; it will run on processor `core`.
    pub(crate) fn load(far: Arc<Node>, core: usize) -> Result<Self> {
        let mut ebpf = Ebpf::load(GENERATOR).context("load the generator")?;
        let parking = Node::new("parking")?;
        parking.ip(&[
            "link add send_native type veth peer name send_client",
            "link add send_server type veth peer name unused",
        ])?;
        for (name, interface) in [
            ("send_native", "send_native"),
            ("send_client", "send_client"),
            ("send_solicitation", "send_server"),
        ] {
            let program = program(&mut ebpf, name)?;
            program.load()?;
            parking
                .enter(|| program.attach(interface, XdpMode::Skb))
                .with_context(|| format!("park {name}"))?;
        }
        Ok(Self {
            far,
            ebpf,
            core,
            _parking: parking,
        })
    }

    /// Attaches `program` to `interface` of `node` for as long as this lives.
    pub(crate) fn attach(
        &mut self,
        node: &Node,
        program_name: &str,
        interface: &str,
    ) -> Result<()> {
        let program = program(&mut self.ebpf, program_name)?;
        if program.fd().is_err() {
            program.load().with_context(|| program_name.to_owned())?;
        }
        node.enter(|| program.attach(interface, XdpMode::Driver))
            .with_context(|| format!("attach {program_name} to {interface} of {}", node.name()))?;
        Ok(())
    }

    /// Lets frames leave by `interface` of `node`.
    pub(crate) fn aim(&mut self, node: &Node, interface: &str) -> Result<()> {
        let ifindex = node.ifindex(interface)?;
        let mut out = DevMap::try_from(self.ebpf.map_mut(farm::OUT).context(farm::OUT)?)?;
        node.enter(|| out.set(0, ifindex, None, 0))
            .with_context(|| format!("let frames leave by {interface}"))?;
        Ok(())
    }

    /// Sends `template`s in `direction` by `interface` of the far namespace.
    pub(crate) fn ready(
        &mut self,
        direction: Direction,
        template: &Template,
        peers: Peers,
        timed: bool,
    ) -> Result<Stream<'_>> {
        let (first, mask, random) = match peers {
            Peers::From(first) => (first, u32::MAX, 0),
            Peers::Random(count) => (0, count - 1, 1),
        };
        let order = Order {
            first,
            mask,
            random,
            timed: timed.into(),
            ..template.order
        };
        let map = self.ebpf.map_mut(farm::ORDER).context(farm::ORDER)?;
        Array::try_from(map)?.set(0, Pod(order), 0)?;
        Ok(Stream {
            program: program(
                &mut self.ebpf,
                match direction {
                    Direction::Encap => "send_native",
                    Direction::Decap => "send_client",
                    Direction::Solicit => "send_solicitation",
                },
            )?,
            far: &self.far,
            frame: template.frame.clone(),
            core: self.core,
        })
    }

    /// A reader of what arrived.
    pub(crate) fn tallies(&self) -> Result<Tallies> {
        let map = self.ebpf.map(farm::TALLIES).context(farm::TALLIES)?;
        let aya::maps::Map::PerCpuArray(data) = map else {
            anyhow::bail!("{} is a per-CPU array", farm::TALLIES);
        };
        // A descriptor of its own: read while the generator runs.
        let data = aya::maps::MapData::from_fd(data.fd().as_fd().try_clone_to_owned()?)?;
        Ok(Tallies(PerCpuArray::try_from(
            aya::maps::Map::PerCpuArray(data),
        )?))
    }

    /// The times taken since the last call.
    pub(crate) fn take_histogram(&mut self, interval: Interval) -> Result<Histogram> {
        let map = self
            .ebpf
            .map_mut(farm::HISTOGRAMS)
            .context(farm::HISTOGRAMS)?;
        let mut buckets: PerCpuArray<_, u64> = PerCpuArray::try_from(map)?;
        let mut counts = Vec::new();
        for bucket in 0..BUCKETS {
            let index = interval as u32 * BUCKETS + bucket;
            let values = buckets.get(&index, 0)?;
            counts.push(values.iter().sum());
            let zeros = vec![0; values.len()];
            buckets.set(index, aya::maps::PerCpuValues::try_from(zeros)?, 0)?;
        }
        Ok(Histogram::new(counts))
    }
}

/// What arrived so far.
pub(crate) struct Tallies(PerCpuArray<aya::maps::MapData, u64>);

impl Tallies {
    pub(crate) fn get(&self, tally: Tally) -> Result<u64> {
        let index = tally as u32;
        Ok(self.0.get(&index, 0)?.iter().sum())
    }

    /// The count once `expected` have come or nothing comes any more.
    pub(crate) fn settled(&self, tally: Tally, expected: u64) -> Result<u64> {
        let mut last = (self.get(tally)?, Instant::now());
        while last.0 < expected && last.1.elapsed() < SETTLE {
            std::thread::sleep(Duration::from_millis(1));
            let now = self.get(tally)?;
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
        Ok(last.0)
    }
}

/// A generator with its order.
pub(crate) struct Stream<'a> {
    program: &'a mut Xdp,
    far: &'a Node,
    frame: Vec<u8>,
    core: usize,
}

impl Stream<'_> {
    /// Runs `send` on the generator's processor, in the far namespace.
    pub(crate) fn run<T: Send>(
        self,
        send: impl FnOnce(&Sender<'_>) -> Result<T> + Send,
    ) -> Result<T> {
        let Self {
            program,
            far,
            frame,
            core,
        } = self;
        let program = &*program;
        far.enter(|| {
            cpu::pin_this_thread(core)?;
            send(&Sender {
                program,
                frame: &frame,
            })
        })
    }

    /// Sends at `pace` for `window`.
    pub(crate) fn send_for(self, pace: Pace, window: Duration) -> Result<Sent> {
        self.run(|sender| sender.send_for(pace, window))
    }

    /// Like [`Self::send_for`], and first on its processor.
    pub(crate) fn send_first(self, pace: Pace, window: Duration) -> Result<Sent> {
        self.run(|sender| {
            cpu::hurry_this_thread()?;
            sender.send_for(pace, window)
        })
    }

    /// Sends exactly `packets`, at full rate.
    pub(crate) fn send(self, packets: u64) -> Result<()> {
        self.run(|sender| {
            let mut left = packets;
            while left > 0 {
                let now = left.min(u64::from(FLOOD_CALL));
                sender.call(u32::try_from(now)?)?;
                left -= now;
            }
            Ok(())
        })
    }
}

/// The generator on its processor.
pub(crate) struct Sender<'a> {
    program: &'a Xdp,
    frame: &'a [u8],
}

impl Sender<'_> {
    /// Sends `packets` at once.
    pub(crate) fn call(&self, packets: u32) -> Result<()> {
        self.program
            .test_run(TestRunOptions {
                data_in: Some(self.frame),
                repeat: packets,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH.min(packets)),
                ..TestRunOptions::default()
            })
            .context("BPF_PROG_TEST_RUN with live frames (kernel 5.18 or newer)")?;
        Ok(())
    }

    fn send_for(&self, pace: Pace, window: Duration) -> Result<Sent> {
        let (start, cpu) = (Instant::now(), cpu::of_this_thread()?);
        let mut packets = 0;
        while start.elapsed() < window {
            packets += match pace {
                Pace::Flood => self.flood()?,
                Pace::Rate { per_s, burst } => self.catch_up(start, packets, per_s, burst)?,
            };
        }
        Ok(Sent {
            packets,
            elapsed: start.elapsed(),
            cpu: cpu::of_this_thread()?.saturating_sub(cpu),
        })
    }

    fn flood(&self) -> Result<u64> {
        self.call(FLOOD_CALL)?;
        Ok(FLOOD_CALL.into())
    }

    /// Sends the next burst once it is due; after a late one the next follow at once until all are on time.
    fn catch_up(&self, start: Instant, sent: u64, per_s: f64, burst: u32) -> Result<u64> {
        #[expect(clippy::cast_precision_loss, reason = "packets of some seconds")]
        let due = start + Duration::from_secs_f64(sent as f64 / per_s);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        self.call(burst)?;
        Ok(burst.into())
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf
        .program_mut(name)
        .with_context(|| format!("{name} is in the generator's object"))?;
    Ok(program.try_into()?)
}

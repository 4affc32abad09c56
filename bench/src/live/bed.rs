//! A test bed: a device under test between two cables, and the machine where traffic begins and ends.
//!
//! ```text
//!  far                                    device
//!  v6  2001:db8:1::1, native hosts  ----  v6  2001:db8:1::2
//!  v4  203.0.113.1, the farm        ----  v4  203.0.113.9
//! ```

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::Node;
use relay_common::farm::Tally;

use super::frame::{Cable, Direction, InnerBytes, Template};
use super::generator::{Generator, Pace, Peers, Sent, Tallies};

/// The cable of native IPv6.
const NATIVE_CABLE: Cable = Cable {
    far: [2, 0, 0, 0, 1, 6],
    near: [2, 0, 0, 0, 0, 6],
};
/// The cable of the IPv4 internet.
const INTERNET_CABLE: Cable = Cable {
    far: [2, 0, 0, 0, 1, 4],
    near: [2, 0, 0, 0, 0, 4],
};

/// The processors of a measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    /// Where the generator runs, and with it all that follows in the same soft interrupt.
    pub(crate) generator: usize,
    /// Where the device's own processes run.
    pub(crate) device: usize,
}

impl Cores {
    /// The first two.
    pub(crate) fn find() -> Result<Self> {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let [generator, device, ..] = cores.as_slice() else {
            anyhow::bail!(
                "live measurements take two processors: one for the generator, one for the daemon"
            );
        };
        Ok(Self {
            generator: generator.id,
            device: device.id,
        })
    }
}

/// Whether the farm takes times, which costs it two cold lines a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Timing {
    Off,
    On,
}

/// A device's machine, its cables and their far ends.
pub(crate) struct Bed {
    pub(crate) device: Node,
    pub(crate) far: Arc<Node>,
    pub(crate) cores: Cores,
    pub(crate) native_end: Generator,
    tallies: Tallies,
}

/// What one measurement saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    pub(crate) sent: Sent,
    pub(crate) delivered: u64,
}

#[expect(clippy::cast_precision_loss, reason = "packets of some seconds")]
impl Delivery {
    /// Packets a second that arrived.
    pub(crate) fn per_s(&self) -> f64 {
        self.delivered as f64 / self.sent.elapsed.as_secs_f64()
    }

    /// Share that did not arrive, in percent.
    pub(crate) fn loss_percent(&self) -> f64 {
        let lost = self.sent.packets.saturating_sub(self.delivered);
        100.0 * lost as f64 / self.sent.packets.max(1) as f64
    }
}

impl Bed {
    /// Two machines and two cables.
    pub(crate) fn new(name: &str, cores: Cores, timing: Timing) -> Result<Self> {
        let device = Node::new(name)?;
        let far = Arc::new(Node::new(&format!("far side of {name}"))?);
        cable(&far, &device, "v6", NATIVE_CABLE)?;
        cable(&far, &device, "v4", INTERNET_CABLE)?;
        // All neighbours are known: nothing here measures neighbour discovery.
        device.ip(&[
            "addr add 203.0.113.9/28 dev v4",
            "addr add 203.0.113.10/28 dev v4",
            "addr add 2001:db8:1::2/64 dev v6 nodad",
            "neigh add 203.0.113.1 lladdr 02:00:00:00:01:04 dev v4 nud permanent",
            "neigh add 2001:db8:1::1 lladdr 02:00:00:00:01:06 dev v6 nud permanent",
            "route add default via 203.0.113.1",
            "-6 route add default via 2001:db8:1::1",
        ])?;
        let mut native_end = Generator::load(Arc::clone(&far), cores.generator)?;
        native_end.attach(&far, "sink", "v6")?;
        let farm = match timing {
            Timing::Off => "farm",
            Timing::On => "farm_timed",
        };
        native_end.attach(&far, farm, "v4")?;
        let tallies = native_end.tallies()?;
        Ok(Self {
            device,
            far,
            cores,
            native_end,
            tallies,
        })
    }

    /// Lets the kernel of the device take frames that an XDP program sends: it must poll for them.
    pub(crate) fn kernel_receives(&self) -> Result<()> {
        for interface in ["v4", "v6"] {
            self.device.run(["ethtool", "-K", interface, "gro", "on"])?;
        }
        Ok(())
    }

    /// What has arrived so far.
    pub(crate) fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// Sends to or from `peers` at `pace` for `window`, and counts what arrives.
    pub(crate) fn measure(
        &mut self,
        direction: Direction,
        inner: InnerBytes,
        peers: Peers,
        pace: Pace,
        window: Duration,
    ) -> Result<Delivery> {
        let before = self.tallies.get(Tally::Delivered)?;
        let sent = self
            .stream(direction, inner, peers, false)?
            .send_for(pace, window)?;
        let after = self
            .tallies
            .settled(Tally::Delivered, before + sent.packets)?;
        ensure!(
            sent.packets > 0,
            "{}: nothing was sent in {window:?}",
            self.device.name()
        );
        Ok(Delivery {
            sent,
            delivered: after - before,
        })
    }

    /// The generator, ready to send.
    pub(crate) fn stream(
        &mut self,
        direction: Direction,
        inner: InnerBytes,
        peers: Peers,
        timed: bool,
    ) -> Result<super::generator::Stream<'_>> {
        stream(
            &mut self.native_end,
            &self.far,
            direction,
            inner,
            peers,
            timed,
        )
    }

    /// Another generator in the same place, on processor `core`.
    pub(crate) fn another_generator(&self, core: usize) -> Result<Generator> {
        Generator::load(Arc::clone(&self.far), core)
    }
}

/// `generator`, ready to send into a bed whose far side is `far`.
pub(crate) fn stream<'a>(
    generator: &'a mut Generator,
    far: &Node,
    direction: Direction,
    inner: InnerBytes,
    peers: Peers,
    timed: bool,
) -> Result<super::generator::Stream<'a>> {
    let (interface, cable) = match direction {
        Direction::Encap => ("v6", NATIVE_CABLE),
        Direction::Decap | Direction::Solicit => ("v4", INTERNET_CABLE),
    };
    generator.aim(far, interface)?;
    let template = Template::new(direction, cable, inner)?;
    generator.ready(direction, &template, peers, timed)
}

/// A queue for each of two processors, as a network card would have: what one processor sends
/// is never in the way of what the other does.
fn cable(far: &Node, device: &Node, interface: &str, macs: Cable) -> Result<()> {
    let there = device.netns().path();
    let [far_mac, near_mac] = [macs.far, macs.near].map(text);
    far.ip(&[
        &format!(
            "link add {interface} address {far_mac} numtxqueues 2 numrxqueues 2 type veth \
             peer name {interface} address {near_mac} numtxqueues 2 numrxqueues 2 netns {there}"
        ),
        &format!("link set {interface} up"),
    ])?;
    device.ip(&[&format!("link set {interface} up")])
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

//! The devices that are compared, each between cables of its own.

use anyhow::{Context as _, Result};

use super::bed::{Bed, Cores, Timing};
use super::cpu::Tasks;
use super::establish::{Population, handshakes};
use super::frame::{Direction, InnerBytes};
use super::generator::{Generator, Peers};
use super::relay::{Miredo, Relay};

/// Peers of the relay: as many as miredo can have.
pub(crate) const POPULATION: u32 = 1 << 20;
/// Packets that keep one peer of miredo's fresh.
const REMINDERS: u64 = 32;

/// A device under test.
pub(crate) struct Device {
    pub(crate) bed: Bed,
    pub(crate) kind: Kind,
}

/// What it is.
pub(crate) enum Kind {
    /// None: frames end at the near end of the cable. What the generator itself costs.
    Direct,
    /// A program that does nothing but `XDP_REDIRECT`, kept by the generator that holds it.
    Redirect { _program: Box<Generator> },
    /// The kernel's own forwarding, into a tunnel or not.
    Kernel,
    /// The shipped relay.
    Relay {
        relay: Box<Relay>,
        population: Population,
    },
    /// miredo.
    Miredo(Miredo),
    /// The shipped server.
    Server {
        server: Box<Relay>,
        /// Whether its program answers.
        in_xdp: bool,
    },
    /// miredo-server.
    MiredoServer(Miredo),
}

/// A tunnel of the kernel's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tunnel {
    /// IPv6 in UDP, as Teredo is.
    SitFou,
    /// Ethernet in UDP.
    Vxlan,
}

impl Tunnel {
    /// Its name in figures.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SitFou => "kernel-sit-fou",
            Self::Vxlan => "kernel-vxlan",
        }
    }
}

impl Device {
    pub(crate) fn direct(cores: Cores) -> Result<Self> {
        let mut bed = Bed::new("no device", cores, Timing::Off)?;
        for interface in ["v4", "v6"] {
            bed.native_end.attach(&bed.device, "sink", interface)?;
        }
        Ok(Self {
            bed,
            kind: Kind::Direct,
        })
    }

    /// From the native side to the IPv4 side.
    pub(crate) fn redirect(cores: Cores) -> Result<Self> {
        let bed = Bed::new("bare redirect", cores, Timing::Off)?;
        let mut program = bed.another_generator(cores.generator)?;
        program.attach(&bed.device, "redirect", "v6")?;
        program.aim(&bed.device, "v4")?;
        Ok(Self {
            bed,
            kind: Kind::Redirect {
                _program: Box::new(program),
            },
        })
    }

    /// Clients' addresses are routed out of the IPv4 side as they are.
    pub(crate) fn kernel(cores: Cores) -> Result<Self> {
        let bed = Bed::new("kernel forwarding", cores, Timing::Off)?;
        bed.kernel_receives()?;
        bed.device.ip(&[
            "addr add 2001:db8:3::2/64 dev v4 nodad",
            "neigh add 2001:db8:3::1 lladdr 02:00:00:00:01:04 dev v4 nud permanent",
            "-6 route add 2001::/32 via 2001:db8:3::1",
        ])?;
        Ok(Self {
            bed,
            kind: Kind::Kernel,
        })
    }

    /// Clients' addresses are routed into one tunnel: sit in FOU where the kernel has both, else VXLAN.
    pub(crate) fn tunnel(cores: Cores) -> Result<(Tunnel, Self)> {
        let bed = Bed::new("kernel tunnel", cores, Timing::Off)?;
        bed.kernel_receives()?;
        let fou = "link add name tunnel type sit remote 203.0.113.130 local 203.0.113.9 ttl 64 \
                   encap fou encap-sport 3545 encap-dport 40000";
        let vxlan = "link add name tunnel address 02:00:00:00:02:00 type vxlan id 1 \
                     remote 203.0.113.130 local 203.0.113.9 dstport 4789 dev v4 ttl 64";
        let tunnel = if bed.device.ip(&[fou]).is_ok() {
            bed.device
                .ip(&["link set tunnel up", "-6 route add 2001::/32 dev tunnel"])?;
            Tunnel::SitFou
        } else {
            bed.device
                .ip(&[
                    vxlan,
                    "link set tunnel up",
                    "addr add 2001:db8:3::2/64 dev tunnel nodad",
                    "neigh add 2001:db8:3::1 lladdr 02:00:00:00:02:01 dev tunnel nud permanent",
                    "-6 route add 2001::/32 via 2001:db8:3::1",
                ])
                .context("the kernel has neither sit with FOU nor VXLAN")?;
            Tunnel::Vxlan
        };
        Ok((
            tunnel,
            Self {
                bed,
                kind: Kind::Kernel,
            },
        ))
    }

    /// The shipped relay with [`POPULATION`] established peers.
    pub(crate) fn relay(cores: Cores) -> Result<Self> {
        let mut bed = Bed::new("relay", cores, Timing::Off)?;
        let relay = Relay::start(&bed, POPULATION)?;
        let population = Population::establish(&mut bed, &relay, POPULATION)?;
        Ok(Self {
            bed,
            kind: Kind::Relay {
                relay: Box::new(relay),
                population,
            },
        })
    }

    /// miredo with one peer, number 0.
    pub(crate) fn miredo(cores: Cores) -> Result<Self> {
        let bed = Bed::new("miredo", cores, Timing::Off)?;
        let miredo = Miredo::start(&bed)?;
        Ok(Self {
            bed,
            kind: Kind::Miredo(miredo),
        })
    }

    /// The shipped server.
    pub(crate) fn server(cores: Cores, datapath: &str) -> Result<Self> {
        let bed = Bed::new(&format!("server, {datapath}"), cores, Timing::Off)?;
        bed.kernel_receives()?;
        let server = Box::new(Relay::serve(&bed, datapath)?);
        let in_xdp = datapath == "xdp";
        Ok(Self {
            bed,
            kind: Kind::Server { server, in_xdp },
        })
    }

    /// miredo-server.
    pub(crate) fn miredo_server(cores: Cores) -> Result<Self> {
        let bed = Bed::new("miredo-server", cores, Timing::Off)?;
        let miredo = Miredo::serve(&bed)?;
        Ok(Self {
            bed,
            kind: Kind::MiredoServer(miredo),
        })
    }

    /// Makes sure that the peers in use are trusted now.
    pub(crate) fn prepare(&mut self) -> Result<()> {
        let Self { bed, kind } = self;
        match kind {
            Kind::Direct
            | Kind::Redirect { .. }
            | Kind::Kernel
            | Kind::Server { .. }
            | Kind::MiredoServer(_) => Ok(()),
            Kind::Relay { population, .. } => population.keep_fresh(bed),
            Kind::Miredo(_) => remind(bed),
        }
    }

    /// The processes that work for it.
    pub(crate) fn tasks(&self) -> Tasks {
        match &self.kind {
            Kind::Direct | Kind::Redirect { .. } | Kind::Kernel => Tasks::default(),
            Kind::Relay { relay, .. } => relay.tasks.clone(),
            Kind::Server { server, .. } => server.tasks.clone(),
            Kind::Miredo(miredo) | Kind::MiredoServer(miredo) => miredo.tasks.clone(),
        }
    }

    /// Packets its fast path has carried; `None` where there is none to ask.
    pub(crate) fn carried_fast(&self) -> Result<Option<u64>> {
        match &self.kind {
            Kind::Relay { relay, .. } => relay.carried_fast().map(Some),
            Kind::Server {
                server,
                in_xdp: true,
            } => server.advertised_fast().map(Some),
            _ => Ok(None),
        }
    }
}

/// Establishes miredo's peer if it is not, and lets it be heard.
fn remind(bed: &mut Bed) -> Result<()> {
    const ATTEMPTS: u32 = 20;
    let limit = std::time::Duration::from_secs(1);
    for _ in 0..ATTEMPTS {
        let shaken = handshakes(bed, 0, 1, 1, limit)?;
        if shaken.delivered == 1 {
            return bed
                .stream(Direction::Decap, InnerBytes::SMALL, Peers::Random(1), false)?
                .send(REMINDERS);
        }
    }
    anyhow::bail!("miredo did not establish its peer in {ATTEMPTS} attempts")
}

//! Machines and cables.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::legs::{self, Legs};
use crate::{Nat, Node, VlanDevice, XdpPass};
use crate::{mounts, nat};

/// The relay's UDP port.
pub const RELAY_PORT: u16 = 3545;

/// How the relay is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Cabling {
    /// `lb-v4` to the IPv4 internet, `lb-v6` to native IPv6.
    #[default]
    TwoArmed,
    /// One interface, `lb-nic`, for both.
    OneArmed,
}

/// What a lab is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Sites to build.
    pub nats: Vec<Nat>,
    /// Interfaces of the relay.
    pub cabling: Cabling,
    /// VLAN identifiers of the relay's IPv4 leg, outermost first; none for untagged.
    pub ipv4_vlan: Vec<u16>,
    /// VLAN identifiers of the relay's IPv6 leg, outermost first; none for untagged.
    pub ipv6_vlan: Vec<u16>,
}

impl Default for Options {
    /// All sites, a relay with two interfaces.
    fn default() -> Self {
        Self {
            nats: Nat::ALL.to_vec(),
            cabling: Cabling::TwoArmed,
            ipv4_vlan: Vec::new(),
            ipv6_vlan: Vec::new(),
        }
    }
}

/// A client and what stands before it.
#[derive(Debug)]
pub struct Site {
    /// Which NAT.
    pub nat: Nat,
    /// The machine of the NAT; [`Nat::Public`] has none.
    pub router: Option<Node>,
    /// The client's machine.
    pub client: Node,
    /// Address of the site in the IPv4 internet.
    pub public: Ipv4Addr,
}

impl Site {
    /// Makes the NAT forget all mappings, for a cold start.
    ///
    /// # Errors
    /// `conntrack` or `nft` failed.
    pub fn flush(&self) -> Result<()> {
        self.router.as_ref().map_or(Ok(()), nat::flush)
    }
}

/// A small internet. Dropping it takes everything down.
#[derive(Debug)]
pub struct Lab {
    /// The IPv4 internet: a router.
    pub inet: Node,
    /// Native IPv6: a router.
    pub v6r: Node,
    /// The machine of the relay under test.
    pub relay: Node,
    /// The machine of the Teredo server.
    pub server: Node,
    /// The native IPv6 host.
    pub host: Node,
    /// The machine of scripted clients, with a whole /25 of addresses.
    pub bench: Node,
    sites: Vec<Site>,
    cabling: Cabling,
    dir: TempDir,
    legs: Legs,
    /// Where the server's program sends frames.
    _server_far_end: XdpPass,
}

impl Lab {
    /// The relay's IPv4 address.
    pub const RELAY_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 18);
    /// The relay's native address.
    pub const RELAY_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
    /// The server's primary address.
    pub const SERVER_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
    /// The server's secondary address.
    pub const SERVER_SECONDARY_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 3);
    /// The server's native address.
    pub const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 2);
    /// The native host's address.
    pub const HOST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);
    /// The address of the bench machine.
    pub const BENCH_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 98);
    /// First of the 128 addresses that also end at the bench machine.
    pub const BENCH_POOL: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 128);

    /// Builds the internet of `options`. No daemon runs in it yet.
    ///
    /// # Errors
    /// Not root, or a tool is missing: the message names machine, command and cause.
    pub fn new(options: &Options) -> Result<Self> {
        mounts::isolate().context("a BPF file system of its own")?;
        let dir = tempfile::Builder::new().prefix("lab-").tempdir()?;
        // miredo reads its configuration as another user.
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755))?;

        let inet = Node::new("inet")?;
        let v6r = Node::new("v6r")?;
        let relay = Node::new("relay")?;
        let server = server_machine(&inet, &v6r)?;
        let server_far_end = XdpPass::attach(&inet, "lb-srv")?;
        // As at the relay's cables.
        inet.run(["ethtool", "-K", "lb-srv", "gro", "off"])?;
        let host = host_machine(&v6r)?;
        let bench = bench_machine(&inet)?;
        let legs = match options.cabling {
            Cabling::TwoArmed => legs::two_arms(&inet, &v6r, &relay, options)?,
            Cabling::OneArmed => legs::one_arm(&inet, &v6r, &relay, options)?,
        };
        let mut sites = Vec::new();
        for nat in &options.nats {
            sites.push(site(*nat, &inet, dir.path()).with_context(|| format!("site {nat}"))?);
        }
        Ok(Self {
            inet,
            v6r,
            relay,
            server,
            host,
            bench,
            sites,
            cabling: options.cabling,
            dir,
            legs,
            _server_far_end: server_far_end,
        })
    }

    /// The sites that were asked for.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// The site behind `nat`.
    ///
    /// # Panics
    /// If the lab was built without it.
    pub fn site(&self, nat: Nat) -> &Site {
        self.sites
            .iter()
            .find(|site| site.nat == nat)
            .unwrap_or_else(|| panic!("this lab has no {nat} site"))
    }

    /// The relay's interfaces.
    pub const fn relay_interfaces(&self) -> &'static [&'static str] {
        match self.cabling {
            Cabling::TwoArmed => &["lb-v4", "lb-v6"],
            Cabling::OneArmed => &["lb-nic"],
        }
    }

    /// The far ends of the relay's cables: where frames of its XDP program can be captured.
    pub fn relay_far_ends(&self) -> Vec<(&Node, &'static str)> {
        match self.cabling {
            Cabling::TwoArmed => vec![(&self.inet, "lb-rly"), (&self.v6r, "lb-rly")],
            Cabling::OneArmed => vec![(&self.inet, "lb-rly")],
        }
    }

    /// The relay's own VLAN devices: that of the IPv4 leg, then that of the IPv6 leg.
    pub fn relay_vlans(&self) -> &[VlanDevice] {
        &self.legs.relay_vlans
    }

    /// A directory for files of this lab, removed with it. Everybody may read there.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Makes all NATs forget their mappings.
    ///
    /// # Errors
    /// `conntrack` or `nft` failed.
    pub fn flush_nats(&self) -> Result<()> {
        self.sites.iter().try_for_each(Site::flush)
    }

    /// All machines.
    pub fn nodes(&self) -> Vec<&Node> {
        let mut nodes = vec![
            &self.inet,
            &self.v6r,
            &self.relay,
            &self.server,
            &self.host,
            &self.bench,
        ];
        for site in &self.sites {
            nodes.extend(&site.router);
            nodes.push(&site.client);
        }
        nodes
    }
}

/// Lays a cable between interface `a` of one machine and `b` of another, both up, with
/// checksums computed in software so that captures show what travels.
///
/// # Errors
/// The interface exists, or `ip` or `ethtool` is missing.
pub(crate) fn cable(from: &Node, a: &str, to: &Node, b: &str) -> Result<()> {
    let there = to.netns().path();
    from.run([
        "ip", "link", "add", a, "type", "veth", "peer", "name", b, "netns", &there,
    ])?;
    for (node, interface) in [(from, a), (to, b)] {
        node.run(["ethtool", "-K", interface, "tx", "off"])?;
        node.run(["ip", "link", "set", interface, "up"])?;
    }
    Ok(())
}

fn server_machine(inet: &Node, v6r: &Node) -> Result<Node> {
    let server = Node::new("server")?;
    cable(inet, "lb-srv", &server, "lb-v4")?;
    cable(v6r, "lb-srv", &server, "lb-v6")?;
    inet.ip(&["addr add 203.0.113.1/28 dev lb-srv"])?;
    v6r.ip(&["addr add 2001:db8:3::1/64 dev lb-srv nodad"])?;
    server.ip(&[
        "addr add 203.0.113.2/28 dev lb-v4",
        "addr add 203.0.113.3/28 dev lb-v4",
        "addr add 2001:db8:3::2/64 dev lb-v6 nodad",
        "route add default via 203.0.113.1",
        "-6 route add default via 2001:db8:3::1",
    ])?;
    Ok(server)
}

fn host_machine(v6r: &Node) -> Result<Node> {
    let host = Node::new("host")?;
    cable(v6r, "lb-host", &host, "lb-v6")?;
    v6r.ip(&["addr add 2001:db8:2::1/64 dev lb-host nodad"])?;
    host.ip(&[
        "addr add 2001:db8:2::2/64 dev lb-v6 nodad",
        "-6 route add default via 2001:db8:2::1",
    ])?;
    Ok(host)
}

fn bench_machine(inet: &Node) -> Result<Node> {
    let bench = Node::new("bench")?;
    cable(inet, "lb-bench", &bench, "lb-v4")?;
    inet.ip(&[
        "addr add 198.51.100.97/28 dev lb-bench",
        "route add 198.51.100.128/25 via 198.51.100.98",
    ])?;
    bench.ip(&[
        "addr add 198.51.100.98/28 dev lb-v4",
        "route add local 198.51.100.128/25 dev lo",
        "route add default via 198.51.100.97",
    ])?;
    Ok(bench)
}

fn site(nat: Nat, inet: &Node, dir: &Path) -> Result<Site> {
    let client = Node::new(&format!("{nat} client"))?;
    let router = match nat {
        Nat::Public => {
            join_inet(nat, inet, &client, "lb-lan")?;
            None
        }
        _ => Some(nat_router(nat, inet, &client, dir)?),
    };
    Ok(Site {
        nat,
        router,
        client,
        public: nat.public(2),
    })
}

/// Connects `outermost`, the machine that holds the site's public address.
fn join_inet(nat: Nat, inet: &Node, outermost: &Node, interface: &str) -> Result<()> {
    let (gateway, public) = (nat.public(1), nat.public(2));
    let port = format!("lb-{nat}");
    cable(inet, &port, outermost, interface)?;
    inet.ip(&[&format!("addr add {gateway}/28 dev {port}")])?;
    outermost.ip(&[
        &format!("addr add {public}/28 dev {interface}"),
        &format!("route add default via {gateway}"),
    ])
}

fn nat_router(nat: Nat, inet: &Node, client: &Node, dir: &Path) -> Result<Node> {
    let (inside, lan) = (nat.private(1), nat.private(2));
    let router = Node::new(&format!("{nat} router"))?;
    join_inet(nat, inet, &router, "lb-wan")?;
    cable(&router, "lb-nat", client, "lb-lan")?;
    router.ip(&[&format!("addr add {inside}/24 dev lb-nat")])?;
    client.ip(&[
        &format!("addr add {lan}/24 dev lb-lan"),
        &format!("route add default via {inside}"),
    ])?;
    nat::load(nat, &router, dir)?;
    Ok(router)
}

//! Real miredo daemons as client, server and relay.

use std::fs;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use teredo::addr::{SERVER_PORT, TeredoAddr};

use crate::{Lab, Nat, Node, Process, RELAY_PORT, Site};

const READY_DEADLINE: Duration = Duration::from_secs(10);
/// The daemons' TUN device.
pub const INTERFACE: &str = "teredo";
const TEREDO_PREFIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0);

/// A qualified client; killing or dropping it leaves its address dead.
#[derive(Debug)]
pub struct Client {
    /// Its Teredo address.
    pub address: TeredoAddr,
    /// Time from start to qualification.
    pub qualified_in: Duration,
    process: Process,
}

impl Client {
    /// Starts miredo at the site behind `nat` and waits until it has qualified.
    ///
    /// # Errors
    /// miredo is missing, or does not qualify in time; the message holds its log.
    pub fn start(lab: &Lab, nat: Nat) -> Result<Self> {
        Self::begin(lab, nat)?.qualified()
    }

    /// Starts miredo at the site behind `nat` without waiting.
    ///
    /// # Errors
    /// miredo is missing.
    pub fn begin(lab: &Lab, nat: Nat) -> Result<Starting<'_>> {
        let node = &lab.site(nat).client;
        let config = format!(
            "RelayType client\nInterfaceName {INTERFACE}\nServerAddress {}\nBindPort {}\n",
            Lab::SERVER_V4,
            nat.client_port()
        );
        let started = Instant::now();
        let process = start("miredo", node, lab.dir(), &format!("client-{nat}"), &config)?;
        Ok(Starting {
            node,
            started,
            process,
        })
    }

    /// Its Teredo address.
    pub fn ipv6(&self) -> Ipv6Addr {
        self.address.into()
    }

    /// The daemon.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Kills it: the address is dead from now on.
    ///
    /// # Errors
    /// The process cannot be reaped.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }
}

/// A client on its way to qualification.
#[derive(Debug)]
pub struct Starting<'lab> {
    node: &'lab Node,
    started: Instant,
    process: Process,
}

impl Starting<'_> {
    /// Waits until it has qualified.
    ///
    /// # Errors
    /// It does not in time; the message holds its log.
    pub fn qualified(mut self) -> Result<Client> {
        let mut address = None;
        self.process
            .wait_until("qualification", READY_DEADLINE, || {
                address = teredo_address(self.node);
                // The hook adds the route last; without it nothing can be sent.
                address.is_some() && has_default_route(self.node)
            })?;
        Ok(Client {
            address: address.context("it was just seen")?,
            qualified_in: self.started.elapsed(),
            process: self.process,
        })
    }
}

/// Starts a client at every site at once, each behind a NAT that has forgotten everything,
/// and waits until all have qualified. In the order of [`Lab::sites`].
///
/// # Errors
/// One of them does not start or qualify.
pub fn cold_clients(lab: &Lab) -> Result<Vec<(&Site, Client)>> {
    lab.flush_nats()?;
    let starting: Vec<_> = lab
        .sites()
        .iter()
        .map(|site| Ok((site, Client::begin(lab, site.nat)?)))
        .collect::<Result<_>>()?;
    starting
        .into_iter()
        .map(|(site, client)| Ok((site, client.qualified()?)))
        .collect()
}

/// Starts miredo-server on the server's machine and waits until it listens.
///
/// # Errors
/// miredo-server is missing or does not start; the message holds its log.
pub fn server(lab: &Lab) -> Result<Process> {
    let config = format!("ServerBindAddress {}\n", Lab::SERVER_V4);
    let node = &lab.server;
    let mut process = start("miredo-server", node, lab.dir(), "server", &config)?;
    process.wait_until("its port", READY_DEADLINE, || {
        node.has_udp_socket(SERVER_PORT).unwrap_or(false)
    })?;
    Ok(process)
}

/// Starts miredo as the relay, for comparison, and waits until its route is there.
///
/// # Errors
/// miredo is missing or does not start; the message holds its log.
pub fn relay(lab: &Lab) -> Result<Process> {
    let config = format!(
        "RelayType relay\nInterfaceName {INTERFACE}\nBindAddress {}\nBindPort {RELAY_PORT}\n",
        Lab::RELAY_V4
    );
    let node = &lab.relay;
    let mut process = start("miredo", node, lab.dir(), "relay", &config)?;
    process.wait_until("its route and port", READY_DEADLINE, || {
        node.has_ipv6_route(TEREDO_PREFIX, 32, INTERFACE)
            .unwrap_or(false)
            && node.has_udp_socket(RELAY_PORT).unwrap_or(false)
    })?;
    Ok(process)
}

fn start(program: &str, node: &Node, dir: &Path, name: &str, config: &str) -> Result<Process> {
    let file = |extension: &str| -> PathBuf { dir.join(format!("{name}.{extension}")) };
    fs::write(file("conf"), config)?;
    node.spawn_daemon([
        program.as_ref(),
        "-f".as_ref(),
        "-c".as_ref(),
        file("conf").as_os_str(),
        "-p".as_ref(),
        file("pid").as_os_str(),
    ])
}

fn teredo_address(node: &Node) -> Option<TeredoAddr> {
    let addresses = node.ipv6_addresses(INTERFACE).ok()?;
    addresses
        .into_iter()
        .find_map(|address| TeredoAddr::try_from(address).ok())
}

fn has_default_route(node: &Node) -> bool {
    node.has_ipv6_route(Ipv6Addr::UNSPECIFIED, 0, INTERFACE)
        .unwrap_or(false)
}

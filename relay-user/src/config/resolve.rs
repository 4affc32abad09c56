//! Settings meet the machine: which interfaces, which addresses.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use teredo::addr::TeredoAddr;

use super::settings::laboratory_prefix;
use super::{Bind, DEFAULT_PORT, DaemonSettings, RelaySettings};
use crate::error::StartError;
use crate::net::{LinkKind, Snapshot};

/// A network interface, as far as addresses are chosen by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceInfo {
    /// Interface index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// IPv4 addresses in the kernel's order.
    pub ipv4: Vec<Ipv4Addr>,
    /// IPv6 addresses in the kernel's order, without tentative ones.
    pub ipv6: Vec<Ipv6Addr>,
    /// Index of the link this VLAN device stands on; `None` for everything else.
    pub vlan_parent: Option<u32>,
}

impl InterfaceInfo {
    /// The interfaces of `snapshot`.
    pub fn all(snapshot: &Snapshot) -> Vec<Self> {
        let links = snapshot.links.iter();
        links
            .map(|link| Self {
                ifindex: link.index,
                name: link.name.clone(),
                ipv4: link.ipv4.iter().map(|(ip, _)| *ip).collect(),
                ipv6: link
                    .ipv6
                    .iter()
                    .filter(|a| !a.tentative)
                    .map(|a| a.addr)
                    .collect(),
                vlan_parent: match link.kind {
                    LinkKind::Vlan { parent, .. } => Some(parent),
                    _ => None,
                },
            })
            .collect()
    }
}

/// An interface the relay serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRef {
    /// Interface index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
}

/// What the settings mean on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The interfaces, in the order they were named.
    pub ports: Vec<PortRef>,
    /// Address and port of the Teredo service.
    pub service: SocketAddrV4,
    /// Interface that has the service address.
    pub service_on: String,
    /// Source of ICMPv6 errors.
    pub native_address: Ipv6Addr,
    /// Interface that has the native address.
    pub native_on: String,
}

/// Finds the interfaces and addresses `settings` ask for among `interfaces`, all those of the machine.
///
/// Addresses that were not asked for are the first global ones of the named interfaces: in the order they were
/// named, for each its own addresses and then those of the VLAN devices on it. Last come the ports below VLAN
/// devices that were named.
///
/// # Errors
/// No such interface, an address that is not on this machine, no global address.
pub fn resolve(
    settings: &RelaySettings,
    interfaces: &[InterfaceInfo],
) -> Result<Resolved, StartError> {
    let machine = Machine {
        settings,
        interfaces,
    };
    let ports = ports(&settings.daemon, interfaces)?;
    let near = machine.near(&ports);
    let (service, service_on) = machine.service(&near)?;
    let (native_address, native_on) = machine.native_address(&near)?;
    Ok(Resolved {
        ports: ports
            .iter()
            .map(|p| PortRef {
                ifindex: p.ifindex,
                name: p.name.clone(),
            })
            .collect(),
        service,
        service_on,
        native_address,
        native_on,
    })
}

/// Looks for the interfaces that are named among those of the machine.
///
/// # Errors
/// One is not there.
pub fn check_ports(
    daemon: &DaemonSettings,
    interfaces: &[InterfaceInfo],
) -> Result<(), StartError> {
    ports(daemon, interfaces).map(drop)
}

fn ports<'a>(
    daemon: &DaemonSettings,
    interfaces: &'a [InterfaceInfo],
) -> Result<Vec<&'a InterfaceInfo>, StartError> {
    let find = |name: &String| {
        let found = interfaces.iter().find(|i| i.name == *name);
        found.ok_or_else(|| {
            let names: Vec<&str> = interfaces.iter().map(|i| i.name.as_str()).collect();
            let next = format!("interfaces here: {}", names.join(", "));
            StartError::new("--iface", name, "no such interface", next)
        })
    };
    daemon.ifaces.iter().map(find).collect()
}

struct Machine<'a> {
    settings: &'a RelaySettings,
    interfaces: &'a [InterfaceInfo],
}

impl<'a> Machine<'a> {
    /// The named interfaces, each followed by the VLAN devices on it (and on those: QinQ), and then what is below them.
    fn near(&self, ports: &[&'a InterfaceInfo]) -> Vec<&'a InterfaceInfo> {
        let mut near: Vec<&InterfaceInfo> = Vec::new();
        for port in ports {
            let mut level = vec![*port];
            while !level.is_empty() {
                level.retain(|i| !near.iter().any(|n| n.ifindex == i.ifindex));
                near.extend(&level);
                let parents: Vec<u32> = level.iter().map(|i| i.ifindex).collect();
                level = self
                    .interfaces
                    .iter()
                    .filter(|i| i.vlan_parent.is_some_and(|p| parents.contains(&p)))
                    .collect();
            }
        }
        for port in ports {
            let mut above = *port;
            while let Some(below) = self.below(above) {
                if !near.iter().any(|n| n.ifindex == below.ifindex) {
                    near.push(below);
                }
                above = below;
            }
        }
        near
    }

    /// What a VLAN device stands on.
    fn below(&self, device: &InterfaceInfo) -> Option<&'a InterfaceInfo> {
        let parent = device.vlan_parent?;
        self.interfaces.iter().find(|i| i.ifindex == parent)
    }

    fn named(&self) -> String {
        self.settings.daemon.ifaces.join(", ")
    }

    fn service(&self, near: &[&InterfaceInfo]) -> Result<(SocketAddrV4, String), StartError> {
        if let Some(Bind { ip, port }) = self.settings.bind {
            let service = SocketAddrV4::new(ip, port);
            return match self.interfaces.iter().find(|i| i.ipv4.contains(&ip)) {
                Some(on) => Ok((service, on.name.clone())),
                None => Err(StartError::new(
                    "--bind",
                    service.to_string(),
                    "not an address of this machine",
                    format!(
                        "IPv4 addresses here: {}",
                        list(self.interfaces, |i| &i.ipv4)
                    ),
                )),
            };
        }
        let addresses = || {
            near.iter()
                .flat_map(|i| i.ipv4.iter().map(|ip| (*ip, &i.name)))
        };
        if let Some((ip, on)) = addresses().find(|(ip, _)| self.settings.daemon.may_talk_to(*ip)) {
            return Ok((SocketAddrV4::new(ip, DEFAULT_PORT), on.clone()));
        }
        Err(match addresses().next() {
            Some((ip, on)) => StartError::new(
                "--iface",
                on,
                format!("has {ip}, which is not global, and no IPv4 address that is"),
                format!(
                    "--allow-non-global {} for a laboratory, or --bind another address of this machine",
                    laboratory_prefix(ip)
                ),
            ),
            None => StartError::new(
                "--iface",
                self.named(),
                "no IPv4 address there",
                format!(
                    "add one, or --bind another of this machine: {}",
                    list(self.interfaces, |i| &i.ipv4)
                ),
            ),
        })
    }

    fn native_address(&self, near: &[&InterfaceInfo]) -> Result<(Ipv6Addr, String), StartError> {
        if let Some(ip) = self.settings.native_address {
            return match self.interfaces.iter().find(|i| i.ipv6.contains(&ip)) {
                Some(on) => Ok((ip, on.name.clone())),
                None => Err(StartError::new(
                    "--native-address",
                    ip.to_string(),
                    "not an address of this machine",
                    format!(
                        "IPv6 addresses here: {}",
                        list(self.interfaces, |i| &i.ipv6)
                    ),
                )),
            };
        }
        let addresses = || {
            near.iter()
                .flat_map(|i| i.ipv6.iter().map(|ip| (*ip, &i.name)))
        };
        if let Some((ip, on)) = addresses().find(|(ip, _)| is_global(*ip)) {
            return Ok((ip, on.clone()));
        }
        let has = match addresses().next() {
            Some((ip, _)) => format!("has {ip}, which is not global, and no IPv6 address that is"),
            None => "no IPv6 address there".to_owned(),
        };
        Err(StartError::new(
            "--iface",
            self.named(),
            has,
            format!(
                "the relay needs one to send ICMPv6 errors from: add it, or --native-address another of this machine: {}",
                list(self.interfaces, |i| &i.ipv6)
            ),
        ))
    }
}

/// In 2000::/3 and not Teredo. Documentation addresses count: laboratories use them, and they reach nobody else.
fn is_global(ip: Ipv6Addr) -> bool {
    let octets = ip.octets();
    octets[0] & 0xe0 == 0x20 && !TeredoAddr::is_teredo(&octets)
}

/// The addresses of all interfaces, for the next step of an error.
fn list<T: ToString>(
    interfaces: &[InterfaceInfo],
    of: impl Fn(&InterfaceInfo) -> &Vec<T>,
) -> String {
    /// More would hide the message.
    const MOST: usize = 8;
    let mut shown: Vec<String> = interfaces
        .iter()
        .flat_map(|i| {
            of(i)
                .iter()
                .map(|ip| format!("{} {}", i.name, ip.to_string()))
        })
        .collect();
    if shown.is_empty() {
        return "none".to_owned();
    }
    if shown.len() > MOST {
        shown.truncate(MOST);
        shown.push("...".to_owned());
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests;

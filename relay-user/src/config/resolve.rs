//! Settings meet the machine: which interfaces, which addresses.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use teredo::addr::TeredoAddr;

use super::settings::laboratory_prefix;
use super::{Bind, DEFAULT_PORT, RelaySettings};
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
/// named, for each its own addresses and then those of the VLAN devices on it.
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
    let ports = machine.ports()?;
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

struct Machine<'a> {
    settings: &'a RelaySettings,
    interfaces: &'a [InterfaceInfo],
}

impl<'a> Machine<'a> {
    fn ports(&self) -> Result<Vec<&'a InterfaceInfo>, StartError> {
        let find = |name: &String| {
            let found = self.interfaces.iter().find(|i| i.name == *name);
            found.ok_or_else(|| {
                let names: Vec<&str> = self.interfaces.iter().map(|i| i.name.as_str()).collect();
                let next = format!("interfaces here: {}", names.join(", "));
                StartError::new("--iface", name, "no such interface", next)
            })
        };
        self.settings.ifaces.iter().map(find).collect()
    }

    /// The ports, each followed by the VLAN devices on it (and on those: QinQ).
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
        near
    }

    fn named(&self) -> String {
        self.settings.ifaces.join(", ")
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
        if let Some((ip, on)) = addresses().find(|(ip, _)| self.settings.may_talk_to(*ip)) {
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
mod tests {
    use super::*;
    use crate::cli::RelayFlags;
    use crate::config::settings;

    fn interface(ifindex: u32, name: &str, ipv4: &[&str], ipv6: &[&str]) -> InterfaceInfo {
        InterfaceInfo {
            ifindex,
            name: name.to_owned(),
            ipv4: ipv4.iter().map(|ip| ip.parse().expect("IPv4")).collect(),
            ipv6: ipv6.iter().map(|ip| ip.parse().expect("IPv6")).collect(),
            vlan_parent: None,
        }
    }

    fn machine() -> Vec<InterfaceInfo> {
        let mut vlan = interface(4, "eth0.100", &["9.9.9.9"], &["2001:db8:100::1"]);
        vlan.vlan_parent = Some(2);
        let mut qinq = interface(5, "eth0.100.7", &["9.9.9.7"], &[]);
        qinq.vlan_parent = Some(4);
        vec![
            interface(1, "lo", &["127.0.0.1", "8.8.4.4"], &["::1"]),
            interface(2, "eth0", &["192.168.1.2"], &["fe80::2"]),
            interface(
                3,
                "eth1",
                &["203.0.113.18", "8.8.8.8"],
                &["2001:0:1::1", "2001:db8::18"],
            ),
            vlan,
            qinq,
        ]
    }

    fn asked(change: impl FnOnce(&mut RelayFlags), ifaces: &[&str]) -> RelaySettings {
        let mut flags = RelayFlags {
            iface: ifaces.iter().map(ToString::to_string).collect(),
            ..RelayFlags::default()
        };
        change(&mut flags);
        settings(&flags).expect("sound settings")
    }

    fn refused(settings: &RelaySettings) -> String {
        resolve(settings, &machine())
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn the_first_global_addresses_in_order_of_the_interfaces_are_taken() {
        let resolved = resolve(&asked(|_| (), &["eth1", "eth0"]), &machine()).expect("resolved");
        assert_eq!(resolved.service.to_string(), "8.8.8.8:3545");
        assert_eq!(resolved.native_address.to_string(), "2001:db8::18");
        let ports: Vec<(u32, &str)> = resolved
            .ports
            .iter()
            .map(|p| (p.ifindex, p.name.as_str()))
            .collect();
        assert_eq!(ports, [(3, "eth1"), (2, "eth0")]);
    }

    #[test]
    fn vlan_devices_follow_their_port_and_precede_the_next_port() {
        let resolved = resolve(&asked(|_| (), &["eth0", "eth1"]), &machine()).expect("resolved");
        assert_eq!(resolved.service.to_string(), "9.9.9.9:3545");
        assert_eq!(resolved.service_on, "eth0.100");
        assert_eq!(resolved.native_on, "eth0.100");
    }

    #[test]
    fn an_opened_range_counts_as_global() {
        let settings = asked(
            |f| f.allow_non_global = vec!["203.0.113.0/24".to_owned()],
            &["eth1"],
        );
        let resolved = resolve(&settings, &machine()).expect("resolved");
        assert_eq!(resolved.service.to_string(), "203.0.113.18:3545");
    }

    #[test]
    fn an_address_that_is_not_global_is_named_with_what_to_do() {
        let mut machine = machine();
        machine[2].ipv4.pop();
        let text = resolve(&asked(|_| (), &["eth1"]), &machine)
            .expect_err("refused")
            .to_string();
        assert_eq!(
            text,
            "relay: --iface eth1: has 203.0.113.18, which is not global, and no IPv4 address that is \
             (--allow-non-global 203.0.113.0/24 for a laboratory, or --bind another address of this machine)"
        );
    }

    #[test]
    fn no_address_at_all_is_named_with_those_of_the_machine() {
        let mut machine = machine();
        machine[2].ipv4.clear();
        let text = resolve(&asked(|_| (), &["eth1"]), &machine)
            .expect_err("refused")
            .to_string();
        assert!(
            text.contains("--iface eth1: no IPv4 address there")
                && text.contains("eth0 192.168.1.2"),
            "{text}"
        );

        let mut machine = super::tests::machine();
        machine[2].ipv6.clear();
        let text = resolve(&asked(|_| (), &["eth1"]), &machine)
            .expect_err("refused")
            .to_string();
        assert!(
            text.contains("--iface eth1: no IPv6 address there")
                && text.contains("eth0.100 2001:db8:100::1"),
            "{text}"
        );
    }

    #[test]
    fn an_unknown_interface_is_answered_with_the_list() {
        assert_eq!(
            refused(&asked(|_| (), &["eth9"])),
            "relay: --iface eth9: no such interface (interfaces here: lo, eth0, eth1, eth0.100, eth0.100.7)"
        );
    }

    #[test]
    fn a_service_address_may_stand_on_any_interface_but_must_be_here() {
        let settings = asked(|f| f.bind = Some("8.8.4.4:4000".to_owned()), &["eth1"]);
        let resolved = resolve(&settings, &machine()).expect("resolved");
        assert_eq!(
            (resolved.service.to_string(), resolved.service_on),
            ("8.8.4.4:4000".to_owned(), "lo".to_owned())
        );

        let settings = asked(|f| f.bind = Some("1.1.1.1".to_owned()), &["eth1"]);
        let text = refused(&settings);
        assert!(
            text.starts_with("relay: --bind 1.1.1.1:3545: not an address of this machine ("),
            "{text}"
        );
    }

    #[test]
    fn a_native_address_must_be_here() {
        let settings = asked(
            |f| f.native_address = Some("2001:db8::99".to_owned()),
            &["eth1"],
        );
        assert!(
            refused(&settings)
                .contains("--native-address 2001:db8::99: not an address of this machine")
        );
    }

    #[test]
    fn a_vlan_device_may_be_named_itself() {
        let resolved = resolve(&asked(|_| (), &["eth0.100"]), &machine()).expect("resolved");
        assert_eq!(resolved.ports[0].ifindex, 4);
        assert_eq!(resolved.service.to_string(), "9.9.9.9:3545");
    }
}

//! Questions a [`Snapshot`] answers.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use relay_common::{Egress, MAX_TAGS, VlanTag};

use super::{Link, LinkKind, Snapshot};

/// The port a device stands on and the tags its frames carry there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPath<'a> {
    /// The port: the first link below that is no VLAN device.
    pub port: &'a Link,
    /// Tags, outermost first; none for the port itself.
    pub tags: Vec<VlanTag>,
}

impl Snapshot {
    /// The link of that name.
    pub fn by_name(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The link of that index.
    pub fn by_index(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// VLAN devices that stand directly on `port`.
    pub fn vlan_children_of(&self, port: u32) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(
            move |link| matches!(link.kind, LinkKind::Vlan { parent, .. } if parent == port),
        )
    }

    /// The port below the device `name`, which is the device itself unless it is a VLAN device.
    /// `None` if there is no such device or more tags than [`MAX_TAGS`] stand between.
    pub fn port_of(&self, name: &str) -> Option<PortPath<'_>> {
        self.path_of(self.by_name(name)?)
    }

    fn path_of<'a>(&'a self, link: &'a Link) -> Option<PortPath<'a>> {
        let mut port = link;
        let mut tags = Vec::new();
        while let LinkKind::Vlan {
            parent,
            protocol,
            id,
        } = port.kind
        {
            if tags.len() == MAX_TAGS {
                return None;
            }
            // The device nearest to the port adds the outermost tag. Priority stays 0: a VLAN
            // device's map of priorities applies to what the kernel itself sends through it.
            tags.insert(
                0,
                VlanTag {
                    protocol: protocol.to_be_bytes(),
                    tci: id.to_be_bytes(),
                },
            );
            port = self.by_index(parent)?;
        }
        Some(PortPath { port, tags })
    }

    /// How a frame leaves through each device a route may name, given the attached `ports` by index with their
    /// numbers: the ports themselves untagged, VLAN devices on them with one tag, VLAN devices on those with two.
    pub fn egress(&self, ports: &HashMap<u32, u32>) -> HashMap<u32, Egress> {
        self.links
            .iter()
            .filter_map(|link| {
                let path = self.path_of(link)?;
                let mut egress = Egress {
                    port: *ports.get(&path.port.index)?,
                    tag_count: u32::try_from(path.tags.len()).ok()?,
                    ..Egress::default()
                };
                egress.tags[..path.tags.len()].copy_from_slice(&path.tags);
                Some((link.index, egress))
            })
            .collect()
    }

    /// Every IPv4 address of this machine.
    pub fn own_ipv4(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.links
            .iter()
            .flat_map(|link| link.ipv4.iter().map(|(addr, _)| *addr))
    }

    /// Directed broadcast address of every attached subnet that has one (RFC 919; /31 and /32
    /// have none, RFC 3021). Nothing may be sent there.
    pub fn directed_broadcasts(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.links
            .iter()
            .flat_map(|link| &link.ipv4)
            .filter(|(_, prefix_len)| *prefix_len < 31)
            .map(|(addr, prefix_len)| {
                let host_bits = u32::MAX.checked_shr(u32::from(*prefix_len)).unwrap_or(0);
                Ipv4Addr::from_bits(addr.to_bits() | host_bits)
            })
    }

    /// The names of all links, for messages.
    pub fn names(&self) -> String {
        let names: Vec<_> = self.links.iter().map(|link| link.name.as_str()).collect();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, kind: LinkKind) -> Link {
        Link {
            index,
            name: name.into(),
            mac: [2, 0, 0, 0, 0, u8::try_from(index).unwrap()],
            mtu: 1500,
            up: true,
            kind,
            ipv4: Vec::new(),
            ipv6: Vec::new(),
            xdp_prog_id: None,
        }
    }

    fn vlan(index: u32, name: &str, parent: u32, protocol: u16, id: u16) -> Link {
        let kind = LinkKind::Vlan {
            parent,
            protocol,
            id,
        };
        link(index, name, kind)
    }

    fn machine() -> Snapshot {
        Snapshot {
            links: vec![
                link(1, "lo", LinkKind::Other("loopback".into())),
                link(2, "p0", LinkKind::Physical),
                link(3, "p1", LinkKind::Veth),
                vlan(4, "p0.7", 2, 0x88a8, 7),
                vlan(5, "p0.7.9", 4, 0x8100, 9),
                vlan(6, "p0.7.9.1", 5, 0x8100, 1),
                vlan(7, "p1.5", 3, 0x8100, 5),
            ],
        }
    }

    const OUTER: VlanTag = VlanTag {
        protocol: [0x88, 0xa8],
        tci: [0, 7],
    };
    const INNER: VlanTag = VlanTag {
        protocol: [0x81, 0x00],
        tci: [0, 9],
    };

    #[test]
    fn a_vlan_device_leads_to_its_port_with_its_tag() {
        let machine = machine();
        let path = machine.port_of("p0.7").unwrap();
        assert_eq!((path.port.name.as_str(), path.tags), ("p0", vec![OUTER]));
    }

    #[test]
    fn stacked_vlan_devices_give_the_outermost_tag_first() {
        assert_eq!(machine().port_of("p0.7.9").unwrap().tags, [OUTER, INNER]);
    }

    #[test]
    fn three_tags_are_no_path() {
        assert_eq!(machine().port_of("p0.7.9.1"), None);
    }

    #[test]
    fn egress_covers_attached_ports_and_the_vlan_devices_on_them() {
        let egress = machine().egress(&HashMap::from([(2, 7)]));
        let mut devices: Vec<_> = egress.iter().map(|(i, e)| (*i, e.tag_count)).collect();
        devices.sort_unstable();
        assert_eq!(devices, [(2, 0), (4, 1), (5, 2)]);
        assert_eq!(egress[&5].tags, [OUTER, INNER]);
        assert!(egress.values().all(|e| e.port == 7));
    }

    #[test]
    fn vlan_children_are_those_directly_above() {
        let machine = machine();
        let names: Vec<_> = machine.vlan_children_of(2).map(|l| &l.name).collect();
        assert_eq!(names, ["p0.7"]);
    }

    #[test]
    fn directed_broadcasts_leave_out_point_to_point_prefixes() {
        let mut machine = machine();
        machine.links[1].ipv4 = vec![
            ("203.0.113.18".parse().unwrap(), 28),
            ("198.51.100.2".parse().unwrap(), 31),
            ("198.51.100.9".parse().unwrap(), 32),
        ];
        let all: Vec<_> = machine.directed_broadcasts().collect();
        assert_eq!(all, ["203.0.113.31".parse::<Ipv4Addr>().unwrap()]);
        assert_eq!(machine.own_ipv4().count(), 3);
    }
}

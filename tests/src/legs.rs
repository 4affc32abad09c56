//! The relay's cables: one or two, tagged or not.

use anyhow::Result;

use crate::topology::{Options, cable};
use crate::{Node, VlanDevice, XdpPass};

/// What must live as long as the cables.
#[derive(Debug, Default)]
pub(crate) struct Legs {
    pub(crate) relay_vlans: Vec<VlanDevice>,
    far_vlans: Vec<VlanDevice>,
    far_ends: Vec<XdpPass>,
}

impl Legs {
    /// Tags a leg: makes a VLAN device at either end, and returns the names of the devices
    /// that carry its addresses, the relay's first.
    fn tag(
        &mut self,
        (relay, near): (&Node, &str),
        (router, far): (&Node, &str),
        ids: &[u16],
    ) -> Result<[String; 2]> {
        if ids.is_empty() {
            return Ok([near.to_owned(), far.to_owned()]);
        }
        let near = VlanDevice::new(relay, near, ids)?;
        let far = VlanDevice::new(router, far, ids)?;
        let names = [near.name.clone(), far.name.clone()];
        self.relay_vlans.push(near);
        self.far_vlans.push(far);
        Ok(names)
    }

    /// Prepares the far end of a cable for frames from an XDP program.
    fn far_end(&mut self, router: &Node) -> Result<()> {
        self.far_ends.push(XdpPass::attach(router, FAR_END)?);
        // The program turned it on, and merged packets would not be those that travelled.
        router.run(["ethtool", "-K", FAR_END, "gro", "off"])?;
        Ok(())
    }
}

/// The port towards the relay, in either router.
const FAR_END: &str = "lb-rly";

pub(crate) fn two_arms(inet: &Node, v6r: &Node, relay: &Node, options: &Options) -> Result<Legs> {
    cable(inet, FAR_END, relay, "lb-v4")?;
    cable(v6r, FAR_END, relay, "lb-v6")?;
    let mut legs = Legs::default();
    legs.far_end(inet)?;
    legs.far_end(v6r)?;
    let ipv4 = legs.tag((relay, "lb-v4"), (inet, FAR_END), &options.ipv4_vlan)?;
    let ipv6 = legs.tag((relay, "lb-v6"), (v6r, FAR_END), &options.ipv6_vlan)?;
    address_ipv4(relay, inet, &ipv4)?;
    address_ipv6(relay, v6r, &ipv6)?;
    Ok(legs)
}

/// Here inet is also the relay's IPv6 router, with a cable of its own to v6r.
pub(crate) fn one_arm(inet: &Node, v6r: &Node, relay: &Node, options: &Options) -> Result<Legs> {
    cable(inet, FAR_END, relay, "lb-nic")?;
    cable(inet, "lb-v6r", v6r, "lb-inet")?;
    let mut legs = Legs::default();
    legs.far_end(inet)?;
    let ipv4 = legs.tag((relay, "lb-nic"), (inet, FAR_END), &options.ipv4_vlan)?;
    let ipv6 = if options.ipv6_vlan == options.ipv4_vlan {
        ipv4.clone()
    } else {
        legs.tag((relay, "lb-nic"), (inet, FAR_END), &options.ipv6_vlan)?
    };
    address_ipv4(relay, inet, &ipv4)?;
    address_ipv6(relay, inet, &ipv6)?;
    inet.ip(&[
        "addr add 2001:db8:4::1/64 dev lb-v6r nodad",
        "-6 route add default via 2001:db8:4::2",
    ])?;
    v6r.ip(&[
        "addr add 2001:db8:4::2/64 dev lb-inet nodad",
        "-6 route add 2001::/32 via 2001:db8:4::1",
        "-6 route add 2001:db8:1::/64 via 2001:db8:4::1",
    ])?;
    Ok(legs)
}

fn address_ipv4(relay: &Node, router: &Node, [near, far]: &[String; 2]) -> Result<()> {
    router.ip(&[&format!("addr add 203.0.113.17/28 dev {far}")])?;
    relay.ip(&[
        &format!("addr add 203.0.113.18/28 dev {near}"),
        "route add default via 203.0.113.17",
    ])
}

fn address_ipv6(relay: &Node, router: &Node, [near, far]: &[String; 2]) -> Result<()> {
    router.ip(&[
        &format!("addr add 2001:db8:1::1/64 dev {far} nodad"),
        "-6 route add 2001::/32 via 2001:db8:1::2",
    ])?;
    relay.ip(&[
        &format!("addr add 2001:db8:1::2/64 dev {near} nodad"),
        "-6 route add default via 2001:db8:1::1",
    ])
}

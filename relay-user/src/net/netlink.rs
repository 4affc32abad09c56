//! rtnetlink: dumps of links and addresses, and their change events.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{StreamExt as _, TryStreamExt as _};
use rtnetlink::constants::{RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR, RTMGRP_LINK};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressScope,
};
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp,
};
use rtnetlink::sys::{AsyncSocket as _, SocketAddr};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Link, LinkIpv6, LinkKind, Snapshot};

/// A burst of events is over when nothing came for this long ...
const QUIET_MS: u64 = 50;
/// ... and is reported after this long even if it is not over.
const BURST_MS: u64 = 500;

/// All links and addresses of the calling thread's network namespace.
pub(super) async fn dump() -> io::Result<Snapshot> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let snapshot = async {
        let mut links: Vec<Link> = handle
            .link()
            .get()
            .execute()
            .try_filter_map(async |message| Ok(read_link(message)))
            .try_collect()
            .await?;
        links.sort_unstable_by_key(|link| link.index);
        let mut addresses = handle.address().get().execute();
        while let Some(message) = addresses.try_next().await? {
            let index = message.header.index;
            if let Some(link) = links.iter_mut().find(|link| link.index == index) {
                add_address(link, &message);
            }
        }
        Ok(Snapshot { links })
    }
    .await;
    connection.abort();
    snapshot.map_err(|error: rtnetlink::Error| io::Error::other(error.to_string()))
}

/// Sends `()` into `changed` whenever a link or an address came, went or changed; a burst of
/// events is one message. A receiver that has one waiting gets no second: it will look at
/// the newest state anyway.
///
/// Runs until the receiver is dropped.
///
/// # Errors
/// The netlink socket cannot be opened, or was closed by the kernel.
pub async fn watch(changed: mpsc::Sender<()>) -> io::Result<()> {
    let (mut connection, _handle, mut events) = rtnetlink::new_connection()?;
    let groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
    connection
        .socket_mut()
        .socket_mut()
        .bind(&SocketAddr::new(0, groups))?;
    let connection = tokio::spawn(connection);
    let result = forward_bursts(&mut events, &changed).await;
    connection.abort();
    result
}

async fn forward_bursts<T>(
    events: &mut UnboundedReceiver<T>,
    changed: &mpsc::Sender<()>,
) -> io::Result<()> {
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = changed.closed() => return Ok(()),
        };
        if event.is_none() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let burst_end = Instant::now() + Duration::from_millis(BURST_MS);
        let quiet = async {
            let quiet = Duration::from_millis(QUIET_MS);
            while let Ok(Some(_)) = timeout(quiet, events.next()).await {}
        };
        // Either end of the burst is as good as the other.
        let _ = timeout_at(burst_end, quiet).await;
        if let Err(mpsc::error::TrySendError::Closed(())) = changed.try_send(()) {
            return Ok(());
        }
    }
}

fn read_link(message: LinkMessage) -> Option<Link> {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: [0; 6],
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        kind: LinkKind::Physical,
        ipv4: Vec::new(),
        ipv6: Vec::new(),
        xdp_prog_id: None,
    };
    let mut parent = None;
    let mut parent_elsewhere = false;
    let mut info = Vec::new();
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Address(mac) => link.mac = mac.try_into().unwrap_or_default(),
            LinkAttribute::Link(index) => parent = Some(index),
            LinkAttribute::LinkNetNsId(_) => parent_elsewhere = true,
            LinkAttribute::LinkInfo(list) => info = list,
            LinkAttribute::Xdp(list) => {
                link.xdp_prog_id = list.iter().find_map(|xdp| match xdp {
                    LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) => {
                        Some(*id)
                    }
                    _ => None,
                });
            }
            _ => {}
        }
    }
    if message.header.flags.contains(LinkFlags::Loopback) {
        link.kind = LinkKind::Other("loopback".into());
    } else if let Some(kind) = read_kind(&info, parent.filter(|_| !parent_elsewhere)) {
        link.kind = kind;
    }
    (!link.name.is_empty()).then_some(link)
}

/// The software kind in `IFLA_LINKINFO`; network cards have none.
fn read_kind(info: &[LinkInfo], parent: Option<u32>) -> Option<LinkKind> {
    let kind = info.iter().find_map(|i| match i {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    })?;
    let data = info.iter().find_map(|i| match i {
        LinkInfo::Data(InfoData::Vlan(data)) => Some(data),
        _ => None,
    });
    Some(match (kind, parent, data) {
        (InfoKind::Veth, ..) => LinkKind::Veth,
        (InfoKind::Vlan, Some(parent), Some(data)) => {
            let mut id = 0;
            let mut protocol = 0x8100;
            for item in data {
                match item {
                    InfoVlan::Id(value) => id = *value,
                    InfoVlan::Protocol(value) => protocol = u16::from(*value),
                    _ => {}
                }
            }
            LinkKind::Vlan {
                parent,
                protocol,
                id,
            }
        }
        _ => LinkKind::Other(kind.to_string()),
    })
}

fn add_address(link: &mut Link, message: &AddressMessage) {
    let mut address = None;
    let mut local = None;
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(addr) => address = Some(*addr),
            AddressAttribute::Local(addr) => local = Some(*addr),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    let prefix_len = message.header.prefix_len;
    // On a point-to-point link IFA_ADDRESS is the far end and IFA_LOCAL is ours.
    match (message.header.family, local.or(address)) {
        (AddressFamily::Inet, Some(IpAddr::V4(addr))) => link.ipv4.push((addr, prefix_len)),
        (AddressFamily::Inet6, Some(IpAddr::V6(addr))) => link.ipv6.push(LinkIpv6 {
            addr,
            prefix_len,
            global: message.header.scope == AddressScope::Universe,
            tentative: flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed)
                && !flags.contains(AddressFlags::Optimistic),
        }),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtnetlink::packet_route::link::VlanProtocol;

    fn vlan_on(parent: LinkAttribute) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 9;
        let tag = vec![
            InfoVlan::Id(700),
            InfoVlan::Protocol(VlanProtocol::Ieee8021Ad),
        ];
        message.attributes = vec![
            LinkAttribute::IfName("p0.700".into()),
            parent,
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Vlan),
                LinkInfo::Data(InfoData::Vlan(tag)),
            ]),
        ];
        message
    }

    #[test]
    fn a_vlan_device_is_read_with_its_port_and_tag() {
        let link = read_link(vlan_on(LinkAttribute::Link(2))).unwrap();
        let kind = LinkKind::Vlan {
            parent: 2,
            protocol: 0x88a8,
            id: 700,
        };
        assert_eq!((link.index, link.kind), (9, kind));
    }

    #[test]
    fn a_vlan_device_whose_port_is_in_another_namespace_stands_on_nothing_here() {
        let mut message = vlan_on(LinkAttribute::Link(2));
        message.attributes.push(LinkAttribute::LinkNetNsId(1));
        let link = read_link(message).unwrap();
        assert_eq!(link.kind, LinkKind::Other("vlan".into()));
    }

    #[test]
    fn a_card_has_no_software_kind_and_may_have_a_program() {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName("p0".into()),
            LinkAttribute::Xdp(vec![LinkXdp::ProgId(77)]),
        ];
        let link = read_link(message).unwrap();
        assert_eq!(
            (link.kind, link.xdp_prog_id),
            (LinkKind::Physical, Some(77))
        );
    }
}

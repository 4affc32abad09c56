use super::*;
use crate::net::routing::message::tests::{attribute, datagram};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

fn read(kind: u16, fixed: &[u8], attributes: &[Vec<u8>]) -> Option<Event> {
    let datagram = datagram(kind, fixed, attributes);
    let message = Message::all(&datagram).next().unwrap().unwrap();
    Event::read(&message, &Judge::new())
}

/// `struct ifinfomsg` of link 3 with those flags.
fn ifinfomsg(family: u8, flags: libc::c_int) -> Vec<u8> {
    let mut fixed = vec![family, 0, 1, 0, 3, 0, 0, 0];
    fixed.extend(flags.to_ne_bytes());
    fixed.extend([0; 4]);
    fixed
}

/// `struct ndmsg` of link 3.
fn ndmsg(state: u16, flags: u8) -> Vec<u8> {
    let mut fixed = vec![AF_INET, 0, 0, 0, 3, 0, 0, 0];
    fixed.extend(state.to_ne_bytes());
    fixed.extend([flags, 1]);
    fixed
}

fn neighbour(kind: u16, fixed: &[u8], more: &[Vec<u8>]) -> Event {
    let mut attributes = vec![
        attribute(libc::NDA_DST, &[203, 0, 113, 17]),
        attribute(libc::NDA_LLADDR, &MAC),
    ];
    attributes.extend_from_slice(more);
    read(kind, fixed, &attributes).unwrap()
}

fn of_neighbour(now: Option<Neighbour>) -> Event {
    Event::Neighbour {
        ifindex: 3,
        address: Ipv4Addr::new(203, 0, 113, 17).into(),
        now,
    }
}

#[test]
fn a_link_is_read_with_what_decides_about_frames() {
    let attributes = [
        attribute(libc::IFLA_ADDRESS, &MAC),
        attribute(libc::IFLA_MTU, &1400_u32.to_ne_bytes()),
        attribute(libc::IFLA_MASTER, &9_u32.to_ne_bytes()),
    ];
    let fixed = ifinfomsg(0, libc::IFF_UP | libc::IFF_RUNNING);
    let link = Link {
        up: true,
        running: true,
        mac: MAC,
        mtu: 1400,
        master: 9,
    };
    let is = |now| Some(Event::Link { ifindex: 3, now });
    assert_eq!(read(libc::RTM_NEWLINK, &fixed, &attributes), is(Some(link)));
    assert_eq!(read(libc::RTM_DELLINK, &fixed, &attributes), is(None));
}

#[test]
fn what_a_bridge_tells_of_its_ports_is_no_change_of_the_link() {
    let bridge = u8::try_from(libc::AF_BRIDGE).unwrap();
    assert_eq!(read(libc::RTM_DELLINK, &ifinfomsg(bridge, 0), &[]), None);
}

#[test]
fn a_neighbour_counts_in_the_states_in_which_the_kernel_sends_to_it() {
    let found = Neighbour {
        mac: MAC,
        discovered: true,
    };
    for state in [
        libc::NUD_REACHABLE,
        libc::NUD_STALE,
        libc::NUD_DELAY,
        libc::NUD_PROBE,
    ] {
        let event = neighbour(libc::RTM_NEWNEIGH, &ndmsg(state, 0), &[]);
        assert_eq!(event, of_neighbour(Some(found)), "{state:#x}");
    }
    for state in [libc::NUD_NONE, libc::NUD_INCOMPLETE, libc::NUD_FAILED] {
        let event = neighbour(libc::RTM_NEWNEIGH, &ndmsg(state, 0), &[]);
        assert_eq!(event, of_neighbour(None), "{state:#x}");
    }
    let gone = neighbour(libc::RTM_DELNEIGH, &ndmsg(libc::NUD_REACHABLE, 0), &[]);
    assert_eq!(gone, of_neighbour(None));
}

#[test]
fn a_neighbour_that_somebody_looks_after_is_known_as_such() {
    let entered = of_neighbour(Some(Neighbour {
        mac: MAC,
        discovered: false,
    }));
    let permanent = ndmsg(libc::NUD_PERMANENT, 0);
    assert_eq!(neighbour(libc::RTM_NEWNEIGH, &permanent, &[]), entered);
    let learned = ndmsg(libc::NUD_STALE, NTF_EXT_LEARNED);
    assert_eq!(neighbour(libc::RTM_NEWNEIGH, &learned, &[]), entered);
    let managed = [attribute(NDA_FLAGS_EXT, &NTF_EXT_MANAGED.to_ne_bytes())];
    let stale = ndmsg(libc::NUD_STALE, 0);
    assert_eq!(neighbour(libc::RTM_NEWNEIGH, &stale, &managed), entered);
}

#[test]
fn an_address_answered_for_by_proxy_is_no_neighbour() {
    let proxy = ndmsg(libc::NUD_PERMANENT, libc::NTF_PROXY);
    assert_eq!(read(libc::RTM_NEWNEIGH, &proxy, &[]), None);
}

#[test]
fn rules_addresses_and_next_hop_objects_change_routes() {
    let of = |families| {
        Some(Event::Routes {
            families,
            plain: true,
        })
    };
    let ipv6 = Families::One(Family::Ipv6);
    let fixed = [AF_INET6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(read(libc::RTM_DELRULE, &fixed, &[]), of(ipv6));
    assert_eq!(read(libc::RTM_DELADDR, &fixed[..8], &[]), of(ipv6));
    assert_eq!(read(RTM_NEWNEXTHOP, &fixed[..8], &[]), of(ipv6));
    // A group.
    assert_eq!(read(RTM_DELNEXTHOP, &[0; 8], &[]), of(Families::Both));
}

#[test]
fn settings_are_of_a_device_or_of_all() {
    let of = |ifindex: i32| {
        let attributes = [attribute(NETCONFA_IFINDEX, &ifindex.to_ne_bytes())];
        read(libc::RTM_NEWNETCONF, &[AF_INET, 0, 0, 0], &attributes)
    };
    let is = |ifindex| {
        Some(Event::Settings {
            family: Family::Ipv4,
            ifindex,
        })
    };
    assert_eq!(of(5), is(5));
    assert_eq!(of(-1), is(0));
}

#[test]
fn an_announcement_of_another_kind_is_none_of_ours() {
    assert_eq!(read(libc::RTM_NEWQDISC, &[0; 20], &[]), None);
}

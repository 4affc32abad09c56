//! Whether a route or a rule is plain: whether the kernel decides by nothing but what answers are kept by.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::Family;
use super::message::Message;

/// Whether the kernel passes over paths of a multipath route whose neighbour has failed.
const MULTIPATH_USES_NEIGHBOURS: &str = "/proc/sys/net/ipv4/fib_multipath_use_neigh";

// Attributes of routes and rules not in libc, from linux/rtnetlink.h and linux/fib_rules.h.
const RTA_NH_ID: u16 = 30;
const FRA_SRC: u16 = 2;
const FRA_PROTOCOL: u16 = 21;
const FRA_DPORT_RANGE: u16 = 24;
const FRA_SPORT_MASK: u16 = 28;
const FRA_DPORT_MASK: u16 = 29;

/// Decides what is plain, in the network namespace it was made in.
#[derive(Debug)]
pub struct Judge {
    /// Opened once: a daemon that runs opens no files. Where it is missing, paths do not ask for neighbours.
    multipath_uses_neighbours: Option<File>,
}

impl Judge {
    /// For the network namespace of the calling thread.
    pub fn new() -> Self {
        Self {
            multipath_uses_neighbours: File::open(MULTIPATH_USES_NEIGHBOURS).ok(),
        }
    }

    /// The setting may change at any time.
    fn multipath_uses_neighbours(&self) -> bool {
        let mut digit = [0];
        let setting = self.multipath_uses_neighbours.as_ref();
        setting.is_some_and(|file| matches!(file.read_at(&mut digit, 0), Ok(1)) && digit != *b"0")
    }
}

impl Default for Judge {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether the route or rule in `message` is plain. `None`: it has no part in forwarding, being of another family or a
/// cached one.
pub(super) fn is_plain(message: &Message<'_>, judge: &Judge) -> Option<bool> {
    let family = message.family()?;
    match message.kind {
        libc::RTM_NEWRULE | libc::RTM_DELRULE => Some(is_plain_rule(family, message)),
        _ => {
            let flags = message.u32_at(8).unwrap_or(0);
            (flags & libc::RTM_F_CLONED == 0).then(|| is_plain_route(family, message, judge))
        }
    }
}

/// `struct fib_rule_hdr`. Rules by attributes this program does not know are not plain.
fn is_plain_rule(family: Family, message: &Message<'_>) -> bool {
    let looks_at_tos = message.u8_at(3) != Some(0);
    let looks_at_source = message.u8_at(2) != Some(0);
    let constant = |kind| match family {
        Family::Ipv4 => kind <= FRA_DPORT_RANGE || kind == FRA_SPORT_MASK || kind == FRA_DPORT_MASK,
        Family::Ipv6 => kind <= FRA_PROTOCOL && kind != FRA_SRC,
    };
    let attributes_are_plain = message
        .attributes()
        .all(|attribute| attribute.is_some_and(|(kind, _)| constant(kind)));
    let source_is_plain = family == Family::Ipv4 || !looks_at_source;
    !looks_at_tos && source_is_plain && attributes_are_plain
}

/// `struct rtmsg`.
fn is_plain_route(family: Family, message: &Message<'_>, judge: &Judge) -> bool {
    let has = |kind| message.attribute(kind).is_some();
    let paths_are_known = !has(RTA_NH_ID) || has(libc::RTA_OIF) || has(libc::RTA_MULTIPATH);
    let is_multipath = has(libc::RTA_MULTIPATH);
    match family {
        // The path follows from a hash of addresses and ports, unless failed neighbours are passed over, as
        // groups of next-hop objects always do.
        Family::Ipv4 => {
            let looks_at_tos = message.u8_at(3) != Some(0);
            let asks_neighbours =
                is_multipath && (has(RTA_NH_ID) || judge.multipath_uses_neighbours());
            !looks_at_tos && paths_are_known && !asks_neighbours
        }
        Family::Ipv6 => {
            let looks_at_source = message.u8_at(2) != Some(0);
            paths_are_known && !is_multipath && !looks_at_source && !expires(message)
        }
    }
}

/// Whether `struct rta_cacheinfo` says that the route ends by itself, as those from router advertisements do.
fn expires(message: &Message<'_>) -> bool {
    message
        .attribute(libc::RTA_CACHEINFO)
        .and_then(|info| info.get(8..12))
        .is_some_and(|expires| expires != [0; 4])
}

#[cfg(test)]
mod tests {
    use relay_common::{AF_INET, AF_INET6};

    use super::super::message::tests::{attribute, datagram};
    use super::*;

    const FRA_DST: u16 = 1;
    const FRA_IIFNAME: u16 = 3;
    const FRA_FWMARK: u16 = 10;
    const FRA_TABLE: u16 = 15;
    const FRA_L3MDEV: u16 = 19;
    const FRA_IP_PROTO: u16 = 22;
    const FRA_DSCP: u16 = 25;
    const FRA_OF_LATER_KERNELS: u16 = 77;

    fn judged(kind: u16, fixed: [u8; 12], attributes: &[u16]) -> Option<bool> {
        let attributes: Vec<_> = attributes.iter().map(|a| attribute(*a, &[1; 4])).collect();
        let datagram = datagram(kind, &fixed, &attributes);
        is_plain(
            &Message::all(&datagram).next().unwrap().unwrap(),
            &Judge::new(),
        )
    }

    fn rule(family: u8, attributes: &[u16]) -> Option<bool> {
        let fixed = [family, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0];
        judged(libc::RTM_NEWRULE, fixed, attributes)
    }

    fn route(family: u8, attributes: &[u16]) -> Option<bool> {
        let fixed = [family, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        judged(libc::RTM_NEWROUTE, fixed, attributes)
    }

    #[test]
    fn rules_by_what_is_constant_are_plain() {
        let constant = [
            FRA_DST,
            FRA_IIFNAME,
            FRA_FWMARK,
            FRA_TABLE,
            FRA_L3MDEV,
            FRA_PROTOCOL,
        ];
        assert_eq!(rule(AF_INET, &constant), Some(true));
        assert_eq!(rule(AF_INET6, &constant), Some(true));
    }

    #[test]
    fn source_and_protocol_are_constant_for_a_peer_but_not_for_a_native_destination() {
        for kind in [FRA_SRC, FRA_IP_PROTO, FRA_DPORT_RANGE, FRA_SPORT_MASK] {
            assert_eq!(rule(AF_INET, &[kind]), Some(true), "{kind}");
            assert_eq!(rule(AF_INET6, &[kind]), Some(false), "{kind}");
        }
        // By length alone, as `from ::/1` has it in the fixed part.
        let from = [AF_INET6, 0, 1, 0, 254, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(judged(libc::RTM_NEWRULE, from, &[]), Some(false));
    }

    #[test]
    fn rules_by_tos_or_by_what_is_unknown_are_not_plain() {
        for family in [AF_INET, AF_INET6] {
            let by_tos = [family, 0, 0, 0x10, 254, 0, 0, 1, 0, 0, 0, 0];
            assert_eq!(judged(libc::RTM_NEWRULE, by_tos, &[]), Some(false));
            assert_eq!(rule(family, &[FRA_DSCP]), Some(false));
            assert_eq!(rule(family, &[FRA_OF_LATER_KERNELS]), Some(false));
        }
    }

    #[test]
    fn a_route_with_one_path_is_plain_and_one_by_tos_is_not() {
        let plain = [libc::RTA_DST, libc::RTA_GATEWAY, libc::RTA_OIF];
        assert_eq!(route(AF_INET, &plain), Some(true));
        assert_eq!(route(AF_INET6, &plain), Some(true));
        let by_tos = [AF_INET, 0, 0, 0x10, 254, 3, 0, 1, 0, 0, 0, 0];
        assert_eq!(judged(libc::RTM_NEWROUTE, by_tos, &plain), Some(false));
    }

    #[test]
    fn a_multipath_route_is_constant_for_a_peer_but_not_for_a_native_destination() {
        assert_eq!(route(AF_INET, &[libc::RTA_MULTIPATH]), Some(true));
        assert_eq!(route(AF_INET6, &[libc::RTA_MULTIPATH]), Some(false));
    }

    #[test]
    fn groups_of_next_hop_objects_are_not_plain_but_single_objects_are() {
        for family in [AF_INET, AF_INET6] {
            let group = [RTA_NH_ID, libc::RTA_MULTIPATH];
            assert_eq!(route(family, &group), Some(false));
            assert_eq!(route(family, &[RTA_NH_ID, libc::RTA_OIF]), Some(true));
            // With `nexthop_compat_mode` 0 the kernel does not say what stands behind the number.
            assert_eq!(route(family, &[RTA_NH_ID]), Some(false));
        }
    }

    #[test]
    fn source_specific_and_expiring_ipv6_routes_are_not_plain() {
        let from = [AF_INET6, 0, 48, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        assert_eq!(judged(libc::RTM_NEWROUTE, from, &[]), Some(false));
        for (expires, plain) in [(0_i32, true), (1800, false)] {
            let mut info = [0; 32];
            info[8..12].copy_from_slice(&expires.to_ne_bytes());
            let fixed = [AF_INET6, 0, 0, 0, 254, 2, 0, 1, 0, 0, 0, 0];
            let attributes = [attribute(libc::RTA_CACHEINFO, &info)];
            let datagram = datagram(libc::RTM_NEWROUTE, &fixed, &attributes);
            let message = Message::all(&datagram).next().unwrap().unwrap();
            assert_eq!(is_plain(&message, &Judge::new()), Some(plain));
        }
    }

    #[test]
    fn cached_routes_and_other_families_have_no_part_in_forwarding() {
        let mut cached = [AF_INET6, 128, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        cached[8..].copy_from_slice(&libc::RTM_F_CLONED.to_ne_bytes());
        assert_eq!(judged(libc::RTM_NEWROUTE, cached, &[]), None);
        let multicast_rule = [128, 0, 0, 0x10, 254, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(judged(libc::RTM_NEWRULE, multicast_rule, &[]), None);
    }
}

//! Whom the relay serves: what the operator allows and denies beyond the rules of the protocol.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::{Ipv4Net, Ipv6Net};

/// One prefix of an [`AccessList`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The first address of the prefix; one of IPv4 stands in the upper 32 bits.
    pub first: u128,
    /// Bits that count.
    pub len: u8,
    /// What holds for addresses of which this is the longest prefix.
    pub is_allowed: bool,
}

/// Prefixes that are allowed and denied. The longest one that holds an address decides; what no prefix holds is
/// allowed, unless the list allows anything: then it is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessList {
    /// Longest first, then by address, each prefix once.
    rules: Vec<Rule>,
    /// The lengths there are, longest first.
    lens: Vec<u8>,
}

impl AccessList {
    /// A list of IPv4 prefixes. One that is allowed and denied is denied.
    pub fn of_ipv4(allow: &[Ipv4Net], deny: &[Ipv4Net]) -> Self {
        let first = |net: &Ipv4Net| (in_upper_bits(net.network()), net.prefix_len());
        Self::new(allow.iter().map(first), deny.iter().map(first))
    }

    /// A list of IPv6 prefixes. One that is allowed and denied is denied.
    pub fn of_ipv6(allow: &[Ipv6Net], deny: &[Ipv6Net]) -> Self {
        let first = |net: &Ipv6Net| (net.network().to_bits(), net.prefix_len());
        Self::new(allow.iter().map(first), deny.iter().map(first))
    }

    fn new(
        allow: impl Iterator<Item = (u128, u8)>,
        deny: impl Iterator<Item = (u128, u8)>,
    ) -> Self {
        let rule = |is_allowed| {
            move |(first, len)| Rule {
                first,
                len,
                is_allowed,
            }
        };
        let mut rules: Vec<Rule> = allow.map(rule(true)).chain(deny.map(rule(false))).collect();
        rules.sort_unstable_by_key(|rule| (u8::MAX - rule.len, rule.first, rule.is_allowed));
        rules.dedup_by_key(|rule| (rule.len, rule.first));
        let mut lens: Vec<u8> = rules.iter().map(|rule| rule.len).collect();
        lens.dedup();
        Self { rules, lens }
    }

    /// Whether it restricts nothing.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Its prefixes, each once.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether an address that no prefix holds is allowed.
    pub fn allows_others(&self) -> bool {
        !self.rules.iter().any(|rule| rule.is_allowed)
    }

    /// Whether an IPv4 address is allowed.
    pub fn allows_ipv4(&self, ip: Ipv4Addr) -> bool {
        self.allows(in_upper_bits(ip))
    }

    /// Whether an IPv6 address is allowed.
    pub fn allows_ipv6(&self, ip: Ipv6Addr) -> bool {
        self.allows(ip.to_bits())
    }

    fn allows(&self, address: u128) -> bool {
        self.lens
            .iter()
            .find_map(|len| {
                let wanted = (u8::MAX - len, address & mask(*len));
                let found = self
                    .rules
                    .binary_search_by_key(&wanted, |rule| (u8::MAX - rule.len, rule.first));
                found.ok().and_then(|at| self.rules.get(at))
            })
            .map_or_else(|| self.allows_others(), |rule| rule.is_allowed)
    }
}

/// The lists of a relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Native hosts, IPv6: sources of packets to clients and destinations of packets from clients.
    pub native: AccessList,
    /// Clients, by their IPv4 address: the one in the Teredo address and the one a packet came from.
    pub clients: AccessList,
    /// Teredo servers, by the IPv4 address in the client's Teredo address.
    pub servers: AccessList,
}

fn in_upper_bits(ip: Ipv4Addr) -> u128 {
    u128::from(ip.to_bits()) << 96
}

/// The bits that count in a prefix of `len` bits.
fn mask(len: u8) -> u128 {
    u128::MAX
        .checked_shl(u32::from(128_u8.saturating_sub(len)))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(text: &str) -> Ipv4Net {
        let (ip, len) = text.split_once('/').expect("a prefix");
        Ipv4Net::new(
            ip.parse().expect("an address"),
            len.parse().expect("a length"),
        )
        .expect("a prefix")
    }

    fn v6(text: &str) -> Ipv6Net {
        let (ip, len) = text.split_once('/').expect("a prefix");
        Ipv6Net::new(
            ip.parse().expect("an address"),
            len.parse().expect("a length"),
        )
        .expect("a prefix")
    }

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_empty_list_allows_everybody() {
        let list = AccessList::default();
        assert!(list.is_empty() && list.allows_ipv4(ip("192.0.2.1")));
        assert!(list.allows_ipv6(Ipv6Addr::LOCALHOST));
    }

    #[test]
    fn without_an_allowed_prefix_what_is_not_denied_is_allowed() {
        let list = AccessList::of_ipv4(&[], &[v4("192.0.2.0/24")]);
        assert!(list.allows_others());
        assert!(!list.allows_ipv4(ip("192.0.2.255")) && list.allows_ipv4(ip("192.0.3.0")));
    }

    #[test]
    fn with_an_allowed_prefix_everything_else_is_denied() {
        let list = AccessList::of_ipv4(&[v4("192.0.2.0/24")], &[]);
        assert!(list.allows_ipv4(ip("192.0.2.1")) && !list.allows_ipv4(ip("192.0.1.255")));
    }

    #[test]
    fn the_longest_prefix_decides() {
        let list = AccessList::of_ipv6(
            &[v6("2001:db8:1::/48"), v6("2001:db8:1:2::3/128")],
            &[v6("2001:db8::/32"), v6("2001:db8:1:2::/64")],
        );
        for (address, is_allowed) in [
            ("2001:db8:2::1", false),
            ("2001:db8:1::1", true),
            ("2001:db8:1:2::1", false),
            ("2001:db8:1:2::3", true),
            ("2001:db9::1", false),
        ] {
            let ip = address.parse().expect("an address");
            assert_eq!(list.allows_ipv6(ip), is_allowed, "{address}");
        }
    }

    #[test]
    fn a_prefix_of_no_bits_holds_every_address() {
        let list = AccessList::of_ipv4(&[v4("192.0.2.1/32")], &[v4("0.0.0.0/0")]);
        assert!(list.allows_ipv4(ip("192.0.2.1")));
        assert!(!list.allows_ipv4(ip("0.0.0.0")) && !list.allows_ipv4(ip("255.255.255.255")));
    }

    #[test]
    fn what_is_allowed_and_denied_is_denied() {
        let list = AccessList::of_ipv4(&[v4("192.0.2.0/24")], &[v4("192.0.2.0/24")]);
        assert_eq!(list.rules().len(), 1);
        assert!(!list.allows_ipv4(ip("192.0.2.1")));
    }
}

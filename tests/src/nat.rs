//! The five ways in which a client meets the IPv4 internet, with the kernel's own NAT.

use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Result;

use crate::Node;

/// What stands between a client and the IPv4 internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Nat {
    /// Nothing: the client has a public address.
    Public,
    /// One port for all destinations, open to everyone.
    Cone,
    /// One port for all destinations, open to addresses the client has sent to.
    Address,
    /// One port for all destinations, open to addresses and ports the client has sent to.
    Port,
    /// A new port for every destination, open to that destination alone.
    Symmetric,
}

impl Nat {
    /// All of them, the easiest first.
    pub const ALL: [Self; 5] = [
        Self::Public,
        Self::Cone,
        Self::Address,
        Self::Port,
        Self::Symmetric,
    ];

    /// Short name, as in interface names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "pub",
            Self::Cone => "cone",
            Self::Address => "addr",
            Self::Port => "port",
            Self::Symmetric => "sym",
        }
    }

    /// Number of the site in addresses and ports.
    pub(crate) const fn index(self) -> u8 {
        self as u8
    }

    /// UDP port a client of this site binds.
    pub const fn client_port(self) -> u16 {
        40_000 + self.index() as u16
    }

    /// UDP port the three cone NATs show for it.
    pub const fn mapped_port(self) -> u16 {
        50_000 + self.index() as u16
    }

    /// Address of `host` in the site's public /28.
    pub(crate) const fn public(self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, 16 * self.index() + host)
    }

    /// Address of `host` in the private network behind the NAT.
    pub(crate) const fn private(self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 64, self.index(), host)
    }
}

impl fmt::Display for Nat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Loads the rules of `nat` into `router`, whose interfaces are `lb-wan` and `lb-nat`.
pub(crate) fn load(nat: Nat, router: &Node, dir: &Path) -> Result<()> {
    let file = dir.join(format!("{nat}.nft"));
    fs::write(&file, rules(nat))?;
    router.run(["nft".as_ref(), "-f".as_ref(), file.as_os_str()])?;
    Ok(())
}

/// Forgets all mappings.
pub(crate) fn flush(router: &Node) -> Result<()> {
    router.run(["conntrack", "-F"])?;
    router.run(["nft", "flush", "set", "ip", "nat", "seen"])?;
    Ok(())
}

/// Unasked-for packets are dropped in the input hook: an entry confirmed by conntrack would
/// take the tuple, and the static mapping would then move the client to another port.
fn rules(nat: Nat) -> String {
    let (wan, lan) = (nat.public(2), nat.private(2));
    let (inside, outside) = (nat.client_port(), nat.mapped_port());
    let inbound = match nat {
        Nat::Cone => format!(r#"iifname "lb-wan" udp dport {outside} dnat to {lan}:{inside}"#),
        Nat::Address => {
            format!(r#"iifname "lb-wan" udp dport {outside} ip saddr @seen dnat to {lan}:{inside}"#)
        }
        Nat::Public | Nat::Port | Nat::Symmetric => String::new(),
    };
    let outbound = match nat {
        Nat::Symmetric => {
            r#"oifname "lb-wan" meta l4proto udp masquerade random,fully-random"#.to_owned()
        }
        _ => {
            format!(r#"oifname "lb-wan" ip saddr {lan} udp sport {inside} snat to {wan}:{outside}"#)
        }
    };
    format!(
        r#"table ip nat {{
  set seen {{ type ipv4_addr; flags dynamic,timeout; timeout 60s; }}
  chain unasked {{
    type filter hook input priority 0; policy drop;
    meta l4proto icmp accept
  }}
  chain pre {{
    type nat hook prerouting priority dstnat; policy accept;
    {inbound}
  }}
  chain thru {{
    type filter hook forward priority 0; policy accept;
    oifname "lb-wan" meta l4proto udp update @seen {{ ip daddr }}
    iifname "lb-wan" ct state new ct status & dnat == 0 drop
  }}
  chain post {{
    type nat hook postrouting priority srcnat; policy accept;
    {outbound}
    oifname "lb-wan" masquerade
  }}
}}
"#
    )
}

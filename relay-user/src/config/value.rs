//! Judges one value at a time. What takes two keys to judge is in `settings.rs`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use clap::ValueEnum;
use teredo::addr::{SERVER_PORT, TeredoAddr};
use teredo::relay::{Ipv4Net, Ipv6Net};

use super::{Bind, DEFAULT_PORT, MAX_MAX_PEERS};

/// Why a value is refused, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) cause: String,
    pub(super) next: String,
}

impl Refusal {
    fn new(cause: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            next: next.into(),
        }
    }
}

/// Longest interface name: `IFNAMSIZ` less its terminating zero.
const INTERFACE_NAME_BYTES: usize = libc::IFNAMSIZ - 1;

/// Longest path of a Unix socket: `sun_path` less its terminating zero.
const SOCKET_PATH_BYTES: usize = 107;

/// Ranges that `allow-non-global` does not open either: there is no host to send to.
const NEVER_A_HOST: [(Ipv4Addr, u8); 3] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

pub(super) fn interface(text: &str) -> Result<String, Refusal> {
    let sound = !text.is_empty()
        && text.len() <= INTERFACE_NAME_BYTES
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'/' && b != b':')
        && !matches!(text, "." | "..");
    if sound {
        Ok(text.to_owned())
    } else {
        Err(Refusal::new(
            "not the name of an interface",
            format!(
                "1 to {INTERFACE_NAME_BYTES} letters, as `ip link` shows it, without / : or spaces"
            ),
        ))
    }
}

/// `IPV4` or `IPV4:PORT`.
pub(super) fn bind(text: &str) -> Result<Bind, Refusal> {
    let (ip, port) = match text.split_once(':') {
        Some((ip, port)) => (ip, Some(port)),
        None => (text, None),
    };
    let ip: Ipv4Addr = ip.parse().map_err(|_| {
        Refusal::new(
            "not an IPv4 address with an optional port",
            format!("for example 192.0.2.1 or 192.0.2.1:{DEFAULT_PORT}"),
        )
    })?;
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => port.parse().map_err(|_| {
            Refusal::new(
                format!("{port:?} is not a UDP port"),
                format!("1 to 65535, customary is {DEFAULT_PORT}"),
            )
        })?,
    };
    if port == 0 {
        return Err(Refusal::new(
            "port 0 lets the kernel choose another at each start, and clients could not keep their mapping",
            format!("leave the port out for {DEFAULT_PORT}"),
        ));
    }
    //
    if port == SERVER_PORT {
        return Err(Refusal::new(
            format!(
                "port {SERVER_PORT} belongs to Teredo servers: a client takes what comes from it for its server, never for a relay"
            ),
            format!("leave the port out for {DEFAULT_PORT}"),
        ));
    }
    // one address everything leaves from.
    if NEVER_A_HOST.iter().any(|net| covers(*net, ip)) {
        return Err(Refusal::new(
            "not a unicast address of an interface",
            "name the one public IPv4 address that clients see, or leave --bind out",
        ));
    }
    Ok(Bind { ip, port })
}

/// An address of a server.
pub(super) fn server_address(text: &str) -> Result<Ipv4Addr, Refusal> {
    let ip: Ipv4Addr = text
        .parse()
        .map_err(|_| Refusal::new("not an IPv4 address", "for example 192.0.2.1"))?;
    if NEVER_A_HOST.iter().any(|net| covers(*net, ip)) {
        return Err(Refusal::new(
            "not a unicast address of an interface",
            "name a public IPv4 address of this machine",
        ));
    }
    Ok(ip)
}

/// The path of a file.
pub(super) fn path(text: &str) -> Result<PathBuf, Refusal> {
    if text.is_empty() {
        return Err(Refusal::new("no path", "name a file"));
    }
    Ok(PathBuf::from(text))
}

pub(super) fn native_address(text: &str) -> Result<Ipv6Addr, Refusal> {
    let ip: Ipv6Addr = text
        .parse()
        .map_err(|_| Refusal::new("not an IPv6 address", "for example 2001:db8::1"))?;
    let kind = if TeredoAddr::is_teredo(&ip.octets()) {
        //
        "a Teredo address"
    } else if ip.is_unicast_link_local() {
        "a link-local address"
    } else if ip.is_multicast() {
        "a multicast address"
    } else if ip.is_unspecified() || ip.is_loopback() || ip.to_ipv4().is_some() {
        "not a unicast address of a network"
    } else {
        return Ok(ip);
    };
    Err(Refusal::new(
        format!("is {kind}, but ICMPv6 errors need a source that native hosts can reach"),
        "name a global IPv6 address of this machine, or leave --native-address out",
    ))
}

/// Any IPv4 prefix.
pub(super) fn ipv4_prefix(text: &str) -> Result<Ipv4Net, Refusal> {
    let example = "for example 198.51.100.0/24";
    let Some((ip, len)) = text.split_once('/') else {
        let next = match text.parse::<Ipv4Addr>() {
            Ok(ip) => format!("for that address alone: {ip}/32"),
            Err(_) => example.to_owned(),
        };
        return Err(Refusal::new("not an IPv4 prefix", next));
    };
    let (Ok(ip), Ok(len)) = (ip.parse::<Ipv4Addr>(), len.parse::<u8>()) else {
        return Err(Refusal::new("not an IPv4 prefix", example));
    };
    let Some(net) = Ipv4Net::new(ip, len) else {
        return Err(Refusal::new("the prefix length exceeds 32", example));
    };
    let network = net.network();
    if network != ip {
        return Err(Refusal::new(
            format!("has bits beyond the first {len}"),
            format!("write {network}/{len}"),
        ));
    }
    Ok(net)
}

/// Any IPv6 prefix.
pub(super) fn ipv6_prefix(text: &str) -> Result<Ipv6Net, Refusal> {
    let example = "for example 2001:db8::/32";
    let Some((ip, len)) = text.split_once('/') else {
        let next = match text.parse::<Ipv6Addr>() {
            Ok(ip) => format!("for that address alone: {ip}/128"),
            Err(_) => example.to_owned(),
        };
        return Err(Refusal::new("not an IPv6 prefix", next));
    };
    let (Ok(ip), Ok(len)) = (ip.parse::<Ipv6Addr>(), len.parse::<u8>()) else {
        return Err(Refusal::new("not an IPv6 prefix", example));
    };
    let Some(net) = Ipv6Net::new(ip, len) else {
        return Err(Refusal::new("the prefix length exceeds 128", example));
    };
    if net.network() != ip {
        return Err(Refusal::new(
            format!("has bits beyond the first {len}"),
            format!("write {}/{len}", net.network()),
        ));
    }
    Ok(net)
}

/// An IPv4 prefix of possible hosts.
pub(super) fn cidr(text: &str) -> Result<Ipv4Net, Refusal> {
    let net = ipv4_prefix(text)?;
    let (network, len) = (net.network(), net.prefix_len());
    for forbidden in NEVER_A_HOST {
        if covers(forbidden, network) || covers((network, len), forbidden.0) {
            return Err(Refusal::new(
                format!(
                    "holds addresses of {}/{}, which are never a host's",
                    forbidden.0, forbidden.1
                ),
                "open the ranges of the laboratory alone",
            ));
        }
    }
    Ok(net)
}

const fn mask(len: u8) -> u32 {
    match len {
        0 => 0,
        n => u32::MAX << (32 - n),
    }
}

fn covers((network, len): (Ipv4Addr, u8), ip: Ipv4Addr) -> bool {
    (network.to_bits() ^ ip.to_bits()) & mask(len) == 0
}

pub(super) fn max_peers(n: i128) -> Result<u32, Refusal> {
    match u32::try_from(n) {
        Ok(n) if (1..=MAX_MAX_PEERS).contains(&n) => Ok(n),
        _ => Err(Refusal::new(
            format!("expected 1 to {MAX_MAX_PEERS} peers"),
            "leave --max-peers out for 1048576",
        )),
    }
}

pub(super) fn max_peers_text(text: &str) -> Result<u32, Refusal> {
    max_peers(text.parse().map_err(|_| {
        Refusal::new(
            "not a whole number",
            format!("1 to {MAX_MAX_PEERS}, digits alone"),
        )
    })?)
}

pub(super) fn socket(text: &str) -> Result<PathBuf, Refusal> {
    if text.is_empty() || text.len() > SOCKET_PATH_BYTES || text.contains('\0') {
        return Err(Refusal::new(
            format!("the path of a socket has 1 to {SOCKET_PATH_BYTES} bytes"),
            "choose a shorter path",
        ));
    }
    Ok(PathBuf::from(text))
}

/// A directory by its absolute path, or `none`.
pub(super) fn pin_dir(text: &str) -> Result<Option<PathBuf>, Refusal> {
    if text == "none" {
        return Ok(None);
    }
    if !text.starts_with('/') || text.contains('\0') {
        return Err(Refusal::new(
            "not the absolute path of a directory",
            "a directory on a BPF file system, such as /sys/fs/bpf/shipworm, or none",
        ));
    }
    Ok(Some(PathBuf::from(text)))
}

/// One of the names of an enumeration.
pub(super) fn choice<T: ValueEnum>(text: &str) -> Result<T, Refusal> {
    T::from_str(text, false).map_err(|_| {
        let names: Vec<String> = T::value_variants()
            .iter()
            .filter_map(ValueEnum::to_possible_value)
            .map(|v| v.get_name().to_owned())
            .collect();
        Refusal::new("no such choice", format!("one of: {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DatapathChoice, Level};

    #[test]
    fn bind_takes_an_address_with_or_without_port() {
        let ip = Ipv4Addr::new(203, 0, 113, 18);
        assert_eq!(bind("203.0.113.18"), Ok(Bind { ip, port: 3545 }));
        assert_eq!(bind("203.0.113.18:40000"), Ok(Bind { ip, port: 40_000 }));
    }

    #[test]
    fn a_relay_never_binds_the_port_of_servers_r1() {
        let refusal = bind("203.0.113.18:3544").expect_err("refused");
        assert!(
            refusal.cause.contains("belongs to Teredo servers"),
            "{refusal:?}"
        );
    }

    #[test]
    fn bind_refuses_what_is_not_one_unicast_address_and_port_r2() {
        for text in [
            "",
            "eth0",
            "203.0.113.18:",
            "203.0.113.18:0",
            "203.0.113.18:70000",
            "2001:db8::1",
            "0.0.0.0",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(bind(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_native_address_is_one_native_hosts_can_reach_r3() {
        assert!(native_address("2001:db8::1").is_ok());
        for text in [
            "2001:0:c000:201::1",
            "fe80::1",
            "ff02::1",
            "::",
            "::1",
            "::ffff:192.0.2.1",
            "192.0.2.1",
        ] {
            assert!(native_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_is_a_prefix_of_possible_hosts() {
        for text in ["203.0.113.0/24", "10.0.0.0/8", "192.0.2.1/32"] {
            assert_eq!(cidr(text).map(|net| net.to_string()), Ok(text.to_owned()));
        }
        for (text, next) in [
            ("203.0.113.18", "for that address alone: 203.0.113.18/32"),
            ("203.0.113.18/24", "write 203.0.113.0/24"),
            ("203.0.113.0/33", "for example 198.51.100.0/24"),
            ("203.0.113.0/-1", "for example 198.51.100.0/24"),
            ("x", "for example 198.51.100.0/24"),
            ("0.0.0.0/0", "open the ranges of the laboratory alone"),
            ("240.0.0.0/4", "open the ranges of the laboratory alone"),
            ("127.0.0.0/16", "open the ranges of the laboratory alone"),
        ] {
            assert_eq!(cidr(text).expect_err(text).next, next);
        }
    }

    #[test]
    fn a_prefix_of_those_who_are_served_may_be_any() {
        assert!(ipv4_prefix("0.0.0.0/0").is_ok() && ipv6_prefix("::/0").is_ok());
        assert_eq!(
            ipv6_prefix("2001:db8:bad::/48").map(|net| net.to_string()),
            Ok("2001:db8:bad::/48".to_owned())
        );
        for (text, next) in [
            ("2001:db8::1", "for that address alone: 2001:db8::1/128"),
            ("2001:db8::1/32", "write 2001:db8::/32"),
            ("2001:db8::/129", "for example 2001:db8::/32"),
            ("192.0.2.0/24", "for example 2001:db8::/32"),
            ("x", "for example 2001:db8::/32"),
        ] {
            assert_eq!(ipv6_prefix(text).expect_err(text).next, next);
        }
    }

    #[test]
    fn max_peers_has_both_bounds() {
        assert_eq!(max_peers_text("1"), Ok(1));
        assert_eq!(max_peers_text("67108864"), Ok(1 << 26));
        for text in ["0", "67108865", "-1", "many", "1e6", ""] {
            assert!(max_peers_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn interface_names_are_those_the_kernel_takes() {
        for name in ["eth0", "enp3s0f1np1", "br-lan", "eth0.100"] {
            assert!(interface(name).is_ok(), "{name}");
        }
        for name in ["", "a/b", "a b", "0123456789abcdef", "..", "eth0:1"] {
            assert!(interface(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_socket_path_fits_the_kernel() {
        assert!(socket("/run/shipworm/relay.sock").is_ok());
        assert!(socket("").is_err());
        assert!(socket(&"x".repeat(108)).is_err());
    }

    #[test]
    fn a_choice_names_all_choices_when_refused() {
        assert_eq!(choice("xdp-generic"), Ok(DatapathChoice::XdpGeneric));
        assert_eq!(
            choice::<Level>("verbose").expect_err("refused").next,
            "one of: error, warn, info, debug, trace"
        );
    }
}

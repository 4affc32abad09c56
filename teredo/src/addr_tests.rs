use super::*;

fn teredo(text: &str) -> TeredoAddr {
    text.parse::<Ipv6Addr>().unwrap().try_into().unwrap()
}

fn server(text: &str) -> ServerV4 {
    ServerV4(text.parse().unwrap())
}

fn mapped(text: &str) -> Mapped {
    text.parse::<SocketAddrV4>().unwrap().into()
}

/// An address of the field: flags 2093, random bits 1000 and 10010011.
#[test]
fn an_address_decodes_to_server_flags_port_and_client() {
    let addr = teredo("2001:0:53aa:64c:2093:ae13:3511:3feb");
    assert_eq!(addr.server(), server("83.170.6.76"));
    assert_eq!(addr.flags(), 0x2093);
    assert_eq!(addr.flags() & !FLAG_RANDOM_MASK, 0);
    assert_eq!(addr.mapped(), mapped("202.238.192.20:20972"));
}

/// The second and third are the examples of RFC 6081.
#[test]
fn server_flags_and_mapping_encode_to_an_address() {
    for (s, flags, m, text) in [
        (
            "192.0.2.1",
            0x2093,
            "198.51.100.7:40000",
            "2001:0:c000:201:2093:63bf:39cc:9bf8",
        ),
        (
            "203.0.113.120",
            0,
            "192.0.2.1:4096",
            "2001:0:cb00:7178:0:efff:3fff:fdfe",
        ),
        (
            "198.51.100.118",
            0,
            "192.0.2.10:8192",
            "2001:0:c633:6476:0:dfff:3fff:fdf5",
        ),
    ] {
        let addr = TeredoAddr::new(server(s), flags, mapped(m));
        assert_eq!(addr, teredo(text));
        assert_eq!(addr.to_string(), text);
        assert_eq!(
            (addr.server(), addr.flags(), addr.mapped()),
            (server(s), flags, mapped(m))
        );
    }
}

#[test]
fn only_the_whole_32_bit_prefix_is_teredo() {
    for (text, expected) in [
        ("2001::", true),
        ("2001:0:ffff:ffff:ffff:ffff:ffff:ffff", true),
        ("2001:1::", false),
        ("2001:db8::", false),
        ("2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false),
        ("2002::", false),
        ("3ffe:831f::", false),
        ("::", false),
    ] {
        let ip: Ipv6Addr = text.parse().unwrap();
        assert_eq!(TeredoAddr::is_teredo(&ip.octets()), expected, "{text}");
        assert_eq!(TeredoAddr::try_from(ip).is_ok(), expected, "{text}");
        assert_eq!(
            TeredoAddr::from_octets(&ip.octets()).map(|a| a.octets()),
            expected.then_some(ip.octets())
        );
    }
}

/// RFC 5991 3.1: flags never make an address invalid, but make another peer.
#[test]
fn addresses_that_differ_in_flags_alone_are_different() {
    let with = |flags| TeredoAddr::new(server("192.0.2.1"), flags, mapped("198.51.100.7:40000"));
    assert_ne!(with(0), with(FLAG_CONE));
    for flags in 0..=u16::MAX {
        assert_eq!(with(flags).flags(), flags);
        assert_eq!(with(flags).mapped(), with(0).mapped());
    }
}

/// First and last address of every range that is refused: the strict column of the
/// relay's table.
const NOT_GLOBAL: [(&str, &str); 16] = [
    ("0.0.0.0", "0.255.255.255"),
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("169.254.0.0", "169.254.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.0.0.0", "192.0.0.255"),
    ("192.0.2.0", "192.0.2.255"),
    ("192.88.99.0", "192.88.99.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("198.18.0.0", "198.19.255.255"),
    ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"),
    ("224.0.0.0", "239.255.255.255"),
    ("240.0.0.0", "255.255.255.254"),
    ("255.255.255.255", "255.255.255.255"),
];

fn ranges() -> [(u32, u32); 16] {
    let bits = |text: &str| text.parse::<Ipv4Addr>().unwrap().to_bits();
    NOT_GLOBAL.map(|(first, last)| (bits(first), bits(last)))
}

fn refused_by_table(ranges: &[(u32, u32)], bits: u32) -> bool {
    ranges
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&bits))
}

/// RFC 4380 5.2.4 and the special-purpose registry of RFC 6890.
#[test]
fn both_edges_of_every_special_range_are_refused_and_their_neighbours_judged_by_the_table() {
    for (first, last) in ranges() {
        for edge in [first, last] {
            assert!(
                !is_global_unicast(Ipv4Addr::from_bits(edge)),
                "{}",
                Ipv4Addr::from_bits(edge)
            );
        }
        for outside in [first.checked_sub(1), last.checked_add(1)]
            .into_iter()
            .flatten()
        {
            assert_eq!(
                is_global_unicast(Ipv4Addr::from_bits(outside)),
                !refused_by_table(&ranges(), outside),
                "{}",
                Ipv4Addr::from_bits(outside)
            );
        }
    }
}

/// No range is finer than a /24 but the limited broadcast, and that lies in a refused one. Every /24 is looked at
/// where the second or third byte can matter, elsewhere those the function knows by name.
#[test]
fn every_slash_24_that_could_be_special_is_judged_by_the_table() {
    let ranges = ranges();
    for (a, b) in (0..=u8::MAX).flat_map(|a| (0..=u8::MAX).map(move |b| (a, b))) {
        let named = [0, 2, 51, 88, 99, 100, 113];
        let all = matches!(a, 100 | 169 | 172 | 192 | 198 | 203);
        for c in (0..=u8::MAX).filter(|c| all || named.contains(c)) {
            let ip = Ipv4Addr::new(a, b, c, 7);
            assert_eq!(
                is_global_unicast(ip),
                !refused_by_table(&ranges, ip.to_bits()),
                "{ip}"
            );
        }
    }
}

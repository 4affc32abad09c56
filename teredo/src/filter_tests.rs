use core::net::Ipv6Addr;

use super::*;

fn octets(text: &str) -> [u8; 16] {
    text.parse::<Ipv6Addr>().unwrap().octets()
}

fn check<T: PartialEq + core::fmt::Debug>(
    judge: fn(&[u8; 16]) -> Result<T, Fate>,
    table: &[(&str, Result<T, Fate>)],
) {
    for (address, expected) in table {
        assert_eq!(&judge(&octets(address)), expected, "{address}");
    }
}

///
#[test]
fn from_the_native_side_only_teredo_destinations_pass() {
    let multicast = Err(Fate::DestinationMulticast);
    let not_teredo = Err(Fate::DestinationNotTeredo);
    check(
        native_destination,
        &[
            ("2001::", Ok(())),
            ("2001:0:c000:201:2093:63bf:39cc:9bf8", Ok(())),
            ("2001:0:ffff:ffff:ffff:ffff:ffff:ffff", Ok(())),
            ("ff00::", multicast),
            ("ff02::1", multicast),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", multicast),
            ("feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", not_teredo),
            ("2001:1::", not_teredo),
            ("2001:db8::80", not_teredo),
            ("2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", not_teredo),
            ("::", not_teredo),
            ("fe80::1", not_teredo),
        ],
    );
}

/// and what R-15 needs.
#[test]
fn from_the_native_side_sources_that_cannot_be_answered_are_refused() {
    let not_global = Err(Fate::SourceNotGlobal);
    let teredo = Err(Fate::SourceTeredo);
    let embedded = "192.0.2.1".parse().unwrap();
    check(
        native_source,
        &[
            ("2001:db8::80", Ok(Embedded::None)),
            ("fd00::1", Ok(Embedded::None)),
            ("2001:1::", Ok(Embedded::None)),
            ("::", not_global),
            ("::1", not_global),
            ("::192.0.2.1", not_global),
            ("::ffff:0:0", not_global),
            ("::ffff:192.0.2.1", not_global),
            ("::ffff:255.255.255.255", not_global),
            ("::fffe:192.0.2.1", Ok(Embedded::None)),
            ("::1:0:0", Ok(Embedded::None)),
            ("::1:ffff:192.0.2.1", Ok(Embedded::None)),
            (
                "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                Ok(Embedded::None),
            ),
            ("fe80::", not_global),
            ("fe80::ffff:ffff:ffff", not_global),
            ("febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", not_global),
            ("fec0::", Ok(Embedded::None)),
            ("ff00::", not_global),
            ("ff02::1", not_global),
            ("2001::", teredo),
            ("2001:0:c000:201:2093:63bf:39cc:9bf8", teredo),
            ("2002:c000:201::1", Ok(Embedded::SixToFour(embedded))),
            ("2001:db8::5efe:192.0.2.1", Ok(Embedded::Isatap(embedded))),
            (
                "2001:db8::200:5efe:192.0.2.1",
                Ok(Embedded::Isatap(embedded)),
            ),
            ("2001:db8::100:5efe:192.0.2.1", Ok(Embedded::None)),
            ("2001:db8::1:5efe:192.0.2.1", Ok(Embedded::None)),
            ("2001:db8::5eff:192.0.2.1", Ok(Embedded::None)),
        ],
    );
}

/// and what R-43 needs.
#[test]
fn clients_reach_global_unicast_and_nothing_else() {
    let multicast = Err(Fate::DestinationMulticast);
    let not_global = Err(Fate::DestinationNotGlobal);
    let teredo = Err(Fate::DestinationTeredo);
    let not_served = Err(Fate::DestinationNotServed);
    let embedded = "192.0.2.1".parse().unwrap();
    check(
        client_destination,
        &[
            ("2000::", Ok(Embedded::None)),
            ("2001:db8::80", Ok(Embedded::None)),
            ("2001:1::", Ok(Embedded::None)),
            (
                "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                Ok(Embedded::None),
            ),
            ("ff00::", multicast),
            ("ff02::2", multicast),
            ("::", not_global),
            ("::1", not_global),
            ("::192.0.2.1", not_global),
            ("::255.255.255.255", not_global),
            ("::ffff:0:0", not_global),
            ("::ffff:192.0.2.1", not_global),
            ("fe80::1", not_global),
            ("febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", not_global),
            ("2001::", teredo),
            ("2001:0:ffff:ffff:ffff:ffff:ffff:ffff", teredo),
            ("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", not_served),
            ("4000::", not_served),
            ("64:ff9b::192.0.2.1", not_served),
            ("fd00::1", not_served),
            ("fec0::1", not_served),
            ("2002:c000:201::1", Ok(Embedded::SixToFour(embedded))),
            ("2001:db8::5efe:192.0.2.1", Ok(Embedded::Isatap(embedded))),
            (
                "2001:db8::200:5efe:192.0.2.1",
                Ok(Embedded::Isatap(embedded)),
            ),
        ],
    );
}

/// RFC 6324 3.3 names 6to4 by prefix; an ISATAP identifier under it adds nothing.
#[test]
fn in_a_6to4_address_the_prefix_is_what_counts() {
    let outer = "192.0.2.1".parse().unwrap();
    check(
        native_source,
        &[(
            "2002:c000:201::5efe:198.51.100.7",
            Ok(Embedded::SixToFour(outer)),
        )],
    );
}

use super::*;
use zerocopy::IntoBytes;

const PRIMARY: ServerV4 = ServerV4(Ipv4Addr::new(192, 0, 2, 1));
const SOLICITATION: RouterSolicitation = RouterSolicitation {
    source: RESTRICTED_SOURCE,
};

fn address(text: &str) -> [u8; 16] {
    text.parse::<core::net::Ipv6Addr>().unwrap().octets()
}

fn advertisement() -> RouterAdvertisement {
    RouterAdvertisement::answer(&SOLICITATION, PRIMARY, Some(1280))
}

/// The packet with `change` made to it and its checksum set right again.
fn changed(packet: &[u8], change: impl FnOnce(&mut Ipv6Header, &mut Vec<u8>)) -> Vec<u8> {
    let (header, body, _) = ipv6::parse(packet).unwrap();
    let (mut header, mut body) = (*header, body.to_vec());
    change(&mut header, &mut body);
    header.payload_len = u16::try_from(body.len()).unwrap().to_be_bytes();
    body[2..4].fill(0);
    let sum = checksum::upper_layer(&header.source, &header.destination, ipv6::ICMP6, &body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    [header.as_bytes(), &body].concat()
}

fn parse_rs(packet: &[u8]) -> Result<RouterSolicitation, Invalid> {
    let (header, body, _) = ipv6::parse(packet).unwrap();
    RouterSolicitation::parse(header, body)
}

fn parse_ra(packet: &[u8]) -> Result<RouterAdvertisement, Invalid> {
    let (header, body, _) = ipv6::parse(packet).unwrap();
    RouterAdvertisement::parse(header, body)
}

#[test]
fn link_local_addresses_are_those_of_the_field() {
    assert_eq!(RESTRICTED_SOURCE, address("fe80::ffff:ffff:ffff"));
    assert_eq!(CONE_SOURCE, address("fe80::8000:5445:5245:444f"));
    assert_eq!(
        server_link_local(PRIMARY),
        address("fe80::8000:f227:3fff:fdfe")
    );
}

#[test]
fn the_cone_bit_is_read_from_any_link_local_source() {
    for (source, cone) in [
        ("fe80::ffff:ffff:ffff", false),
        ("fe80::5445:5245:444f", false),
        ("fe80::8000:5445:5245:444f", true),
        ("fe80::a000:0:0:1", true),
        ("febf::1", false),
    ] {
        let solicitation = RouterSolicitation {
            source: address(source),
        };
        assert_eq!(solicitation.cone(), cone, "{source}");
        assert_eq!(parse_rs(&solicitation.build()), Ok(solicitation));
    }
}

/// RFC 4861 6.1.1.
#[test]
fn an_invalid_solicitation_says_why() {
    let good = SOLICITATION.build();
    let after = |change: fn(&mut Ipv6Header, &mut Vec<u8>)| parse_rs(&changed(&good, change)).err();
    assert_eq!(after(|_, _| ()), None);
    assert_eq!(after(|h, _| h.hop_limit = 254), Some(Invalid::HopLimit));
    assert_eq!(after(|h, _| h.source[1] = 0xc0), Some(Invalid::Source));
    assert_eq!(after(|h, _| h.source = [0; 16]), Some(Invalid::Source));
    assert_eq!(
        after(|h, _| h.destination[15] = 1),
        Some(Invalid::Destination)
    );
    assert_eq!(
        after(|h, _| h.next_header = ipv6::UDP),
        Some(Invalid::OtherMessage)
    );
    assert_eq!(after(|_, b| b[0] = 134), Some(Invalid::OtherMessage));
    assert_eq!(after(|_, b| b[1] = 1), Some(Invalid::OtherMessage));
    assert_eq!(after(|_, b| b.truncate(7)), Some(Invalid::OtherMessage));
    assert_eq!(after(|_, b| b.extend([1, 0])), Some(Invalid::Option));
    assert_eq!(after(|_, b| b.extend([1, 1, 0])), Some(Invalid::Option));
    assert_eq!(
        after(|_, b| b.extend([1, 1, 0, 0, 0, 0, 0, 0])),
        None,
        "options are ignored"
    );
    let mut broken = good.clone();
    broken[44] ^= 1;
    assert_eq!(parse_rs(&broken), Err(Invalid::Checksum));
}

#[test]
fn an_advertisement_names_its_server_and_reads_back() {
    for mtu in [None, Some(0), Some(1280), Some(u32::MAX)] {
        let sent = RouterAdvertisement {
            mtu,
            ..advertisement()
        };
        let packet = sent.build();
        assert_eq!(packet.len(), if mtu.is_some() { 96 } else { 88 });
        assert_eq!(parse_ra(&packet), Ok(sent));
        assert_eq!(sent.server(), Some(PRIMARY));
    }
    let mut other = advertisement();
    other.prefix = *b"\x3f\xfe\x83\x1f\xc0\x00\x02\x01";
    assert_eq!(other.server(), None);
}

/// RFC 4861 6.1.2 and RFC 4380 5.2.1.
#[test]
fn an_invalid_advertisement_says_why() {
    const PREFIX: usize = 16;
    let good = advertisement().build();
    let after = |change: fn(&mut Ipv6Header, &mut Vec<u8>)| parse_ra(&changed(&good, change)).err();
    assert_eq!(after(|_, _| ()), None);
    assert_eq!(after(|h, _| h.hop_limit = 64), Some(Invalid::HopLimit));
    assert_eq!(after(|h, _| h.source[0] = 0x20), Some(Invalid::Source));
    assert_eq!(after(|_, b| b[0] = 133), Some(Invalid::OtherMessage));
    assert_eq!(after(|_, b| b[1] = 1), Some(Invalid::OtherMessage));
    assert_eq!(after(|_, b| b.truncate(15)), Some(Invalid::OtherMessage));
    assert_eq!(after(|_, b| b.truncate(16)), Some(Invalid::Prefix));
    assert_eq!(after(|_, b| b[PREFIX + 1] = 0), Some(Invalid::Option));
    assert_eq!(after(|_, b| b[PREFIX + 1] = 6), Some(Invalid::Option));
    assert_eq!(after(|_, b| b[PREFIX + 1] = 5), Some(Invalid::Prefix));
    assert_eq!(after(|_, b| b[PREFIX + 2] = 48), Some(Invalid::Prefix));
    assert_eq!(
        after(|_, b| b.extend_from_within(PREFIX..PREFIX + 32)),
        Some(Invalid::Prefix)
    );
    assert_eq!(
        after(|_, b| b.extend([200, 1, 0, 0, 0, 0, 0, 0])),
        None,
        "unknown options are ignored"
    );
    let mut broken = good.clone();
    broken[90] ^= 1;
    assert_eq!(parse_ra(&broken), Err(Invalid::Checksum));
}

//! Properties of the wire code: what is built reads back, and no input makes a parser panic.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use teredo::addr::{Mapped, ServerV4, TeredoAddr};
use teredo::wire::auth::{AUTH_MIN_LEN, Auth};
use teredo::wire::icmp6::{self, ERROR_MAX_LEN, Echo, EchoKind, Icmp6Error};
use teredo::wire::ipv6::{self, Ipv6Header};
use teredo::wire::origin::Origin;
use teredo::wire::payload::{self, Payload};
use teredo::wire::rs_ra::{RouterAdvertisement, RouterSolicitation};
use teredo::wire::trailer::{AlternateAddresses, NdKind, Trailers};
use teredo::wire::{bubble, checksum, ecn};
use teredo::{Fate, filter};
use zerocopy::IntoBytes;

// ---- values

fn mapped() -> impl Strategy<Value = Mapped> {
    any::<(u32, u16)>().prop_map(|(ip, port)| Mapped {
        ip: ip.into(),
        port,
    })
}

/// An entry an Alternate Address Trailer may hold.
fn alternate() -> impl Strategy<Value = Mapped> {
    (1..0xe000_0000_u32, 1..=u16::MAX).prop_map(|(ip, port)| Mapped {
        ip: ip.into(),
        port,
    })
}

fn trailers() -> impl Strategy<Value = Trailers> {
    (
        any::<Option<[u8; 4]>>(),
        prop::collection::vec(alternate(), 0..=4),
        prop::option::of(select(&[NdKind::Solicitation, NdKind::Advertisement][..])),
        any::<Option<u16>>(),
    )
        .prop_map(|(nonce, alternates, nd, random_port)| Trailers {
            nonce,
            alternate_addresses: AlternateAddresses::new(&alternates).unwrap(),
            nd,
            random_port,
            alternate_address_malformed: false,
        })
}

fn error() -> impl Strategy<Value = Icmp6Error> {
    prop_oneof![
        Just(Icmp6Error::AddressUnreachable),
        any::<u32>().prop_map(|mtu| Icmp6Error::PacketTooBig { mtu }),
        Just(Icmp6Error::HopLimitExceeded),
    ]
}

fn link_local() -> impl Strategy<Value = [u8; 16]> {
    any::<[u8; 16]>().prop_map(|mut a| {
        a[0] = 0xfe;
        a[1] = 0x80 | a[1] & 0x3f;
        a
    })
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..=max)
}

/// An IPv6 packet of any header and body.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    (any::<([u8; 16], [u8; 16], u8, u8)>(), bytes(200)).prop_map(
        |((source, destination, next_header, hop_limit), body)| {
            let len = u16::try_from(body.len()).unwrap();
            let header = Ipv6Header::new(source, destination, next_header, hop_limit, len);
            [header.as_bytes(), &body].concat()
        },
    )
}

/// A datagram as a node might send it.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let solicitation = link_local().prop_map(|source| RouterSolicitation { source }.build());
    let advertisement = (link_local(), any::<([u8; 16], [u8; 8], Option<u32>)>()).prop_map(
        |(source, (destination, prefix, mtu))| {
            let advertisement = RouterAdvertisement {
                source,
                destination,
                prefix,
                mtu,
            };
            advertisement.build()
        },
    );
    let bubble =
        any::<([u8; 16], [u8; 16])>().prop_map(|(s, d)| bubble::build(s, d, &Trailers::default()));
    let error = (error(), packet())
        .prop_map(|(error, invoking)| icmp6::build_error([1; 16], [2; 16], error, &invoking));
    (
        any::<Option<[u8; 8]>>(),
        prop::option::of(mapped()),
        prop_oneof![packet(), bubble, solicitation, advertisement, error],
        trailers(),
    )
        .prop_map(|(nonce, origin, packet, trailers)| {
            let auth = nonce.map(Auth::with_nonce);
            let origin = origin.map(|mapped| Origin { mapped });
            let mut payload = payload::build(auth.as_ref(), origin.as_ref(), &packet);
            trailers.write(&mut payload);
            payload
        })
}

/// A datagram damaged on its way: bytes changed, then cut or grown.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<Index>(), any::<u8>()), 0..4);
    (datagram(), changes, any::<Option<Index>>(), bytes(8)).prop_map(
        |(mut datagram, changes, cut, grown)| {
            for (at, value) in changes {
                let at = at.index(datagram.len());
                datagram[at] = value;
            }
            if let Some(cut) = cut {
                datagram.truncate(cut.index(datagram.len()));
            }
            datagram.extend(grown);
            datagram
        },
    )
}

// ---- every parser on one input

/// Runs every parser on `input`, both as it is and as what it was found to carry.
fn read_all(input: &[u8]) {
    let _ = Auth::parse(input);
    let _ = Origin::parse(input);
    let _ = Trailers::parse(input);
    let _ = checksum::ipv4_header(input);
    let _ = checksum::udp_over_ipv4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, input);
    for error in [
        Icmp6Error::AddressUnreachable,
        Icmp6Error::PacketTooBig { mtu: 1280 },
        Icmp6Error::HopLimitExceeded,
    ] {
        let answer = icmp6::build_error([1; 16], [2; 16], error, input);
        assert!(answer.len() <= ERROR_MAX_LEN);
        assert!(
            icmp6::forbids_error(error, &answer),
            "an error answers an error"
        );
        let _ = icmp6::forbids_error(error, input);
    }
    if let Ok((header, body, _)) = ipv6::parse(input) {
        read_packet(header, body);
    }
    match payload::parse(input) {
        Ok(payload) => {
            assert_parts_make_the_whole(input, &payload);
            let _ = Trailers::parse(payload.tail);
            read_packet(payload.header, payload.body);
        }
        Err(fate) => assert!(matches!(
            fate,
            Fate::PayloadNotTeredo
                | Fate::AuthenticationTruncated
                | Fate::OriginTruncated
                | Fate::HeaderOutOfOrder
                | Fate::InnerTruncated
                | Fate::InnerVersionNot6
        )),
    }
}

fn read_packet(header: &Ipv6Header, body: &[u8]) {
    let _ = Echo::parse(header, body);
    let _ = RouterSolicitation::parse(header, body);
    let _ = RouterAdvertisement::parse(header, body);
    let _ = filter::native_source(&header.source);
    let _ = filter::native_destination(&header.destination);
    let _ = filter::client_destination(&header.destination);
    let _ = ecn::decapsulate(body.first().copied().unwrap_or(0), header.traffic_class());
}

fn assert_parts_make_the_whole(input: &[u8], payload: &Payload<'_>) {
    assert_eq!(payload.header.version(), 6);
    assert_eq!(payload.packet.len(), payload.header.packet_len());
    assert_eq!(
        payload.packet,
        [payload.header.as_bytes(), payload.body].concat()
    );
    let front = payload::build(
        payload.auth.as_ref(),
        payload.origin.as_ref(),
        payload.packet,
    );
    assert_eq!([&front, payload.tail].concat(), input);
}

/// IPv6, an origin indication, authentication headers of unknown, greatest and no length.
const BEGINNINGS: &[&[u8]] = &[
    &[0x60],
    &[0x00, 0x00],
    &[0x00, 0x01],
    &[0x00, 0x01, 0xff, 0xff],
    &[0x00, 0x01, 0, 0],
];

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(input in bytes(300)) {
        read_all(&input);
    }

    #[test]
    fn any_bytes_behind_a_plausible_beginning_are_read_without_panic(
        beginning in select(BEGINNINGS),
        rest in bytes(300),
    ) {
        read_all(&[beginning, &rest].concat());
    }

    #[test]
    fn a_damaged_datagram_is_read_without_panic(input in damaged()) {
        read_all(&input);
    }

    /// Every prefix of a datagram is refused or, once the packet is whole, accepted; a receiver never
    /// needs more than is there.
    #[test]
    fn a_datagram_is_accepted_exactly_from_the_end_of_its_packet_on(datagram in datagram()) {
        read_all(&datagram);
        let whole = payload::parse(&datagram).unwrap();
        let end = datagram.len() - whole.tail.len();
        for len in 0..=datagram.len() {
            prop_assert_eq!(payload::parse(&datagram[..len]).is_ok(), len >= end);
        }
    }

    #[test]
    fn an_address_reads_back(server in any::<u32>(), flags in any::<u16>(), mapped in mapped()) {
        let server = ServerV4(server.into());
        let addr = TeredoAddr::new(server, flags, mapped);
        prop_assert_eq!((addr.server(), addr.flags(), addr.mapped()), (server, flags, mapped));
        prop_assert_eq!(TeredoAddr::from_octets(&addr.octets()), Some(addr));
    }

    #[test]
    fn an_origin_indication_reads_back(mapped in mapped(), rest in bytes(20)) {
        let origin = Origin { mapped };
        let bytes = [&origin.to_bytes()[..], &rest].concat();
        prop_assert_eq!(Origin::parse(&bytes), Ok(Some((origin, &rest[..]))));
    }

    #[test]
    fn an_authentication_header_reads_back(
        id in bytes(255), value in bytes(255), nonce in any::<[u8; 8]>(), confirmation in any::<u8>(),
        rest in bytes(20),
    ) {
        let auth = Auth::secure(&id, &value, nonce, confirmation).unwrap();
        let mut bytes = Vec::new();
        auth.write(&mut bytes);
        prop_assert_eq!(bytes.len(), AUTH_MIN_LEN + id.len() + value.len());
        bytes.extend(&rest);
        prop_assert_eq!(Auth::parse(&bytes), Ok(Some((auth, &rest[..]))));
    }

    #[test]
    fn trailers_read_back(trailers in trailers()) {
        let mut bytes = Vec::new();
        trailers.write(&mut bytes);
        prop_assert_eq!(Trailers::parse(&bytes), Ok(trailers));
    }

    /// RFC 6081 4.1: unknown types below 40 and from 80 on may stand anywhere between known ones.
    #[test]
    fn skipped_trailers_change_nothing(
        trailers in trailers(), kind in prop_oneof![6..0x40_u8, 0x80..=0xff_u8], value in bytes(255),
    ) {
        let mut bytes = vec![kind, u8::try_from(value.len()).unwrap()];
        bytes.extend(value);
        trailers.write(&mut bytes);
        prop_assert_eq!(Trailers::parse(&bytes), Ok(trailers));
    }

    #[test]
    fn a_bubble_reads_back(
        source in any::<[u8; 16]>(), destination in any::<[u8; 16]>(), trailers in trailers(),
    ) {
        let bytes = bubble::build(source, destination, &trailers);
        let payload = payload::parse(&bytes).unwrap();
        prop_assert!(payload.header.is_bubble());
        prop_assert_eq!((payload.header.source, payload.header.destination), (source, destination));
        prop_assert_eq!(Trailers::parse(payload.tail), Ok(trailers));
    }

    #[test]
    fn a_payload_reads_back(
        nonce in any::<Option<[u8; 8]>>(), origin in prop::option::of(mapped()), packet in packet(),
        tail in bytes(40),
    ) {
        let auth = nonce.map(Auth::with_nonce);
        let origin = origin.map(|mapped| Origin { mapped });
        let mut bytes = payload::build(auth.as_ref(), origin.as_ref(), &packet);
        bytes.extend(&tail);
        let payload = payload::parse(&bytes).unwrap();
        prop_assert_eq!((payload.auth, payload.origin), (auth, origin));
        prop_assert_eq!((payload.packet, payload.tail), (&packet[..], &tail[..]));
    }

    #[test]
    fn an_echo_reads_back(
        addresses in any::<([u8; 16], [u8; 16])>(), hop_limit in any::<u8>(),
        kind in select(&[EchoKind::Request, EchoKind::Reply][..]),
        numbers in any::<(u16, u16)>(), data in bytes(200),
    ) {
        let echo = Echo { kind, identifier: numbers.0, sequence: numbers.1, data: &data };
        let packet = echo.build(addresses.0, addresses.1, hop_limit).unwrap();
        let (header, body, _) = ipv6::parse(&packet).unwrap();
        prop_assert_eq!((header.source, header.destination), addresses);
        prop_assert_eq!(header.hop_limit, hop_limit);
        prop_assert_eq!(Echo::parse(header, body), Some(echo));
    }

    #[test]
    fn an_error_is_whole_and_right(
        addresses in any::<([u8; 16], [u8; 16])>(), error in error(), invoking in bytes(2000),
    ) {
        let packet = icmp6::build_error(addresses.0, addresses.1, error, &invoking);
        let (header, body, tail) = ipv6::parse(&packet).unwrap();
        prop_assert!(tail.is_empty() && packet.len() <= ERROR_MAX_LEN);
        prop_assert_eq!((header.source, header.destination), addresses);
        prop_assert_eq!(
            checksum::upper_layer(&header.source, &header.destination, ipv6::ICMP6, body), 0
        );
        prop_assert_eq!((body[0], body[1]), error.type_and_code());
        prop_assert_eq!(&body[4..8], &error.parameter().to_be_bytes());
        prop_assert_eq!(&body[8..], icmp6::quote(&invoking));
    }

    #[test]
    fn a_router_solicitation_reads_back(source in link_local()) {
        let solicitation = RouterSolicitation { source };
        let packet = solicitation.build();
        let (header, body, _) = ipv6::parse(&packet).unwrap();
        prop_assert_eq!(RouterSolicitation::parse(header, body), Ok(solicitation));
    }

    #[test]
    fn a_router_advertisement_reads_back(
        source in link_local(), destination in any::<[u8; 16]>(), prefix in any::<[u8; 8]>(),
        mtu in any::<Option<u32>>(),
    ) {
        let advertisement = RouterAdvertisement { source, destination, prefix, mtu };
        let packet = advertisement.build();
        let (header, body, _) = ipv6::parse(&packet).unwrap();
        prop_assert_eq!(RouterAdvertisement::parse(header, body), Ok(advertisement));
    }

    /// RFC 1071: the checksum does not depend on how the message is cut into even pieces.
    #[test]
    fn a_sum_does_not_depend_on_its_pieces(message in bytes(200), cut in any::<Index>()) {
        let cut = cut.index(message.len() + 1) & !1;
        let (head, tail) = message.split_at(cut);
        let pieces = checksum::Sum::new().add_bytes(head).add_bytes(tail);
        prop_assert_eq!(pieces.finish(), checksum::Sum::new().add_bytes(&message).finish());
    }
}

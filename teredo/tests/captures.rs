//! Captures of deployed clients, a deployed server and relay, read and written back byte for byte.

mod pcap;

use std::collections::BTreeMap;

use teredo::addr::{Mapped, SERVER_PORT, ServerV4, TeredoAddr};
use teredo::wire::auth::Auth;
use teredo::wire::icmp6::{self, Echo, EchoKind, Icmp6Error};
use teredo::wire::ipv6::{self, Ipv6Header};
use teredo::wire::payload::{self, Payload};
use teredo::wire::rs_ra::{self, RouterAdvertisement, RouterSolicitation};
use teredo::wire::trailer::Trailers;
use teredo::wire::{bubble, checksum};

/// What a packet turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Solicitation,
    Advertisement,
    Bubble,
    IndirectBubble,
    Request,
    Reply,
    Unreachable,
}

use Kind::{Advertisement, Bubble, IndirectBubble, Reply, Request, Solicitation, Unreachable};

type Counts = BTreeMap<Kind, usize>;

// ---- reading and writing back

/// Reads a packet, asserts that its typed values write the same bytes, and names it.
fn packet_written_back(packet: &[u8]) -> Kind {
    let (header, body, tail) = ipv6::parse(packet).unwrap();
    assert!(tail.is_empty());
    let (kind, mut written) = if header.is_bubble() {
        // Deployed nodes send hop limit 0.
        assert_eq!(header.hop_limit, 0);
        let mut written = bubble::build(header.source, header.destination, &Trailers::default());
        assert_eq!(written[7], bubble::BUBBLE_HOP_LIMIT);
        written[7] = header.hop_limit;
        (Bubble, written)
    } else {
        assert_eq!(header.next_header, ipv6::ICMP6);
        let sum = checksum::upper_layer(&header.source, &header.destination, ipv6::ICMP6, body);
        assert_eq!(sum, 0, "ICMPv6 checksum");
        icmp6_written_back(header, body)
    };
    if matches!(kind, Request | Reply | Unreachable) {
        // Builders write no flow label, and the hosts of the captures do.
        assert_eq!(written[..4], [0x60, 0, 0, 0]);
        written[..4].copy_from_slice(&packet[..4]);
    }
    assert_eq!(written, packet, "{kind:?}");
    kind
}

fn icmp6_written_back(header: &Ipv6Header, body: &[u8]) -> (Kind, Vec<u8>) {
    if let Some(echo) = Echo::parse(header, body) {
        let kind = match echo.kind {
            EchoKind::Request => Request,
            EchoKind::Reply => Reply,
        };
        let written = echo.build(header.source, header.destination, header.hop_limit);
        return (kind, written.unwrap());
    }
    match body[0] {
        1 => {
            let error = Icmp6Error::AddressUnreachable;
            let invoking = &body[8..];
            assert_eq!(icmp6::quote(invoking), invoking);
            assert!(!icmp6::forbids_error(error, invoking));
            let written = icmp6::build_error(header.source, header.destination, error, invoking);
            assert!(icmp6::forbids_error(error, &written));
            (Unreachable, written)
        }
        133 => {
            let solicitation = RouterSolicitation::parse(header, body).unwrap();
            assert_eq!(solicitation.source, rs_ra::RESTRICTED_SOURCE);
            assert!(!solicitation.cone());
            (Solicitation, solicitation.build())
        }
        134 => {
            let advertisement = RouterAdvertisement::parse(header, body).unwrap();
            let primary = advertisement.server().unwrap();
            let asked = RouterSolicitation {
                source: rs_ra::RESTRICTED_SOURCE,
            };
            let answer = RouterAdvertisement::answer(&asked, primary, Some(1280));
            assert_eq!(advertisement, answer);
            (Advertisement, answer.build())
        }
        other => panic!("ICMPv6 type {other}"),
    }
}

/// Reads a datagram, asserts that its typed values write the same bytes and that it says what its
/// outer addresses say, and names it.
fn datagram_written_back(frame: &[u8]) -> Kind {
    let (from, to, bytes) = pcap::datagram(frame);
    let payload = payload::parse(bytes).unwrap();
    assert_eq!(Trailers::parse(payload.tail), Ok(Trailers::default()));
    let kind = packet_written_back(payload.packet);
    let rebuilt = payload::build(
        payload.auth.as_ref(),
        payload.origin.as_ref(),
        payload.packet,
    );
    assert_eq!(rebuilt, bytes);
    assert_headers_fit(kind, &payload, from, to);
    assert_outer_checksum_from_the_header_alone(frame, &payload, from, to);
    match (kind, payload.origin) {
        (Bubble, Some(_)) => IndirectBubble,
        (kind, _) => kind,
    }
}

fn assert_headers_fit(kind: Kind, payload: &Payload<'_>, from: Mapped, to: Mapped) {
    match kind {
        Solicitation => {
            let auth = payload.auth.unwrap();
            assert_eq!(auth, Auth::with_nonce(auth.nonce));
            assert_eq!(payload.origin, None);
            assert_eq!(to.port, SERVER_PORT);
        }
        Advertisement => {
            let auth = payload.auth.unwrap();
            assert_eq!(auth, Auth::with_nonce(auth.nonce));
            let source = rs_ra::server_link_local(ServerV4(from.ip));
            assert_eq!(payload.header.source, source);
            assert_eq!(from.port, SERVER_PORT);
            assert!(payload.origin.is_some());
        }
        Bubble | Request | Reply => {
            assert_eq!(payload.auth, None);
            // Only a server writes an origin indication (RFC 4380 5.3.1), and only towards its client.
            if payload.origin.is_some() {
                let client = TeredoAddr::from_octets(&payload.header.destination).unwrap();
                assert_eq!(client.server(), ServerV4(from.ip));
                assert_eq!(from.port, SERVER_PORT);
            }
        }
        IndirectBubble | Unreachable => panic!("{kind:?} in a datagram"),
    }
}

/// The outer checksum without the payload equals the one the sender's kernel computed.
fn assert_outer_checksum_from_the_header_alone(
    frame: &[u8],
    payload: &Payload<'_>,
    from: Mapped,
    to: Mapped,
) {
    let simple = payload.auth.is_none() && payload.origin.is_none();
    if !simple || payload.header.is_bubble() {
        return;
    }
    let udp = &frame[14 + 20..];
    let field = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
    assert_eq!(
        checksum::outer_udp(payload.header, from, to, field(4)),
        field(6)
    );
}

// ---- the captures

fn count(kinds: impl IntoIterator<Item = Kind>) -> Counts {
    let mut counts = Counts::new();
    for kind in kinds {
        *counts.entry(kind).or_default() += 1;
    }
    counts
}

/// Counts the packets of one capture, every one read and written back.
fn read(name: &str) -> Counts {
    let file = pcap::file(name);
    count(
        pcap::frames(&file)
            .into_iter()
            .map(|frame| match frame[12..14] {
                [0x08, 0x00] => datagram_written_back(frame),
                [0x86, 0xdd] => packet_written_back(&frame[14..]),
                _ => panic!("neither IPv4 nor IPv6"),
            }),
    )
}

const QUALIFICATION: &[(Kind, usize)] = &[(Solicitation, 1), (Advertisement, 1)];
/// Six pings and the client's own test of the host, whose request goes through the server.
const AT_THE_CLIENT: &[(Kind, usize)] =
    &[(IndirectBubble, 1), (Bubble, 1), (Request, 7), (Reply, 7)];
const AT_THE_SERVER: &[(Kind, usize)] = &[(Bubble, 1), (IndirectBubble, 1), (Request, 1)];
const AT_THE_RELAY_IPV4: &[(Kind, usize)] = &[(Bubble, 2), (Request, 6), (Reply, 7)];
const AT_THE_RELAY_IPV6: &[(Kind, usize)] = &[(Request, 6), (Reply, 7)];

const CAPTURES: [(&str, &[(Kind, usize)]); 32] = [
    ("dead-h2c-relay4", &[(Bubble, 4)]),
    ("dead-h2c-relay6", &[(Request, 15), (Unreachable, 6)]),
    ("dead-h2c-server4", &[(Bubble, 4), (IndirectBubble, 4)]),
    ("port-c2h-client", AT_THE_CLIENT),
    ("port-c2h-inet", AT_THE_CLIENT),
    ("port-c2h-relay4", AT_THE_RELAY_IPV4),
    ("port-c2h-relay6", AT_THE_RELAY_IPV6),
    ("port-c2h-server4", AT_THE_SERVER),
    ("port-h2c-client", AT_THE_CLIENT),
    ("port-h2c-inet", AT_THE_CLIENT),
    ("port-h2c-relay4", AT_THE_RELAY_IPV4),
    ("port-h2c-relay6", AT_THE_RELAY_IPV6),
    ("port-h2c-server4", AT_THE_SERVER),
    ("port-qualify-client", QUALIFICATION),
    ("port-qualify-inet", QUALIFICATION),
    ("port-qualify-server4", QUALIFICATION),
    ("pub-c2h-client", AT_THE_CLIENT),
    ("pub-c2h-inet", AT_THE_CLIENT),
    ("pub-c2h-relay4", AT_THE_RELAY_IPV4),
    ("pub-c2h-relay6", AT_THE_RELAY_IPV6),
    ("pub-c2h-server4", AT_THE_SERVER),
    ("pub-h2c-client", AT_THE_CLIENT),
    ("pub-h2c-inet", AT_THE_CLIENT),
    ("pub-h2c-relay4", AT_THE_RELAY_IPV4),
    ("pub-h2c-relay6", AT_THE_RELAY_IPV6),
    ("pub-h2c-server4", AT_THE_SERVER),
    ("pub-qualify-client", QUALIFICATION),
    ("pub-qualify-inet", QUALIFICATION),
    ("pub-qualify-server4", QUALIFICATION),
    ("sym-h2c-inet", AT_THE_CLIENT),
    ("sym-h2c-relay4", AT_THE_RELAY_IPV4),
    ("sym-h2c-relay6", AT_THE_RELAY_IPV6),
];

#[test]
fn every_packet_of_every_capture_is_read_and_written_back() {
    for (name, expected) in CAPTURES {
        assert_eq!(read(name), expected.iter().copied().collect(), "{name}");
    }
}

#[test]
fn every_capture_is_listed_here() {
    let listed = CAPTURES.iter().map(|(name, _)| (*name).to_owned());
    assert_eq!(pcap::names(), listed.collect());
}

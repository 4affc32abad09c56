//! Every vector of `fixtures/vectors.json`, read into typed values and written back from them.
//!
//! The file is an oracle of its own: it was computed without this crate, and its advertisements and indirect
//! bubbles were compared with those of a deployed server.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use serde::Deserialize;
use teredo::Fate;
use teredo::addr::{FLAG_CONE, FLAG_RANDOM_MASK, Mapped, ServerV4, TeredoAddr};
use teredo::wire::auth::Auth;
use teredo::wire::icmp6::{self, Echo, EchoKind, Icmp6Error};
use teredo::wire::ipv6::{self, Ipv6Header};
use teredo::wire::origin::Origin;
use teredo::wire::rs_ra::{self, RouterAdvertisement, RouterSolicitation};
use teredo::wire::trailer::{AlternateAddresses, NdKind, Trailers};
use teredo::wire::{bubble, checksum, payload};
use zerocopy::IntoBytes;

#[derive(Deserialize)]
struct File {
    addresses: Vec<Address>,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Address {
    address: Ipv6Addr,
    bytes: String,
    prefix: String,
    server_ipv4: Ipv4Addr,
    flags: String,
    cone: bool,
    reserved_z: bool,
    random1: u16,
    u: bool,
    g: bool,
    random2: u16,
    obfuscated_port: String,
    client_port: u16,
    obfuscated_ipv4: String,
    client_ipv4: Ipv4Addr,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    len: usize,
    hex: String,
    icmp6_checksum: Option<String>,
    client_id: Option<String>,
    auth_value: Option<String>,
    ipv6_packet_len: Option<usize>,
    trailer_len: Option<usize>,
}

fn fixture() -> File {
    serde_json::from_str(include_str!("fixtures/vectors.json")).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

fn number(text: &str) -> u16 {
    u16::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap()
}

// ---- the scenario of the vectors

const NONCE8: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
const NONCE4: [u8; 4] = [0xa1, 0xb2, 0xc3, 0xd4];
const PRIMARY: ServerV4 = ServerV4(Ipv4Addr::new(192, 0, 2, 1));
const CLIENT_MAPPED: &str = "198.51.100.7:40000";
const RELAY_MAPPED: &str = "203.0.113.9:3545";
const CLIENT_ID: &[u8] = b"client-1";
const RS_AUTH_VALUE: &[u8] =
    b"\x08\x08\xcc\xfa\x4c\x95\x10\x83\xd2\xd1\x0a\xd3\x90\x5a\x0a\x8a\xac\xfb\x15\x7a";
const RA_AUTH_VALUE: &[u8] =
    b"\x04\x05\x8f\x0a\x49\xeb\x33\xc2\xc2\xaa\x64\xfe\x52\x51\x81\x40\x49\xc3\xd7\x12";
const ECHO_DATA: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

fn v6(text: &str) -> [u8; 16] {
    text.parse::<Ipv6Addr>().unwrap().octets()
}

fn mapped(text: &str) -> Mapped {
    text.parse::<SocketAddrV4>().unwrap().into()
}

fn client() -> [u8; 16] {
    TeredoAddr::new(PRIMARY, 0x2093, mapped(CLIENT_MAPPED)).octets()
}

fn other_client() -> [u8; 16] {
    let server = ServerV4(Ipv4Addr::new(198, 51, 100, 118));
    TeredoAddr::new(server, 0, mapped("192.0.2.10:8192")).octets()
}

fn cookie() -> [u8; 16] {
    v6("fe80::1c3d:2e4f:5a6b:7c8d")
}

fn host() -> [u8; 16] {
    v6("2001:db8::80")
}

fn relay_native() -> [u8; 16] {
    v6("2001:db8:ffff::1")
}

// ---- what a vector means

/// An inner packet as typed values.
#[derive(Debug, PartialEq)]
enum Packet {
    Bubble {
        source: [u8; 16],
        destination: [u8; 16],
        hop_limit: u8,
    },
    Solicitation(RouterSolicitation),
    Advertisement(RouterAdvertisement),
    Echo {
        source: [u8; 16],
        destination: [u8; 16],
        hop_limit: u8,
        kind: EchoKind,
    },
    Udp {
        source: ([u8; 16], u16),
        destination: ([u8; 16], u16),
        hop_limit: u8,
        data: Vec<u8>,
    },
    Error {
        error: Icmp6Error,
        quote: Vec<u8>,
    },
}

impl Packet {
    fn build(&self) -> Vec<u8> {
        match self {
            &Self::Bubble {
                source,
                destination,
                hop_limit,
            } => {
                let mut bubble = bubble::build(source, destination, &Trailers::default());
                bubble[7] = hop_limit;
                bubble
            }
            Self::Solicitation(solicitation) => solicitation.build(),
            Self::Advertisement(advertisement) => advertisement.build(),
            &Self::Echo {
                source,
                destination,
                hop_limit,
                kind,
            } => {
                let echo = Echo {
                    kind,
                    identifier: 0x1234,
                    sequence: 0x5678,
                    data: ECHO_DATA,
                };
                echo.build(source, destination, hop_limit).unwrap()
            }
            Self::Udp {
                source,
                destination,
                hop_limit,
                data,
            } => udp(*source, *destination, *hop_limit, data),
            Self::Error { error, quote } => {
                icmp6::build_error(relay_native(), host(), *error, quote)
            }
        }
    }

    fn parse(packet: &[u8]) -> Self {
        let (header, body, _) = ipv6::parse(packet).unwrap();
        let (source, destination, hop_limit) =
            (header.source, header.destination, header.hop_limit);
        if header.is_bubble() {
            return Self::Bubble {
                source,
                destination,
                hop_limit,
            };
        }
        assert_eq!(
            checksum::upper_layer(&source, &destination, header.next_header, body),
            0,
            "transport checksum"
        );
        if header.next_header == ipv6::UDP {
            let port = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
            return Self::Udp {
                source: (source, port(0)),
                destination: (destination, port(2)),
                hop_limit,
                data: body[8..].to_vec(),
            };
        }
        if let Some(echo) = Echo::parse(header, body) {
            assert_eq!((echo.identifier, echo.sequence), (0x1234, 0x5678));
            assert_eq!(echo.data, ECHO_DATA);
            return Self::Echo {
                source,
                destination,
                hop_limit,
                kind: echo.kind,
            };
        }
        match body[0] {
            133 => Self::Solicitation(RouterSolicitation::parse(header, body).unwrap()),
            134 => Self::Advertisement(RouterAdvertisement::parse(header, body).unwrap()),
            _ => parse_error(header, body),
        }
    }
}

fn parse_error(header: &Ipv6Header, body: &[u8]) -> Packet {
    assert_eq!(
        (header.source, header.destination, header.hop_limit),
        (relay_native(), host(), 64)
    );
    let parameter = u32::from_be_bytes([body[4], body[5], body[6], body[7]]);
    let error = match (body[0], body[1], parameter) {
        (1, 3, 0) => Icmp6Error::AddressUnreachable,
        (2, 0, mtu) => Icmp6Error::PacketTooBig { mtu },
        other => panic!("no error a relay sends: {other:?}"),
    };
    Packet::Error {
        error,
        quote: body[8..].to_vec(),
    }
}

fn udp(
    source: ([u8; 16], u16),
    destination: ([u8; 16], u16),
    hop_limit: u8,
    data: &[u8],
) -> Vec<u8> {
    let len = u16::try_from(8 + data.len()).unwrap();
    let mut segment = Vec::new();
    for field in [source.1, destination.1, len, 0] {
        segment.extend(field.to_be_bytes());
    }
    segment.extend(data);
    let sum = checksum::upper_layer(&source.0, &destination.0, ipv6::UDP, &segment);
    segment[6..8].copy_from_slice(&checksum::as_udp_field(sum).to_be_bytes());
    let header = Ipv6Header::new(source.0, destination.0, ipv6::UDP, hop_limit, len);
    [header.as_bytes(), &segment].concat()
}

/// A payload as typed values.
#[derive(Debug, PartialEq)]
struct Datagram {
    auth: Option<Auth<'static>>,
    origin: Option<Origin>,
    packet: Packet,
    trailers: Trailers,
    /// Bytes behind the trailers that are to be skipped.
    skipped: &'static [u8],
}

impl Datagram {
    fn new(packet: Packet) -> Self {
        Self {
            auth: None,
            origin: None,
            packet,
            trailers: Trailers::default(),
            skipped: &[],
        }
    }

    fn with_auth(mut self, auth: Auth<'static>) -> Self {
        self.auth = Some(auth);
        self
    }

    fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    fn with_trailers(mut self, trailers: Trailers) -> Self {
        self.trailers = trailers;
        self
    }

    fn with_skipped(mut self, skipped: &'static [u8]) -> Self {
        self.skipped = skipped;
        self
    }

    fn build(&self) -> Vec<u8> {
        let packet = self.packet.build();
        let mut bytes = payload::build(self.auth.as_ref(), self.origin.as_ref(), &packet);
        self.trailers.write(&mut bytes);
        bytes.extend(self.skipped);
        bytes
    }

    /// Asserts that `bytes` read as `self`.
    fn assert_read_from(&self, bytes: &[u8]) {
        let found = payload::parse(bytes).unwrap();
        assert_eq!(found.auth, self.auth);
        assert_eq!(found.origin, self.origin);
        assert_eq!(Packet::parse(found.packet), self.packet);
        assert_eq!(Trailers::parse(found.tail), Ok(self.trailers));
        assert!(found.tail.ends_with(self.skipped));
        assert_eq!(found.packet, [found.header.as_bytes(), found.body].concat());
    }
}

enum Expected {
    Accepted(Datagram),
    /// The same bytes from typed parts, and why they are dropped.
    Dropped(Vec<u8>, Fate),
}

fn from_relay() -> Origin {
    Origin {
        mapped: mapped(RELAY_MAPPED),
    }
}

fn from_client() -> Origin {
    Origin {
        mapped: mapped(CLIENT_MAPPED),
    }
}

fn bubble(source: [u8; 16], destination: [u8; 16], hop_limit: u8) -> Datagram {
    Datagram::new(Packet::Bubble {
        source,
        destination,
        hop_limit,
    })
}

fn relay_bubble() -> Datagram {
    bubble(cookie(), client(), 0)
}

fn nonce() -> Trailers {
    Trailers {
        nonce: Some(NONCE4),
        ..Trailers::default()
    }
}

fn neighbour_discovery(kind: NdKind) -> Trailers {
    Trailers {
        nd: Some(kind),
        ..Trailers::default()
    }
}

fn all_trailers() -> Trailers {
    Trailers {
        nonce: Some(NONCE4),
        alternate_addresses: AlternateAddresses::new(&[mapped("198.51.100.20:4096")]).unwrap(),
        nd: Some(NdKind::Solicitation),
        random_port: Some(1201),
        alternate_address_malformed: false,
    }
}

fn solicitation(source: [u8; 16]) -> RouterSolicitation {
    RouterSolicitation { source }
}

fn rs(source: [u8; 16]) -> Datagram {
    Datagram::new(Packet::Solicitation(solicitation(source)))
}

fn ra(solicited_by: [u8; 16]) -> Datagram {
    let answer = RouterAdvertisement::answer(&solicitation(solicited_by), PRIMARY, Some(1280));
    assert_eq!(answer.server(), Some(PRIMARY));
    Datagram::new(Packet::Advertisement(answer)).with_origin(from_client())
}

fn data(source: ([u8; 16], u16), destination: ([u8; 16], u16), hop_limit: u8) -> Datagram {
    Datagram::new(Packet::Udp {
        source,
        destination,
        hop_limit,
        data: b"teredo".to_vec(),
    })
}

fn data_native_to_client() -> Datagram {
    data((host(), 53), (client(), 5353), 63)
}

fn echo(kind: EchoKind, source: [u8; 16], destination: [u8; 16], hop_limit: u8) -> Datagram {
    Datagram::new(Packet::Echo {
        source,
        destination,
        hop_limit,
        kind,
    })
}

fn error(error: Icmp6Error, invoking: &[u8]) -> Datagram {
    let quote = icmp6::quote(invoking).to_vec();
    Datagram::new(Packet::Error { error, quote })
}

fn accepted(name: &str) -> Option<Datagram> {
    let usual_auth = Auth::with_nonce(NONCE8);
    Some(match name {
        "bubble_relay_to_client_direct" | "bubble_relay_to_server" => relay_bubble(),
        "bubble_indirect_with_origin" => relay_bubble().with_origin(from_relay()),
        "bubble_client_reply_direct" => bubble(client(), cookie(), 0),
        "bubble_client_to_relay_global" => bubble(client(), relay_native(), 64),
        "bubble_local_discovery" => bubble(client(), v6("ff02::1"), 1),
        "rs_restricted_plain" => rs(rs_ra::RESTRICTED_SOURCE),
        "rs_cone_plain" => rs(rs_ra::CONE_SOURCE),
        "rs_restricted_auth" => rs(rs_ra::RESTRICTED_SOURCE).with_auth(usual_auth),
        "ra_restricted_auth_origin" => ra(rs_ra::RESTRICTED_SOURCE).with_auth(usual_auth),
        "ra_restricted_origin" => ra(rs_ra::RESTRICTED_SOURCE),
        "ra_cone_auth_origin" => ra(rs_ra::CONE_SOURCE).with_auth(usual_auth),
        "rs_secure_hmac_sha1" => rs(rs_ra::RESTRICTED_SOURCE).with_auth(Auth::secure(
            CLIENT_ID,
            RS_AUTH_VALUE,
            NONCE8,
            0,
        )?),
        "ra_secure_hmac_sha1" => ra(rs_ra::RESTRICTED_SOURCE).with_auth(Auth::secure(
            CLIENT_ID,
            RA_AUTH_VALUE,
            NONCE8,
            0,
        )?),
        "bubble_indirect_nonce_to_server" => relay_bubble().with_trailers(nonce()),
        "bubble_indirect_nonce_origin" => relay_bubble()
            .with_origin(from_relay())
            .with_trailers(nonce()),
        "bubble_direct_nonce_echo" => bubble(client(), cookie(), 0).with_trailers(nonce()),
        "bubble_indirect_all_trailers" => relay_bubble()
            .with_origin(from_relay())
            .with_trailers(all_trailers()),
        "bubble_direct_slr_solicit" => bubble(client(), other_client(), 0)
            .with_trailers(neighbour_discovery(NdKind::Solicitation)),
        "bubble_direct_slr_advert" => bubble(other_client(), client(), 0)
            .with_trailers(neighbour_discovery(NdKind::Advertisement)),
        "bubble_unknown_skip_trailer" => relay_bubble().with_skipped(&[0x82, 2, 0xbe, 0xef]),
        "bubble_malformed_trailer" => relay_bubble()
            .with_trailers(nonce())
            .with_skipped(&[0x05, 0xff, 0x00]),
        "echo_request_via_server" => echo(EchoKind::Request, client(), host(), 128),
        "echo_reply_via_relay" => echo(EchoKind::Reply, host(), client(), 63),
        "data_native_to_client" => data_native_to_client(),
        "data_client_to_native_nonce_trailer" => {
            data((client(), 5353), (host(), 53), 64).with_trailers(nonce())
        }
        "icmp6_packet_too_big_1280" => error(
            Icmp6Error::PacketTooBig { mtu: 1280 },
            &udp((host(), 53), (client(), 5353), 64, &[0; 1252]),
        ),
        "icmp6_address_unreachable" => error(
            Icmp6Error::AddressUnreachable,
            &data_native_to_client().build(),
        ),
        _ => return None,
    })
}

fn dropped(name: &str) -> Option<(Vec<u8>, Fate)> {
    let bubble = relay_bubble().build();
    let origin = from_relay().to_bytes();
    let mut auth = Vec::new();
    Auth::with_nonce(NONCE8).write(&mut auth);
    Some(match name {
        "bubble_unknown_discard_trailer" => (
            relay_bubble().with_skipped(&[0x42, 2, 0xbe, 0xef]).build(),
            Fate::TrailerDiscards,
        ),
        "bad_short" => (origin[..1].to_vec(), Fate::PayloadNotTeredo),
        "bad_auth_truncated" => (auth[..12].to_vec(), Fate::AuthenticationTruncated),
        "bad_origin_truncated" => (origin[..7].to_vec(), Fate::OriginTruncated),
        "bad_origin_then_nothing" => (origin.to_vec(), Fate::InnerTruncated),
        "bad_ipv6_version" => {
            let mut bubble = bubble;
            bubble[0] = 0x40;
            (bubble, Fate::PayloadNotTeredo)
        }
        "bad_ipv6_len_too_long" => {
            let mut data = data_native_to_client().build();
            data.pop();
            (data, Fate::InnerTruncated)
        }
        "bad_auth_after_origin" => (
            [&origin[..], &auth, &bubble].concat(),
            Fate::HeaderOutOfOrder,
        ),
        "bad_double_origin" => (
            [&origin[..], &origin, &bubble].concat(),
            Fate::HeaderOutOfOrder,
        ),
        _ => return None,
    })
}

fn expected(name: &str) -> Option<Expected> {
    if let Some(datagram) = accepted(name) {
        return Some(Expected::Accepted(datagram));
    }
    dropped(name).map(|(bytes, fate)| Expected::Dropped(bytes, fate))
}

/// The fate of a payload whose trailers are read too.
fn fate(bytes: &[u8]) -> Option<Fate> {
    payload::parse(bytes)
        .and_then(|payload| Trailers::parse(payload.tail))
        .err()
}

#[test]
fn every_vector_of_the_file_is_known_here() {
    let vectors = fixture().vectors;
    assert_eq!(vectors.len(), 37);
    for vector in &vectors {
        assert!(
            expected(&vector.name).is_some(),
            "{}: what is expected of it?",
            vector.name
        );
        assert_eq!(unhex(&vector.hex).len(), vector.len, "{}", vector.name);
    }
}

#[test]
fn every_vector_reads_into_the_values_it_stands_for() {
    let mut read = 0;
    for vector in fixture().vectors {
        let bytes = unhex(&vector.hex);
        println!("{}", vector.name);
        match expected(&vector.name) {
            Some(Expected::Accepted(datagram)) => datagram.assert_read_from(&bytes),
            Some(Expected::Dropped(_, reason)) => assert_eq!(fate(&bytes), Some(reason)),
            None => panic!("not known here"),
        }
        read += 1;
    }
    assert_eq!(read, 37);
}

#[test]
fn every_vector_is_written_from_the_values_it_stands_for() {
    let mut written = 0;
    for vector in fixture().vectors {
        let bytes = match expected(&vector.name) {
            Some(Expected::Accepted(datagram)) => datagram.build(),
            Some(Expected::Dropped(bytes, _)) => bytes,
            None => panic!("{} is not known here", vector.name),
        };
        assert_eq!(bytes, unhex(&vector.hex), "{}", vector.name);
        written += 1;
    }
    assert_eq!(written, 37);
}

/// the eight payloads named `bad_`.
#[test]
fn eight_payloads_are_dropped_before_their_trailers() {
    let bad: Vec<_> = fixture()
        .vectors
        .into_iter()
        .filter(|v| v.name.starts_with("bad_"))
        .collect();
    assert_eq!(bad.len(), 8);
    for vector in bad {
        assert!(
            payload::parse(&unhex(&vector.hex)).is_err(),
            "{}",
            vector.name
        );
    }
}

#[test]
fn facts_stated_beside_the_vectors_hold() {
    let mut facts = 0;
    for vector in fixture().vectors {
        let bytes = unhex(&vector.hex);
        let Ok(payload) = payload::parse(&bytes) else {
            continue;
        };
        if let Some(sum) = &vector.icmp6_checksum {
            assert_eq!(payload.body[2..4], number(sum).to_be_bytes());
            facts += 1;
        }
        if let Some(id) = &vector.client_id {
            assert_eq!(payload.auth.unwrap().client_id(), unhex(id));
            facts += 1;
        }
        if let Some(value) = &vector.auth_value {
            assert_eq!(payload.auth.unwrap().auth_value(), unhex(value));
            facts += 1;
        }
        if let Some(len) = vector.ipv6_packet_len {
            assert_eq!(payload.packet.len(), len);
            facts += 1;
        }
        if let Some(len) = vector.trailer_len {
            assert_eq!(payload.tail.len(), len);
            facts += 1;
        }
    }
    assert_eq!(facts, 11);
}

#[test]
fn every_address_of_the_file_decodes_and_encodes() {
    let addresses = fixture().addresses;
    assert_eq!(addresses.len(), 5);
    for a in addresses {
        let addr = TeredoAddr::try_from(a.address).unwrap();
        let octets = addr.octets();
        assert_eq!(octets, *unhex(&a.bytes));
        assert_eq!(octets[..4], *unhex(&a.prefix));
        assert_eq!(addr.server(), ServerV4(a.server_ipv4));
        assert_eq!(addr.mapped().ip, a.client_ipv4);
        assert_eq!(addr.mapped().port, a.client_port);
        assert_eq!(octets[10..12], number(&a.obfuscated_port).to_be_bytes());
        assert_eq!(octets[12..], *unhex(&a.obfuscated_ipv4));
        let flags = addr.flags();
        assert_eq!(flags, number(&a.flags));
        assert_eq!(flags & FLAG_CONE != 0, a.cone);
        assert_eq!(flags & 0x4000 != 0, a.reserved_z);
        assert_eq!(flags & 0x0200 != 0, a.u);
        assert_eq!(flags & 0x0100 != 0, a.g);
        assert_eq!(
            flags & FLAG_RANDOM_MASK,
            a.random1 << 10 | a.random2,
            "the random bits are those of the mask"
        );
        assert_eq!(TeredoAddr::new(addr.server(), flags, addr.mapped()), addr);
        assert_eq!(addr.to_string(), a.address.to_string());
    }
}

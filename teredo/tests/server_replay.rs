//! The server given what a deployed one was given, in captures and in the vectors compared with it: what it sends must be
//! the same bytes, but where it is meant to differ.

mod pcap;

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use serde::Deserialize;
use teredo::addr::{Mapped, SERVER_PORT};
use teredo::server::{Command, Config, Credentials, KeyState, Local, Server};
use teredo::{Fate, Instant, Ipv4Net};

/// What a server did: the datagram it sent, or the packet it handed to native routing.
#[derive(Clone, Debug, PartialEq)]
enum Sent {
    Datagram(Local, Mapped, Vec<u8>),
    Native(Vec<u8>),
    Nothing,
}

impl From<Option<Command<'_>>> for Sent {
    fn from(command: Option<Command<'_>>) -> Self {
        match command {
            Some(Command::SendUdp { from, to, payload }) => {
                Self::Datagram(from, to, payload.to_vec())
            }
            Some(Command::Forward { packet }) => Self::Native(packet.to_vec()),
            None => Self::Nothing,
        }
    }
}

/// A server in a laboratory of documentation addresses.
fn server(primary: Ipv4Addr, credentials: Credentials) -> Server {
    let mut config = Config::new(primary);
    config.credentials = credentials;
    config.allow_non_global = [[192, 0, 2, 0], [198, 51, 100, 0], [203, 0, 113, 0]]
        .into_iter()
        .filter_map(|net| Ipv4Net::new(net.into(), 24))
        .collect();
    Server::new(config, [7; 32])
}

const NOW: Instant = Instant::from_nanos(1_000_000_000_000);

// ---- captures

const CAPTURED_SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

/// Replays a capture: each datagram to the server in its order, each from it compared with what ours sent. Gives how many
/// datagrams met which fate, and how many of the deployed server's were seen.
fn replay(name: &str) -> (BTreeMap<String, usize>, usize) {
    let mut server = server(CAPTURED_SERVER, Credentials::default());
    let is_whole = name.ends_with("-server4");
    let mut expected = VecDeque::new();
    let mut fates = BTreeMap::new();
    let mut compared = 0;
    let own = Mapped {
        ip: CAPTURED_SERVER,
        port: SERVER_PORT,
    };
    for frame in pcap::frames(&pcap::file(name)) {
        if frame[12..14] != [0x08, 0x00] {
            continue;
        }
        let (from, to, payload) = pcap::datagram(frame);
        if to == own {
            let (fate, command) = server.receive(NOW, Local::Primary, from.into(), payload);
            *fates.entry(format!("{fate:?}")).or_default() += 1;
            match Sent::from(command) {
                Sent::Datagram(..) if !is_whole && fate != Fate::Advertised => {}
                sent @ Sent::Datagram(..) => expected.push_back(sent),
                // D-12: a router lowers the hop limit, the deployed server does not.
                Sent::Native(mut packet) => {
                    packet[7] += 1;
                    assert_eq!(packet, payload, "{name}");
                }
                Sent::Nothing => {}
            }
        } else if from == own && (is_whole || !expected.is_empty()) {
            let deployed = Sent::Datagram(Local::Primary, to, payload.to_vec());
            assert_eq!(expected.pop_front(), Some(deployed), "{name}");
            compared += 1;
        }
    }
    assert!(expected.is_empty(), "{name}: {expected:?}");
    (fates, compared)
}

/// S-10, S-12, S-14, S-15 as deployed. Where a client is seen in front of its NAT it has a private address, which never reaches
/// a server.
#[test]
fn captured_datagrams_are_answered_and_forwarded_as_by_the_deployed_server() {
    let mut all = BTreeMap::new();
    let mut compared = 0;
    for name in pcap::names() {
        let (fates, of_this) = replay(&name);
        for (fate, count) in fates {
            *all.entry(fate).or_default() += count;
        }
        compared += of_this;
    }
    let expected = [
        ("Advertised", 5_usize),
        ("ForwardedToClient", 17),
        ("ForwardedToNative", 11),
        ("OuterSourceNotGlobal", 3),
    ];
    let expected = expected.map(|(fate, count)| (fate.to_owned(), count));
    assert_eq!(all, expected.into());
    assert_eq!(compared, 13, "answers and bubbles of the deployed server");
}

// ---- vectors

const PRIMARY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const NAT: Mapped = Mapped {
    ip: Ipv4Addr::new(198, 51, 100, 7),
    port: 40000,
};
const RELAY: Mapped = Mapped {
    ip: Ipv4Addr::new(203, 0, 113, 9),
    port: 3545,
};

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    hex: String,
    secret: Option<String>,
    client_id: Option<String>,
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

struct Vectors(BTreeMap<String, Vector>);

impl Vectors {
    fn read() -> Self {
        let file: File = serde_json::from_str(include_str!("fixtures/vectors.json")).unwrap();
        let named = |vector: Vector| (vector.name.clone(), vector);
        Self(file.vectors.into_iter().map(named).collect())
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        unhex(&self.0[name].hex)
    }

    /// The server of the vectors, which knows their client.
    fn server(&self) -> Server {
        let secure = &self.0["rs_secure_hmac_sha1"];
        let field = |text: &Option<String>| unhex(text.as_ref().unwrap());
        let mut credentials = Credentials::default();
        credentials
            .insert(
                &field(&secure.client_id),
                &field(&secure.secret),
                KeyState::Current,
            )
            .unwrap();
        server(PRIMARY, credentials)
    }
}

/// S-10, S-12, S-15, S-18, S-20, S-21: byte for byte.
#[test]
fn what_the_vectors_ask_is_answered_and_forwarded_as_they_say() {
    let vectors = Vectors::read();
    let mut server = vectors.server();
    for (asked, source, at, from, sent) in [
        (
            "rs_restricted_auth",
            NAT,
            Local::Primary,
            Local::Primary,
            "ra_restricted_auth_origin",
        ),
        (
            "rs_restricted_auth",
            NAT,
            Local::Secondary,
            Local::Secondary,
            "ra_restricted_auth_origin",
        ),
        (
            "rs_restricted_plain",
            NAT,
            Local::Primary,
            Local::Primary,
            "ra_restricted_origin",
        ),
        (
            "rs_secure_hmac_sha1",
            NAT,
            Local::Primary,
            Local::Primary,
            "ra_secure_hmac_sha1",
        ),
        (
            "bubble_relay_to_server",
            RELAY,
            Local::Primary,
            Local::Primary,
            "bubble_indirect_with_origin",
        ),
        (
            "bubble_relay_to_server",
            RELAY,
            Local::Secondary,
            Local::Primary,
            "bubble_indirect_with_origin",
        ),
        (
            "bubble_indirect_nonce_to_server",
            RELAY,
            Local::Primary,
            Local::Primary,
            "bubble_indirect_nonce_origin",
        ),
        (
            "bubble_indirect_all_trailers",
            RELAY,
            Local::Primary,
            Local::Primary,
            "bubble_indirect_all_trailers",
        ),
    ] {
        let (_, command) = server.receive(NOW, at, source.into(), &vectors.bytes(asked));
        let expected = Sent::Datagram(from, NAT, vectors.bytes(sent));
        assert_eq!(Sent::from(command), expected, "{asked} at {at:?}");
    }
}

/// S-10: the cone vector has a nonce, its solicitation has none.
#[test]
fn the_cone_vector_is_the_answer_of_the_other_address() {
    let vectors = Vectors::read();
    let nonce_header = &vectors.bytes("rs_restricted_auth")[..13];
    let asked = [nonce_header, &vectors.bytes("rs_cone_plain")].concat();
    let mut server = vectors.server();
    for (at, from) in [
        (Local::Primary, Local::Secondary),
        (Local::Secondary, Local::Primary),
    ] {
        let (_, command) = server.receive(NOW, at, NAT.into(), &asked);
        let expected = Sent::Datagram(from, NAT, vectors.bytes("ra_cone_auth_origin"));
        assert_eq!(Sent::from(command), expected);
    }
}

/// S-14.
#[test]
fn the_connectivity_test_of_the_vectors_goes_on_to_native_ipv6() {
    let vectors = Vectors::read();
    let mut server = vectors.server();
    let asked = vectors.bytes("echo_request_via_server");
    let (fate, command) = server.receive(NOW, Local::Primary, NAT.into(), &asked);
    let mut older = asked.clone();
    older[7] -= 1;
    assert_eq!(
        (fate, Sent::from(command)),
        (Fate::ForwardedToNative, Sent::Native(older))
    );
}

/// S-3, S-6, S-7, S-9, S-13, S-16: every vector at a server, sent by the client where it is the client's, else by the relay.
#[test]
fn every_vector_has_its_fate_at_a_server() {
    let vectors = Vectors::read();
    let mut server = vectors.server();
    for name in vectors.0.keys() {
        let is_clients = name.starts_with("rs_")
            || name.contains("client_to")
            || name.contains("client_reply")
            || name.contains("via_server")
            || name.contains("nonce_echo")
            || name.contains("slr_solicit")
            || name.contains("discovery");
        let source = if is_clients { NAT } else { RELAY };
        let (fate, _) = server.receive(NOW, Local::Primary, source.into(), &vectors.bytes(name));
        println!("{name}: {fate:?}");
        let expected = match name.as_str() {
            "bad_short" | "bad_ipv6_version" => Fate::PayloadNotTeredo,
            "bad_auth_truncated" => Fate::AuthenticationTruncated,
            "bad_origin_truncated" => Fate::OriginTruncated,
            "bad_origin_then_nothing" | "bad_ipv6_len_too_long" => Fate::InnerTruncated,
            "bad_auth_after_origin" | "bad_double_origin" => Fate::HeaderOutOfOrder,
            "bubble_local_discovery" => Fate::DestinationMulticast,
            "bubble_client_reply_direct" | "bubble_direct_nonce_echo" => Fate::DestinationNotGlobal,
            "bubble_client_to_relay_global" => Fate::Icmp6NotCarried,
            "bubble_direct_slr_advert" => Fate::OuterSourceMismatch,
            "echo_request_via_server" => Fate::ForwardedToNative,
            "icmp6_packet_too_big_1280" | "icmp6_address_unreachable" => {
                Fate::ClientOfAnotherServer
            }
            name if name.starts_with("data_") => Fate::NotBubbleNorIcmp6,
            name if name.starts_with("rs_") => Fate::Advertised,
            name if name.starts_with("ra_") => Fate::ClientOfAnotherServer,
            _ => Fate::ForwardedToClient,
        };
        assert_eq!(fate, expected, "{name}");
    }
    assert_eq!(server.tally().total().packets, 37);
}

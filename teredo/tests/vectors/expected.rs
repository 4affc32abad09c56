//! What every vector stands for, in the values of its scenario.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use teredo::Fate;
use teredo::addr::{Mapped, ServerV4, TeredoAddr};
use teredo::wire::auth::Auth;
use teredo::wire::icmp6::{self, EchoKind, Icmp6Error};
use teredo::wire::origin::Origin;
use teredo::wire::rs_ra::{self, RouterAdvertisement, RouterSolicitation};
use teredo::wire::trailer::{AlternateAddresses, NdKind, Trailers};

use super::datagram::{Datagram, Packet, udp};

// ---- the scenario

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

// ---- the vectors

/// What is to become of a vector.
pub(super) enum Expected {
    /// It reads as this.
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
        identifier: 0x1234,
        sequence: 0x5678,
        data: ECHO_DATA.to_vec(),
    })
}

fn error(error: Icmp6Error, invoking: &[u8]) -> Datagram {
    let quote = icmp6::quote(invoking).to_vec();
    Datagram::new(Packet::Error {
        source: relay_native(),
        destination: host(),
        error,
        quote,
    })
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

/// What the vector of that name stands for; `None` if nobody has said.
pub(super) fn expected(name: &str) -> Option<Expected> {
    if let Some(datagram) = accepted(name) {
        return Some(Expected::Accepted(datagram));
    }
    dropped(name).map(|(bytes, fate)| Expected::Dropped(bytes, fate))
}

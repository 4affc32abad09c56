//! Every vector of `fixtures/vectors.json`, read into typed values and written back from them.
//!
//! The file is an oracle of its own: it was computed without this crate, and its advertisements and indirect
//! bubbles were compared with those of a deployed server.

mod datagram;
mod expected;

use std::net::{Ipv4Addr, Ipv6Addr};

use expected::{Expected, expected};
use serde::Deserialize;
use teredo::Fate;
use teredo::addr::{FLAG_CONE, FLAG_RANDOM_MASK, ServerV4, TeredoAddr};
use teredo::wire::payload;
use teredo::wire::trailer::Trailers;

#[derive(Deserialize)]
struct File {
    addresses: Vec<Address>,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, clippy::struct_field_names)] // The names of the file.
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
    serde_json::from_str(include_str!("../fixtures/vectors.json")).unwrap()
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

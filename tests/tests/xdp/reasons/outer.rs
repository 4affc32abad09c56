//! Frames to the service, by their outer headers and the beginning of the payload.

use super::super::frames::{Inner, Outer, TCP, fill_header_checksum, received};
use super::super::rig::mapped;
use super::super::topology::{nat, native};
use super::{Case, Reason as R, case, payload, peer};

/// Of the packet all cases are made from: 20 + 8 + 40 + 8 + 4.
const TOTAL_LEN: u16 = 80;

/// A frame from the client with its IPv4 packet changed, and the header checksum right again.
fn altered(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let inner = Inner::udp(peer(), native::PLAIN, b"data");
    let mut packet = Outer::from_client(mapped(nat::PLAIN)).around(&inner.bytes());
    change(&mut packet);
    fill_header_checksum(&mut packet);
    received(&[], &packet)
}

fn with_options() -> Vec<u8> {
    const NO_OPERATION: u8 = 1;
    altered(|packet| {
        packet[0] = 0x46;
        packet.splice(20..20, [NO_OPERATION, NO_OPERATION, NO_OPERATION, 0]);
        packet[2..4].copy_from_slice(&(TOTAL_LEN + 4).to_be_bytes());
    })
}

fn with_a_wrong_header_checksum() -> Vec<u8> {
    let mut frame = altered(|_| ());
    frame[14 + 10] ^= 1;
    frame
}

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    let byte = |at: usize, value: u8| altered(|p| p[at] = value);
    let word = |at: usize, value: u16| altered(|p| p[at..at + 2].copy_from_slice(&value.to_be_bytes()));
    vec![
        case("data", altered(|_| ()), R::Decapsulated),
        case("to another host", byte(19, 10), R::NotOurs),
        case("to another port", word(22, 3546), R::NotOurs),
        case("TCP to the port", byte(9, TCP), R::NotOurs),
        case("version 5", byte(0, 0x55), R::NotOurs),
        case("a first fragment", byte(6, 0x20), R::OuterFragment),
        case("a later fragment", byte(7, 1), R::OuterFragment),
        case("DF set", byte(6, 0x40), R::Decapsulated),
        case("with options", with_options(), R::OuterOptions),
        case("a wrong header checksum", with_a_wrong_header_checksum(), R::OuterChecksumWrong),
        case("total length beyond the frame", word(2, TOTAL_LEN + 1), R::OuterLengthMismatch),
        case("total length too small", word(2, TOTAL_LEN - 1), R::OuterLengthMismatch),
        case("total length 0", word(2, 0), R::OuterLengthMismatch),
        case("UDP length beyond the packet", word(24, TOTAL_LEN - 19), R::OuterLengthMismatch),
        case("UDP length 7", word(24, 7), R::OuterLengthMismatch),
        case("UDP length 0", word(24, 0), R::OuterLengthMismatch),
        case("from port 0", word(20, 0), R::OuterSourcePortZero),
        case("an empty datagram", payload(&[]), R::PayloadNotTeredo),
        case("one byte", payload(&[0x60]), R::PayloadNotTeredo),
        case("IPv4 inside", payload(&[0x45; 60]), R::PayloadNotTeredo),
        case("an origin indication", payload(&[0; 48]), R::PuntTunnelHeader),
        case("an authentication header", payload(&[0, 1]), R::PuntTunnelHeader),
        case("half a header", payload(&[0x60; 39]), R::InnerTruncated),
        case("cut inside", word(24, TOTAL_LEN - 21), R::InnerTruncated),
    ]
}

//! Frames to the service, by the packet inside.

use super::super::frames::{HOP_LIMIT, ICMP6, Inner, NO_NEXT_HEADER, Outer, at, received};
use super::super::rig::{SERVICE, client, ip, mapped};
use super::super::topology::{nat, native};
use super::{Case, Reason as R, STALE, STRANGER, addr, case, moved, payload, peer};

fn back(inner: &Inner) -> Vec<u8> {
    payload(&inner.bytes())
}

fn to(destination: &str) -> Vec<u8> {
    back(&Inner::udp(peer(), addr(destination), b"data"))
}

fn bubble() -> Vec<u8> {
    let mut bubble = Inner::raw(peer(), addr("fe80::1"), NO_NEXT_HEADER, b"").bytes();
    bubble[HOP_LIMIT] = 0;
    payload(&bubble)
}

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    let data = |source| Inner::udp(source, native::PLAIN, b"data");
    let from = |source| back(&data(source));
    let next = |header: u8| back(&Inner::raw(peer(), native::PLAIN, header, &[0; 24]));
    let hops = |left: u8| back(&data(peer()).hop_limit(left));
    let heard = |outer, source| received(&[], &Outer::from_client(outer).around(&data(source).bytes()));
    let learned = at([198, 51, 100, 9], 1234);
    let third = at([198, 51, 100, 9], 1235);
    let trailer = [data(peer()).bytes(), vec![1, 4, 1, 2, 3, 4]].concat();
    let marked = Outer::from_client(mapped(nat::PLAIN)).tos(0b11).around(&data(peer()).bytes());
    vec![
        case("from a native source", from(native::PLAIN), R::SourceNotTeredo),
        case("from a link-local source", from(addr("fe80::1")), R::SourceNotTeredo),
        case("from a stranger", from(ip(&client(STRANGER))), R::PuntPeerUnknown),
        case("from a stale peer", heard(mapped(STALE), ip(&client(STALE))), R::PuntPeerStale),
        case("from the learned address", heard(learned, ip(&moved())), R::Decapsulated),
        case("from the address it is named after", heard(moved().mapped(), ip(&moved())), R::PuntMappingChanged),
        case("from a third address", heard(third, ip(&moved())), R::OuterSourceMismatch),
        case("from the relay itself", heard(SERVICE, peer()), R::OuterSourceMismatch),
        case("a bubble", bubble(), R::PuntBubble),
        case("a trailer", payload(&trailer), R::PuntTrailer),
        case("a jumbogram", back(&Inner::raw(peer(), native::PLAIN, 0, b"")), R::JumbogramForm),
        case("a routing header", next(43), R::PuntRoutingHeader),
        case("hop-by-hop options", next(0), R::PuntRoutingHeader),
        case("destination options", next(60), R::PuntRoutingHeader),
        case("a fragment", next(44), R::Decapsulated),
        case("malformed ICMPv6", next(ICMP6), R::Decapsulated),
        case("with one hop left", hops(2), R::Decapsulated),
        case("at its last hop", hops(1), R::PuntHopLimitExceeded),
        case("beyond its last hop", hops(0), R::PuntHopLimitExceeded),
        case("congestion marked", received(&[], &marked), R::CongestionMarkedNotEct),
        case(
            "larger than a socket takes, and to be punted",
            back(&Inner::udp(ip(&client(STRANGER)), native::PLAIN, &[0; 2100])),
            R::FrameTooLargeToPunt,
        ),
    ]
}

#[rustfmt::skip]
pub(super) fn route_cases() -> Vec<Case> {
    let toward = |host: std::net::Ipv6Addr| to(&host.to_string());
    vec![
        case("to a group", to("ff0e::1"), R::DestinationMulticast),
        case("to ::", to("::"), R::DestinationNotGlobal),
        case("to ::1", to("::1"), R::DestinationNotGlobal),
        case("to a link-local address", to("fe80::1"), R::DestinationNotGlobal),
        case("to an IPv4-mapped address", to("::ffff:192.0.2.1"), R::DestinationNotGlobal),
        case("to an IPv4-compatible address", to("::192.0.2.1"), R::DestinationNotGlobal),
        case("to a Teredo address", to("2001::1"), R::DestinationTeredo),
        case("to a unique local address", to("fd00::1"), R::DestinationNotServed),
        case("to 6to4", to("2002:c000:201::1"), R::PuntEmbeddedAddress),
        case("to ISATAP", to("2001:db8::5efe:192.0.2.1"), R::PuntEmbeddedAddress),
        case("into a black hole", toward(native::BLACKHOLE), R::PuntNoRoute),
        case("where nothing is", toward(native::UNREACHABLE), R::PuntNoRoute),
        case("where it may not go", toward(native::PROHIBITED), R::PuntNoRoute),
        case("to a silent gateway", toward(native::NO_NEIGHBOUR), R::PuntNoNeighbour),
        case("through a foreign device", toward(native::FOREIGN_DEVICE), R::PuntNoRoute),
        case("through a port no frame can leave", toward(native::UNLISTED_PORT), R::PuntNoRoute),
        // The kernel's lookup says the same of both.
        case("without a route", to("2600::1"), R::PuntLocal),
        case("to this machine", toward(native::LOCAL), R::PuntLocal),
        case(
            "larger than the route's MTU",
            back(&Inner::udp(peer(), native::SMALL_MTU, &[0; 1300])),
            R::PuntNextHopMtu,
        ),
    ]
}

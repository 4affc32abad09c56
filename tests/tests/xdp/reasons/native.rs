//! Frames from the native side.

use super::super::frames::{Inner, received};
use super::super::rig::{PUNT_FRAME_MAX, TUNNEL_MTU, client, ip};
use super::super::topology::{nat, native};
use super::{Case, Reason as R, STALE, STRANGER, addr, case, impostor, peer};

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    let frame = |inner: &Inner| received(&[], &inner.bytes());
    let out = |from, to| frame(&Inner::udp(from, to, b"data"));
    let from = |source: &str| out(addr(source), peer());
    let to = |nat: u8| out(native::PLAIN, ip(&client(nat)));
    let sized = |len: usize| frame(&Inner::udp(native::PLAIN, peer(), &vec![0; len - 48]));
    let hops = |left: u8| frame(&Inner::udp(native::PLAIN, peer(), b"data").hop_limit(left));
    let mtu = usize::from(TUNNEL_MTU);
    let cut = |mut frame: Vec<u8>| { frame.pop(); frame };
    let version_7 = |mut frame: Vec<u8>| { frame[14] = 0x70; frame };
    vec![
        case("data", out(native::PLAIN, peer()), R::Encapsulated),
        case("to a native host", out(peer(), native::PLAIN), R::NotOurs),
        case("to 2001:1::", out(native::PLAIN, addr("2001:1::1")), R::NotOurs),
        case("to a group", out(native::PLAIN, addr("ff02::1")), R::NotOurs),
        case("version 7", version_7(out(native::PLAIN, peer())), R::NotOurs),
        case("cut by one byte", cut(out(native::PLAIN, peer())), R::InnerTruncated),
        case("from ::", from("::"), R::SourceNotGlobal),
        case("from ::1", from("::1"), R::SourceNotGlobal),
        case("from a group", from("ff0e::1"), R::SourceNotGlobal),
        case("from a link-local address", from("fe80::1"), R::SourceNotGlobal),
        case("from an IPv4-mapped address", from("::ffff:192.0.2.1"), R::SourceNotGlobal),
        case("from a Teredo address", from("2001::1"), R::SourceTeredo),
        case("from 6to4", from("2002:c000:201::1"), R::PuntEmbeddedAddress),
        case("from ISATAP", from("2001:db8::200:5efe:192.0.2.1"), R::PuntEmbeddedAddress),
        case("a jumbogram", frame(&Inner::raw(native::PLAIN, peer(), 0, b"")), R::JumbogramForm),
        case("as large as fits", sized(mtu), R::Encapsulated),
        case("one byte larger", sized(mtu + 1), R::PuntPacketTooBig),
        case("larger than a socket takes", sized(PUNT_FRAME_MAX as usize), R::FrameTooLargeToPunt),
        case("with one hop left", hops(2), R::Encapsulated),
        case("at its last hop", hops(1), R::PuntHopLimitExceeded),
        case("beyond its last hop", hops(0), R::PuntHopLimitExceeded),
        case("to a stranger", to(STRANGER), R::PuntPeerUnknown),
        case("to a stale peer", to(STALE), R::PuntPeerStale),
        case("into a black hole", to(nat::BLACKHOLE), R::PuntNoRoute),
        case("where nothing is", to(nat::UNREACHABLE), R::PuntNoRoute),
        case("where it may not go", to(nat::PROHIBITED), R::PuntNoRoute),
        case("to a silent gateway", to(nat::NO_NEIGHBOUR), R::PuntNoNeighbour),
        case("through a foreign device", to(nat::FOREIGN_DEVICE), R::PuntNoRoute),
        case("through a port no frame can leave", to(nat::UNLISTED_PORT), R::PuntNoRoute),
        // The kernel's lookup says the same of both.
        case("without a route", to(nat::NO_ROUTE), R::PuntLocal),
        case("to this machine", out(native::PLAIN, ip(&impostor())), R::PuntLocal),
        case(
            "larger than the route's MTU",
            frame(&Inner::udp(native::PLAIN, ip(&client(nat::SMALL_MTU)), &[0; 1000])),
            R::PuntNextHopMtu,
        ),
    ]
}

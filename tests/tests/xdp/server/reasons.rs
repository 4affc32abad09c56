//! Each reason the server's part can give, with the plainest frame that earns it.

use relay_common::{Kind, Reason as R};

use super::super::frames::{TCP, UDP, fill_header_checksum, received};
use super::super::rig::{Rig, action};
use super::*;

/// A frame with `payload` for the primary address.
fn payload(payload: &[u8]) -> Vec<u8> {
    received(&[], &to(PRIMARY).around(payload))
}

fn packet(inner: &Inner) -> Vec<u8> {
    payload(&inner.bytes())
}

fn from(ip: [u8; 4], port: u16, inner: &Inner) -> Vec<u8> {
    let outer = Outer {
        from: at(ip, port),
        ..to(PRIMARY)
    };
    received(&[], &outer.around(&inner.bytes()))
}

/// A bubble with its IPv4 packet changed, and the header checksum right again.
fn altered(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut packet = to(PRIMARY).around(&bubble(sender(), receiver()).bytes());
    change(&mut packet);
    fill_header_checksum(&mut packet);
    received(&[], &packet)
}

/// Runs each frame, and holds reason and action against what is expected.
fn run(rig: &mut Rig, cases: Vec<(&str, Vec<u8>, R)>) {
    for (what, frame, reason) in cases {
        let outcome = rig.run(rig.wan, &frame);
        assert_eq!(outcome.reason, reason, "{what}");
        let action = match reason.kind() {
            Kind::Forwarded | Kind::Consumed => action::TX,
            Kind::Passed | Kind::Punted => action::PASS,
            Kind::Dropped => action::DROP,
        };
        assert_eq!(outcome.action, action, "{what}");
    }
}

#[rustfmt::skip]
#[test]
fn outer_headers_are_judged_before_anything_else() {
    let byte = |at: usize, value: u8| altered(|p| p[at] = value);
    let word = |at: usize, value: u16| altered(|p| p[at..at + 2].copy_from_slice(&value.to_be_bytes()));
    let with_options = altered(|p| {
        p[0] = 0x46;
        p.splice(20..20, [1, 1, 1, 0]);
        p[2..4].copy_from_slice(&72_u16.to_be_bytes());
    });
    let mut wrong_checksum = altered(|_| ());
    wrong_checksum[14 + 10] ^= 1;
    let any = bubble(sender(), receiver());
    in_server(|rig| run(rig, vec![
        ("a bubble", altered(|_| ()), R::ForwardedToClient),
        ("to another host", byte(19, 3), R::NotOurs),
        ("to another port", word(22, 3543), R::NotOurs),
        ("to the relay's port", word(22, 3545), R::NotOurs),
        ("TCP to the port", byte(9, TCP), R::NotOurs),
        ("a first fragment", byte(6, 0x20), R::OuterFragment),
        ("a later fragment", byte(7, 1), R::OuterFragment),
        ("with options", with_options, R::OuterOptions),
        ("a wrong header checksum", wrong_checksum, R::OuterChecksumWrong),
        ("total length beyond the frame", word(2, 69), R::OuterLengthMismatch),
        ("UDP length 7", word(24, 7), R::OuterLengthMismatch),
        ("UDP length beyond the packet", word(24, 49), R::OuterLengthMismatch),
        ("from port 0", from([198, 51, 100, 7], 0, &any), R::OuterSourcePortZero),
        ("from 10/8", from([10, 0, 0, 1], 40000, &any), R::OuterSourceNotGlobal),
        ("from a range that is not opened", from([203, 0, 113, 77], 40000, &any), R::OuterSourceNotGlobal),
        ("from multicast", from([224, 0, 0, 253], 3544, &any), R::OuterSourceNotGlobal),
        ("from the broadcast address", from([255; 4], 40000, &any), R::OuterSourceNotGlobal),
        ("from the primary", from([192, 0, 2, 1], 3544, &any), R::OuterSourceOwn),
        ("from the secondary", from([192, 0, 2, 2], 3544, &any), R::OuterSourceOwn),
        ("from the primary's other port", from([192, 0, 2, 1], 3545, &any), R::OuterSourceMismatch),
        ("from a global address", from([8, 8, 8, 8], 40000, &any), R::OuterSourceMismatch),
    ]));
}

#[rustfmt::skip]
#[test]
fn payloads_that_are_not_teredo_are_dropped() {
    let whole = bubble(sender(), receiver()).bytes();
    let own = origin(mapped(nat::PLAIN));
    let concat = |parts: &[&[u8]]| payload(&parts.concat());
    let with = |at: usize, value: u8| { let mut p = whole.clone(); p[at] = value; payload(&p) };
    in_server(|rig| run(rig, vec![
        ("nothing", payload(&[]), R::PayloadNotTeredo),
        ("one byte", payload(&[0x60]), R::PayloadNotTeredo),
        ("IPv4", payload(&[0x45; 60]), R::PayloadNotTeredo),
        ("header type 2", concat(&[&[0, 2], &whole]), R::PayloadNotTeredo),
        ("two bytes of authentication", payload(&[0, 1]), R::AuthenticationTruncated),
        ("three bytes of authentication", payload(&[0, 1, 0]), R::AuthenticationTruncated),
        ("twelve bytes of authentication", payload(&AUTH[..12]), R::AuthenticationTruncated),
        ("nothing behind authentication", payload(&AUTH), R::InnerTruncated),
        ("one byte behind authentication", concat(&[&AUTH, &[0]]), R::InnerTruncated),
        ("two bytes of origin", payload(&[0, 0]), R::OriginTruncated),
        ("seven bytes of origin", payload(&own[..7]), R::OriginTruncated),
        ("half an origin behind authentication", concat(&[&AUTH, &own[..5]]), R::OriginTruncated),
        ("nothing behind the origin", payload(&own), R::InnerTruncated),
        ("two authentication headers", concat(&[&AUTH, &AUTH, &whole]), R::HeaderOutOfOrder),
        ("two origins", concat(&[&own, &own, &whole]), R::HeaderOutOfOrder),
        ("authentication behind the origin", concat(&[&own, &AUTH, &whole]), R::HeaderOutOfOrder),
        ("three headers", concat(&[&AUTH, &own, &own, &whole]), R::HeaderOutOfOrder),
        ("half a packet", payload(&whole[..39]), R::InnerTruncated),
        ("more announced than there is", with(5, 1), R::InnerTruncated),
        ("IPv4 behind the origin", concat(&[&own, &[0x45; 40]]), R::InnerVersionNot6),
    ]));
}

#[rustfmt::skip]
#[test]
fn only_bubbles_and_small_icmp6_pass() {
    let raw = |next_header, payload: &[u8]| packet(&Inner::raw(sender(), receiver(), next_header, payload));
    let message = |kind: u8, len: usize| packet(&icmp6(sender(), receiver(), &[&[kind, 0, 0, 0][..], &vec![0; len - 4]].concat()));
    let tail = |len: usize| payload(&[bubble(sender(), receiver()).bytes(), vec![0; len]].concat());
    let mut cases = vec![
        ("TCP", raw(TCP, &[0; 20]), R::NotBubbleNorIcmp6),
        ("UDP", raw(UDP, &[0; 8]), R::NotBubbleNorIcmp6),
        ("a fragment", raw(44, &[58, 0, 0, 0, 0, 0, 0, 1]), R::NotBubbleNorIcmp6),
        ("hop-by-hop options", raw(0, &[58, 0, 1, 4, 0, 0, 0, 0]), R::NotBubbleNorIcmp6),
        ("no next header with something behind", raw(59, &[0]), R::NotBubbleNorIcmp6),
        ("UDP of length 0", raw(UDP, &[]), R::NotBubbleNorIcmp6),
        ("88 bytes", message(128, 88), R::ForwardedToClient),
        ("89 bytes", message(128, 89), R::Icmp6TooLarge),
        ("a redirect of 89 bytes", message(137, 89), R::Icmp6TooLarge),
        ("unreachable", message(1, 48), R::ForwardedToClient),
        ("type 132", message(132, 24), R::ForwardedToClient),
        ("type 138", message(138, 24), R::ForwardedToClient),
        ("88 bytes behind a bubble", tail(88), R::ForwardedToClient),
        ("89 bytes behind a bubble", tail(89), R::TrailersTooLong),
    ];
    for kind in 133..=137 {
        cases.push(("neighbour discovery", message(kind, 24), R::Icmp6NotCarried));
    }
    in_server(|rig| run(rig, cases));
}

#[rustfmt::skip]
#[test]
fn who_may_not_speak_and_whom_nobody_may_reach_is_dropped() {
    let to_whom = |destination: &str| packet(&bubble(sender(), destination.parse().unwrap()));
    let from_whom = |source: &str, destination| packet(&bubble(source.parse().unwrap(), destination));
    let client_at = |ip, port| packet(&bubble(sender(), mapped_to(ip, port)));
    in_server(|rig| run(rig, vec![
        ("the NAT of another client", packet(&bubble(receiver(), sender())), R::OuterSourceMismatch),
        ("the NAT's other port", from([198, 51, 100, 7], 40001, &bubble(sender(), receiver())), R::OuterSourceMismatch),
        ("a client to itself", packet(&bubble(sender(), sender())), R::OuterSourceMismatch),
        ("native to where it comes from", from_whom("2001:db8::80", sender()), R::OuterSourceMismatch),
        ("native to another server's client", from_whom("2001:db8::80", of_another_server(9)), R::ClientOfAnotherServer),
        ("link-local to another server's client", from_whom("fe80::1", of_another_server(9)), R::ClientOfAnotherServer),
        ("native to native", from_whom("2001:db8::80", "2001:db8::1".parse().unwrap()), R::ClientOfAnotherServer),
        ("to multicast", to_whom("ff02::1"), R::DestinationMulticast),
        ("to link-local", to_whom("fe80::1"), R::DestinationNotGlobal),
        ("to loopback", to_whom("::1"), R::DestinationNotGlobal),
        ("to nobody", to_whom("::"), R::DestinationNotGlobal),
        ("to an IPv4-mapped address", to_whom("::ffff:8.8.8.8"), R::DestinationNotGlobal),
        ("a client at 10/8", client_at([10, 1, 2, 3], 40000), R::MappedAddressNotGlobal),
        ("a client in a range that is not opened", client_at([203, 0, 113, 77], 40000), R::MappedAddressNotGlobal),
        ("a client at multicast", client_at([224, 0, 0, 253], 3544), R::MappedAddressNotGlobal),
        ("a client at port 0", client_at([198, 51, 100, 9], 0), R::MappedPortZero),
        ("a client at the primary", client_at([192, 0, 2, 1], 3544), R::MappedAddressOwn),
        ("a client at the secondary", client_at([192, 0, 2, 2], 40000), R::MappedAddressOwn),
        ("a bubble to all routers", to_whom("ff02::2"), R::ServerAddressed),
        ("a bubble to the server", to_whom("fe80::8000:f227:3fff:fdfe"), R::ServerAddressed),
        ("an echo to the server", packet(&Inner::echo(sender(), "fe80::8000:f227:3fff:fdfe".parse().unwrap(), b"?")), R::ServerAddressed),
        ("a solicitation from a global address", packet(&solicitation(sender(), 0)), R::ServerAddressed),
        ("an advertisement to all routers", packet(&icmp6(RESTRICTED, ALL_ROUTERS, &[134, 0, 0, 0, 0, 0, 0, 0])), R::ServerAddressed),
        ("a solicitation to the server's address", packet(&icmp6(RESTRICTED, "fe80::8000:f227:3fff:fdfe".parse().unwrap(), &[133, 0, 0, 0, 0, 0, 0, 0]).hop_limit(255)), R::ServerAddressed),
    ]));
}

/// S-11.
#[rustfmt::skip]
#[test]
fn solicitations_rfc_4861_forbids_to_answer_are_dropped() {
    let mut wrong = solicitation(RESTRICTED, 0);
    wrong.payload[2] ^= 1;
    let mut reserved = solicitation(RESTRICTED, 0);
    reserved.payload[7] = 1;
    let checked = icmp6(RESTRICTED, ALL_ROUTERS, &[133, 0, 0, 0, 0, 0, 0, 1]).hop_limit(255);
    in_server(|rig| run(rig, vec![
        ("as it should be", packet(&solicitation(RESTRICTED, 0)), R::Advertised),
        ("hop limit 254", packet(&solicitation(RESTRICTED, 0).hop_limit(254)), R::SolicitationInvalid),
        ("hop limit 0", packet(&solicitation(RESTRICTED, 0).hop_limit(0)), R::SolicitationInvalid),
        ("code 1", packet(&solicitation(RESTRICTED, 1)), R::SolicitationInvalid),
        ("a wrong checksum", packet(&wrong), R::SolicitationInvalid),
        ("a damaged reserved field", packet(&reserved), R::SolicitationInvalid),
        ("a reserved field in use", packet(&checked), R::Advertised),
    ]));
}

/// What the sockets decide on, untouched.
#[rustfmt::skip]
#[test]
fn what_is_not_settled_is_left_to_the_servers_sockets() {
    let asks = solicitation(RESTRICTED, 0).bytes();
    let credentials = [&[0, 1, 2, 3, b'i', b'd', 9, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 0][..], &asks].concat();
    let only_id = [&[0, 1, 1, 0, b'i', 1, 2, 3, 4, 5, 6, 7, 8, 0][..], &asks].concat();
    let with_option = icmp6(RESTRICTED, ALL_ROUTERS, &[133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 1]).hop_limit(255);
    let short = |len: usize| packet(&Inner::raw(sender(), receiver(), ICMP6, &vec![128; len]));
    let far = |nat| packet(&bubble(sender(), ip(&client(nat))));
    let native = |destination: &str| packet(&Inner::echo(sender(), destination.parse().unwrap(), b"nonce"));
    in_server(|rig| run(rig, vec![
        ("credentials", payload(&credentials), R::PassToServer),
        ("an identifier alone", payload(&only_id), R::PassToServer),
        ("a solicitation with an option", packet(&with_option), R::PassToServer),
        ("a solicitation with a trailer", payload(&[&asks[..], &[1, 4, 0, 0, 0, 0]].concat()), R::PassToServer),
        ("a solicitation with an origin", payload(&[&origin(PRIMARY)[..], &asks].concat()), R::PassToServer),
        ("ICMPv6 of length 0", short(0), R::PassToServer),
        ("ICMPv6 of 7 bytes", short(7), R::PassToServer),
        ("an echo to native IPv6", native("2001:db8::80"), R::PassToServer),
        ("an echo to 6to4", native("2002:808:808::1"), R::PassToServer),
        ("an echo to a unique local address", native("fd00::1"), R::PassToServer),
        ("a bubble to native IPv6", packet(&bubble(sender(), "2001:db8::80".parse().unwrap())), R::PassToServer),
        ("a target behind a black hole", far(nat::BLACKHOLE), R::PassToServer),
        ("an unreachable target", far(nat::UNREACHABLE), R::PassToServer),
        ("a prohibited target", far(nat::PROHIBITED), R::PassToServer),
        ("a target without neighbour", far(nat::NO_NEIGHBOUR), R::PassToServer),
        ("a target behind a device that is no port", far(nat::FOREIGN_DEVICE), R::PassToServer),
        ("a target behind an unlisted port", far(nat::UNLISTED_PORT), R::PassToServer),
        ("a target without route", far(nat::NO_ROUTE), R::PassToServer),
    ]));
}

/// S-5.
#[test]
fn where_credentials_are_required_every_solicitation_is_the_sockets() {
    let role = ServerRole {
        require_credentials: true,
        ..role()
    };
    in_rig_with(role, |rig| {
        let asks = solicitation(RESTRICTED, 0).bytes();
        let cases = vec![
            ("plain", payload(&asks), R::PassToServer),
            (
                "with a nonce",
                payload(&[&AUTH[..], &asks].concat()),
                R::PassToServer,
            ),
            (
                "a bubble",
                packet(&bubble(sender(), receiver())),
                R::ForwardedToClient,
            ),
        ];
        run(rig, cases);
    });
}

//! Whom the operator serves, in the program.

use std::net::{Ipv4Addr, Ipv6Addr};

use relay_common::{Kind, Reason};
use teredo::addr::{ServerV4, TeredoAddr};
use teredo::relay::{Access, AccessList, Ipv4Net, Ipv6Net};

use super::frames::{Inner, NO_NEXT_HEADER, Outer, received};
use super::rig::{Rig, Settings, client, in_rig_with, ip, mapped};
use super::topology::{nat, native};

/// The NAT of a client that is denied.
const DENIED: u8 = 77;
const DENIED_HOST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 1);
const DENIED_SERVER: ServerV4 = ServerV4(Ipv4Addr::new(192, 0, 2, 77));

fn serving(access: Access) -> Settings {
    Settings {
        access,
        ..Settings::default()
    }
}

fn v4(ip: Ipv4Addr, len: u8) -> Ipv4Net {
    Ipv4Net::new(ip, len).expect("a prefix")
}

fn v6(ip: Ipv6Addr, len: u8) -> Ipv6Net {
    Ipv6Net::new(ip, len).expect("a prefix")
}

fn of_denied_server() -> TeredoAddr {
    TeredoAddr::new(DENIED_SERVER, 0, mapped(nat::PLAIN))
}

/// Everybody but those above.
fn denying() -> Access {
    Access {
        native: AccessList::of_ipv6(&[], &[v6(DENIED_HOST, 48)]),
        clients: AccessList::of_ipv4(&[], &[v4(mapped(DENIED).ip, 32)]),
        servers: AccessList::of_ipv4(&[], &[v4(DENIED_SERVER.0, 32)]),
    }
}

/// Those of the plainest cases alone.
fn allowing() -> Access {
    Access {
        native: AccessList::of_ipv6(&[v6(native::PLAIN, 128)], &[]),
        clients: AccessList::of_ipv4(&[v4(mapped(nat::PLAIN).ip, 32)], &[]),
        servers: AccessList::of_ipv4(&[v4(client(nat::PLAIN).server().0, 32)], &[]),
    }
}

fn trust_all(rig: &mut Rig) {
    rig.trust(&client(nat::PLAIN), mapped(nat::PLAIN), 0);
    rig.trust(&client(DENIED), mapped(DENIED), 0);
    rig.trust(&of_denied_server(), mapped(nat::PLAIN), 0);
}

fn towards(rig: &mut Rig, source: Ipv6Addr, peer: &TeredoAddr) -> Reason {
    let inner = Inner::udp(source, ip(peer), b"data");
    rig.run(rig.lan, &received(&[], &inner.bytes())).reason
}

fn back(rig: &mut Rig, from: u8, inner: &Inner) -> Reason {
    let datagram = Outer::from_client(mapped(from)).around(&inner.bytes());
    rig.run(rig.wan, &received(&[], &datagram)).reason
}

#[test]
fn only_those_who_are_served_get_through_in_both_directions() {
    for access in [denying(), allowing()] {
        in_rig_with(&serving(access), |rig| {
            trust_all(rig);
            let plain = client(nat::PLAIN);
            let from = |peer: &TeredoAddr, host| Inner::udp(ip(peer), host, b"data");
            assert_eq!(towards(rig, native::PLAIN, &plain), Reason::Encapsulated);
            assert_eq!(towards(rig, DENIED_HOST, &plain), Reason::NativeDenied);
            for (peer, nat, reason) in [
                (client(DENIED), DENIED, Reason::ClientDenied),
                (of_denied_server(), nat::PLAIN, Reason::ServerDenied),
            ] {
                assert_eq!(towards(rig, native::PLAIN, &peer), reason);
                assert_eq!(back(rig, nat, &from(&peer, native::PLAIN)), reason);
                let bubble = Inner::raw(ip(&peer), native::PLAIN, NO_NEXT_HEADER, b"");
                assert_eq!(back(rig, nat, &bubble), reason);
            }
            let served = from(&plain, native::PLAIN);
            assert_eq!(back(rig, nat::PLAIN, &served), Reason::Decapsulated);
            let denied = from(&plain, DENIED_HOST);
            assert_eq!(back(rig, nat::PLAIN, &denied), Reason::NativeDenied);
        });
    }
}

/// A table kept over a restart may hold what a new list denies.
#[test]
fn a_learned_mapping_that_is_denied_is_not_served() {
    in_rig_with(&serving(denying()), |rig| {
        let peer = client(nat::PLAIN);
        rig.trust(&peer, mapped(DENIED), 0);
        assert_eq!(towards(rig, native::PLAIN, &peer), Reason::ClientDenied);
        let data = Inner::udp(ip(&peer), native::PLAIN, b"data");
        assert_eq!(back(rig, DENIED, &data), Reason::ClientDenied);
    });
}

/// The slow path would be busy with them otherwise.
#[test]
fn a_flood_of_those_who_are_denied_never_reaches_the_slow_path() {
    in_rig_with(&serving(denying()), |rig| {
        let stranger = TeredoAddr::new(DENIED_SERVER, 0, mapped(99));
        let six_to_four = Ipv6Addr::new(0x2002, 0xc000, 0x0201, 0, 0, 0, 0, 1);
        assert_eq!(towards(rig, native::PLAIN, &stranger), Reason::ServerDenied);
        assert_eq!(towards(rig, DENIED_HOST, &client(99)), Reason::NativeDenied);
        let unknown = Inner::udp(ip(&client(DENIED)), native::PLAIN, b"data");
        assert_eq!(back(rig, 99, &unknown), Reason::ClientDenied);
        assert_eq!(
            towards(rig, six_to_four, &client(99)),
            Reason::PuntEmbeddedAddress,
            "others are judged as ever"
        );
        let punted: u64 = Reason::ALL
            .iter()
            .filter(|reason| reason.kind() == Kind::Punted)
            .map(|reason| rig.counters()[*reason as usize].packets)
            .sum();
        assert_eq!(punted, 1);
    });
}

/// As many prefixes as there may be, of every length.
#[test]
fn the_longest_of_many_prefixes_decides_as_it_does_in_user_space() {
    let prefixes = |odd: u8| -> Vec<Ipv4Net> {
        let lens = (8..=32).filter(|len| len % 2 == odd);
        lens.flat_map(|len| {
            (0..160_u32).map(move |i| {
                let bits = i.wrapping_mul(0x9e37_79b9).wrapping_add(u32::from(len));
                v4(v4(Ipv4Addr::from_bits(bits), len).network(), len)
            })
        })
        .collect()
    };
    let (allow, deny) = (prefixes(0), prefixes(1));
    let clients = AccessList::of_ipv4(&allow, &deny);
    let access = Access {
        clients: clients.clone(),
        ..Access::default()
    };
    in_rig_with(&serving(access), |rig| {
        let near = allow.iter().chain(&deny).map(|net| net.network().to_bits());
        let mut seen = [0, 0];
        for address in near.flat_map(|first| [first, first ^ 1, first.wrapping_sub(1)]) {
            let at = teredo::addr::Mapped {
                ip: address.into(),
                port: 4000,
            };
            let peer = TeredoAddr::new(client(nat::PLAIN).server(), 0, at);
            let is_allowed = clients.allows_ipv4(at.ip);
            let expected = if is_allowed {
                Reason::PuntPeerUnknown
            } else {
                Reason::ClientDenied
            };
            assert_eq!(towards(rig, native::PLAIN, &peer), expected, "{}", at.ip);
            seen[usize::from(is_allowed)] += 1;
        }
        assert!(seen[0] > 1000 && seen[1] > 1000, "{seen:?}");
    });
}

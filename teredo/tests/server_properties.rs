//! Whatever comes from wherever, the server sends at most one thing, to a host of the internet, and nothing comes back for ever.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use teredo::addr::{Mapped, SERVER_PORT, ServerV4, TeredoAddr, is_global_unicast};
use teredo::server::{
    AUTH_VALUE_LEN, Command, Config, Credentials, KeyState, Limits, Local, Server,
};
use teredo::wire::auth::Auth;
use teredo::wire::ipv6::{self, Ipv6Header};
use teredo::wire::origin::Origin;
use teredo::wire::rs_ra::{self, CONE_SOURCE, RESTRICTED_SOURCE, RouterSolicitation};
use teredo::wire::{checksum, payload};
use teredo::{Fate, Instant};
use zerocopy::IntoBytes;

const NOW: Instant = Instant::from_nanos(1_000_000_000_000);

const PRIMARIES: [Ipv4Addr; 2] = [Ipv4Addr::new(9, 9, 9, 1), Ipv4Addr::new(9, 9, 9, 3)];

const ID: &[u8] = b"client-1";

/// One of two servers, which know the same client and are free of limits that matter.
fn server(primary: Ipv4Addr) -> Server {
    let mut config = Config::new(primary);
    config
        .credentials
        .insert(ID, b"secret", KeyState::Retired)
        .unwrap();
    Server::new(config, [7; 32])
}

/// Where a server is reached.
fn address(primary: Ipv4Addr, local: Local) -> Mapped {
    let config = Config::new(primary);
    let ip = match local {
        Local::Primary => config.primary,
        Local::Secondary => config.secondary,
    };
    Mapped {
        ip,
        port: SERVER_PORT,
    }
}

/// What a server sent.
#[derive(Clone, Debug, PartialEq)]
enum Sent {
    Datagram(Local, Mapped, Vec<u8>),
    Native(Vec<u8>),
}

fn receive(server: &mut Server, datagram: &Datagram) -> (Fate, Option<Sent>) {
    let Datagram {
        at,
        source,
        payload,
    } = datagram;
    let (fate, command) = server.receive(NOW, *at, (*source).into(), payload);
    let sent = command.map(|command| match command {
        Command::SendUdp { from, to, payload } => Sent::Datagram(from, to, payload.to_vec()),
        Command::Forward { packet } => Sent::Native(packet.to_vec()),
    });
    (fate, sent)
}

// ---- input

/// A datagram to a server.
#[derive(Clone, Debug)]
struct Datagram {
    at: Local,
    source: Mapped,
    payload: Vec<u8>,
}

fn ip() -> impl Strategy<Value = Ipv4Addr> {
    let [p, q] = [PRIMARIES[0], PRIMARIES[1]];
    prop_oneof![
        6 => select(vec![
            Ipv4Addr::new(8, 1, 1, 1),
            Ipv4Addr::new(8, 1, 1, 2),
            p,
            Config::new(p).secondary,
            q,
            Config::new(q).secondary,
            Ipv4Addr::new(10, 0, 0, 1),
            Ipv4Addr::new(224, 0, 0, 253),
            Ipv4Addr::BROADCAST,
        ]),
        1 => any::<u32>().prop_map(Ipv4Addr::from_bits),
    ]
}

fn mapped() -> impl Strategy<Value = Mapped> {
    let port = select(&[0, 7, SERVER_PORT, 40000, 40001][..]);
    (ip(), port).prop_map(|(ip, port)| Mapped { ip, port })
}

fn local() -> impl Strategy<Value = Local> {
    select(&[Local::Primary, Local::Secondary][..])
}

fn ipv6_address() -> impl Strategy<Value = [u8; 16]> {
    let client =
        (ip(), select(&[0, 0x2093, 0x8000][..]), mapped()).prop_map(|(server, flags, mapped)| {
            TeredoAddr::new(ServerV4(server), flags, mapped).octets()
        });
    prop_oneof![
        6 => client,
        1 => select(vec![
            RESTRICTED_SOURCE,
            CONE_SOURCE,
            rs_ra::ALL_ROUTERS,
            rs_ra::server_link_local(ServerV4(PRIMARIES[0])),
            rs_ra::server_link_local(ServerV4(PRIMARIES[1])),
            [0; 16],
            *b"\xff\x0e\0\0\0\0\0\0\0\0\0\0\0\0\0\x01",
        ]),
        1 => any::<[u8; 15]>().prop_map(|rest| {
            let mut native = [0x2a; 16];
            native[1..].copy_from_slice(&rest);
            native
        }),
        1 => any::<[u8; 16]>(),
    ]
}

/// An IPv6 packet, as right or wrong as may be.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let solicitation = prop_oneof![
        Just(RESTRICTED_SOURCE),
        Just(CONE_SOURCE),
        any::<[u8; 16]>().prop_map(|mut source| {
            source[..2].copy_from_slice(&[0xfe, 0x80]);
            source
        }),
    ]
    .prop_map(|source| RouterSolicitation { source }.build());
    let bubble = (ipv6_address(), ipv6_address(), any::<u8>()).prop_map(|(s, d, hop_limit)| {
        let header = Ipv6Header::new(s, d, ipv6::NO_NEXT_HEADER, hop_limit, 0);
        header.as_bytes().to_vec()
    });
    let other = (
        ipv6_address(),
        ipv6_address(),
        prop_oneof![9 => Just(ipv6::ICMP6), 1 => any::<u8>()],
        prop_oneof![1 => 0..2_u8, 4 => any::<u8>()],
        prop::collection::vec(any::<u8>(), 0..100),
        prop_oneof![Just(128), Just(129), any::<u8>()],
    )
        .prop_map(|(s, d, next_header, hop_limit, mut body, kind)| {
            let len = u16::try_from(body.len()).unwrap();
            let header = Ipv6Header::new(s, d, next_header, hop_limit, len);
            if body.len() >= 4 {
                body[..4].copy_from_slice(&[kind, 0, 0, 0]);
                let sum = checksum::upper_layer(&s, &d, next_header, &body);
                body[2..4].copy_from_slice(&sum.to_be_bytes());
            }
            [header.as_bytes(), &body].concat()
        });
    prop_oneof![2 => solicitation, 3 => bubble, 3 => other]
}

/// Nothing, the usual header, or one with credentials, which are right if `is_right` and the packet has no origin.
fn auth(nonce: [u8; 8], kind: u8, packet: &[u8]) -> Option<Vec<u8>> {
    use hmac::{Hmac, Mac};
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(b"secret").unwrap();
    mac.update(&nonce);
    mac.update(&[0]);
    mac.update(packet);
    let value: [u8; AUTH_VALUE_LEN] = mac.finalize().into_bytes().into();
    let header = match kind % 4 {
        0 => return None,
        1 => Auth::with_nonce(nonce),
        2 => Auth::secure(ID, &value, nonce, 0)?,
        _ => Auth::secure(ID, &nonce, nonce, kind)?,
    };
    let mut bytes = Vec::new();
    header.write(&mut bytes);
    Some(bytes)
}

/// A datagram with a packet, or of anything; a few with a byte changed, or cut.
fn datagram() -> impl Strategy<Value = Datagram> {
    let made = (
        any::<([u8; 8], u8)>(),
        prop::option::weighted(0.2, mapped()),
        packet(),
        prop::collection::vec(any::<u8>(), 0..8),
    )
        .prop_map(|((nonce, kind), origin, packet, tail)| {
            let origin = origin.map(|mapped| Origin { mapped });
            let header = auth(nonce, kind, &packet).unwrap_or_default();
            [
                &header,
                &payload::build(None, origin.as_ref(), &packet),
                &tail[..],
            ]
            .concat()
        });
    let changed = (made, any::<(Index, u8, u8)>()).prop_map(|(mut payload, (at, to, how))| {
        let at = at.index(payload.len());
        match how {
            0..16 => payload[at] = to,
            16..32 => payload.truncate(at),
            _ => {}
        }
        payload
    });
    let bytes = prop_oneof![
        9 => changed,
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ];
    // Most clients are where they say they are.
    (local(), mapped(), any::<u8>(), bytes).prop_map(|(at, other, how, payload)| {
        let client = payload::parse(&payload)
            .ok()
            .and_then(|parsed| TeredoAddr::from_octets(&parsed.header.source));
        let source = match client {
            Some(client) if how < 200 => client.mapped(),
            _ => other,
        };
        Datagram {
            at,
            source,
            payload,
        }
    })
}

// ---- properties

/// S-8, S-10, S-15, A-1, A-19.
fn assert_may_leave(datagram: &Datagram, fate: Fate, sent: Option<&Sent>) {
    let primary = PRIMARIES[0];
    let is_sent = matches!(
        fate,
        Fate::Advertised | Fate::ForwardedToClient | Fate::ForwardedToNative
    );
    assert_eq!(is_sent, sent.is_some(), "{fate:?}");
    match sent {
        None => {}
        Some(Sent::Datagram(from, to, payload)) => {
            assert!(is_global_unicast(to.ip) && to.port != 0, "{to}");
            let parsed = payload::parse(payload).unwrap();
            if fate == Fate::Advertised {
                assert_eq!(*to, datagram.source);
                assert!(datagram.payload.len() >= 48);
                let id_and_value = parsed
                    .auth
                    .map_or(0, |auth| auth.client_id().len() + auth.auth_value().len());
                assert!(payload.len() <= 117 + id_and_value);
            } else {
                assert_eq!(*from, Local::Primary);
                assert!(
                    ![
                        address(primary, Local::Primary).ip,
                        address(primary, Local::Secondary).ip
                    ]
                    .contains(&to.ip)
                );
                assert_ne!(*to, datagram.source);
                assert!(payload.len() <= datagram.payload.len() + 8);
                assert_eq!(parsed.auth, None);
                let client = TeredoAddr::from_octets(&parsed.header.destination).unwrap();
                assert_eq!(client.mapped(), *to);
                let origin = (client.server().0 == primary).then_some(Origin {
                    mapped: datagram.source,
                });
                assert_eq!(parsed.origin, origin);
            }
        }
        Some(Sent::Native(packet)) => {
            let (header, _, tail) = ipv6::parse(packet).unwrap();
            assert!(tail.is_empty() && header.hop_limit > 0 && packet.len() <= 40 + 88);
            assert!(!TeredoAddr::is_teredo(&header.destination));
            assert_eq!(header.destination[0] >> 5, 1, "2000::/3");
            let client = TeredoAddr::from_octets(&header.source).unwrap();
            assert_eq!(client.mapped(), datagram.source);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    /// S-1, S-12, A-23: an answer is of the datagram alone, not of any before it.
    #[test]
    fn datagrams_are_answered_one_by_one_and_each_counted(
        datagrams in prop::collection::vec(datagram(), 1..12),
    ) {
        let mut seasoned = server(PRIMARIES[0]);
        let mut bytes = 0;
        for datagram in &datagrams {
            let (fate, sent) = receive(&mut seasoned, datagram);
            assert_may_leave(datagram, fate, sent.as_ref());
            prop_assert_eq!((fate, sent), receive(&mut server(PRIMARIES[0]), datagram));
            bytes += payload::parse(&datagram.payload).map_or(datagram.payload.len(), |parsed| {
                match fate {
                    Fate::OuterSourcePortZero | Fate::OuterSourceNotGlobal | Fate::OuterSourceOwn => datagram.payload.len(),
                    _ => parsed.packet.len(),
                }
            });
        }
        let total = seasoned.tally().total();
        prop_assert_eq!(total.packets, datagrams.len() as u64);
        prop_assert_eq!(total.bytes, bytes as u64);
    }

    /// S-8, A-8: two servers that send to each other, and hosts that send back whatever they get.
    #[test]
    fn nothing_goes_round_between_servers_and_echo_services(datagram in datagram(), first in 0..2_usize) {
        let mut servers = PRIMARIES.map(server);
        let mut under_way = vec![(first, datagram)];
        let mut rounds = 0;
        while let Some((at, datagram)) = under_way.pop() {
            let Some(Sent::Datagram(from, to, payload)) = receive(&mut servers[at], &datagram).1 else {
                continue;
            };
            rounds += 1;
            prop_assert!(rounds <= 8, "still going round: {:?}", datagram);
            let from = address(PRIMARIES[at], from);
            for (other, primary) in PRIMARIES.into_iter().enumerate() {
                for local in [Local::Primary, Local::Secondary] {
                    let here = address(primary, local);
                    // To the other server, or sent back by whoever got it.
                    if here == to || here == from {
                        let source = if here == to { from } else { to };
                        under_way.push((other, Datagram { at: local, source, payload: payload.clone() }));
                    }
                }
            }
        }
    }

    /// S-17.
    #[test]
    fn a_server_with_no_room_and_no_rates_sends_nothing(datagram in datagram(), which in 0..3_u8) {
        let mut config = Config::new(PRIMARIES[0]);
        match which {
            0 => config.limits.tracked_addresses = 0,
            1 => config.limits.target_per_s = 0,
            _ => config.limits.target_burst = 0,
        }
        config.credentials = Credentials::default();
        let (_, sent) = receive(&mut Server::new(config, [7; 32]), &datagram);
        prop_assert_eq!(sent, None);
    }
}

/// So that the properties above are about something.
#[test]
fn random_datagrams_meet_every_fate_a_server_knows() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut config = Config::new(PRIMARIES[0]);
    config
        .credentials
        .insert(ID, b"secret", KeyState::Current)
        .unwrap();
    config.limits = Limits {
        source_burst: 1_000_000,
        target_burst: 1_000_000,
        native_burst: 1_000_000,
        ..Limits::default()
    };
    let mut server = Server::new(config, [7; 32]);
    for _ in 0..20_000 {
        let datagram = datagram().new_tree(&mut runner).unwrap().current();
        receive(&mut server, &datagram);
    }
    for fate in [
        Fate::Advertised,
        Fate::ForwardedToClient,
        Fate::ForwardedToNative,
        Fate::OuterSourcePortZero,
        Fate::OuterSourceNotGlobal,
        Fate::OuterSourceOwn,
        Fate::PayloadNotTeredo,
        Fate::InnerTruncated,
        Fate::NotBubbleNorIcmp6,
        Fate::ServerAddressed,
        Fate::OuterSourceMismatch,
        Fate::ClientOfAnotherServer,
        Fate::SolicitationInvalid,
        Fate::ClientIdUnknown,
        Fate::CredentialsWrong,
        Fate::DestinationMulticast,
        Fate::DestinationNotGlobal,
        Fate::DestinationNotServed,
        Fate::Icmp6TooLarge,
        Fate::Icmp6NotCarried,
        Fate::MappedAddressNotGlobal,
        Fate::MappedPortZero,
        Fate::MappedAddressOwn,
        Fate::HopLimitExceeded,
    ] {
        let count = server.tally().get(fate).packets;
        println!("{fate:?}: {count}");
        assert!(count > 0, "{fate:?}");
    }
}

//! A server used to carry data, by its clients and by strangers (A-18; S-3, S-7, S-13, S-14, S-16).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use lab::Lab;
use lab::shipworm::Datapath;
use teredo::addr::ServerV4;
use teredo::wire::rs_ra::server_link_local;
use teredo::wire::trailer::Trailers;
use teredo::wire::{bubble, ipv6};

use crate::account::Account;
use crate::packet;
use crate::scripted::{Datagram, Left, PRIMARY, Scene, client, client_of, stranger};
use crate::with_and_without_xdp;

/// Native hosts that are not there.
const NATIVE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1);
const OTHER_NATIVE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 2);
/// A server that is not ours.
const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 99);
/// The largest ICMPv6 message that is carried (S-14).
const LARGEST: usize = 88;
/// The most bytes that may stand behind a packet.
const LONGEST_TAIL: usize = 88;
const ECHO_HEADER: usize = 8;

/// Somebody who is qualified, and somebody else who is.
fn qualified() -> [SocketAddrV4; 2] {
    [stranger(1), stranger(2)]
}

/// Who sends a packet to whom, so that nothing but the packet itself is wrong.
#[derive(Clone, Copy)]
struct Way {
    what: &'static str,
    outer: SocketAddrV4,
    source: Ipv6Addr,
    destination: Ipv6Addr,
}

fn ways() -> [Way; 3] {
    let [one, other] = qualified();
    let way = |what, source, destination| Way {
        what,
        outer: one,
        source,
        destination,
    };
    [
        way("client to client", client(one).into(), client(other).into()),
        way("client to native", client(one).into(), NATIVE),
        way("native to client", NATIVE, client(other).into()),
    ]
}

impl Way {
    fn datagram(&self, packet: Vec<u8>) -> Datagram {
        Datagram::new(self.outer, PRIMARY, packet)
    }

    fn ip(&self, next_header: u8, body: &[u8]) -> Vec<u8> {
        packet::ipv6(next_header, self.source, self.destination, body)
    }

    /// An ICMPv6 message of `kind`; what carries it does not look at its checksum.
    fn icmp6(&self, kind: u8) -> Vec<u8> {
        self.ip(ipv6::ICMP6, &[kind, 0, 0, 0, 0, 0, 0, 0])
    }

    fn echo(&self, payload: usize) -> Vec<u8> {
        let data = vec![0; payload - ECHO_HEADER];
        packet::echo(self.source, self.destination, &data)
    }

    fn bubble(&self) -> Vec<u8> {
        let (source, destination) = (self.source.octets(), self.destination.octets());
        bubble::build(source, destination, &Trailers::default())
    }

    /// What is refused on every way, with the reason.
    fn refused(&self) -> Vec<(String, Vec<u8>, &'static str)> {
        const NEITHER: &str = "NotBubbleNorIcmp6";
        let Self {
            source,
            destination,
            ..
        } = *self;
        let mut refused = vec![
            (
                "TCP".to_owned(),
                packet::tcp(source, destination, b"data"),
                NEITHER,
            ),
            (
                "UDP".to_owned(),
                packet::udp(source, destination, b"data"),
                NEITHER,
            ),
            (
                "UDP without anything".to_owned(),
                self.ip(ipv6::UDP, b""),
                NEITHER,
            ),
            ("IPv4 in IPv6".to_owned(), self.ip(4, &[0x45; 20]), NEITHER),
            (
                "a bubble with data".to_owned(),
                self.ip(ipv6::NO_NEXT_HEADER, b"data"),
                NEITHER,
            ),
            (
                "ICMPv6 without anything".to_owned(),
                self.ip(ipv6::ICMP6, b""),
                "Icmp6NotCarried",
            ),
        ];
        for len in [LARGEST + 1, 1240] {
            refused.push((format!("an echo of {len}"), self.echo(len), "Icmp6TooLarge"));
        }
        // Hop-by-hop options, routing, fragment, ESP, authentication, destination options: an echo behind them.
        for header in [0, 43, 44, 50, 51, 60] {
            let mut body = vec![ipv6::ICMP6, 0, 0, 0, 0, 0, 0, 0];
            body.extend(&self.echo(16)[ipv6::HEADER_LEN..]);
            refused.push((
                format!("extension header {header}"),
                self.ip(header, &body),
                NEITHER,
            ));
        }
        for kind in 133..=137 {
            refused.push((
                format!("neighbour discovery {kind}"),
                self.icmp6(kind),
                "Icmp6NotCarried",
            ));
        }
        refused
    }
}

fn nothing_but_bubbles_and_small_icmp6_gets_through(datapath: Datapath) {
    let scene = Scene::new();
    let mut account = Account::open(&scene, datapath, &[]);
    for way in ways() {
        for (what, packet, reason) in way.refused() {
            let (left, counted) = account.ask(way.datagram(packet));
            assert_eq!(left, [], "{what}, {}", way.what);
            assert_eq!(counted, reason, "{what}, {}", way.what);
        }
        let (left, _) = account.ask(way.datagram(way.echo(LARGEST)));
        assert_eq!(left.len(), 1, "{}", way.what);
    }
    account.close();
}

/// Nobody needs more than 44 bytes of trailers (RFC 6081 4).
fn no_data_hides_behind_a_packet(datapath: Datapath) {
    let scene = Scene::new();
    let mut account = Account::open(&scene, datapath, &[]);
    let [to_client, _, from_native] = ways();
    for way in [to_client, from_native] {
        for packet in [way.bubble(), way.echo(16)] {
            for len in [LONGEST_TAIL + 1, 1000] {
                let whole = [&packet[..], &vec![0; len]].concat();
                let (left, reason) = account.ask(way.datagram(whole));
                assert_eq!((left, reason), (Vec::new(), "TrailersTooLong"), "{len}");
            }
            let whole = [&packet[..], &[0; LONGEST_TAIL]].concat();
            let (left, _) = account.ask(way.datagram(whole));
            assert_eq!(left.len(), 1);
        }
    }
    account.close();
}

fn nothing_but_echoes_reaches_native_ipv6(datapath: Datapath) {
    let scene = Scene::new();
    let mut account = Account::open(&scene, datapath, &[]);
    let [_, to_native, _] = ways();
    let (left, reason) = account.ask(to_native.datagram(to_native.bubble()));
    assert_eq!((left, reason), (Vec::new(), "Icmp6NotCarried"));
    for kind in [0, 1, 2, 3, 4, 100, 127, 130, 131, 132, 138, 143, 200, 255] {
        let (left, reason) = account.ask(to_native.datagram(to_native.icmp6(kind)));
        assert_eq!((left, reason), (Vec::new(), "Icmp6NotCarried"), "{kind}");
    }
    for kind in [128, 129] {
        let packet = to_native.icmp6(kind);
        let (left, _) = account.ask(to_native.datagram(packet.clone()));
        // A server is a router.
        let expected = packet::with_hop_limit(packet, packet::HOP_LIMIT - 1);
        assert_eq!(left, [Left::Native(expected)], "{kind}");
    }
    account.close();
}

fn nobody_gets_through_who_is_not_a_client_or_speaks_to_one(datapath: Datapath) {
    let scene = Scene::new();
    let mut account = Account::open(&scene, datapath, &[]);
    let [one, other] = qualified();
    let our = Ipv6Addr::from(client(other));
    let link_local = Ipv6Addr::from(server_link_local(ServerV4(Lab::SERVER_V4)));
    let theirs = Ipv6Addr::from(client_of(OTHER_SERVER, other));
    let multicast = Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0, 1);
    let own = client(one).into();
    for (source, destination, reason) in [
        // The mapping of somebody else.
        (our, own, "OuterSourceMismatch"),
        (our, NATIVE, "OuterSourceMismatch"),
        (own, own, "OuterSourceMismatch"),
        (NATIVE, OTHER_NATIVE, "ClientOfAnotherServer"),
        (NATIVE, theirs, "ClientOfAnotherServer"),
        (own, multicast, "DestinationMulticast"),
        (
            own,
            Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
            "DestinationMulticast",
        ),
        (
            own,
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
            "DestinationNotGlobal",
        ),
        (own, Ipv6Addr::LOCALHOST, "DestinationNotGlobal"),
        (own, Ipv6Addr::UNSPECIFIED, "DestinationNotGlobal"),
        (own, link_local, "ServerAddressed"),
        (NATIVE, link_local, "ServerAddressed"),
        (
            own,
            Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2),
            "ServerAddressed",
        ),
    ] {
        let echo = packet::echo(source, destination, b"");
        let (left, counted) = account.ask(Datagram::new(one, PRIMARY, echo));
        assert_eq!(left, [], "{source} to {destination}");
        assert_eq!(counted, reason, "{source} to {destination}");
    }
    account.close();
}

with_and_without_xdp! {
    nothing_but_bubbles_and_small_icmp6_gets_through:
        in_xdp_nothing_but_bubbles_and_small_icmp6_gets_through,
        in_user_space_nothing_but_bubbles_and_small_icmp6_gets_through;
    no_data_hides_behind_a_packet:
        in_xdp_no_data_hides_behind_a_packet,
        in_user_space_no_data_hides_behind_a_packet;
    nothing_but_echoes_reaches_native_ipv6:
        in_xdp_nothing_but_echoes_reaches_native_ipv6,
        in_user_space_nothing_but_echoes_reaches_native_ipv6;
    nobody_gets_through_who_is_not_a_client_or_speaks_to_one:
        in_xdp_nobody_gets_through_who_is_not_a_client_or_speaks_to_one,
        in_user_space_nobody_gets_through_who_is_not_a_client_or_speaks_to_one;
}

//! Routing loops between tunnel routers (A-7, A-8; PROTOCOL 6, "Routing loops, detail").
//!
//! Two relays face each other, with a server between them that forwards whatever it may, and native IPv6 that routes
//! 2001::/32 to whichever of them an attacker likes best.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use teredo::Fate;
use teredo::addr::{Mapped, SERVER_PORT, ServerV4, TeredoAddr};
use teredo::relay::{Config, Hop};
use teredo::wire::origin::Origin;
use teredo::wire::{bubble, payload, trailer::Trailers};

use crate::machine::{Machine, SERVER, Sent, client};
use crate::packet;

const RELAYS: [Mapped; 2] = [
    Mapped {
        ip: Ipv4Addr::new(9, 9, 9, 9),
        port: 3545,
    },
    Mapped {
        ip: Ipv4Addr::new(8, 8, 4, 4),
        port: 3545,
    },
];
const HOST: Ipv6Addr = Ipv6Addr::new(0x2600, 0, 0, 0, 0, 0, 0, 1);
/// Longer than any state of a relay lasts.
const LONG: Duration = Duration::from_mins(11);
/// Bubbles for each packet.
const BUBBLES: usize = 4;

/// Something on its way.
enum OnTheWay {
    Datagram {
        from: Mapped,
        to: Mapped,
        payload: Vec<u8>,
    },
    /// To be routed by native IPv6.
    Native(Vec<u8>),
}

struct World {
    relays: [Machine; 2],
    on_the_way: VecDeque<OnTheWay>,
    /// Packets relays have sent.
    sent: usize,
}

impl World {
    fn new() -> Self {
        Self {
            relays: RELAYS.map(|service| Machine::new(Config::new(service.into()))),
            on_the_way: VecDeque::new(),
            sent: 0,
        }
    }

    fn collect(&mut self, relay: usize, sent: Vec<Sent>) {
        self.sent += sent.len();
        for sent in sent {
            match sent {
                Sent::Datagram(to, payload) => self.on_the_way.push_back(OnTheWay::Datagram {
                    from: RELAYS[relay],
                    to,
                    payload,
                }),
                Sent::Native(packet) => self.on_the_way.push_back(OnTheWay::Native(packet)),
                // To a native host, which answers none.
                Sent::Error(_) => {}
            }
        }
    }

    /// Delivers everything, and whatever is sent because of it.
    fn deliver(&mut self) {
        /// A loop would go on for ever.
        const ENOUGH: usize = 10_000;
        for _ in 0..ENOUGH {
            match self.on_the_way.pop_front() {
                None => return,
                Some(OnTheWay::Datagram { from, to, payload }) => self.datagram(from, to, &payload),
                Some(OnTheWay::Native(packet)) => {
                    if TeredoAddr::is_teredo(&packet[24..40].try_into().unwrap()) {
                        for relay in 0..2 {
                            self.native(relay, &packet);
                        }
                    }
                }
            }
        }
        panic!("{ENOUGH} packets and no end");
    }

    fn datagram(&mut self, from: Mapped, to: Mapped, payload: &[u8]) {
        if let Some(relay) = RELAYS.iter().position(|service| *service == to) {
            let machine = &mut self.relays[relay];
            machine
                .relay
                .from_client(machine.now, from.into(), 0, payload);
            let sent = machine.sent();
            self.collect(relay, sent);
        } else if to.ip == SERVER && to.port == SERVER_PORT {
            self.forward_by_server(from, payload);
        }
    }

    /// S-15, S-16: with an origin, to the address in the destination.
    fn forward_by_server(&mut self, from: Mapped, datagram: &[u8]) {
        let parsed = payload::parse(datagram).unwrap();
        let Some(peer) = TeredoAddr::from_octets(&parsed.header.destination) else {
            return;
        };
        let origin = Origin { mapped: from };
        let rest = [parsed.packet, parsed.tail].concat();
        self.on_the_way.push_back(OnTheWay::Datagram {
            from: Mapped {
                ip: SERVER,
                port: SERVER_PORT,
            },
            to: peer.mapped(),
            payload: payload::build(None, Some(&origin), &rest),
        });
    }

    fn native(&mut self, relay: usize, packet: &[u8]) -> Option<Fate> {
        let machine = &mut self.relays[relay];
        let fate = machine.relay.from_native(machine.now, packet, Hop::Pending);
        let sent = machine.sent();
        self.collect(relay, sent);
        fate
    }

    /// Lets the time pass in which anything could still happen.
    fn rest(&mut self) {
        for _ in 0..LONG.as_secs() {
            for relay in 0..2 {
                let sent = self.relays[relay].pass(Duration::from_secs(1));
                self.collect(relay, sent);
            }
            self.deliver();
        }
    }

    fn count(&self, relay: usize, fate: Fate) -> u64 {
        self.relays[relay].relay.tally().get(fate).packets
    }
}

/// A Teredo address that says its client is the relay.
fn posing_as(relay: usize) -> TeredoAddr {
    client(SERVER, RELAYS[relay].ip, RELAYS[relay].port)
}

fn six_to_four(ip: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = ip.octets().map(u16::from);
    Ipv6Addr::new(0x2002, a << 8 | b, c << 8 | d, 0, 0, 0, 0, 1)
}

fn isatap(ip: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = ip.octets().map(u16::from);
    Ipv6Addr::new(0x2600, 0, 0, 0, 0x0200, 0x5efe, a << 8 | b, c << 8 | d)
}

/// Whatever source the attacker takes: the other relay never answers for the client it is said to be.
#[test]
fn a_packet_to_a_client_that_is_another_relay_ends_after_its_bubbles() {
    let sources = [
        HOST,
        six_to_four(RELAYS[1].ip),
        isatap(RELAYS[1].ip),
        six_to_four(SERVER),
    ];
    for source in sources {
        let mut world = World::new();
        let packet = packet::udp(source, posing_as(1).into(), b"round");
        assert_eq!(world.native(0, &packet), None);
        world.deliver();
        world.rest();
        assert_eq!(world.sent, BUBBLES + 1, "four bubbles and an error");
        assert_eq!(world.relays[0].trusted() + world.relays[1].trusted(), 0);
        // A bubble comes from a link-local address, as no client's packet does.
        assert_eq!(world.count(1, Fate::SourceNotTeredo), BUBBLES as u64);
    }
}

/// Each the other's client, packets from both sides at once.
#[test]
fn two_relays_that_are_each_other_s_clients_fall_silent() {
    let mut world = World::new();
    for round in 0..4 {
        for relay in [0, 1] {
            let packet = packet::udp(HOST, posing_as(1 - relay).into(), &[round]);
            world.native(relay, &packet);
        }
    }
    world.deliver();
    world.rest();
    assert_eq!(
        world.sent,
        2 * (BUBBLES + 4),
        "an error for each packet that waited"
    );
    assert_eq!(world.relays[0].trusted() + world.relays[1].trusted(), 0);
}

/// an attacker who needs but one relay.
#[test]
fn a_relay_sends_nothing_to_itself() {
    let mut world = World::new();
    let own_server = TeredoAddr::new(ServerV4(RELAYS[0].ip), 0, RELAYS[1]);
    let stranger = client(SERVER, Ipv4Addr::new(7, 7, 7, 7), 4000);
    for (source, destination, fate) in [
        (HOST, posing_as(0), Fate::MappedAddressOwn),
        (HOST, own_server, Fate::ServerAddressOwn),
        (
            six_to_four(RELAYS[0].ip),
            stranger,
            Fate::SourceEmbedsOwnAddress,
        ),
        (isatap(RELAYS[0].ip), stranger, Fate::SourceEmbedsOwnAddress),
        (posing_as(1).into(), stranger, Fate::SourceTeredo),
    ] {
        let packet = packet::udp(source, destination.into(), b"round");
        assert_eq!(world.native(0, &packet), Some(fate));
    }
    world.deliver();
    world.rest();
    assert_eq!(world.sent, 0);
}

/// the way back into the tunnel, from a client that is trusted.
#[test]
fn what_a_client_sends_never_comes_back_to_a_tunnel_router() {
    let mut world = World::new();
    let peer = client(SERVER, Ipv4Addr::new(7, 7, 7, 7), 4000);
    world.relays[0].trust(&peer);
    let private = six_to_four(Ipv4Addr::new(10, 0, 0, 1));
    for (destination, fate) in [
        (posing_as(1).into(), Fate::DestinationTeredo),
        (Ipv6Addr::from(peer), Fate::DestinationTeredo),
        (
            six_to_four(RELAYS[0].ip),
            Fate::DestinationEmbedsForbiddenAddress,
        ),
        (
            isatap(RELAYS[0].ip),
            Fate::DestinationEmbedsForbiddenAddress,
        ),
        (private, Fate::DestinationEmbedsForbiddenAddress),
    ] {
        let before = world.count(0, fate);
        world.on_the_way.push_back(OnTheWay::Datagram {
            from: peer.mapped(),
            to: RELAYS[0],
            payload: packet::udp(peer.into(), destination, b"round"),
        });
        world.deliver();
        assert_eq!(world.count(0, fate), before + 1, "{destination}");
    }
    assert_eq!(world.sent, 0);
}

/// The most an attacker can do who forges IPv4 sources as well: the relay trusts the other one (R-36 a), and what it
/// sends there ends there. One packet for each, and never a second.
#[test]
fn a_relay_made_to_trust_another_one_by_forged_sources_starts_no_loop() {
    const DATA: usize = 100;
    let mut world = World::new();
    let peer = posing_as(1);
    world.native(0, &packet::udp(HOST, peer.into(), b"first"));
    let forged = bubble::build(
        peer.octets(),
        Ipv6Addr::from(peer).octets(),
        &Trailers::default(),
    );
    world.on_the_way.push_back(OnTheWay::Datagram {
        from: RELAYS[1],
        to: RELAYS[0],
        payload: forged,
    });
    world.deliver();
    assert_eq!(world.relays[0].trusted(), 1);
    let before = world.sent;
    for _ in 0..DATA {
        assert_eq!(
            world.native(0, &packet::udp(HOST, peer.into(), b"round")),
            Some(Fate::Encapsulated)
        );
        world.deliver();
    }
    assert_eq!(world.sent, before + DATA);
    // The bubble, the packet that waited for the answer, and the rest.
    assert_eq!(world.count(1, Fate::SourceNotTeredo), 2 + DATA as u64);
    world.rest();
    assert_eq!(world.sent, before + DATA, "nothing follows");
}

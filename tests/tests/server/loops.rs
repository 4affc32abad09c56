//! Loops between servers, and between a server and the relay beside it (A-8, S-6, S-8, S-15; PROTOCOL 6, "Routing loops,
//! detail"): packets that name any of them as sender, as client and as server, in every combination.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use lab::both::Both;
use lab::shipworm::{Datapath, Relay, Server, Settings};
use lab::{Lab, Node, RELAY_PORT, XdpPass, wait_for};
use relay_common::Reason;
use relay_user::status::Status;
use teredo::addr::SERVER_PORT;
use teredo::wire::bubble;
use teredo::wire::rs_ra::RESTRICTED_SOURCE;
use teredo::wire::trailer::Trailers;

use crate::account::{Outcome, counted, departed, outcome};
use crate::leg::Leg;
use crate::packet;
use crate::scripted::{Datagram, Left, PRIMARY, SECONDARY, client_of, quiet_lab};
use crate::with_and_without_xdp;

/// The primary address of the second server, on the bench machine.
const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 100);
const NATIVE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1);
/// An address no machine has, and no router knows a way to.
const NOBODY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 120), 40_000);
const RELAY: SocketAddrV4 = SocketAddrV4::new(Lab::RELAY_V4, RELAY_PORT);
/// No limit may end what would go round for ever.
const UNLIMITED: [&str; 6] = [
    "--source-per-s=10000000",
    "--source-burst=10000000",
    "--target-per-s=10000000",
    "--target-burst=10000000",
    "--native-per-s=10000000",
    "--native-burst=10000000",
];
/// As many packets are under way as no queue of a server overflows by.
const AT_ONCE: usize = 128;
const DEADLINE: Duration = Duration::from_secs(20);
/// A packet that goes round shows up thousands of times meanwhile.
const QUIET: Duration = Duration::from_millis(500);

/// Machines of the lab and their cables.
struct World {
    lab: Lab,
    server: Leg,
    bench: Leg,
    relay: Leg,
    /// Where the program of the second server sends frames.
    _far_end: XdpPass,
}

impl World {
    fn new() -> Self {
        let lab = quiet_lab();
        for ip in [OTHER_SERVER, secondary(OTHER_SERVER)] {
            let line = format!("addr add {ip}/28 dev lb-v4");
            lab.bench.ip(&[&line]).unwrap();
        }
        let leg = |port, machine: &Node| Leg::to(&lab.inet, port, machine);
        Self {
            server: leg("lb-srv", &lab.server),
            bench: leg("lb-bench", &lab.bench),
            relay: leg("lb-rly", &lab.relay),
            _far_end: XdpPass::attach(&lab.inet, "lb-bench").unwrap(),
            lab,
        }
    }

    /// Everything that servers and relay have sent since the last call.
    fn left(&self) -> Vec<Left> {
        let legs = [&self.server, &self.bench, &self.relay];
        legs.into_iter().flat_map(Leg::left).collect()
    }

    /// Sends `datagrams` over `leg` to the server whose account is `read`, and gives everything that anybody has sent
    /// because of them.
    fn provoke(&self, leg: &Leg, read: &dyn Fn() -> Outcome, datagrams: &[Datagram]) -> Vec<Left> {
        let mut left = Vec::new();
        let mut sent = counted(&read());
        for batch in datagrams.chunks(AT_ONCE) {
            for datagram in batch {
                leg.send(datagram);
            }
            sent += batch.len() as u64;
            wait_for("every datagram to be counted", DEADLINE, || {
                left.extend(self.left());
                counted(&read()) >= sent
            })
            .unwrap_or_else(|e| panic!("{e}: {sent} sent, {:?}", read()));
        }
        let start = Instant::now();
        let mut last = start;
        while last.elapsed() < QUIET {
            assert!(
                start.elapsed() < DEADLINE,
                "{} packets and no end",
                left.len()
            );
            let more = self.left();
            if !more.is_empty() {
                last = Instant::now();
            }
            left.extend(more);
        }
        left
    }
}

const fn secondary(primary: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from_bits(primary.to_bits() + 1)
}

/// Both addresses of a server.
fn both(primary: Ipv4Addr) -> [SocketAddrV4; 2] {
    [primary, secondary(primary)].map(|ip| SocketAddrV4::new(ip, SERVER_PORT))
}

/// Bubbles and echoes to `at` in every combination: outer sources, and clients of `servers` in source and destination, all
/// mapped to one of `parties`. Each carries its number in a trailer, which a server keeps (S-18).
fn every_combination(
    at: [SocketAddrV4; 2],
    servers: &[Ipv4Addr],
    parties: &[SocketAddrV4],
) -> Vec<Datagram> {
    let clients: Vec<Ipv6Addr> = servers
        .iter()
        .flat_map(|server| {
            parties
                .iter()
                .map(|mapped| client_of(*server, *mapped).into())
        })
        .collect();
    let mut sources = clients.clone();
    sources.extend([NATIVE, RESTRICTED_SOURCE.into()]);
    let mut datagrams = Vec::new();
    for to in at {
        for from in parties {
            for source in &sources {
                for destination in &clients {
                    let (s, d) = (source.octets(), destination.octets());
                    let bubble = bubble::build(s, d, &Trailers::default());
                    let echo = packet::echo(*source, *destination, b"");
                    for packet in [bubble, echo] {
                        let number = u32::try_from(datagrams.len()).unwrap();
                        let trailer = [&[0x01, 0x04][..], &number.to_be_bytes()].concat();
                        datagrams.push(Datagram::new(*from, to, [packet, trailer].concat()));
                    }
                }
            }
        }
    }
    datagrams
}

/// How often each of `count` packets was sent on by anybody.
fn times_sent(left: &[Left], count: usize) -> Vec<u32> {
    let mut times = vec![0; count];
    for left in left {
        let payload = left.clone().datagram().payload;
        let (rest, number) = payload.split_last_chunk().unwrap();
        assert!(rest.ends_with(&[0x01, 0x04]), "nobody's: {left:?}");
        times[u32::from_be_bytes(*number) as usize] += 1;
    }
    times
}

/// None of `datagrams` went further than one hop, some went that far, and what came to a server was counted there, once.
fn assert_at_most_one_hop(
    datagrams: &[Datagram],
    left: &[Left],
    servers: &[([SocketAddrV4; 2], Outcome)],
) {
    let times = times_sent(left, datagrams.len());
    for (datagram, times) in datagrams.iter().zip(&times) {
        assert!(*times <= 1, "sent {times} times: {datagram:?}");
    }
    println!("{} of {} went one hop", left.len(), datagrams.len());
    assert!(!left.is_empty());
    let to = |at: &[SocketAddrV4; 2]| {
        let went = left.iter().map(|left| left.clone().datagram().to);
        let came = datagrams.iter().map(|datagram| datagram.to);
        went.chain(came).filter(|to| at.contains(to)).count() as u64
    };
    for (at, outcome) in servers {
        assert_eq!(counted(outcome), to(at), "{at:?}: {outcome:?}");
    }
    let sent: u64 = servers.iter().map(|(_, outcome)| departed(outcome)).sum();
    assert_eq!(sent, left.len() as u64);
}

fn nothing_goes_round_between_two_servers_and_a_relay(datapath: Datapath) {
    let world = World::new();
    let lab = &world.lab;
    let one = Server::start(lab, datapath, &UNLIMITED).unwrap();
    let other = Server::start_on(&lab.bench, OTHER_SERVER, datapath, &UNLIMITED).unwrap();
    let relay = Relay::start(lab, &Settings::new(datapath)).unwrap();
    let servers = [Lab::SERVER_V4, OTHER_SERVER];
    let [p, q] = both(OTHER_SERVER);
    let parties = [PRIMARY, SECONDARY, p, q, RELAY, NOBODY];

    let read = || outcome(one.status().unwrap());
    let datagrams = every_combination([PRIMARY, SECONDARY], &servers, &parties);
    let left = world.provoke(&world.server, &read, &datagrams);
    let accounts = [
        ([PRIMARY, SECONDARY], read()),
        ([p, q], outcome(other.status().unwrap())),
    ];
    assert_at_most_one_hop(&datagrams, &left, &accounts);
    relay.stop().unwrap();
    other.stop().unwrap();
    one.stop().unwrap();
}

fn nothing_goes_round_between_a_server_and_the_relay_in_its_process(datapath: Datapath) {
    let world = World::new();
    let lab = &world.lab;
    let keys = "source-per-s = 10000000\nsource-burst = 10000000\ntarget-per-s = 10000000\ntarget-burst = 10000000\n\
                native-per-s = 10000000\nnative-burst = 10000000";
    let both_roles = Both::start(lab, datapath, keys).unwrap();
    let other = Server::start(lab, datapath, &UNLIMITED).unwrap();
    let servers = [Both::PRIMARY, Lab::SERVER_V4];
    let [p, q] = both(Both::PRIMARY);
    let parties = [p, q, RELAY, PRIMARY, SECONDARY, NOBODY];

    let read = || outcome(both_roles.status().unwrap());
    let datagrams = every_combination([p, q], &servers, &parties);
    let left = world.provoke(&world.relay, &read, &datagrams);
    let accounts = [
        ([p, q], read()),
        ([PRIMARY, SECONDARY], outcome(other.status().unwrap())),
    ];
    assert_at_most_one_hop(&datagrams, &left, &accounts);
    other.stop().unwrap();
    both_roles.stop().unwrap();
}

/// What a native host sends to clients that are servers: the relay asks each four times, through its own server or
/// another, and each bubble goes one hop further at most.
fn bubbles_of_a_relay_to_servers_go_no_further(datapath: Datapath) {
    const BUBBLES: usize = 4;
    /// Longer than a relay asks.
    const LONG: Duration = Duration::from_mins(1);
    let world = World::new();
    let lab = &world.lab;
    let roles = Both::start(lab, datapath, "").unwrap();
    let other = Server::start(lab, datapath, &UNLIMITED).unwrap();
    let native = Leg::to_native(&lab.v6r, "lb-rly", &lab.relay);
    let [p, q] = both(Both::PRIMARY);
    let asked = [
        (Both::PRIMARY, PRIMARY),
        (Both::PRIMARY, SECONDARY),
        (Both::PRIMARY, NOBODY),
        (Lab::SERVER_V4, SocketAddrV4::new(*NOBODY.ip(), 40_001)),
    ];
    let own = [p, q, RELAY].into_iter();
    let refused = own.flat_map(|own| [(Both::PRIMARY, own), (Lab::SERVER_V4, own)]);
    let mut sent = 0;
    for (server, mapped) in asked.into_iter().chain(refused) {
        let client = client_of(server, mapped).into();
        native.send_packet(&packet::udp(NATIVE, client, b"data"));
        sent += 1;
    }

    let read = || -> Status { serde_json::from_value(roles.status().unwrap()).unwrap() };
    let mut left = Vec::new();
    wait_for("the relay to give up", LONG, || {
        left.extend(world.left());
        let peers = read().peers;
        peers.probing == 0 && peers.blocked == asked.len() as u64
    })
    .unwrap_or_else(|e| panic!("{e}: {:?}", read().peers));
    left.extend(world.left());
    let status = read();
    assert_eq!(status.bubbles_sent, (asked.len() * BUBBLES) as u64);
    let own = status.reasons.of(Reason::MappedAddressOwn);
    assert_eq!(
        own.fast.packets + own.slow.packets,
        sent - asked.len() as u64
    );
    // Those to its own server never are on a cable; whatever a server has sent on is.
    let to = |to: SocketAddrV4| {
        let datagrams = left.iter().map(|left| left.clone().datagram());
        datagrams.filter(|datagram| datagram.to == to).count()
    };
    for (_, mapped) in asked {
        let expected = if mapped == PRIMARY {
            2 * BUBBLES
        } else {
            BUBBLES
        };
        assert_eq!(to(mapped), expected, "{mapped}");
    }
    assert_eq!(left.len(), (asked.len() + 1) * BUBBLES);
    other.stop().unwrap();
    roles.stop().unwrap();
}

with_and_without_xdp! {
    bubbles_of_a_relay_to_servers_go_no_further:
        in_xdp_bubbles_of_a_relay_to_servers_go_no_further,
        in_user_space_bubbles_of_a_relay_to_servers_go_no_further;
    nothing_goes_round_between_two_servers_and_a_relay:
        in_xdp_nothing_goes_round_between_two_servers_and_a_relay,
        in_user_space_nothing_goes_round_between_two_servers_and_a_relay;
    nothing_goes_round_between_a_server_and_the_relay_in_its_process:
        in_xdp_nothing_goes_round_between_a_server_and_the_relay_in_its_process,
        in_user_space_nothing_goes_round_between_a_server_and_the_relay_in_its_process;
}

//! What may happen to a relay, and how often.

use proptest::prelude::*;
use teredo::relay::Limits;

/// Peers to choose from: the first are good, the others hostile.
pub(crate) const GOOD_PEERS: usize = 6;
pub(crate) const PEERS: usize = 14;

/// Inner destinations to choose from.
pub(crate) const DESTINATIONS_COUNT: usize = 7;

/// Where a client's datagram seems to come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outer {
    Right,
    OtherPort,
    OtherNat,
    Server,
    Relay,
    Own,
    Private,
    PortZero,
}

/// What a bubble shows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Proof {
    Nothing,
    Cookie,
    WrongCookie,
    Nonce,
    WrongNonce,
}

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Native {
        host: u8,
        peer: usize,
        len: u16,
        hop_limit: u8,
        pending: bool,
        next_header: u8,
    },
    Data {
        peer: usize,
        outer: Outer,
        destination: usize,
        tos: u8,
    },
    Bubble {
        peer: usize,
        outer: Outer,
        proof: Proof,
        solicits: bool,
    },
    Garbage(Vec<u8>),
    /// Timers are served on time.
    Pass(u32),
    /// They are not.
    Stall(u32),
    Timeout,
    Probe(usize),
    /// The fast path refreshes the entry.
    FastPathHears(usize),
    TableFull(bool),
    /// Entries older than a minute are swept.
    Sweep,
    ShutDown,
}

fn peer() -> impl Strategy<Value = usize> {
    prop_oneof![9 => 0..GOOD_PEERS, 1 => GOOD_PEERS..PEERS]
}

fn outer() -> impl Strategy<Value = Outer> {
    use Outer::{OtherNat, OtherPort, Own, PortZero, Private, Relay, Right, Server};
    let rare = prop::sample::select(vec![OtherNat, Server, Relay, Own, Private, PortZero]);
    prop_oneof![4 => Just(Right), 3 => Just(OtherPort), 1 => rare]
}

fn proof() -> impl Strategy<Value = Proof> {
    use Proof::{Cookie, Nonce, Nothing, WrongCookie, WrongNonce};
    prop::sample::select(vec![Nothing, Cookie, WrongCookie, Nonce, WrongNonce])
}

fn time_ms() -> impl Strategy<Value = u32> {
    prop_oneof![0..100_u32, 0..3_000_u32, 0..35_000_u32, 0..400_000_u32]
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let next_header = prop::sample::select(vec![17, 17, 58, 59]);
    let native = (
        0..3_u8,
        peer(),
        0..600_u16,
        0..4_u8,
        any::<bool>(),
        next_header,
    )
        .prop_map(
            |(host, peer, len, hop_limit, pending, next_header)| Event::Native {
                host,
                peer,
                len,
                hop_limit,
                pending,
                next_header,
            },
        );
    let data = (peer(), outer(), 0..DESTINATIONS_COUNT, 0..4_u8).prop_map(
        |(peer, outer, destination, tos)| Event::Data {
            peer,
            outer,
            destination,
            tos,
        },
    );
    let bubble =
        (peer(), outer(), proof(), any::<bool>()).prop_map(|(peer, outer, proof, solicits)| {
            Event::Bubble {
                peer,
                outer,
                proof,
                solicits,
            }
        });
    prop_oneof![
        12 => native,
        3 => data,
        4 => bubble,
        1 => prop::collection::vec(any::<u8>(), 0..90).prop_map(Event::Garbage),
        6 => time_ms().prop_map(Event::Pass),
        2 => time_ms().prop_map(Event::Stall),
        2 => Just(Event::Timeout),
        3 => peer().prop_map(Event::Probe),
        2 => peer().prop_map(Event::FastPathHears),
        1 => any::<bool>().prop_map(Event::TableFull),
        1 => Just(Event::Sweep),
    ]
}

pub(crate) fn limits() -> impl Strategy<Value = Limits> {
    (
        1..8_usize,
        prop_oneof![Just(2_usize), Just(4), Just(64)],
        1..20_u32,
        1..4_u32,
        1..4_u32,
    )
        .prop_map(
            |(
                queue_packets_per_peer,
                pending_peers,
                server_bubbles_burst,
                server_bubbles_per_s,
                per_prefix,
            )| Limits {
                pending_peers,
                queue_packets_per_peer,
                queue_bytes_per_peer: 1500,
                queue_bytes_total: 4000,
                new_peers_per_s: 1,
                new_peers_burst: 4,
                server_bubbles_per_s,
                server_bubbles_burst,
                unanswered_per_source_prefix: per_prefix,
                ..Limits::default()
            },
        )
}

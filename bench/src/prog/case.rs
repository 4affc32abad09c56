//! What is measured.

use anyhow::Result;
use relay_common::Reason;

use super::companion::{Direction, Drawn, Load, Ports};
use super::frame::{self, Protocol};
use super::rig::{Rig, Which};

/// One measurement.
pub(super) struct Case {
    /// Its name in the report.
    pub(super) name: String,
    kind: Kind,
}

enum Kind {
    /// A program that only passes.
    Empty,
    /// A program that swaps the MAC addresses and sends the frame back.
    ParseSwapTx,
    /// Looking up and reading a random cache line.
    ColdLine,
    /// A frame the shipped program leaves as it is.
    Untouched { frame: Vec<u8>, reason: Reason },
    /// A frame the server in the shipped program answers or sends on.
    Served {
        ports: Ports,
        frame: Vec<u8>,
        senders: u32,
        reason: Reason,
    },
    /// A frame a program carries.
    Carried {
        which: Which,
        direction: Direction,
        ports: Ports,
        frame: Vec<u8>,
        peers: u32,
        drawn: Drawn,
    },
}

/// A number of peers in use and its name.
pub(super) type Peers = (u32, &'static str);
/// One peer.
pub(super) const ONE: Peers = (1, "1");
/// A thousand.
pub(super) const THOUSAND: Peers = (1 << 10, "1k");
/// A million.
pub(super) const MILLION: Peers = (1 << 20, "1M");
/// Four million.
pub(super) const FOUR_MILLION: Peers = (1 << 22, "4M");

const DIRECTIONS: [(Direction, &str); 2] =
    [(Direction::Encap, "encap"), (Direction::Decap, "decap")];

impl Case {
    /// What does not depend on peers.
    pub(super) fn without_peers() -> Vec<Self> {
        let untouched = |name: &str, frame, reason| Self {
            name: name.into(),
            kind: Kind::Untouched { frame, reason },
        };
        let bare = |name: &str, kind| Self {
            name: name.into(),
            kind,
        };
        vec![
            bare("empty", Kind::Empty),
            bare("parse-swap-tx", Kind::ParseSwapTx),
            bare("cold-line", Kind::ColdLine),
            untouched("foreign-ipv6", frame::foreign_ipv6(), Reason::NotOurs),
            untouched("foreign-ipv4", frame::foreign_ipv4(), Reason::NotOurs),
            untouched("foreign-arp", frame::foreign_arp(), Reason::NotOurs),
            untouched("drop", frame::not_from_teredo(), Reason::SourceNotTeredo),
            untouched("punt", frame::to_stranger(), Reason::PuntPeerUnknown),
        ]
    }

    /// Both programs in both directions, peers at random.
    pub(super) fn at_random(peers: &[Peers]) -> Vec<Self> {
        let mut cases = Vec::new();
        for (peers, size) in peers {
            for (direction, name) in DIRECTIONS {
                for (which, prefix) in [(Which::Shipped, ""), (Which::Textbook, "textbook-")] {
                    cases.push(Self {
                        name: format!("{prefix}{name}/{size}"),
                        kind: Kind::Carried {
                            which,
                            direction,
                            ports: Ports::Two,
                            frame: frame::usual(direction),
                            peers: *peers,
                            drawn: Drawn::Uniform,
                        },
                    });
                }
            }
        }
        cases
    }

    /// The shipped program, peers by the sequence the rig was made with.
    pub(super) fn in_sequence((peers, size): Peers) -> Vec<Self> {
        let case = |(direction, name)| Self {
            name: format!("{name}-zipf/{size}"),
            kind: Kind::Carried {
                which: Which::Shipped,
                direction,
                ports: Ports::Two,
                frame: frame::usual(direction),
                peers,
                drawn: Drawn::InSequence,
            },
        };
        DIRECTIONS.map(case).into()
    }

    /// The shipped program at a relay with one card, peers at random.
    pub(super) fn by_one_port(peers: &[Peers]) -> Vec<Self> {
        let case = |(peers, size): Peers, (direction, name)| Self {
            name: format!("{name}-one-port/{size}"),
            kind: Kind::Carried {
                which: Which::Shipped,
                direction,
                ports: Ports::One,
                frame: frame::usual(direction),
                peers,
                drawn: Drawn::Uniform,
            },
        };
        let both = |peers| DIRECTIONS.map(|direction| case(peers, direction));
        peers.iter().copied().flat_map(both).collect()
    }

    /// The server in the shipped program, senders at random.
    pub(super) fn of_server() -> Vec<Self> {
        let case = |name: &str, ports, frame, senders, reason| Self {
            name: name.into(),
            kind: Kind::Served {
                ports,
                frame,
                senders,
                reason,
            },
        };
        let solicited = |name, senders| {
            case(
                name,
                Ports::Two,
                frame::solicitation(),
                senders,
                Reason::Advertised,
            )
        };
        let bubble = |name, ports| {
            case(
                name,
                ports,
                frame::bubble(),
                ONE.0,
                Reason::ForwardedToClient,
            )
        };
        vec![
            solicited("rs-ra/1", ONE.0),
            solicited("rs-ra/1M", MILLION.0),
            bubble("bubble/1", Ports::Two),
            bubble("bubble-one-port/1", Ports::One),
        ]
    }

    /// The shipped program on packets of different kinds, whole inner packets of so many bytes, one peer.
    pub(super) fn by_packet() -> Vec<Self> {
        let packets = [
            (Protocol::Tcp, "tcp", 60),
            (Protocol::Udp, "udp", 576),
            (Protocol::Icmp6, "icmp6", 1280),
        ];
        let case = |(direction, name), (protocol, kind, len)| Self {
            name: format!("{name}-{kind}-{len}"),
            kind: Kind::Carried {
                which: Which::Shipped,
                direction,
                ports: Ports::Two,
                frame: frame::carried(direction, protocol, len),
                peers: 1,
                drawn: Drawn::Uniform,
            },
        };
        let both = |direction| packets.map(|packet| case(direction, packet));
        DIRECTIONS.map(both).into_iter().flatten().collect()
    }

    /// Nanoseconds a packet, once.
    ///
    /// # Errors
    /// The kernel's refusal, or packets that ended otherwise than they should.
    pub(super) fn measure(&self, rig: &mut Rig, packets: u32) -> Result<f64> {
        let foreign = frame::foreign_ipv6();
        match &self.kind {
            Kind::Empty => rig.quickest(packets, |rig, _, packets| {
                let ns = rig.companion().run_empty(&foreign, packets)?;
                Ok([ns, 0.0])
            }),
            Kind::ParseSwapTx => rig.quickest(packets, |rig, _, packets| {
                let ns = rig.companion().run_parse_swap_tx(&foreign, packets)?;
                Ok([ns, 0.0])
            }),
            Kind::ColdLine => rig.quickest(packets, |rig, seed, packets| {
                rig.companion().run_cold_line(&foreign, seed, packets)
            }),
            Kind::Untouched { frame, reason } => rig.run_untouched(frame, packets, *reason),
            Kind::Served {
                ports,
                frame,
                senders,
                reason,
            } => {
                let load = Load {
                    direction: Direction::ToServer,
                    ports: *ports,
                    frame,
                    peers: *senders,
                    drawn: Drawn::Uniform,
                    seed: 0,
                    packets,
                };
                rig.run_served(load, *reason)
            }
            Kind::Carried {
                which,
                direction,
                ports,
                frame,
                peers,
                drawn,
            } => rig.run_carried(
                *which,
                Load {
                    direction: *direction,
                    ports: *ports,
                    frame,
                    peers: *peers,
                    drawn: *drawn,
                    seed: 0,
                    packets,
                },
            ),
        }
    }
}

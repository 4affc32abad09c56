//! A case: a relay's settings, its trusted peers, and frames that arrive one after the other.

use std::net::{Ipv6Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

/// A peer is valid this long after the last reception.
pub(crate) const STALE_NS: u64 = 30_000_000_000;
/// A peer spoken to is probed early when it was not heard this long.
pub(crate) const PROBE_NS: u64 = 20_000_000_000;
/// The peer table's unit of time.
pub(crate) const TICK_NS: u64 = 1 << 28;

/// Whether a peer heard at `heard_ns` is fresh even for somebody who counts whole ticks and rounds down.
pub(crate) fn is_fresh_to_the_tick(now_ns: u64, heard_ns: u64) -> bool {
    now_ns / TICK_NS - heard_ns / TICK_NS < STALE_NS / TICK_NS
}

/// What the program is loaded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Program {
    /// The defaults.
    Plain,
    /// A tunnel MTU larger than what links carry, and next hops kept.
    Jumbo,
    /// Sockets that take no large frame.
    SmallSocket,
    /// Prefixes of native hosts, clients and servers that are served, and some in them that are not.
    Guarded,
}

/// Which IPv4 addresses a relay may send to, and which of its bounds are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Policy {
    /// Global unicast alone.
    Strict,
    /// Documentation ranges are opened; some addresses in them are the machine's own or broadcasts.
    Lab,
    /// Everything is opened that can be, and bubbles carry no nonce.
    Open,
    /// No room for peers that are not trusted.
    NoRoom,
    /// No new peer may be added.
    NoNewPeers,
    /// No bubble may be sent.
    NoBubbles,
    /// One packet waits for a peer.
    ShortQueues,
}

/// All programs, by number.
pub(crate) const PROGRAMS: [Program; 4] = [
    Program::Plain,
    Program::Jumbo,
    Program::SmallSocket,
    Program::Guarded,
];

/// All policies.
pub(crate) const POLICIES: [Policy; 7] = [
    Policy::Strict,
    Policy::Lab,
    Policy::Open,
    Policy::NoRoom,
    Policy::NoNewPeers,
    Policy::NoBubbles,
    Policy::ShortQueues,
];

/// A prefix, its length, and whether who lies in it is served.
pub(crate) type Served<A> = (A, u8, bool);

/// What a relay was told, in plain numbers.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Address and port of the service socket.
    pub(crate) service: (u32, u16),
    /// Largest inner packet.
    pub(crate) mtu: usize,
    /// Largest frame that can be punted.
    pub(crate) punt_frame_max: usize,
    /// Opened ranges: prefix and its length.
    pub(crate) opened: Vec<(u32, u32)>,
    /// Addresses of this machine beside the service address.
    pub(crate) own: Vec<u32>,
    /// Broadcast addresses of attached subnets.
    pub(crate) broadcasts: Vec<u32>,
    /// Which native hosts are served; nothing in a list means everybody.
    pub(crate) natives: Vec<Served<u128>>,
    /// Which clients, by IPv4 address.
    pub(crate) clients: Vec<Served<u32>>,
    /// The clients of which servers.
    pub(crate) servers: Vec<Served<u32>>,
    /// Which bound is reached.
    policy: Policy,
    /// Packets that wait for one peer.
    pub(crate) queue_packets: usize,
    /// Their bytes.
    pub(crate) queue_bytes: usize,
}

impl Rules {
    /// The rules of a relay under `program` and `policy`.
    pub(crate) fn of(program: Program, policy: Policy) -> Self {
        let (port, mtu, punt_frame_max) = match program {
            Program::Plain => (3545, 1280, 2048),
            Program::Jumbo => (40001, 4000, 3000),
            Program::SmallSocket => (3544, 1400, 200),
            Program::Guarded => (3545, 1400, 2048),
        };
        let is_guarded = program == Program::Guarded;
        let lab = vec![(0xc633_6400, 24), (0xc000_0200, 24), (0xcb00_7100, 24)];
        Self {
            service: (0xcb00_7109, port),
            mtu,
            punt_frame_max,
            opened: match policy {
                Policy::Strict => vec![],
                Policy::Open => vec![(0, 0)],
                _ => lab,
            },
            own: vec![0xc633_6409, 0x0808_0404],
            broadcasts: vec![0xc633_643f, 0x0808_04ff],
            natives: if is_guarded { natives() } else { vec![] },
            clients: if is_guarded {
                vec![(0xc633_6480, 25, false), (0x0808_0800, 24, false)]
            } else {
                vec![]
            },
            servers: if is_guarded {
                vec![(0xc000_0200, 24, true), (0x5db8_0000, 16, true)]
            } else {
                vec![]
            },
            policy,
            queue_packets: if policy == Policy::ShortQueues { 1 } else { 16 },
            queue_bytes: 16 << 10,
        }
    }

    /// Bubbles carry nonces.
    pub(crate) fn has_nonces(&self) -> bool {
        self.policy != Policy::Open
    }

    /// Peers that are not trusted can be remembered.
    pub(crate) fn has_room(&self) -> bool {
        self.policy != Policy::NoRoom
    }

    /// New peers may be added.
    pub(crate) fn may_add(&self) -> bool {
        self.policy != Policy::NoNewPeers
    }

    /// Bubbles may be sent.
    pub(crate) fn may_bubble(&self) -> bool {
        self.policy != Policy::NoBubbles
    }
}

/// Prefixes of native hosts, one in the other.
fn natives() -> Vec<Served<u128>> {
    let of =
        |address: [u16; 8], len, is_served| (Ipv6Addr::from(address).to_bits(), len, is_served);
    vec![
        of([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, true),
        of([0x2001, 0xdb8, 0x30, 0, 0, 0, 0, 0], 47, false),
        of([0x2001, 0xdb8, 0x30, 0, 0, 0, 0, 0xc0], 122, true),
        of([0x2001, 0xdb8, 0x30, 0, 0, 0, 0, 0xf0], 124, false),
        of([0x2a00, 0, 0, 0, 0, 0, 0, 0], 9, true),
    ]
}

/// A trusted peer at the beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peer {
    /// Its Teredo address.
    pub(crate) address: Ipv6Addr,
    /// Where it was heard from.
    pub(crate) mapped: SocketAddrV4,
    /// Ticks since then.
    pub(crate) age_ticks: u64,
}

/// The port a frame arrives at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Port {
    Wan,
    Lan,
}

/// What of the relay's last bubble to a peer is written into a frame when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// Its source, 16 bytes.
    Cookie,
    /// The nonce behind it, 4 bytes.
    Nonce,
}

/// Bytes of a frame that follow from what the relay said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Patch {
    /// Where in the frame.
    pub(crate) at: usize,
    /// What.
    pub(crate) answer: Answer,
    /// The peer the bubble went to.
    pub(crate) peer: Ipv6Addr,
}

/// A frame that arrives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) port: Port,
    #[serde(with = "hex")]
    pub(crate) frame: Vec<u8>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) patches: Vec<Patch>,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) program: Program,
    pub(crate) policy: Policy,
    pub(crate) peers: Vec<Peer>,
    pub(crate) steps: Vec<Step>,
}

/// Bytes as a string of hexadecimal digits.
mod hex {
    use std::fmt::Write as _;

    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        let mut digits = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            write!(digits, "{byte:02x}").expect("strings take everything");
        }
        to.serialize_str(&digits)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let digits = String::deserialize(from)?;
        (0..digits.len())
            .step_by(2)
            .map(|at| {
                let pair = digits.get(at..at + 2).unwrap_or("");
                u8::from_str_radix(pair, 16).map_err(D::Error::custom)
            })
            .collect()
    }
}

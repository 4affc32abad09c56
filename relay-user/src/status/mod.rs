//! What a running relay says about itself: the types behind `shipworm status --json` and `shipworm peers --json`.
//!
//! Their JSON is an interface: fields are added, never renamed or given another meaning. `docs/operations.md` has the
//! table of fields, which a test compares with these types.

mod peers;
mod reasons;
mod render;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

pub use peers::{PeerRow, PeerState, Peers};
pub use reasons::{Count, PathCounts, ReasonCounts, Reasons};
pub use render::{render_peers, render_status};

/// A daemon at one moment. Counters start at 0 with the daemon; those of a fast path that outlived another go on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Process identifier of the daemon.
    pub pid: u32,
    /// Seconds since the daemon could first carry traffic.
    pub uptime_s: u64,
    /// What the daemon is doing.
    pub state: State,
    /// IPv4 address and UDP port everything from the relay to clients leaves from; null where there is no relay.
    pub service_address: Option<SocketAddrV4>,
    /// Source of ICMPv6 errors; null where there is no relay.
    pub native_address: Option<Ipv6Addr>,
    /// The server; null where there is none.
    pub server: Option<Server>,
    /// How packets are carried.
    pub datapath: Datapath,
    /// The interfaces the relay serves, in the order they were named.
    pub interfaces: Vec<Interface>,
    /// Sentences an operator should read; empty when all is well.
    pub warnings: Vec<String>,
    /// Capacity of the table of trusted peers.
    pub max_peers: u32,
    /// Peers by state.
    pub peers: PeerCounts,
    /// What waits for peers to answer.
    pub queued: Count,
    /// Data carried, by direction and path; a sum over some of `reasons`.
    pub traffic: Traffic,
    /// Every reason, zeros included, in the order of the enumeration.
    pub reasons: Reasons,
    /// Bubbles sent.
    pub bubbles_sent: u64,
    /// Bubbles put off because neither answers nor packets had paid for them: many clients do not answer.
    #[serde(default)]
    pub repeats_unpaid: u64,
    /// ICMPv6 errors to native hosts.
    pub icmp6: Icmp6Counts,
    /// How long the slow path took over single packets, in microseconds.
    pub latency_us: Latencies,
    /// What the AF_XDP sockets saw; zeros with `--datapath userspace`.
    pub punt_sockets: PuntSockets,
    /// Answers of the kernel the fast path keeps; zeros with `--datapath userspace`.
    pub next_hops: NextHops,
}

/// The server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The address clients are configured with.
    pub primary: Ipv4Addr,
    /// The other address (S-1).
    pub secondary: Ipv4Addr,
    /// Client identifiers with a secret (S-20).
    pub client_ids: u64,
    /// Whether only clients with credentials are answered.
    pub requires_credentials: bool,
}

/// What a daemon is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Carrying traffic.
    #[default]
    Running,
    /// Shutting down: the route is withdrawn, queues are dropped.
    Stopping,
}

/// How packets are carried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Datapath {
    /// What was asked for: xdp, xdp-generic, auto or userspace.
    pub requested: String,
    /// What runs: xdp, xdp-generic or userspace.
    pub active: String,
    /// Why `auto` does not run `xdp`; null where nothing fell back.
    pub fell_back: Option<String>,
    /// Directory in which program and peers outlive the daemon; null where they end with it.
    pub pinned_in: Option<String>,
}

/// An interface the relay serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Interface index.
    pub ifindex: u32,
    /// Name of the port that receives its frames: itself, or the port below a VLAN device.
    pub port: String,
    /// Driver of the port; empty where it has none.
    pub driver: String,
    /// How frames are taken there: xdp, xdp-generic or userspace.
    pub mode: String,
    /// Receive queues with an AF_XDP socket.
    pub queues: u32,
}

/// Peers by state. Fresh and stale ones are trusted and count towards `max_peers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerCounts {
    /// Trusted and heard in the last 30 s: the fast path carries their data.
    pub fresh: u64,
    /// Trusted, but not heard for 30 s: probed again before data is sent.
    pub stale: u64,
    /// Asked by bubbles, no answer yet.
    pub probing: u64,
    /// Did not answer four bubbles; left alone for a while.
    pub blocked: u64,
}

/// Data carried through the tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Native IPv6 to clients.
    pub encapsulated: PathCounts,
    /// Clients to native IPv6.
    pub decapsulated: PathCounts,
    /// By the server: bubbles and small ICMPv6 messages to clients, echoes to native IPv6.
    #[serde(default)]
    pub served: PathCounts,
}

impl Traffic {
    /// Part of the packets the fast path carried, 0 to 1; `None` before the first packet.
    pub fn fast_share(&self) -> Option<f64> {
        let fast = self.encapsulated.fast.packets + self.decapsulated.fast.packets;
        let all = fast + self.encapsulated.slow.packets + self.decapsulated.slow.packets;
        #[expect(clippy::cast_precision_loss, reason = "a share for display")]
        (all > 0).then(|| fast as f64 / all as f64)
    }
}

/// ICMPv6 errors to native hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Icmp6Counts {
    /// Sent.
    pub sent: u64,
    /// Due, but held back by the rate limit.
    pub suppressed: u64,
}

/// How long the slow path took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies {
    /// From the frame of a new peer's first packet to its bubble on the socket.
    pub frame_to_bubble: Percentiles,
    /// From a peer's answer to the last of its queued packets on the socket.
    pub answer_to_queue: Percentiles,
}

/// A distribution of times in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Times measured.
    pub count: u64,
    /// Half are no longer than this.
    pub p50: u64,
    /// 90 % are no longer than this.
    pub p90: u64,
    /// 99 % are no longer than this.
    pub p99: u64,
    /// 99.9 % are no longer than this.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

/// What the AF_XDP sockets of all queues saw, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PuntSockets {
    /// Frames read from the sockets.
    pub received: u64,
    /// Frames the kernel dropped for a reason of its own (`rx_dropped`).
    pub rx_dropped: u64,
    /// Frames the kernel dropped because the receive ring was full (`rx_ring_full`).
    pub ring_full: u64,
    /// Times the kernel found no free buffer (`rx_fill_ring_empty_descs`).
    pub fill_empty: u64,
    /// Frames sent through the sockets: packets that waited for their peer.
    pub sent: u64,
}

/// Next hops the fast path keeps instead of asking the kernel for the route of each packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHops {
    /// In use.
    pub live: u32,
    /// No longer true, and not yet forgotten by all who knew them.
    pub retired: u32,
    /// Whether those of packets to clients are kept: the IPv4 routes look at nothing but addresses and ports.
    pub ipv4: bool,
    /// Whether those of packets from clients are kept: the IPv6 routes look at nothing but the destination.
    pub ipv6: bool,
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fmt::Write;

    use relay_common::{Counter, Reason};
    use serde_json::Value;

    use super::*;
    use crate::docs;

    /// A relay that has carried something.
    pub(crate) fn sample() -> Status {
        let mut fast = vec![Counter::default(); Reason::COUNT];
        let mut slow = fast.clone();
        let count = |packets, bytes| Counter { packets, bytes };
        fast[Reason::Encapsulated as usize] = count(9_900, 9_900_000);
        fast[Reason::Decapsulated as usize] = count(9_990, 999_000);
        fast[Reason::NotOurs as usize] = count(77, 7_700);
        slow[Reason::Encapsulated as usize] = count(60, 6_000);
        slow[Reason::EncapsulatedFromQueue as usize] = count(40, 4_000);
        slow[Reason::Decapsulated as usize] = count(10, 1_000);
        slow[Reason::PeerUnknown as usize] = count(3, 300);
        let reasons = Reasons::new(&fast, &slow);
        Status {
            version: "0.1.0".to_owned(),
            pid: 4711,
            uptime_s: 93_784,
            state: State::Running,
            service_address: Some("203.0.113.18:3545".parse().expect("an address")),
            native_address: Some("2001:db8::18".parse().expect("an address")),
            server: Some(Server {
                primary: Ipv4Addr::new(203, 0, 113, 5),
                secondary: Ipv4Addr::new(203, 0, 113, 6),
                client_ids: 2,
                requires_credentials: false,
            }),
            datapath: Datapath {
                requested: "auto".to_owned(),
                active: "xdp-generic".to_owned(),
                fell_back: Some("eth0: driver e1000 has no XDP".to_owned()),
                pinned_in: Some("/sys/fs/bpf/shipworm/netns-4026531833".to_owned()),
            },
            interfaces: vec![Interface {
                name: "eth0".to_owned(),
                ifindex: 2,
                port: "eth0".to_owned(),
                driver: "e1000".to_owned(),
                mode: "xdp-generic".to_owned(),
                queues: 1,
            }],
            warnings: vec!["eth0: generic XDP is slow".to_owned()],
            max_peers: 1 << 20,
            peers: PeerCounts {
                fresh: 12,
                stale: 3,
                probing: 2,
                blocked: 1,
            },
            queued: Count {
                packets: 4,
                bytes: 416,
            },
            traffic: reasons.traffic(),
            reasons,
            bubbles_sent: 25,
            repeats_unpaid: 3,
            icmp6: Icmp6Counts {
                sent: 5,
                suppressed: 1,
            },
            latency_us: Latencies {
                frame_to_bubble: Percentiles {
                    count: 18,
                    p50: 41,
                    p90: 60,
                    p99: 88,
                    p999: 90,
                    max: 91,
                },
                answer_to_queue: Percentiles::default(),
            },
            punt_sockets: PuntSockets {
                received: 110,
                sent: 7,
                ..PuntSockets::default()
            },
            next_hops: NextHops {
                live: 2,
                retired: 1,
                ipv4: true,
                ipv6: false,
            },
        }
    }

    /// The paths of all fields, with one line for the elements of a list and one for all reasons.
    fn paths(prefix: &str, value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    let name = if prefix == "reasons" { "*" } else { name };
                    let path = if prefix.is_empty() {
                        name.to_owned()
                    } else {
                        format!("{prefix}.{name}")
                    };
                    paths(&path, field, into);
                }
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                paths(&format!("{prefix}[]"), &items[0], into);
            }
            _ if into.contains(&prefix.to_owned()) => (),
            _ => into.push(prefix.to_owned()),
        }
    }

    #[test]
    fn status_survives_its_json() {
        let status = sample();
        let json = serde_json::to_string(&status).expect("serializable");
        assert!(!json.contains('\n'));
        assert_eq!(
            serde_json::from_str::<Status>(&json).expect("readable"),
            status
        );
    }

    #[test]
    fn every_field_of_the_json_is_documented() {
        let text = docs::read("operations.md");
        let mut fields = Vec::new();
        let json = serde_json::to_value(sample()).expect("serializable");
        paths("", &json, &mut fields);
        let peers = serde_json::to_value(peers::tests::sample()).expect("serializable");
        paths("", &peers, &mut fields);
        for field in fields {
            assert!(
                text.contains(&format!("| `{field}` |")),
                "docs/operations.md lacks the field {field}"
            );
        }
    }

    #[test]
    fn every_reason_is_documented() {
        let mut table = String::from("| reason | kind | meaning |\n|---|---|---|\n");
        for reason in Reason::ALL {
            writeln!(
                table,
                "| `{}` | {} | {} |",
                reason.as_str(),
                reason.kind().as_str(),
                reason.description()
            )
            .expect("writing to a string");
        }
        docs::assert_generated("operations.md", "reasons", &table);
    }

    #[test]
    fn the_share_of_the_fast_path_counts_packets_of_both_directions() {
        assert_eq!(Traffic::default().fast_share(), None);
        let share = sample().traffic.fast_share().expect("packets were carried");
        assert!((share - 19_890.0 / 20_000.0).abs() < 1e-9, "{share}");
    }
}

//! What is measured.

use anyhow::Result;
use relay_common::Reason;

use crate::frame;
use crate::rig::{Companion, Rig};

/// One measurement.
pub(crate) enum Case {
    /// An empty program: what the system call itself costs a packet.
    Empty,
    /// A frame the program leaves as it is.
    Untouched {
        name: &'static str,
        frame: Vec<u8>,
        reason: Reason,
    },
    /// A frame the program carries, to or from a random one of `peers` peers.
    Carried {
        name: &'static str,
        companion: Companion,
        frame: Vec<u8>,
        reason: Reason,
        peers: u32,
    },
}

impl Case {
    /// Every case, with up to `peers_max` peers in use.
    pub(crate) fn all(peers_max: u32) -> Vec<Self> {
        let untouched = |name, frame, reason| Self::Untouched {
            name,
            frame,
            reason,
        };
        let mut cases = vec![
            Self::Empty,
            untouched("foreign IPv6", frame::foreign_ipv6(), Reason::NotOurs),
            untouched("foreign IPv4", frame::foreign_ipv4(), Reason::NotOurs),
            untouched("punt", frame::to_stranger(), Reason::PuntPeerUnknown),
        ];
        for peers in [1, 1 << 10, 1 << 16, 1 << 20, 1 << 22] {
            if peers > peers_max {
                break;
            }
            cases.push(Self::Carried {
                name: "encap",
                companion: Companion::Native,
                frame: frame::to_client(),
                reason: Reason::Encapsulated,
                peers,
            });
            cases.push(Self::Carried {
                name: "decap",
                companion: Companion::Client,
                frame: frame::from_client(),
                reason: Reason::Decapsulated,
                peers,
            });
        }
        cases
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Empty => "empty program".into(),
            Self::Untouched { name, .. } => (*name).into(),
            Self::Carried { name, peers, .. } => format!("{name}/{peers}"),
        }
    }

    /// Nanoseconds a packet, once.
    pub(crate) fn measure(&self, rig: &mut Rig, packets: u32) -> Result<f64> {
        match self {
            Self::Empty => rig.run_empty(&frame::foreign_ipv6(), packets),
            Self::Untouched { frame, reason, .. } => rig.run_relay(frame, packets, *reason),
            Self::Carried {
                companion,
                frame,
                reason,
                peers,
                ..
            } => {
                let total = rig.run_behind(*companion, frame, *peers, packets, *reason)?;
                Ok(total - rig.run_companion_alone(*companion, frame, *peers, packets)?)
            }
        }
    }
}

//! The list of peers.

use std::net::{Ipv6Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

/// Some of the relay's peers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers {
    /// How many there are, listed or not.
    pub total: u64,
    /// Those listed, at most as many as were asked for.
    pub peers: Vec<PeerRow>,
}

/// One peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRow {
    /// Its Teredo address.
    pub address: Ipv6Addr,
    /// Where data to it goes: learned from its packets, or the one in its address while it is not trusted.
    pub mapped: SocketAddrV4,
    /// What the relay thinks of it.
    pub state: PeerState,
    /// Seconds since it was last heard; null if never.
    pub last_rx_age_s: Option<u64>,
    /// Bubbles sent to it since it last answered.
    pub bubbles: u32,
    /// Packets that wait for its answer.
    pub queued_packets: u32,
}

/// What the relay thinks of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerState {
    /// Trusted and heard in the last 30 s.
    Fresh,
    /// Trusted, but not heard for 30 s.
    Stale,
    /// Asked by bubbles, no answer yet.
    Probing,
    /// Did not answer four bubbles.
    Blocked,
}

impl PeerState {
    /// The name in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Probing => "probing",
            Self::Blocked => "blocked",
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn sample() -> Peers {
        Peers {
            total: 7,
            peers: vec![
                PeerRow {
                    address: "2001:0:c633:6462:2093:63bf:39cc:9bf8"
                        .parse()
                        .expect("an address"),
                    mapped: "198.51.100.7:40000".parse().expect("an address"),
                    state: PeerState::Fresh,
                    last_rx_age_s: Some(3),
                    bubbles: 0,
                    queued_packets: 0,
                },
                PeerRow {
                    address: "2001:0:c633:6462::1".parse().expect("an address"),
                    mapped: "198.51.100.8:40001".parse().expect("an address"),
                    state: PeerState::Probing,
                    last_rx_age_s: None,
                    bubbles: 2,
                    queued_packets: 5,
                },
            ],
        }
    }

    #[test]
    fn states_have_one_name_in_tables_and_json() {
        for state in [
            PeerState::Fresh,
            PeerState::Stale,
            PeerState::Probing,
            PeerState::Blocked,
        ] {
            let json = serde_json::to_value(state).expect("serializable");
            assert_eq!(json, state.as_str());
        }
    }

    #[test]
    fn peers_survive_their_json() {
        let json = serde_json::to_string(&sample()).expect("serializable");
        assert_eq!(
            serde_json::from_str::<Peers>(&json).expect("readable"),
            sample()
        );
    }
}

//! The parts of `shipworm status --json` that the table shows.

use std::collections::BTreeMap;
use std::ops::Add;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// The relay at one moment.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Status {
    /// What the daemon is doing.
    pub state: String,
    /// How packets are carried.
    pub datapath: Datapath,
    /// Peers by state.
    pub peers: Peers,
    /// Data carried.
    pub traffic: Traffic,
    /// Counters by reason.
    pub reasons: BTreeMap<String, Reason>,
    /// Bubbles sent.
    pub bubbles_sent: u64,
    /// How long the slow path took, in microseconds.
    pub latency_us: Latencies,
}

/// How packets are carried.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Datapath {
    /// What runs.
    pub active: String,
}

/// Peers by state.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Peers {
    /// Trusted and heard lately.
    pub fresh: u64,
    /// Trusted, not heard lately.
    pub stale: u64,
    /// Asked by bubbles.
    pub probing: u64,
    /// Did not answer.
    pub blocked: u64,
}

/// Data carried, by direction.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Traffic {
    /// To clients.
    pub encapsulated: Paths,
    /// From clients.
    pub decapsulated: Paths,
}

/// Counters of both paths.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Paths {
    /// In the XDP program.
    pub fast: Count,
    /// In user space.
    pub slow: Count,
}

/// Packets and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            packets: self.packets + other.packets,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// One reason.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Reason {
    /// What it means for a packet.
    pub kind: String,
    /// Counted by the XDP program.
    pub fast: Count,
    /// Counted by user space.
    pub slow: Count,
}

/// How long the slow path took.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Latencies {
    /// From a new peer's first packet to its bubble.
    pub frame_to_bubble: Percentiles,
    /// From a peer's answer to the last of its queued packets.
    pub answer_to_queue: Percentiles,
}

/// Times in microseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Percentiles {
    /// Times measured.
    pub count: u64,
    /// Half are no longer.
    pub p50: u64,
    /// 99 % are no longer.
    pub p99: u64,
}

impl Status {
    /// Reads what the daemon said.
    ///
    /// # Errors
    /// A field is missing or of another type.
    pub fn read(json: &Value) -> Result<Self> {
        Self::deserialize(json).context("the JSON of `shipworm status`")
    }
}

impl Traffic {
    /// Part of the packets the fast path carried, in percent; `None` before the first.
    pub fn fast_percent(&self) -> Option<f64> {
        let fast = self.encapsulated.fast + self.decapsulated.fast;
        let all = fast + self.encapsulated.slow + self.decapsulated.slow;
        #[expect(clippy::cast_precision_loss, reason = "a share for display")]
        (all.packets > 0).then(|| 100.0 * fast.packets as f64 / all.packets as f64)
    }
}

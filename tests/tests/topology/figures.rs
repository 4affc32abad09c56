//! What the relay and its drivers have counted.

use lab::Node;
use lab::shipworm::Relay;
use relay_common::{Kind, Reason};
use serde_json::Value;

/// A relay's status at one moment.
pub(crate) struct Figures(Value);

impl Figures {
    pub(crate) fn of(relay: &Relay<'_>) -> Self {
        Self(relay.status().unwrap())
    }

    /// Packets the XDP program counted for `reason`.
    pub(crate) fn fast(&self, reason: Reason) -> u64 {
        self.packets(reason, "fast")
    }

    /// Packets user space counted for `reason`.
    pub(crate) fn slow(&self, reason: Reason) -> u64 {
        self.packets(reason, "slow")
    }

    /// Every packet the XDP program counted.
    pub(crate) fn all_fast(&self) -> u64 {
        Reason::ALL.iter().map(|reason| self.fast(*reason)).sum()
    }

    /// Packets dropped on either path, but for the kernel's own multicast listener reports, which it sends into any
    /// new device.
    pub(crate) fn dropped(&self) -> Vec<(Reason, u64)> {
        Reason::ALL
            .iter()
            .filter(|reason| reason.kind() == Kind::Dropped)
            .filter(|reason| **reason != Reason::DestinationMulticast)
            .map(|reason| (*reason, self.fast(*reason) + self.slow(*reason)))
            .filter(|(_, packets)| *packets > 0)
            .collect()
    }

    /// Share of the packets towards clients, and of those from them, that the XDP program carried.
    pub(crate) fn fast_shares(&self) -> [f64; 2] {
        ["encapsulated", "decapsulated"].map(|direction| {
            let [fast, slow] = ["fast", "slow"].map(|path| {
                let packets = &self.0["traffic"][direction][path]["packets"];
                f64::from(u32::try_from(packets.as_u64().unwrap()).unwrap())
            });
            fast / (fast + slow)
        })
    }

    /// What is known of kept next hops, for messages.
    pub(crate) fn kept(&self) -> &Value {
        &self.0["next_hops"]
    }

    /// Next hops the fast path keeps.
    pub(crate) fn live(&self) -> u64 {
        self.0["next_hops"]["live"].as_u64().unwrap()
    }

    /// Frames user space has sent past the kernel.
    pub(crate) fn sent_past_kernel(&self) -> u64 {
        self.0["punt_sockets"]["sent"].as_u64().unwrap()
    }

    /// Whether next hops are kept for packets to clients, and for those from them.
    pub(crate) fn keeps(&self) -> [bool; 2] {
        ["ipv4", "ipv6"].map(|family| self.0["next_hops"][family].as_bool().unwrap())
    }

    fn packets(&self, reason: Reason, path: &str) -> u64 {
        self.0["reasons"][reason.as_str()][path]["packets"]
            .as_u64()
            .unwrap()
    }
}

/// A counter of a driver, summed over its queues: `xdp_tx` is that of `rx_queue_0_xdp_tx` and so on.
pub(crate) fn driver_counter(node: &Node, interface: &str, name: &str) -> u64 {
    let table = node.run(["ethtool", "-S", interface]).unwrap();
    table
        .lines()
        .filter_map(|line| line.trim().split_once(": "))
        .filter(|(key, _)| {
            key.strip_prefix("rx_queue_")
                .and_then(|rest| rest.split_once('_'))
                .is_some_and(|(_, counter)| counter == name)
        })
        .map(|(_, value)| value.parse::<u64>().unwrap())
        .sum()
}

//! Counters by reason and path, in the order of the enumeration.

use std::fmt;

use relay_common::{Counter, Reason};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Traffic;

/// Packets and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes: of the inner IPv6 packet where one was carried, else of the frame or payload.
    pub bytes: u64,
}

impl From<Counter> for Count {
    fn from(c: Counter) -> Self {
        Self {
            packets: c.packets,
            bytes: c.bytes,
        }
    }
}

impl std::ops::Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }
}

/// The two paths a packet can take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathCounts {
    /// In the XDP program.
    pub fast: Count,
    /// In user space.
    pub slow: Count,
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonCounts {
    /// What it means for the packet: forwarded, consumed, passed, punted or dropped.
    pub kind: String,
    /// Counted by the XDP program.
    pub fast: Count,
    /// Counted by user space.
    pub slow: Count,
}

/// Counters of every reason. In JSON a map from its name, in the order of the enumeration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons(Vec<(String, ReasonCounts)>);

impl Reasons {
    /// From the counters of both paths, each indexed by [`Reason`]; what is missing at the end counts as 0.
    pub fn new(fast: &[Counter], slow: &[Counter]) -> Self {
        let count = |counters: &[Counter], reason: Reason| {
            counters
                .get(reason as usize)
                .copied()
                .unwrap_or_default()
                .into()
        };
        let row = |reason: &Reason| {
            let counts = ReasonCounts {
                kind: reason.kind().as_str().to_owned(),
                fast: count(fast, *reason),
                slow: count(slow, *reason),
            };
            (reason.as_str().to_owned(), counts)
        };
        Self(Reason::ALL.iter().map(row).collect())
    }

    /// Name and counters of every reason.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ReasonCounts)> {
        self.0.iter().map(|(name, counts)| (name.as_str(), counts))
    }

    /// The counters of `reason`; zeros when the daemon does not know it.
    pub fn of(&self, reason: Reason) -> PathCounts {
        let found = self.iter().find(|(name, _)| *name == reason.as_str());
        found.map_or_else(PathCounts::default, |(_, counts)| PathCounts {
            fast: counts.fast,
            slow: counts.slow,
        })
    }

    /// The data carried: the reasons of kind `forwarded`, by direction.
    pub fn traffic(&self) -> Traffic {
        let sum = |one: Reason, other: Reason| {
            let (one, other) = (self.of(one), self.of(other));
            PathCounts {
                fast: one.fast + other.fast,
                slow: one.slow + other.slow,
            }
        };
        Traffic {
            encapsulated: sum(Reason::Encapsulated, Reason::EncapsulatedFromQueue),
            decapsulated: self.of(Reason::Decapsulated),
            served: sum(Reason::ForwardedToClient, Reason::ForwardedToNative),
        }
    }
}

impl Serialize for Reasons {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, counts) in &self.0 {
            map.serialize_entry(name, counts)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Reasons {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Reasons;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of reasons")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Reasons, A::Error> {
                let mut rows = Vec::with_capacity(Reason::COUNT);
                while let Some(row) = map.next_entry()? {
                    rows.push(row);
                }
                Ok(Reasons(rows))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters() -> Vec<Counter> {
        (0..Reason::COUNT as u64)
            .map(|n| Counter {
                packets: n,
                bytes: 10 * n,
            })
            .collect()
    }

    #[test]
    fn every_reason_is_there_in_order_zeros_included() {
        let reasons = Reasons::new(&[], &[]);
        let names: Vec<&str> = reasons.iter().map(|(name, _)| name).collect();
        let wanted: Vec<&str> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(names, wanted);
    }

    #[test]
    fn the_order_survives_json() {
        let reasons = Reasons::new(&counters(), &[]);
        let json = serde_json::to_string(&reasons).expect("serializable");
        let mut last = 0;
        for reason in Reason::ALL {
            let at = json
                .find(&format!("\"{}\":", reason.as_str()))
                .expect("in the JSON");
            assert!(at > last);
            last = at;
        }
        assert_eq!(
            serde_json::from_str::<Reasons>(&json).expect("readable"),
            reasons
        );
    }

    #[test]
    fn traffic_is_the_sum_of_the_forwarded_reasons() {
        let reasons = Reasons::new(&[], &counters());
        let forwarded: u64 = Reason::ALL
            .iter()
            .filter(|r| r.kind() == relay_common::Kind::Forwarded)
            .map(|r| *r as u64)
            .sum();
        let traffic = reasons.traffic();
        let carried = traffic.encapsulated.slow + traffic.decapsulated.slow + traffic.served.slow;
        assert_eq!(carried.packets, forwarded);
        assert_eq!(carried.bytes, 10 * forwarded);
    }

    #[test]
    fn a_reason_the_daemon_does_not_know_counts_as_zero() {
        let old: Reasons = serde_json::from_str("{}").expect("readable");
        assert_eq!(old.of(Reason::Encapsulated), PathCounts::default());
    }
}

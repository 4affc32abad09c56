//! What a role counted.

use crate::Fate;

/// Packets and bytes of one fate. Bytes are those of the inner packet where there was one, else
/// of what was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Packets and bytes by fate (invariant 4): what was received is what is here plus what waits
/// in queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally([Count; Fate::COUNT]);

impl Default for Tally {
    fn default() -> Self {
        Self([Count::default(); Fate::COUNT])
    }
}

impl Tally {
    /// What met `fate`.
    pub const fn get(&self, fate: Fate) -> Count {
        self.0[fate as usize]
    }

    /// Every fate with its count, in declaration order.
    pub fn iter(&self) -> impl Iterator<Item = (Fate, Count)> + '_ {
        Fate::ALL.iter().copied().zip(self.0.iter().copied())
    }

    /// All fates together.
    pub fn total(&self) -> Count {
        self.0.iter().fold(Count::default(), |sum, count| Count {
            packets: sum.packets + count.packets,
            bytes: sum.bytes + count.bytes,
        })
    }

    pub(crate) fn add(&mut self, fate: Fate, bytes: usize) {
        let count = &mut self.0[fate as usize];
        count.packets += 1;
        count.bytes += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fate_has_its_own_count() {
        let mut tally = Tally::default();
        tally.add(Fate::Encapsulated, 100);
        tally.add(Fate::Encapsulated, 20);
        tally.add(Fate::ShutDown, 1);
        assert_eq!(
            tally.get(Fate::Encapsulated),
            Count {
                packets: 2,
                bytes: 120
            }
        );
        assert_eq!(tally.get(Fate::PeerBlocked), Count::default());
        assert_eq!(
            tally.total(),
            Count {
                packets: 3,
                bytes: 121
            }
        );
        assert_eq!(tally.iter().count(), Fate::COUNT);
    }
}

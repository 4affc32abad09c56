//! Counts that keep one native network from taking all of a relay.

use hashbrown::HashMap;

use crate::shared::keyed::Keyed;

/// The /64 of a native host.
pub(super) type SourcePrefix = [u8; 8];

/// Unanswered peers by the native /64 that asked for them.
#[derive(Debug)]
pub(super) struct SourcePrefixes(HashMap<SourcePrefix, u32, Keyed>);

impl SourcePrefixes {
    pub(super) fn give_back(&mut self, keep: usize) {
        self.0.shrink_to(keep);
    }

    pub(super) const fn new(hasher: Keyed) -> Self {
        Self(HashMap::with_hasher(hasher))
    }

    pub(super) fn unanswered(&self, prefix: SourcePrefix) -> u32 {
        self.0.get(&prefix).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, prefix: SourcePrefix) {
        *self.0.entry(prefix).or_default() += 1;
    }

    pub(super) fn remove(&mut self, prefix: SourcePrefix) {
        if let Some(count) = self.0.get_mut(&prefix) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(&prefix);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_without_unanswered_peers_is_forgotten() {
        let mut prefixes = SourcePrefixes::new(Keyed::new([7; 32]));
        prefixes.add([1; 8]);
        prefixes.add([1; 8]);
        prefixes.remove([1; 8]);
        assert_eq!(prefixes.unanswered([1; 8]), 1);
        prefixes.remove([1; 8]);
        assert!(prefixes.0.is_empty());
    }
}

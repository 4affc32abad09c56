//! Hash maps whose keys come from packets: nobody outside may aim at one of their places.

use core::hash::BuildHasher;

use siphasher::sip::SipHasher13;

/// SipHash-1-3 under a key drawn from a role's seed, so that equal seeds give equal orders.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed(u64, u64);

impl Keyed {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        let (words, _) = key.as_chunks::<8>();
        Self(u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1]))
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_decides_the_place() {
        let hash = |key| Keyed::new([key; 32]).hash_one([1_u8; 16]);
        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
    }
}

//! Aiming at one bucket of the peer table: addresses that collide under one key do not under another.

use std::collections::HashMap;

use relay_common::{KeyWords, TableShape};

/// Peers the table is for.
const MAX_PEERS: u32 = 1 << 16;
/// Addresses an attacker makes collide in a table of its own.
const AIMED: usize = 64;
const TABLES: u64 = 200;

fn random(seed: u64) -> u64 {
    let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x94d0_49bb_1331_11eb;
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

fn table(secret: u64) -> TableShape {
    TableShape::new(MAX_PEERS, [0, 1, 2, 3].map(|i| random(4 * secret + i)))
}

/// Clients the attacker can name: any mapped address and port.
fn address(n: u64) -> KeyWords {
    KeyWords {
        head: random(2 * n) & 0xffff_0000_ffff_ffff,
        tail: u32::try_from(random(2 * n + 1) >> 32).unwrap(),
    }
}

#[test]
fn addresses_aimed_at_one_bucket_spread_in_a_table_with_another_secret() {
    let own = table(0);
    let aim = own.bucket(address(0));
    let aimed: Vec<_> = (0..)
        .map(address)
        .filter(|key| own.bucket(*key) == aim)
        .take(AIMED)
        .collect();
    for secret in 1..=TABLES {
        let other = table(secret);
        let mut load: HashMap<u32, usize> = HashMap::new();
        for key in &aimed {
            *load.entry(other.bucket(*key)).or_default() += 1;
        }
        let most = load.values().max().copied().unwrap();
        // 64 among 37450 buckets: two in one happens to one table in twenty, four to none in a million.
        assert!(
            most < 4,
            "{most} of {AIMED} in one bucket with secret {secret}"
        );
    }
}

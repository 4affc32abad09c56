//! Tests of the peer table. Those of the kernel's table need the right to create BPF maps.

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use aya::maps::{Array, HashMap};
use relay_common::{Egress, PEER_FRESH_TICKS, PeerEntry, PeerKey, TableShape, Ticks};
use teredo::Instant;
use teredo::addr::{Mapped, ServerV4, TeredoAddr};
use teredo::relay::{PeerTable, TableFull, Trusted};

use super::{BpfPeers, MemoryPeers, PEER_EXPIRE_TICKS, Peers, StagedPeers};
use crate::slowpath::clock;

/// `BPF_F_MMAPABLE`.
const MMAPABLE: u32 = 1 << 10;

fn key(n: u16) -> PeerKey {
    PeerKey::from(&address(n))
}

fn address(n: u16) -> TeredoAddr {
    TeredoAddr::new(ServerV4(Ipv4Addr::new(203, 0, 113, 2)), 0, mapped(n))
}

fn mapped(n: u16) -> Mapped {
    Mapped {
        ip: Ipv4Addr::new(198, 51, 100, 7),
        port: n,
    }
}

/// Tick number `n` of those just past.
fn tick(n: u32) -> Ticks {
    const JUST_PAST: u32 = 50;
    Ticks(Ticks::from(clock::now()).0 - JUST_PAST + n)
}

fn entry(n: u16, last_rx: Ticks) -> PeerEntry {
    PeerEntry::new(mapped(n), last_rx)
}

static HEARD: LazyLock<Ticks> = LazyLock::new(|| tick(7));

fn trusted(n: u16) -> Trusted {
    Trusted {
        mapped: mapped(n),
        last_rx: Instant::from(*HEARD),
    }
}

fn in_kernel(capacity: u32) -> Peers {
    Peers::Bpf(BpfPeers::new(table(capacity), shape(capacity), capacity).unwrap())
}

fn shape(capacity: u32) -> TableShape {
    TableShape::new(
        capacity,
        [
            1,
            0x9e37_79b9_7f4a_7c15,
            0x94d0_49bb_1331_11eb,
            0xbf58_476d_1ce4_e5b9,
        ],
    )
}

fn table(capacity: u32) -> Array<aya::maps::MapData, super::pod::Pod<relay_common::Line>> {
    Array::create(shape(capacity).lines(), MMAPABLE).expect("this test may create BPF maps")
}

/// Runs `test` with an empty table of each kind for `capacity` peers.
fn with_both(capacity: u32, test: impl Fn(Peers)) {
    test(Peers::Memory(MemoryPeers::new(capacity)));
    test(in_kernel(capacity));
}

#[test]
fn what_was_inserted_is_found_until_it_is_removed() {
    with_both(8, |mut peers| {
        assert_eq!(peers.get(key(1)), None);
        let later = entry(2, tick(6));
        peers.insert(key(1), entry(1, tick(5))).unwrap();
        peers.insert(key(1), later).unwrap();
        assert_eq!((peers.get(key(1)), peers.len()), (Some(later), 1));
        peers.remove(key(1));
        peers.remove(key(1));
        assert_eq!((peers.get(key(1)), peers.len()), (None, 0));
    });
}

#[test]
fn a_full_table_refuses_new_peers_and_keeps_refreshing_old_ones() {
    with_both(4, |mut peers| {
        for n in 0..4 {
            peers.insert(key(n), entry(n, tick(1))).unwrap();
        }
        assert_eq!(peers.insert(key(4), entry(4, tick(1))), Err(TableFull));
        assert_eq!(peers.insert(key(3), entry(3, tick(2))), Ok(()));
        assert_eq!((peers.len(), peers.capacity()), (4, 4));
    });
}

#[test]
fn a_sweep_in_steps_sees_every_peer_once_and_removes_the_silent() {
    const NOW: Ticks = Ticks(10_000);
    with_both(2000, |mut peers| {
        for n in 0..1500 {
            let silence = match n % 3 {
                0 => PEER_FRESH_TICKS,
                1 => PEER_EXPIRE_TICKS,
                _ => PEER_EXPIRE_TICKS + 1,
            };
            peers
                .insert(key(n), entry(n, Ticks(NOW.0 - silence)))
                .unwrap();
        }
        let (mut fresh, mut stale, mut removed, mut steps) = (0, 0, 0, 0);
        loop {
            let step = peers.sweep_step(NOW, 300);
            fresh += step.seen_fresh;
            stale += step.seen_stale;
            removed += step.removed;
            steps += 1;
            if step.wrapped {
                break;
            }
        }
        assert_eq!((fresh, stale, removed, peers.len()), (500, 500, 500, 1000));
        assert!((3..=8).contains(&steps), "{steps} steps");
        assert_eq!(peers.get(key(2)), None);
        assert!(peers.get(key(0)).is_some() && peers.get(key(1)).is_some());
    });
}

#[test]
fn a_new_sweep_begins_where_the_table_begins() {
    with_both(16, |mut peers| {
        for n in 0..10 {
            peers.insert(key(n), entry(n, Ticks(0))).unwrap();
        }
        for _ in 0..3 {
            let step = peers.sweep_step(Ticks(1), 100);
            assert_eq!((step.seen_fresh, step.wrapped), (10, true));
        }
    });
}

#[test]
fn a_listing_holds_every_peer_up_to_its_limit() {
    with_both(600, |mut peers| {
        for n in 0..600 {
            peers.insert(key(n), entry(n, Ticks(0))).unwrap();
        }
        let mut ports: Vec<_> = peers
            .list(usize::MAX)
            .iter()
            .map(|(_, entry)| entry.mapped().port)
            .collect();
        ports.sort_unstable();
        assert!(ports.into_iter().eq(0..600));
        assert_eq!(peers.list(7).len(), 7);
    });
}

#[test]
fn a_second_handle_finds_the_same_entries() {
    let mut first = BpfPeers::new(table(8), shape(8), 8).unwrap();
    let second = first.clone();
    let heard = entry(1, tick(1));
    first.insert(key(1), heard).unwrap();
    assert_eq!((second.len(), second.get(key(1))), (1, Some(heard)));
}

#[test]
fn shards_share_the_table_out_without_gap_or_overlap() {
    let peers = BpfPeers::new(table(1000), shape(1000), 1000).unwrap();
    for shards in 1..=7 {
        let mut writers: Vec<_> = (0..shards).map(|i| peers.for_shard(i, shards)).collect();
        for n in 0..300 {
            let shard = peers.shard_of(key(n), shards);
            writers[shard].insert(key(n), entry(n, Ticks(0))).unwrap();
            let step = writers[shard].sweep_step(Ticks(1), usize::MAX);
            assert!(step.wrapped && step.seen_fresh > 0);
        }
        let seen: usize = writers
            .iter_mut()
            .map(|writer| {
                writer
                    .sweep_step(Ticks(PEER_EXPIRE_TICKS + 1), usize::MAX)
                    .removed
            })
            .sum();
        assert_eq!((seen, peers.len()), (300, 0), "{shards} shards");
    }
}

/// the queue leaves before the fast path opens.
#[test]
fn a_staged_peer_is_seen_by_the_relay_and_not_by_the_fast_path() {
    with_both(8, |store| {
        let mut relay = StagedPeers::new(store.clone());
        relay.insert(&address(1), trusted(1)).unwrap();
        assert_eq!(relay.get(&address(1)), Some(trusted(1)));
        assert_eq!(store.get(key(1)), None);
        relay.publish();
        assert_eq!(store.get(key(1)), Some(entry(1, *HEARD)));
        assert_eq!(relay.get(&address(1)), Some(trusted(1)));
    });
}

#[test]
fn removal_closes_the_fast_path_at_once_and_forgets_what_was_staged() {
    with_both(8, |store| {
        let mut relay = StagedPeers::new(store.clone());
        relay.insert(&address(1), trusted(1)).unwrap();
        relay.publish();
        relay.insert(&address(1), trusted(2)).unwrap();
        relay.remove(&address(1));
        relay.publish();
        assert_eq!((relay.get(&address(1)), store.len()), (None, 0));
    });
}

#[test]
fn what_is_staged_counts_towards_a_full_table() {
    with_both(2, |store| {
        let mut relay = StagedPeers::new(store.clone());
        relay.insert(&address(1), trusted(1)).unwrap();
        relay.publish();
        relay.insert(&address(1), trusted(9)).unwrap();
        relay.insert(&address(2), trusted(2)).unwrap();
        assert_eq!(relay.insert(&address(3), trusted(3)), Err(TableFull));
        relay.remove(&address(2));
        relay.insert(&address(3), trusted(3)).unwrap();
        relay.publish();
        assert_eq!(store.len(), 2);
    });
}

#[test]
fn egress_devices_come_go_and_change_with_the_machine() {
    let mut map = HashMap::create(8, 0).unwrap();
    let mut known = std::collections::HashMap::new();
    let on_port = |port| Egress {
        port,
        ..Egress::default()
    };
    for wanted in [
        vec![(2, on_port(2)), (4, on_port(2))],
        vec![(2, on_port(2)), (4, on_port(3)), (5, on_port(2))],
        vec![(5, on_port(2))],
        vec![],
    ] {
        super::follow(&mut map, &mut known, wanted.iter().copied().collect());
        let mut held: Vec<_> = map
            .iter()
            .map(|item| item.map(|(ifindex, egress)| (ifindex, egress.0)).unwrap())
            .collect();
        held.sort_by_key(|(ifindex, _)| *ifindex);
        assert_eq!(held, wanted);
    }
}

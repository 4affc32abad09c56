//! Tests of the peer table. Those of the kernel's table need the right to create BPF maps.

use std::net::Ipv4Addr;

use aya::maps::HashMap;
use relay_common::{Egress, PEER_FRESH_TICKS, PeerEntry, PeerKey, Ticks};
use teredo::Instant;
use teredo::addr::{Mapped, ServerV4, TeredoAddr};
use teredo::relay::{PeerTable, TableFull, Trusted};

use super::{BpfPeers, MemoryPeers, PEER_EXPIRE_TICKS, Peers, StagedPeers};

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

fn entry(n: u16, last_rx: u32) -> PeerEntry {
    PeerEntry::new(mapped(n), Ticks(last_rx))
}

fn trusted(n: u16) -> Trusted {
    Trusted {
        mapped: mapped(n),
        last_rx: Instant::from(Ticks(7)),
    }
}

fn in_kernel(capacity: u32) -> Peers {
    let map = HashMap::create(capacity, 0).expect("this test may create BPF maps");
    Peers::Bpf(BpfPeers::new(&map).unwrap())
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
        peers.insert(key(1), entry(1, 5)).unwrap();
        peers.insert(key(1), entry(2, 6)).unwrap();
        assert_eq!((peers.get(key(1)), peers.len()), (Some(entry(2, 6)), 1));
        peers.remove(key(1));
        peers.remove(key(1));
        assert_eq!((peers.get(key(1)), peers.len()), (None, 0));
    });
}

#[test]
fn a_full_table_refuses_new_peers_and_keeps_refreshing_old_ones() {
    with_both(4, |mut peers| {
        for n in 0..4 {
            peers.insert(key(n), entry(n, 1)).unwrap();
        }
        assert_eq!(peers.insert(key(4), entry(4, 1)), Err(TableFull));
        assert_eq!(peers.insert(key(3), entry(3, 2)), Ok(()));
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
            peers.insert(key(n), entry(n, NOW.0 - silence)).unwrap();
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
        assert!((3..=6).contains(&steps), "{steps} steps");
        assert_eq!(peers.get(key(2)), None);
        assert!(peers.get(key(0)).is_some() && peers.get(key(1)).is_some());
    });
}

#[test]
fn a_new_sweep_begins_where_the_table_begins() {
    with_both(16, |mut peers| {
        for n in 0..10 {
            peers.insert(key(n), entry(n, 0)).unwrap();
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
            peers.insert(key(n), entry(n, 0)).unwrap();
        }
        let mut ports: Vec<_> = peers
            .list(usize::MAX)
            .unwrap()
            .iter()
            .map(|(_, entry)| entry.mapped().port)
            .collect();
        ports.sort_unstable();
        assert!(ports.into_iter().eq(0..600));
        assert_eq!(peers.list(7).unwrap().len(), 7);
    });
}

#[test]
fn a_second_handle_finds_the_entries_counted() {
    let map = HashMap::create(8, 0).unwrap();
    let mut first = BpfPeers::new(&map).unwrap();
    first.insert(key(1), entry(1, 1)).unwrap();
    let second = BpfPeers::new(&map).unwrap();
    assert_eq!((second.len(), second.get(key(1))), (1, Some(entry(1, 1))));
}

#[test]
fn the_kernel_says_what_a_table_takes() {
    let map = HashMap::create(10_000, 0).unwrap();
    let bytes = BpfPeers::new(&map).unwrap().memory_bytes().unwrap();
    assert!((280_000..10_000_000).contains(&bytes), "{bytes}");
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
        assert_eq!(store.get(key(1)), Some(entry(1, 7)));
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
    let on_port = |port_ifindex| Egress {
        port_ifindex,
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

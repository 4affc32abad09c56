//! Every order in which one writer's and a reader's accesses can meet (`docs/decisions/0009`).

use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread;
use relay_common::{KeyWords, MappedWord, PeerKey, TableShape, Ticks};

use super::PeerTable;

const NOW: Ticks = Ticks(1000);

/// One block: every key's bucket is the first, since nothing of a key enters its hash.
fn shape() -> TableShape {
    TableShape::new(1, [0; 4])
}

fn words() -> Arc<Vec<AtomicU64>> {
    let words = shape().lines() as usize * 8;
    Arc::new((0..words).map(|_| AtomicU64::new(0)).collect())
}

/// Peer with head `head` (its port) and tail `tail` (its address).
fn key(head: u8, tail: u8) -> PeerKey {
    PeerKey([192, 0, 2, 1, 0, 0, 0, head, 57, 155, 155, tail])
}

fn own(key: PeerKey) -> MappedWord {
    KeyWords::from(key).embedded()
}

fn other(n: u8) -> MappedWord {
    MappedWord::new([198, 51, 100, n], [n, n])
}

fn check(
    prepare: fn(&PeerTable<'_, AtomicU64>),
    write: fn(&PeerTable<'_, AtomicU64>),
    read: fn(&PeerTable<'_, AtomicU64>),
) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.max_branches = 20_000;
    model.check(move || {
        let words = words();
        prepare(&PeerTable::new(&words, shape()));
        let shared = Arc::clone(&words);
        let writer = thread::spawn(move || write(&PeerTable::new(&shared, shape())));
        read(&PeerTable::new(&words, shape()));
        writer.join().unwrap();
    });
}

#[test]
fn a_place_that_changes_hands_is_never_read_as_a_third_peers() {
    check(
        |table| {
            table.insert(key(1, 1), own(key(1, 1)), NOW).unwrap();
        },
        |table| {
            table.remove(key(1, 1));
            table.insert(key(2, 2), own(key(2, 2)), NOW).unwrap();
        },
        |table| {
            for mixture in [key(1, 2), key(2, 1)] {
                assert_eq!(table.get(mixture), None);
            }
        },
    );
}

#[test]
fn a_mapping_aside_is_never_read_as_anothers() {
    check(
        |table| {
            table.insert(key(1, 1), other(1), NOW).unwrap();
        },
        |table| {
            table.remove(key(1, 1));
            table.insert(key(2, 2), other(2), NOW).unwrap();
        },
        |table| {
            if let Some((_, mapped)) = table.get(key(1, 1)) {
                assert_eq!(mapped, other(1));
            }
            if let Some((_, mapped)) = table.get(key(2, 2)) {
                assert_eq!(mapped, other(2));
            }
        },
    );
}

#[test]
fn a_peer_that_moves_aside_keeps_one_of_its_two_mappings() {
    check(
        |table| {
            table.insert(key(1, 1), own(key(1, 1)), NOW).unwrap();
        },
        |table| {
            table.insert(key(1, 1), other(1), NOW).unwrap();
        },
        |table| {
            if let Some((_, mapped)) = table.get(key(1, 1)) {
                assert!(mapped == own(key(1, 1)) || mapped == other(1));
            }
        },
    );
}

/// The program's refresh is a store of its own; what it may hit is the tail of whoever stands there by then.
#[test]
fn a_refresh_that_comes_too_late_leaves_the_next_peer_whole() {
    check(
        |table| {
            table.insert(key(1, 1), own(key(1, 1)), NOW).unwrap();
        },
        |table| {
            table.remove(key(1, 1));
            table.insert(key(2, 2), own(key(2, 2)), NOW).unwrap();
        },
        |table| {
            let _ = table.insert(key(3, 3), other(3), Ticks(NOW.0 + 1));
            if let Some((tail, mapped)) = table.get(key(2, 2)) {
                assert_eq!(
                    (mapped, tail.ip()),
                    (own(key(2, 2)), KeyWords::from(key(2, 2)).tail)
                );
            }
        },
    );
}

//! The table against a model, and against readers while it changes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use proptest::prelude::*;
use relay_common::{KeyWords, Line as SharedLine, MappedWord, PeerKey, TableShape, Tail, Ticks};

use super::{Inserted, NoPlace, PeerTable};

const HASH_KEYS: [u64; 4] = [
    3,
    0x9e37_79b9_7f4a_7c15,
    0xbf58_476d_1ce4_e5b9,
    0x94d0_49bb_1331_11eb,
];
const NOW: Ticks = Ticks(1000);

fn shape(max_peers: u32) -> TableShape {
    TableShape::new(max_peers, HASH_KEYS)
}

fn words(shape: TableShape) -> Vec<AtomicU64> {
    let words = shape.lines() as usize * SharedLine::default().0.len();
    (0..words).map(|_| AtomicU64::new(0)).collect()
}

/// Peer number `n`: they differ in their port.
fn key(n: u16) -> PeerKey {
    let [a, b] = n.to_be_bytes();
    PeerKey([192, 0, 2, 1, 0, 0, a, b, 57, 155, 155, 248])
}

fn own(n: u16) -> MappedWord {
    KeyWords::from(key(n)).embedded()
}

/// The mapping of a symmetric NAT.
fn other(n: u16) -> MappedWord {
    MappedWord::new([198, 51, 100, 9], n.to_be_bytes())
}

#[test]
fn a_peer_is_found_with_its_mapping_until_it_is_removed() {
    let shape = shape(32);
    let words = words(shape);
    let table = PeerTable::new(&words, shape);
    for mapped in [own(1), other(7), other(8), own(1)] {
        assert!(table.insert(key(1), mapped, NOW).is_ok());
        let (tail, found) = table.get(key(1)).unwrap();
        assert_eq!((found, tail.age(NOW)), (mapped, 0));
        assert_eq!(table.iter(0..table.blocks()).count(), 1);
    }
    assert_eq!(table.get(key(2)), None);
    assert!(table.remove(key(1)) && !table.remove(key(1)));
    assert_eq!(table.get(key(1)), None);
}

/// Invariant 9: those who are there stay, the next is refused.
#[test]
fn a_block_takes_in_seventy_six_peers_and_refuses_whoever_has_no_place() {
    let shape = shape(1);
    let words = words(shape);
    let table = PeerTable::new(&words, shape);
    let mut there = Vec::new();
    for n in 0..4000 {
        match table.insert(key(n), own(n), NOW) {
            Ok(inserted) => {
                assert_eq!(inserted, Inserted::New);
                there.push(n);
            }
            Err(NoPlace) => assert_eq!(table.get(key(n)), None),
        }
    }
    assert_eq!(there.len(), 16 * 4 + 12, "every place is used");
    for n in there {
        assert_eq!(table.get(key(n)).unwrap().1, own(n));
        assert_eq!(table.insert(key(n), own(n), NOW), Ok(Inserted::Refreshed));
    }
}

#[test]
fn side_flags_are_lowered_when_the_last_peer_aside_leaves() {
    let shape = shape(32);
    let words = words(shape);
    let table = PeerTable::new(&words, shape);
    let (a, b) = (0..u16::MAX)
        .flat_map(|a| [(a, a + 1), (a, a + 2), (a, a + 3)])
        .find(|(a, b)| shape.bucket(key(*a).into()) == shape.bucket(key(*b).into()))
        .unwrap();
    let bucket = TableShape::bucket_line(shape.bucket(key(a).into())) as usize;
    let is_raised = || Tail(words[bucket * 8 + 1].load(Relaxed)).has_side();
    for n in [a, b] {
        table.insert(key(n), other(n), NOW).unwrap();
        assert!(is_raised());
    }
    table.remove(key(a));
    assert!(is_raised() && table.get(key(b)).is_some());
    let gone = table.retain(0..table.blocks(), |_, _| false);
    assert_eq!((gone, is_raised()), (1, false));
}

#[test]
fn next_hops_are_forgotten_where_asked_and_nowhere_else() {
    let shape = shape(32);
    let words = words(shape);
    let table = PeerTable::new(&words, shape);
    for n in 1..=9 {
        let mapped = if n % 2 == 0 { own(n) } else { other(n) };
        table.insert(key(n), mapped, NOW).unwrap();
    }
    for word in words.iter().filter(|w| Tail(w.load(Relaxed)).is_used()) {
        let tail = Tail(word.load(Relaxed));
        word.store(tail.with_hop(tail.ip().to_ne_bytes()[0] % 2 + 4).0, Relaxed);
    }
    table.forget_hops(0..table.blocks(), |hop| hop == 5);
    for standing in table.iter(0..table.blocks()) {
        assert_eq!(standing.tail.hop(), 0, "{standing:?}");
    }
}

/// A refresh by the program between the look and the removal wins.
#[test]
fn a_sweep_leaves_a_peer_that_is_heard_meanwhile() {
    let shape = shape(32);
    let words = words(shape);
    let table = PeerTable::new(&words, shape);
    table.insert(key(1), own(1), NOW).unwrap();
    let gone = table.retain(0..table.blocks(), |key, tail| {
        table.insert(key, own(1), Ticks(NOW.0 + 9)).unwrap();
        tail.age(Ticks(NOW.0 + 9)) == 0
    });
    assert_eq!((gone, table.get(key(1)).is_some()), (0, true));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(u16, bool),
    Remove(u16),
    Expire(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let peer = 0..120_u16;
    prop_oneof![
        4 => (peer.clone(), any::<bool>()).prop_map(|(n, own)| Step::Insert(n, own)),
        2 => peer.clone().prop_map(Step::Remove),
        1 => peer.prop_map(Step::Expire),
    ]
}

proptest! {
    #[test]
    fn any_sequence_leaves_what_a_map_would_hold(steps in prop::collection::vec(step(), 1..600)) {
        let shape = shape(40);
        let words = words(shape);
        let table = PeerTable::new(&words, shape);
        let mut model = HashMap::new();
        for step in steps {
            match step {
                Step::Insert(n, is_own) => {
                    let mapped = if is_own { own(n) } else { other(n) };
                    match table.insert(key(n), mapped, NOW) {
                        Ok(inserted) => {
                            let was = model.insert(n, mapped);
                            prop_assert_eq!(inserted == Inserted::New, was.is_none());
                        }
                        Err(NoPlace) => drop(model.remove(&n)),
                    }
                }
                Step::Remove(n) => prop_assert_eq!(table.remove(key(n)), model.remove(&n).is_some()),
                Step::Expire(n) => {
                    let gone = table.retain(0..table.blocks(), |found, _| found != key(n));
                    prop_assert_eq!(gone, usize::from(model.remove(&n).is_some()));
                }
            }
            for n in 0..120 {
                prop_assert_eq!(table.get(key(n)).map(|(_, mapped)| mapped), model.get(&n).copied());
            }
            prop_assert_eq!(table.iter(0..table.blocks()).count(), model.len());
        }
    }
}

/// Peers of three kinds: half of a pair that is never there, always there, and coming and going with
/// changing mappings. A reader must never find the first, always the second, and the third with a mapping it had.
#[test]
fn readers_never_meet_a_mixture_while_peers_come_and_go() {
    const ROUNDS: u16 = 20_000;
    /// Same server, flags and port, other address: a mixture of two such peers is a third one's key.
    fn split(port: u16, ip: u8) -> PeerKey {
        let [a, b] = port.to_be_bytes();
        PeerKey([192, 0, 2, 1, 0, 0, a, b, 57, 155, 155, ip])
    }
    let shape = shape(1);
    let words = words(shape);
    let table = PeerTable::new(&words, shape);
    let stays = split(9, 9);
    table
        .insert(stays, KeyWords::from(stays).embedded(), NOW)
        .unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    assert!(table.get(stays).is_some());
                    for port in 0..8_u16 {
                        for ip in 0..8 {
                            let Some((_, mapped)) = table.get(split(port, ip)) else {
                                continue;
                            };
                            assert_eq!(port % 8, u16::from(ip), "a peer that was never there");
                            let own = KeyWords::from(split(port, ip)).embedded();
                            let aside = mapped.octets();
                            assert!(
                                mapped == own || aside.0 == [198, 51, 100, ip],
                                "the mapping of another"
                            );
                        }
                    }
                }
            });
        }
        for round in 0..ROUNDS {
            let n = round % 8;
            let ip = n.to_be_bytes()[1];
            let peer = split(n, ip);
            let aside = MappedWord::new([198, 51, 100, ip], round.to_be_bytes());
            let own = KeyWords::from(peer).embedded();
            let _ = table.insert(peer, if round % 3 == 0 { own } else { aside }, NOW);
            if round % 5 > 1 {
                table.remove(split((n + 3) % 8, (ip + 3) % 8));
            }
        }
        stop.store(true, Relaxed);
    });
}

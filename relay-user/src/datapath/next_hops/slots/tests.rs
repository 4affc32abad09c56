use relay_common::{NextHop, Routing, VlanTag};

use super::*;

const AF_INET: u32 = 2;

/// No next hops yet, in memory no program reads.
pub(in super::super) fn slots() -> Slots {
    let hops = std::iter::repeat_with(HopWords::default).take(SLOTS);
    let routing = RoutingWords::default();
    Slots::new(Elements::Own(hops.collect()), Elements::Own(vec![routing]))
}

fn key(last: u8) -> HopKey {
    HopKey {
        ifindex: 3,
        mtu: 1500,
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 1, last],
        family: AF_INET,
    }
}

/// What the program finds by the number of a slot.
fn read(slots: &Slots, number: usize) -> NextHop {
    let words = slots.hops.get()[number].each_ref();
    let words = words.map(|word| word.load(Ordering::Relaxed));
    // SAFETY: as long, aligned more strictly than need be, and every bit pattern is a next hop.
    unsafe { std::mem::transmute(words) }
}

/// The slot in which the program finds `key`.
pub(in super::super) fn find(slots: &Slots, key: &HopKey) -> Option<usize> {
    let home = key.home(slots.generation());
    (0..HOP_PROBES)
        .map(|probe| ((home + probe) % HOPS) as usize)
        .find(|number| {
            let hop = read(slots, *number);
            hop.state == HOP_LIVE && hop.key == *key
        })
}

/// [`Routing::keep_ipv4`] and [`Routing::keep_ipv6`].
pub(in super::super) fn kept(slots: &Slots) -> [u32; 2] {
    let words = slots.routing.get()[0].each_ref();
    let words = words.map(|word| word.load(Ordering::Relaxed));
    // SAFETY: as long, and every bit pattern is a value.
    let routing: Routing = unsafe { std::mem::transmute(words) };
    [routing.keep_ipv4, routing.keep_ipv6]
}

fn enter(slots: &mut Slots, key: HopKey) -> usize {
    let egress = Egress {
        port: 5,
        ..Egress::default()
    };
    let (number, _) = enter_as(slots, key, egress);
    usize::try_from(number).unwrap()
}

/// Makes `key` live; its number and version.
pub(in super::super) fn enter_as(slots: &mut Slots, key: HopKey, egress: Egress) -> (u32, u32) {
    let number = slots.stage(key, egress).unwrap();
    slots.publish(number);
    let version = read(slots, number).version;
    (u32::try_from(number).unwrap(), version)
}

#[test]
fn a_next_hop_is_live_once_it_is_published_and_not_before() {
    let mut slots = slots();
    let number = slots.stage(key(1), Egress::default()).unwrap();
    assert_eq!(find(&slots, &key(1)), None);
    slots.publish(number);
    assert_eq!(find(&slots, &key(1)), Some(number));
}

#[test]
fn the_program_reads_what_was_entered() {
    let mut slots = slots();
    let egress = Egress {
        port: 5,
        tag_count: 2,
        tags: [
            VlanTag {
                protocol: [0x88, 0xa8],
                tci: [0, 7],
            },
            VlanTag {
                protocol: [0x81, 0],
                tci: [1, 9],
            },
        ],
    };
    let number = slots.stage(key(1), egress).unwrap();
    slots.publish(number);
    let hop = read(&slots, number);
    assert_eq!((hop.state, hop.version), (HOP_LIVE, 1));
    assert_eq!((hop.key, hop.egress), (key(1), egress));
}

#[test]
fn what_is_live_is_good_for_three_seconds_after_it_was_vouched_for() {
    let mut slots = slots();
    slots.renew(Ticks(100));
    let first = enter(&mut slots, key(1));
    assert_eq!(read(&slots, first).good_until, Ticks(112));
    slots.renew(Ticks(101));
    let second = enter(&mut slots, key(2));
    for number in [first, second] {
        assert_eq!(read(&slots, number).good_until, Ticks(113));
    }
    slots.retire(|k| *k == key(1));
    slots.renew(Ticks(102));
    assert_eq!(
        read(&slots, first).good_until,
        Ticks(113),
        "not the retired"
    );
    assert_eq!(read(&slots, second).good_until, Ticks(114));
}

/// What a note of the program names is found as the program finds it: no longer than that.
#[test]
fn a_number_leads_to_its_next_hop_while_version_and_time_are_right() {
    let mut slots = slots();
    slots.renew(Ticks(100));
    let (number, version) = enter_as(&mut slots, key(1), Egress::default());
    let good_until = Ticks(112);
    assert_eq!(slots.live_as(number, version, good_until), Some(key(1)));
    assert_eq!(slots.live_as(number, version, Ticks(113)), None);
    assert_eq!(slots.live_as(number, version + 1, good_until), None);
    assert_eq!(slots.live_as(0, 0, good_until), None);
    assert_eq!(slots.live_as(HOPS, version, good_until), None);
    slots.retire(|_| true);
    assert_eq!(slots.live_as(number, version, good_until), None);

    let staged = slots.stage(key(2), Egress::default()).unwrap();
    let number = u32::try_from(staged).unwrap();
    let version = read(&slots, staged).version;
    assert_eq!(slots.live_as(number, version, good_until), None, "not yet");
}

#[test]
fn a_retired_slot_is_not_used_again_before_it_is_free_and_then_with_a_new_version() {
    let mut slots = slots();
    let number = enter(&mut slots, key(1));
    let first = read(&slots, number);
    slots.retire(|k| *k == key(1));
    assert_eq!(find(&slots, &key(1)), None);
    assert_eq!(
        slots.counts(),
        HopCounts {
            live: 0,
            retired: 1
        }
    );

    let other = enter(&mut slots, key(1));
    assert_ne!(other, number);
    assert_eq!(read(&slots, number).key, first.key, "its meaning stays");

    slots.retire(|_| true);
    let retired = slots.retired();
    slots.free(&retired);
    assert_eq!(enter(&mut slots, key(1)), number);
    assert_ne!(read(&slots, number).version, first.version);
}

#[test]
fn slots_retired_since_the_numbers_were_taken_are_not_freed() {
    let mut slots = slots();
    enter(&mut slots, key(1));
    slots.retire(|_| true);
    let before = slots.retired();
    enter(&mut slots, key(2));
    slots.retire(|_| true);
    slots.free(&before);
    assert_eq!(
        slots.counts(),
        HopCounts {
            live: 0,
            retired: 1
        }
    );
}

#[test]
fn an_abandoned_slot_is_free_and_was_never_live() {
    let mut slots = slots();
    let number = slots.stage(key(1), Egress::default()).unwrap();
    slots.abandon(number);
    slots.publish(number);
    assert_eq!(find(&slots, &key(1)), None);
    assert_eq!(slots.stage(key(1), Egress::default()), Some(number));
}

#[test]
fn number_zero_is_never_used_and_a_full_window_is_refused() {
    let mut slots = slots();
    let mut entered = 0;
    for last in 0..=u8::MAX {
        for mtu in [1280, 1400, 1500, 9000] {
            let key = HopKey { mtu, ..key(last) };
            if let Some(number) = slots.stage(key, Egress::default()) {
                assert_ne!(number, 0);
                slots.publish(number);
                assert_eq!(find(&slots, &key), Some(number));
                entered += 1;
            }
        }
    }
    assert_eq!(slots.counts().live, entered);
    assert!((200..=255).contains(&entered), "{entered}");
}

#[test]
fn a_next_hop_that_lacks_a_place_finds_one_after_all_have_moved() {
    let mut slots = slots();
    let home = key(0).home(0);
    let mut crowd = (1..).map(|mtu| HopKey { mtu, ..key(0) });
    let mut crowd = crowd.by_ref().filter(|key| key.home(0) == home);
    while let Some(number) = slots.stage(crowd.next().unwrap(), Egress::default()) {
        slots.publish(number);
    }
    let lacking = crowd.find(|key| key.home(1) != home).unwrap();
    assert_eq!(slots.stage(lacking, Egress::default()), None);
    slots.move_homes();
    assert_eq!(
        slots.counts().live,
        0,
        "nobody looks for them there any more"
    );
    let number = enter(&mut slots, lacking);
    assert_eq!(find(&slots, &lacking), Some(number));
}

#[test]
fn families_are_allowed_one_by_one() {
    let mut slots = slots();
    assert_eq!(kept(&slots), [0, 0]);
    slots.allow(Family::Ipv6, true);
    assert_eq!(kept(&slots), [0, 1]);
    slots.allow(Family::Ipv4, true);
    slots.allow(Family::Ipv6, false);
    assert_eq!(kept(&slots), [1, 0]);
}

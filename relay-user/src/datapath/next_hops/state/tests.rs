use super::super::slots::tests::{find, kept, slots};
use super::*;

use relay_common::{AF_INET, AF_INET6};

const PORT: u32 = 3;
const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 2];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 3];
const UP: Link = Link {
    up: true,
    running: true,
    mac: OWN,
    mtu: 1500,
    master: 0,
};

fn key(family: u8) -> HopKey {
    HopKey {
        ifindex: PORT,
        mtu: 1500,
        source_mac: OWN,
        destination_mac: GATEWAY,
        family: family.into(),
    }
}

fn address(family: u8) -> IpAddr {
    match family {
        AF_INET => "203.0.113.17".parse().unwrap(),
        _ => "2001:db8:1::1".parse().unwrap(),
    }
}

/// A machine with plain routes, one port, and a gateway of both families on it.
struct Machine {
    state: State,
    now: Instant,
}

impl Machine {
    fn new() -> Self {
        let mut machine = Self {
            state: State::new(slots()),
            now: Instant::now(),
        };
        machine.link(UP);
        for family in [AF_INET, AF_INET6] {
            machine.neighbour(family, Some(GATEWAY));
        }
        let egress = HashMap::from([(PORT, Egress::default())]);
        machine.state.set_egress(&egress);
        machine.quiet();
        for family in Family::ALL {
            machine.look(family, Some(true));
        }
        machine
    }

    fn apply(&mut self, event: &Event) {
        self.state.apply(event, self.now);
    }

    fn link(&mut self, link: Link) {
        self.apply(&Event::Link {
            ifindex: PORT,
            now: Some(link),
        });
    }

    fn neighbour(&mut self, family: u8, mac: Option<[u8; 6]>) {
        self.apply(&Event::Neighbour {
            ifindex: PORT,
            address: address(family),
            now: mac.map(|mac| Neighbour {
                mac,
                discovered: true,
            }),
        });
    }

    fn routes(&mut self, family: Family, plain: bool) {
        self.apply(&Event::Routes {
            families: Families::One(family),
            plain,
        });
    }

    fn quiet(&mut self) {
        self.now += QUIET;
    }

    fn look(&mut self, family: Family, plain: Option<bool>) {
        let look = self.state.look(family, self.now).unwrap();
        self.state.looked(look, plain);
    }

    fn enter(&mut self, key: HopKey) {
        if let Some(staged) = self.state.stage(key, self.now) {
            self.state.publish(&staged);
        }
    }

    /// With a next hop of each family entered.
    fn entered() -> Self {
        let mut machine = Self::new();
        machine.enter(key(AF_INET));
        machine.enter(key(AF_INET6));
        assert_eq!(machine.live(), [true, true]);
        machine
    }

    fn is_live(&self, key: &HopKey) -> bool {
        find(&self.state.slots, key).is_some()
    }

    fn live(&self) -> [bool; 2] {
        [AF_INET, AF_INET6].map(|family| self.is_live(&key(family)))
    }
}

#[test]
fn nothing_is_kept_before_all_routes_were_looked_at() {
    let mut state = State::new(slots());
    assert_eq!(kept(&state.slots), [0, 0]);
    let look = state.look(Family::Ipv4, Instant::now()).unwrap();
    state.looked(look, Some(true));
    assert_eq!(kept(&state.slots), [1, 0]);
}

#[test]
fn a_changed_route_retires_its_family_at_once() {
    let mut machine = Machine::entered();
    machine.routes(Family::Ipv6, true);
    assert_eq!(machine.live(), [true, false]);
    machine.routes(Family::Ipv4, true);
    assert_eq!(machine.live(), [false, false]);
}

#[test]
fn next_hops_are_entered_again_when_routes_are_quiet_and_not_before() {
    let mut machine = Machine::entered();
    machine.routes(Family::Ipv4, true);
    machine.now += QUIET.checked_sub(Duration::from_millis(1)).unwrap();
    machine.enter(key(AF_INET));
    assert_eq!(machine.live(), [false, true]);
    machine.now += Duration::from_millis(1);
    machine.enter(key(AF_INET));
    assert_eq!(machine.live(), [true, true]);
}

#[test]
fn a_change_between_staging_and_publishing_leaves_nothing_live() {
    let changes: [fn(&mut Machine); 5] = [
        |machine| machine.routes(Family::Ipv4, true),
        |machine| machine.routes(Family::Ipv4, false),
        |machine| machine.neighbour(AF_INET, Some(OTHER)),
        |machine| machine.link(Link { mtu: 1400, ..UP }),
        |machine| {
            let tagged = Egress {
                tag_count: 1,
                ..Egress::default()
            };
            machine.state.set_egress(&HashMap::from([(PORT, tagged)]));
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut machine = Machine::new();
        machine.neighbour(AF_INET6, None);
        let staged = machine.state.stage(key(AF_INET), machine.now).unwrap();
        change(&mut machine);
        machine.state.publish(&staged);
        assert_eq!(machine.live(), [false, false], "change {number}");
        assert_eq!(machine.state.slots.counts().retired, 0);
    }
}

#[test]
fn a_route_that_is_not_plain_ends_keeping_until_a_look_shows_it_gone() {
    let mut machine = Machine::entered();
    machine.routes(Family::Ipv6, false);
    assert_eq!(kept(&machine.state.slots), [1, 0]);
    machine.quiet();
    machine.look(Family::Ipv6, Some(false));
    assert!(
        machine.state.look(Family::Ipv6, machine.now).is_none(),
        "nothing new"
    );
    machine.enter(key(AF_INET6));
    assert_eq!(machine.live(), [true, false]);

    machine.routes(Family::Ipv6, true);
    machine.quiet();
    machine.look(Family::Ipv6, Some(true));
    assert_eq!(kept(&machine.state.slots), [1, 1]);
    machine.enter(key(AF_INET6));
    assert_eq!(machine.live(), [true, true]);
}

#[test]
fn a_look_that_missed_a_change_for_the_worse_counts_for_nothing() {
    let mut machine = Machine::entered();
    machine.routes(Family::Ipv4, false);
    machine.quiet();
    let look = machine.state.look(Family::Ipv4, machine.now).unwrap();
    machine.routes(Family::Ipv4, false);
    machine.state.looked(look, Some(true));
    assert_eq!(kept(&machine.state.slots), [0, 1]);
    machine.quiet();
    machine.look(Family::Ipv4, None);
    assert_eq!(kept(&machine.state.slots), [0, 1]);
    machine.look(Family::Ipv4, Some(true));
    assert_eq!(kept(&machine.state.slots), [1, 1]);
}

#[test]
fn a_neighbour_with_a_new_address_or_none_retires_what_leads_to_the_old() {
    for now in [Some(OTHER), None] {
        let mut machine = Machine::entered();
        machine.neighbour(AF_INET6, now);
        assert_eq!(
            machine.live(),
            [false, false],
            "one MAC address, one machine"
        );
        machine.enter(key(AF_INET));
        assert_eq!(machine.live(), [true, false], "IPv4 has found it there");
    }
}

#[test]
fn a_neighbour_that_stays_where_it_is_retires_nothing() {
    let mut machine = Machine::entered();
    machine.neighbour(AF_INET, Some(GATEWAY));
    assert_eq!(machine.live(), [true, true]);
}

#[test]
fn what_no_neighbour_or_link_bears_out_is_not_entered() {
    let mut machine = Machine::new();
    let wrong = [
        HopKey {
            destination_mac: OTHER,
            ..key(AF_INET)
        },
        HopKey {
            source_mac: OTHER,
            ..key(AF_INET)
        },
        HopKey {
            ifindex: PORT + 1,
            ..key(AF_INET)
        },
        HopKey {
            mtu: 0,
            ..key(AF_INET)
        },
        key(0),
    ];
    for key in wrong {
        machine.enter(key);
        assert!(!machine.is_live(&key), "{key:?}");
    }
}

#[test]
fn a_changed_link_retires_everything_unless_it_is_down_before_and_after() {
    for changed in [
        Link { mtu: 1400, ..UP },
        Link { mac: OTHER, ..UP },
        Link { up: false, ..UP },
        Link {
            running: false,
            ..UP
        },
        Link { master: 9, ..UP },
    ] {
        let mut machine = Machine::entered();
        machine.link(changed);
        assert_eq!(machine.live(), [false, false], "{changed:?}");
    }
    let mut machine = Machine::entered();
    machine.link(UP);
    machine.apply(&Event::Link {
        ifindex: PORT + 9,
        now: Some(Link::default()),
    });
    machine.apply(&Event::Settings {
        family: Family::Ipv4,
        ifindex: PORT + 9,
    });
    assert_eq!(machine.live(), [true, true]);
}

#[test]
fn changed_settings_of_a_link_that_is_up_or_of_all_retire_their_family() {
    for ifindex in [PORT, 0] {
        let mut machine = Machine::entered();
        machine.apply(&Event::Settings {
            family: Family::Ipv6,
            ifindex,
        });
        assert_eq!(machine.live(), [true, false]);
    }
}

#[test]
fn lost_messages_retire_everything_until_all_was_looked_at_again() {
    let mut machine = Machine::entered();
    machine.apply(&Event::Lost);
    assert_eq!(machine.live(), [false, false]);
    assert_eq!(kept(&machine.state.slots), [0, 0]);
    machine.quiet();
    machine.look(Family::Ipv4, Some(true));
    machine.enter(key(AF_INET));
    assert!(!machine.is_live(&key(AF_INET)), "links are not known again");
}

#[test]
fn a_changed_egress_retires_what_leaves_through_it() {
    let mut machine = Machine::entered();
    let tagged = Egress {
        tag_count: 1,
        ..Egress::default()
    };
    machine.state.set_egress(&HashMap::from([(PORT, tagged)]));
    assert_eq!(machine.live(), [false, false]);
}

#[test]
fn whoever_hears_nothing_keeps_nothing() {
    let mut machine = Machine::entered();
    machine.state.go_deaf();
    assert_eq!(machine.live(), [false, false]);
    assert_eq!(kept(&machine.state.slots), [0, 0]);
    machine.quiet();
    assert!(machine.state.look(Family::Ipv4, machine.now).is_none());
}

#[test]
fn neighbours_in_use_are_those_behind_live_next_hops_that_nobody_else_looks_after() {
    let mut machine = Machine::new();
    assert_eq!(machine.state.neighbours_in_use(), []);
    machine.enter(key(AF_INET));
    let mut in_use = machine.state.neighbours_in_use();
    in_use.sort_unstable();
    assert_eq!(
        in_use,
        [AF_INET, AF_INET6].map(|family| (PORT, address(family)))
    );
    machine.apply(&Event::Neighbour {
        ifindex: PORT,
        address: address(AF_INET6),
        now: Some(Neighbour {
            mac: GATEWAY,
            discovered: false,
        }),
    });
    assert_eq!(
        machine.state.neighbours_in_use(),
        [(PORT, address(AF_INET))]
    );
}

#[test]
fn retired_numbers_are_called_in_when_slots_lack() {
    let mut machine = Machine::new();
    for round in 1..=HOP_ROUNDS {
        machine.enter(key(AF_INET));
        assert!(machine.is_live(&key(AF_INET)), "round {round}");
        assert_eq!(machine.state.to_call_in(), None);
        machine.routes(Family::Ipv4, true);
        machine.quiet();
    }
    machine.enter(key(AF_INET));
    assert!(!machine.is_live(&key(AF_INET)), "all its slots are retired");
    let numbers = machine.state.to_call_in().unwrap();
    assert_eq!(numbers.iter().filter(|n| **n).count(), HOP_ROUNDS);
    machine.state.free(&numbers);
    assert_eq!(machine.state.to_call_in(), None);
    machine.enter(key(AF_INET));
    assert!(machine.is_live(&key(AF_INET)));
}

/// Slots in which one next hop may stand.
const HOP_ROUNDS: usize = relay_common::HOP_PROBES as usize;

#[test]
fn homes_move_when_next_hops_lack_slots_that_nobody_holds() {
    let mut machine = Machine::new();
    let of_mtu = |mtu| HopKey {
        mtu,
        ..key(AF_INET)
    };
    let home = of_mtu(1280).home(0);
    let mut crowd = (1280..).map(of_mtu).filter(|key| key.home(0) == home);
    for key in crowd.by_ref().take(HOP_ROUNDS) {
        machine.enter(key);
        assert!(machine.is_live(&key) && !machine.state.is_crowded());
    }
    let last = crowd.find(|key| key.home(1) != home).unwrap();
    machine.enter(last);
    assert!(!machine.is_live(&last) && machine.state.is_crowded());
    machine.state.move_homes();
    machine.enter(last);
    assert!(machine.is_live(&last));
}

use std::collections::{HashMap, VecDeque};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};

use relay_common::{AF_INET, Egress, HOP_PROBES};

use super::super::slots::HopCounts;
use super::super::slots::tests::slots;
use super::*;
use crate::net::routing::{Families, Link, Neighbour};

/// No machine has a link of that index.
const PORT: u32 = 0x7fff_fff0;
const KEY: HopKey = HopKey {
    ifindex: PORT,
    mtu: 1500,
    destination_mac: [2, 0, 0, 0, 0, 2],
    source_mac: [2, 0, 0, 0, 0, 1],
    family: AF_INET as u32,
};

/// What a program does while the keeper works.
struct Script {
    wanted: Arc<Mutex<VecDeque<HopKey>>>,
    done: Arc<Mutex<Vec<Step>>>,
    during_wait: Box<dyn FnMut() -> io::Result<()> + Send>,
    ring: UnixDatagram,
}

#[derive(Debug, PartialEq)]
enum Step {
    Waited,
    Forgot(usize),
}

impl Program for Script {
    fn wanted(&mut self) -> Option<HopKey> {
        self.wanted.lock().unwrap().pop_front()
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    fn wait_for_runs(&mut self) -> io::Result<()> {
        self.done.lock().unwrap().push(Step::Waited);
        (self.during_wait)()
    }

    fn forget(&mut self, numbers: &Numbers) {
        let count = numbers.iter().filter(|n| **n).count();
        self.done.lock().unwrap().push(Step::Forgot(count));
    }
}

/// A keeper on a machine with plain routes, and what its program wants and has been told.
struct Scene {
    hops: NextHops,
    keeper: HopKeeper,
    wanted: Arc<Mutex<VecDeque<HopKey>>>,
    done: Arc<Mutex<Vec<Step>>>,
}

fn long_ago() -> Instant {
    Instant::now().checked_sub(Duration::from_secs(1)).unwrap()
}

fn changed(hops: &NextHops) {
    let event = Event::Routes {
        families: Families::Both,
        plain: true,
    };
    hops.lock().apply(&event, long_ago());
}

impl Scene {
    fn new(during_wait: impl FnMut(&NextHops) -> io::Result<()> + Send + 'static) -> Self {
        let hops = NextHops::over(slots());
        hops.set_egress(&HashMap::from([(PORT, Egress::default())]));
        {
            let mut state = hops.lock();
            let link = Link {
                up: true,
                running: true,
                mac: KEY.source_mac,
                mtu: 1500,
                master: 0,
            };
            let event = Event::Link {
                ifindex: PORT,
                now: Some(link),
            };
            state.apply(&event, long_ago());
            let neighbour = Neighbour {
                mac: KEY.destination_mac,
                discovered: true,
            };
            let event = Event::Neighbour {
                ifindex: PORT,
                address: "203.0.113.17".parse().unwrap(),
                now: Some(neighbour),
            };
            state.apply(&event, long_ago());
            for family in Family::ALL {
                let look = state.look(family, Instant::now()).unwrap();
                state.looked(look, Some(true));
            }
        }
        let (wanted, done) = (Arc::default(), Arc::default());
        let (of_script, mut during_wait) = (hops.clone(), during_wait);
        let script = Script {
            wanted: Arc::clone(&wanted),
            done: Arc::clone(&done),
            during_wait: Box::new(move || during_wait(&of_script)),
            ring: UnixDatagram::unbound().unwrap(),
        };
        Self {
            keeper: HopKeeper::new(hops.clone(), Box::new(script)).unwrap(),
            hops,
            wanted,
            done,
        }
    }

    fn want(&mut self, keys: impl IntoIterator<Item = HopKey>) {
        self.wanted.lock().unwrap().extend(keys);
        self.keeper.serve();
    }

    fn done(&self) -> Vec<Step> {
        std::mem::take(&mut *self.done.lock().unwrap())
    }
}

fn counts(live: u32, retired: u32) -> HopCounts {
    HopCounts { live, retired }
}

#[test]
fn a_wanted_next_hop_is_live_once_the_programs_that_ran_have_ended() {
    let mut scene = Scene::new(|hops| {
        assert_eq!(hops.counts(), counts(0, 0), "not live while they may run");
        Ok(())
    });
    scene.want([KEY, KEY]);
    assert_eq!(scene.hops.counts(), counts(1, 0), "and once only");
    assert_eq!(scene.done(), [Step::Waited]);
    scene.want([KEY]);
    assert_eq!(scene.done(), [], "what is live need not be entered");
}

#[test]
fn a_route_that_changes_while_programs_end_keeps_the_next_hop_out() {
    let mut scene = Scene::new(|hops| {
        changed(hops);
        Ok(())
    });
    scene.want([KEY]);
    assert_eq!(scene.hops.counts(), counts(0, 0));
}

#[test]
fn nothing_is_entered_when_the_kernel_does_not_tell_that_programs_have_ended() {
    let mut scene = Scene::new(|_| Err(io::ErrorKind::PermissionDenied.into()));
    scene.want([KEY]);
    scene.want([KEY]);
    assert_eq!(scene.hops.counts(), counts(0, 0));
    assert_eq!(scene.done(), [Step::Waited, Step::Waited]);
}

#[test]
fn retired_slots_are_free_after_programs_have_ended_and_peers_have_forgotten() {
    let mut scene = Scene::new(|_| Ok(()));
    let places = HOP_PROBES as usize;
    for _ in 0..places {
        scene.want([KEY]);
        changed(&scene.hops);
    }
    assert_eq!(scene.hops.counts(), counts(0, HOP_PROBES));
    scene.done();
    // This one finds no place and has the numbers called in, the next one finds one.
    scene.want([KEY]);
    assert_eq!(scene.done(), [Step::Waited, Step::Forgot(places)]);
    assert_eq!(scene.hops.counts(), counts(0, 0));
    scene.want([KEY]);
    assert_eq!(scene.hops.counts(), counts(1, 0));
}

#[test]
fn numbers_are_not_called_in_all_the_time() {
    let mut scene = Scene::new(|_| Ok(()));
    let called_in = |scene: &mut Scene| {
        for _ in 0..=HOP_PROBES {
            scene.want([KEY]);
            changed(&scene.hops);
        }
        scene
            .done()
            .iter()
            .any(|step| matches!(step, Step::Forgot(_)))
    };
    assert!(called_in(&mut scene));
    assert!(!called_in(&mut scene), "not again within a second");
}

#[test]
fn what_costs_much_is_paced() {
    let (mut paced, start) = (Paced::default(), Instant::now());
    let every = Duration::from_secs(1);
    assert!(paced.may(start, every));
    assert!(!paced.may(start + Duration::from_millis(999), every));
    assert!(paced.may(start + every, every));
}

//! Each property can fail: a relay with the mistake it is for is found out.

use shipworm_sim::check::Violation;
use shipworm_sim::explore::{shipworm, shrink};
use shipworm_sim::flaw::{Flaw, Flawed};
use shipworm_sim::plan::{Fault, Plan};
use shipworm_sim::relay::{RelayNode, Setup, Shipworm};
use shipworm_sim::world::World;
use teredo::relay::Limits;

/// Seeds tried until the mistake shows.
const SEEDS: u64 = 240;

fn violations(plan: &Plan, flaw: Flaw) -> Vec<Violation> {
    let relay = move |setup: Setup| -> Box<dyn RelayNode> {
        Box::new(Flawed::new(Shipworm::new(setup), flaw))
    };
    World::new(plan, &relay).run().violations
}

/// Whether some seed shows `flaw` as a violation `is_it`, with the same plan showing none for the real relay.
fn is_found(flaw: Flaw, adjust: impl Fn(&mut Plan), is_it: impl Fn(&Violation) -> bool) -> bool {
    (0..SEEDS).any(|seed| {
        let mut plan = Plan::from_seed(seed);
        adjust(&mut plan);
        let is_found = violations(&plan, flaw).iter().any(&is_it);
        is_found && World::new(&plan, &shipworm).run().violations.is_empty()
    })
}

/// Attackers alone: they make relays bubble for clients that do not exist.
fn only_attacks(plan: &mut Plan) {
    plan.faults = vec![Fault::Attack];
}

#[test]
fn a_packet_delivered_twice_is_seen() {
    assert!(is_found(
        Flaw::Doubles,
        |_| {},
        |v| matches!(v, Violation::Twice(_))
    ));
}

#[test]
fn a_queue_sent_last_first_is_seen() {
    assert!(is_found(
        Flaw::Reverses,
        |_| {},
        |v| matches!(v, Violation::OutOfOrder(_))
    ));
}

#[test]
fn a_lost_packet_is_seen() {
    assert!(is_found(
        Flaw::Forgets,
        |_| {},
        |v| matches!(v, Violation::Lost(_))
    ));
}

#[test]
fn bubbles_that_follow_each_other_too_soon_are_seen() {
    assert!(is_found(
        Flaw::BubblesTooSoon,
        |_| {},
        |v| matches!(v, Violation::BubbleTooSoon(_))
    ));
}

#[test]
fn a_fifth_bubble_is_seen() {
    assert!(is_found(Flaw::BubblesForEver, only_attacks, |v| matches!(
        v,
        Violation::FifthBubble(_)
    )));
}

#[test]
fn a_flood_of_bubbles_at_a_server_is_seen() {
    let small = |plan: &mut Plan| plan.faults.clear();
    assert!(is_found(Flaw::FloodsServers, small, |v| matches!(
        v,
        Violation::ServerRate(_)
    )));
    assert!(is_found(Flaw::FloodsServers, small, |v| matches!(
        v,
        Violation::NewPeerRate
    )));
}

/// Plans with small limits, and attackers who reach them, against a relay with the usual ones.
#[test]
fn a_relay_that_keeps_none_of_the_small_limits_of_a_plan_is_seen() {
    let careless = |setup: Setup| -> Box<dyn RelayNode> {
        let limits = Limits::default();
        Box::new(Shipworm::new(Setup { limits, ..setup }))
    };
    let flooded: Vec<Plan> = (0..400)
        .map(Plan::from_seed)
        .filter(Plan::is_flooded)
        .collect();
    let found = |is_it: fn(&Violation) -> bool| {
        let mut plans = flooded.iter();
        plans.any(|plan| {
            World::new(plan, &careless)
                .run()
                .violations
                .iter()
                .any(is_it)
        })
    };
    assert!(found(|v| matches!(v, Violation::NewPeerRate)));
    assert!(found(|v| matches!(v, Violation::ServerRate(_))));
    assert!(found(|v| matches!(v, Violation::Unbounded(_))));
}

#[test]
fn a_datagram_to_a_private_address_is_seen() {
    assert!(is_found(
        Flaw::SendsToPrivate,
        |_| {},
        |v| matches!(v, Violation::NotGlobal(_))
    ));
}

#[test]
fn state_beyond_its_bound_is_seen() {
    let small = |plan: &mut Plan| plan.limits.queue_bytes_total = 4096;
    assert!(is_found(Flaw::Hoards, small, |v| matches!(
        v,
        Violation::Unbounded(_)
    )));
}

#[test]
fn a_relay_that_does_not_come_back_is_seen() {
    let restarts = |plan: &mut Plan| plan.faults = vec![Fault::RelayRestart];
    assert!(is_found(Flaw::StaysDead, restarts, |v| matches!(
        v,
        Violation::Lost(_)
    )));
}

#[test]
fn forged_data_handed_on_is_seen() {
    assert!(is_found(Flaw::TrustsAnybody, only_attacks, |v| matches!(
        v,
        Violation::Forged(_)
    )));
}

#[test]
fn a_packet_sent_round_is_seen() {
    assert!(is_found(Flaw::Loops, only_attacks, |v| matches!(
        v,
        Violation::Loop(_)
    )));
}

#[test]
fn a_relay_that_goes_on_talking_is_seen() {
    assert!(is_found(
        Flaw::BubblesForEver,
        |_| {},
        |v| matches!(v, Violation::NotSilent)
    ));
}

#[test]
fn what_a_violation_does_not_need_is_left_out() {
    let plan = (0..1000)
        .map(Plan::from_seed)
        .find(|plan| plan.faults.len() > 2 && plan.has(Fault::RelayRestart) && plan.flows.len() > 1)
        .expect("one of a thousand seeds");
    let is_bad = |plan: &Plan| plan.has(Fault::RelayRestart);
    let least = shrink(&plan, &is_bad);
    assert_eq!(
        (least.faults, least.flows.len()),
        (vec![Fault::RelayRestart], 1)
    );
}

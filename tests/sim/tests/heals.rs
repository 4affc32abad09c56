//! How long single faults hurt, and who can talk to whom.

use std::time::Duration;

use shipworm_sim::explore::run;
use shipworm_sim::nat::{Depends, NatKind};
use shipworm_sim::plan::{CALM_AT, CarrierPlan, ClientPlan, End, Fault, FlowPlan, Plan};
use teredo::relay::Limits;

const fn behind(nat: NatKind, repeats_nonces: bool) -> ClientPlan {
    ClientPlan {
        nat,
        server: 0,
        repeats_nonces,
        nat_timeout: Duration::from_mins(1),
        hairpin: false,
        carrier: None,
    }
}

fn plan(seed: u64, clients: Vec<ClientPlan>, flows: &[(End, End)], faults: &[Fault]) -> Plan {
    let flow = |&(from, to): &(End, End)| FlowPlan {
        from,
        to,
        start: Duration::from_secs(3),
        pause: Duration::ZERO,
    };
    Plan {
        clients,
        carriers: Vec::new(),
        limits: Limits::default(),
        flows: flows.iter().map(flow).collect(),
        faults: faults.to_vec(),
        relays: 2,
        servers: 1,
        hosts: 1,
        ..Plan::from_seed(seed)
    }
}

const BOTH_WAYS: [(End, End); 2] = [
    (End::Host(0), End::Client(0)),
    (End::Client(0), End::Host(0)),
];

/// PROTOCOL 5.10, "client to relay": all nine rows, for clients with nonces and without.
#[test]
fn a_client_behind_any_nat_talks_through_a_relay_whoever_begins() {
    for nat in NatKind::ALL {
        for repeats_nonces in [false, true] {
            for flows in [&BOTH_WAYS[..1], &BOTH_WAYS[1..], &BOTH_WAYS[..]] {
                let outcome = run(&plan(1, vec![behind(nat, repeats_nonces)], flows, &[]));
                assert_eq!(outcome.violations, [], "{nat:?} {repeats_nonces} {flows:?}");
                assert_eq!(outcome.figures.sent, outcome.figures.received);
            }
        }
    }
}

fn carrier(nat: NatKind, hairpin: bool) -> CarrierPlan {
    CarrierPlan {
        nat,
        hairpin,
        nat_timeout: Duration::from_mins(1),
    }
}

/// The same, as seen from a relay, for the two boxes behave as one: the more cautious of both.
#[test]
fn a_client_behind_any_two_nats_talks_through_a_relay_whoever_begins() {
    for own in NatKind::ALL {
        for of_carrier in NatKind::CARRIERS {
            for flows in [&BOTH_WAYS[..1], &BOTH_WAYS[1..]] {
                let customer = ClientPlan {
                    carrier: Some(0),
                    ..behind(own, false)
                };
                let mut plan = plan(1, vec![customer], flows, &[]);
                plan.carriers = vec![carrier(of_carrier, false)];
                let outcome = run(&plan);
                assert_eq!(outcome.violations, [], "{own:?} {of_carrier:?} {flows:?}");
                assert_eq!(outcome.figures.sent, outcome.figures.received);
            }
        }
    }
}

#[test]
fn two_customers_of_a_carrier_talk_where_its_nat_hairpins_and_only_there() {
    for hairpin in [false, true] {
        let customer = ClientPlan {
            carrier: Some(0),
            ..behind(NatKind::PortRestricted, false)
        };
        let flow = [(End::Client(0), End::Client(1))];
        let mut plan = plan(1, vec![customer, customer], &flow, &[]);
        plan.carriers = vec![carrier(NatKind::PortRestricted, hairpin)];
        let outcome = run(&plan);
        assert_eq!(
            outcome.violations.is_empty(),
            hairpin,
            "{:?}",
            outcome.violations
        );
        assert_eq!(outcome.figures.received > 0, hairpin);
    }
}

/// PROTOCOL 5.10: what RFC 4380 alone gives between clients. Packets to a client behind a symmetric NAT find no way.
#[test]
fn two_clients_talk_when_both_map_every_remote_alike() {
    let without_upnp = NatKind::ALL.into_iter().filter(|kind| !kind.has_upnp());
    let kinds: Vec<NatKind> = without_upnp.collect();
    for &one in &kinds {
        for &other in &kinds {
            let clients = vec![behind(one, false), behind(other, false)];
            let flow = [(End::Client(0), End::Client(1))];
            let outcome = run(&plan(1, clients, &flow, &[]));
            let maps_alike = |kind: NatKind| kind.mapping() == Depends::Nothing;
            if maps_alike(one) && maps_alike(other) {
                assert_eq!(outcome.violations, [], "{one:?} {other:?}");
            } else if !maps_alike(one) && !maps_alike(other) {
                assert_eq!(outcome.figures.received, 0, "{one:?} {other:?}");
            }
        }
    }
}

/// Every second client is a carrier's customer, whose NAT fails then.
fn worst(fault: Fault) -> Duration {
    let outcomes = (0..60).map(|seed| {
        let nat = NatKind::ALL[usize::try_from(seed).unwrap() % NatKind::ALL.len()];
        let client = ClientPlan {
            carrier: (seed % 4 < 2).then_some(0),
            ..behind(nat, seed % 2 == 0)
        };
        let mut plan = plan(seed, vec![client], &BOTH_WAYS, &[fault]);
        plan.carriers = vec![carrier(NatKind::PortRestricted, false)];
        let outcome = run(&plan);
        assert_eq!(outcome.violations, [], "seed {seed} {fault:?}");
        outcome.figures.healed_after
    });
    outcomes.max().unwrap()
}

/// A client learns of its new mapping with the next refresh, 30 s later at most, and is a new peer to everybody.
#[test]
fn a_nat_that_reboots_or_moves_heals_with_the_next_refresh() {
    for fault in [Fault::NatReboot, Fault::NatMove] {
        let worst = worst(fault);
        println!("{fault:?}: {worst:?} after {CALM_AT:?}");
        assert!(worst <= Duration::from_secs(35), "{fault:?}: {worst:?}");
    }
}

/// A relay that kept its table goes on; one that lost it asks again, at the latest when its clients' trust ends.
#[test]
fn a_relay_that_starts_anew_heals_within_the_trust_of_its_clients() {
    for (fault, most) in [(Fault::RelayRestart, 32), (Fault::RelayReload, 5)] {
        let worst = worst(fault);
        println!("{fault:?}: {worst:?} after {CALM_AT:?}");
        assert!(worst <= Duration::from_secs(most), "{fault:?}: {worst:?}");
    }
}

/// A way that changes is no loss for long: the new relay asks, the old one still hears.
#[test]
fn another_nearest_relay_takes_over() {
    let worst = worst(Fault::RouteFlap);
    println!("RouteFlap: {worst:?}");
    assert!(worst <= Duration::from_secs(10), "{worst:?}");
}

//! Which clients reach each other (PROTOCOL 5.10): with our server the same as with miredo's.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use lab::shipworm::Datapath;
use lab::{Lab, Nat, Options, Ping, miredo};

use crate::rivals::{Kind, Rival};

/// Long enough for every bubble that is repeated.
const UNTIL_GIVEN_UP: Ping = Ping {
    count: 24,
    interval: Duration::from_millis(500),
    linger: Duration::from_secs(2),
    data_len: 8,
};

/// Who opens, and towards whom, and whether anything came back.
type Matrix = BTreeMap<(Nat, Nat), bool>;

/// All pairs at once, from cold NATs.
fn matrix(lab: &Lab, kind: Kind) -> Matrix {
    let server = Rival::start(lab, kind);
    let clients = miredo::cold_clients(lab).unwrap();
    let answered = thread::scope(|scope| {
        let mut asking = Vec::new();
        for (from, _) in &clients {
            for (to, client) in &clients {
                if from.nat != to.nat {
                    let address = client.ipv6();
                    let ping = move || UNTIL_GIVEN_UP.run(&from.client, address).unwrap();
                    asking.push(((from.nat, to.nat), scope.spawn(ping)));
                }
            }
        }
        asking
            .into_iter()
            .map(|(pair, asked)| (pair, asked.join().unwrap().received > 0))
            .collect()
    });
    // Where a pair fails that should not, this tells why.
    println!("{}", server.reasons());
    server.stop();
    answered
}

fn print(kind: Kind, matrix: &Matrix) {
    println!("{kind:?}");
    for from in Nat::ALL {
        let row: Vec<&str> = Nat::ALL
            .iter()
            .map(|to| match matrix.get(&(from, *to)) {
                None => "-",
                Some(true) => "yes",
                Some(false) => "no",
            })
            .collect();
        println!("  {from:4} to {:?}: {row:?}", Nat::ALL.map(Nat::as_str));
    }
}

fn clients_reach_each_other_alike(datapath: Datapath) {
    let lab = Lab::new(&Options::default()).unwrap();
    let kinds = [Kind::Miredo, Kind::Shipworm(datapath)];
    let [theirs, ours] = kinds.map(|kind| {
        let matrix = matrix(&lab, kind);
        print(kind, &matrix);
        matrix
    });
    assert_eq!(ours, theirs);
    assert!(ours.values().any(|reached| *reached), "{ours:?}");
}

#[test]
fn in_xdp_clients_reach_each_other_exactly_where_they_do_with_miredo_server() {
    clients_reach_each_other_alike(Datapath::Xdp);
}

#[test]
fn in_user_space_clients_reach_each_other_exactly_where_they_do_with_miredo_server() {
    clients_reach_each_other_alike(Datapath::Userspace);
}

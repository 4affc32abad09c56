//! What real miredo does in the lab with its own relay: the laboratory's own proof, and the
//! figures our relay is held against.

use lab::{Lab, Options, Ping, miredo};

#[test]
fn miredos_relay_serves_clients_behind_every_nat_both_ways() {
    let lab = Lab::new(&Options::default()).unwrap();
    let _server = miredo::server(&lab).unwrap();
    for from_host in [false, true] {
        let _relay = miredo::relay(&lab).unwrap();
        lab.flush_nats().unwrap();
        for site in lab.sites() {
            let client = miredo::Client::start(&lab, site.nat).unwrap();
            let report = if from_host {
                Ping::times(5).run(&lab.host, client.ipv6()).unwrap()
            } else {
                Ping::times(5).run(&site.client, Lab::HOST).unwrap()
            };
            println!(
                "{:4} {} qualified in {:?}, {report:?}",
                site.nat, client.address, client.qualified_in
            );
            assert_eq!(report.received, report.sent, "{}: {report:?}", site.nat);
        }
    }
}

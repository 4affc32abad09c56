//! What real miredo does in the lab with its own relay: the laboratory's own proof, and the
//! figures our relay is held against.

use std::time::Duration;

use lab::{Lab, Options, Ping, miredo};

const COLD: Ping = Ping {
    count: 10,
    interval: Duration::from_millis(20),
    linger: Duration::from_secs(2),
    data_len: 56,
};

#[test]
fn miredos_relay_serves_clients_behind_every_nat_both_ways() {
    let lab = Lab::new(&Options::default()).unwrap();
    let _server = miredo::server(&lab).unwrap();
    for opened_by in ["client", "host"] {
        let _relay = miredo::relay(&lab).unwrap();
        for (site, client) in miredo::cold_clients(&lab).unwrap() {
            let report = match opened_by {
                "client" => COLD.run(&site.client, Lab::HOST),
                _ => COLD.run(&lab.host, client.ipv6()),
            }
            .unwrap();
            println!(
                "{:4} {} opened by {opened_by}: qualified in {:?}, first reply in {:?}, {}/{} \
                 replies, median round trip {:?}",
                site.nat,
                client.address,
                client.qualified_in,
                report.first_reply,
                report.received,
                report.sent,
                report.median_round_trip(),
            );
            assert_eq!(report.received, report.sent, "{}: {report:?}", site.nat);
        }
    }
}

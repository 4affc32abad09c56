//! Whether the demo showed what it promises.

use super::{Client, Leg, Status};
use crate::shipworm::Datapath;

/// Part of the data the fast path has to carry, in percent of the packets.
const FAST_PERCENT: f64 = 90.0;

/// What did not go as it should; nothing if traffic crossed for everyone. Without a status
/// nothing is said about the fast path.
pub fn failures(clients: &[Client], status: Option<&Status>, datapath: Datapath) -> Vec<String> {
    let mut failures = Vec::new();
    for client in clients {
        for (direction, leg) in [("inward", &client.inward), ("outward", &client.outward)] {
            let whose = |what: String| format!("{} client, {direction}: {what}", client.nat);
            failures.extend(failures_of(leg).into_iter().map(whose));
        }
    }
    if let Some(status) = status
        && datapath != Datapath::Userspace
    {
        match status.traffic.fast_percent() {
            Some(share) if share >= FAST_PERCENT => {}
            Some(share) => failures.push(format!(
                "the fast path carried {share:.1} % of the packets, less than {FAST_PERCENT} %"
            )),
            None => failures.push("the relay carried nothing".to_owned()),
        }
    }
    failures
}

fn failures_of(leg: &Leg) -> Vec<String> {
    let mut failures = leg.errors.clone();
    if leg.received == 0 {
        failures.push(format!("none of {} echoes was answered", leg.sent));
    } else if leg.transfers == 0 {
        failures.push("no transfer has ended".to_owned());
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::table::tests::{clients, status};

    #[test]
    fn traffic_both_ways_for_everyone_on_the_fast_path_is_what_was_promised() {
        let failures = failures(&clients(), Some(&status()), Datapath::Xdp);
        assert!(failures.is_empty(), "{failures:?}");
    }

    #[test]
    fn a_client_that_hears_nothing_is_named_with_the_direction() {
        let mut clients = clients();
        clients[1].inward.received = 0;
        let failures = failures(&clients, Some(&status()), Datapath::Xdp);
        assert_eq!(
            failures,
            ["sym client, inward: none of 50 echoes was answered"]
        );
    }

    #[test]
    fn a_slow_path_that_carries_the_data_fails_only_where_xdp_was_asked_for() {
        let mut status = status();
        status.traffic.encapsulated.slow.packets = 100_000;
        assert_eq!(failures(&clients(), Some(&status), Datapath::Xdp).len(), 1);
        assert!(failures(&clients(), Some(&status), Datapath::Userspace).is_empty());
    }

    #[test]
    fn other_bytes_than_were_sent_are_a_failure() {
        let mut clients = clients();
        clients[0].outward.errors = vec!["transfer: other bytes".to_owned()];
        assert_eq!(failures(&clients, Some(&status()), Datapath::Xdp).len(), 1);
    }
}

//! What waited for a client leaves past the kernel while the way back is kept, and by the kernel while it is not.

use lab::wait_for;

use super::{Crowd, TwoWays};
use crate::figures::Figures;
use crate::peer::SOON;

/// Clients met in each of the two states.
const EACH: usize = 20;

#[test]
fn the_first_packet_of_a_client_takes_the_kept_way_and_where_none_is_kept_the_kernel_s() {
    let ways = TwoWays::new();
    let relay = ways.relay();
    let crowd = Crowd::unknown(&ways.lab, 1 + 2 * EACH);
    crowd.meet(&relay, 0);
    wait_for("a kept next hop", SOON, || {
        crowd.ping(0);
        Figures::of(&relay).keeps()[0] && Figures::of(&relay).live() >= 1
    })
    .unwrap();
    let meet = |clients: std::ops::Range<usize>| {
        let before = Figures::of(&relay).sent_past_kernel();
        let sent = ways.sent_during(|| {
            for client in clients.clone() {
                crowd.meet(&relay, client);
            }
        });
        // The packet that waited for the answer to a bubble: none is lost or sent twice.
        assert_eq!(sent.len(), clients.len(), "{}", relay.log());
        Figures::of(&relay).sent_past_kernel() - before
    };
    assert_eq!(meet(1..1 + EACH), EACH as u64);

    // By TOS two packets of one peer may go different ways: nothing is kept.
    ways.lab.relay.ip(&["rule add tos 0x10 table 7"]).unwrap();
    wait_for("the daemon", SOON, || !Figures::of(&relay).keeps()[0]).unwrap();
    assert_eq!(meet(1 + EACH..1 + 2 * EACH), 0);
    relay.stop().unwrap();
}

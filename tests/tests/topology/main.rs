//! The relay in networks of different shape, and in networks that change under it.

mod bystanders;
mod changes;
mod figures;
mod jumbo;
mod legs;
mod next_hops;
mod outer;
mod peer;

use std::time::Duration;

use lab::shipworm::{Datapath, Relay, Settings};
use lab::{Cabling, Lab, Options, Ping};

use peer::{Peer, is_complete};

/// A lab without NAT sites: scripted clients need none.
fn bare(cabling: Cabling) -> Lab {
    Lab::new(&Options {
        nats: Vec::new(),
        cabling,
        ..Options::default()
    })
    .unwrap()
}

fn start(lab: &Lab, datapath: Datapath) -> Relay<'_> {
    Relay::start(lab, &Settings::new(datapath)).unwrap()
}

/// A relay and a peer that it trusts.
fn start_with_peer(lab: &Lab, datapath: Datapath) -> (Peer<'_>, Relay<'_>) {
    let (peer, relay) = (Peer::start(lab), start(lab, datapath));
    let opening = peer.pinged(&flow(1));
    assert!(is_complete(&opening), "{opening:?}\n{}", relay.log());
    (peer, relay)
}

/// `count` requests, one a millisecond.
fn flow(count: u16) -> Ping {
    Ping {
        count,
        interval: Duration::from_millis(1),
        ..Ping::default()
    }
}

/// A sentence about the relay, tested with each datapath.
macro_rules! each_datapath {
    ($($sentence:ident = $test:expr;)+) => {
        $(mod $sentence {
            use super::*;
            use lab::shipworm::Datapath;

            #[test]
            fn with_xdp() {
                ($test)(Datapath::Xdp);
            }

            #[test]
            fn with_generic_xdp() {
                ($test)(Datapath::XdpGeneric);
            }

            #[test]
            fn in_user_space() {
                ($test)(Datapath::Userspace);
            }
        })+
    };
}
use each_datapath;

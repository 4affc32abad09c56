//! One arm or two, tagged or not.

use lab::shipworm::{Datapath, INTERFACE};
use lab::{Cabling, Lab, Options};
use relay_common::Reason;

use crate::figures::{Figures, driver_counter};
use crate::peer::is_complete;
use crate::{bare, each_datapath, flow, start_with_peer};

const FLOW: u16 = 1000;
const SHORT_FLOW: u16 = 200;
/// Share of a long flow that the fast path carries: all but the packets that open it.
const FAST_SHARE: f64 = 0.99;

each_datapath! {
    a_two_armed_relay_carries_both_directions = |datapath| arms(datapath, Cabling::TwoArmed);
    a_one_armed_relay_carries_both_directions = |datapath| arms(datapath, Cabling::OneArmed);
    a_tagged_ipv4_leg_works = |datapath| tagged(datapath, Cabling::TwoArmed, &[100], &[]);
    a_tagged_ipv6_leg_works = |datapath| tagged(datapath, Cabling::TwoArmed, &[], &[200]);
    two_legs_with_one_and_two_tags_work = |datapath| tagged(datapath, Cabling::TwoArmed, &[100], &[7, 200]);
    one_cable_with_two_vlans_works = |datapath| tagged(datapath, Cabling::OneArmed, &[100], &[200]);
}

fn arms(datapath: Datapath, cabling: Cabling) {
    let lab = bare(cabling);
    let (peer, relay) = start_with_peer(&lab, datapath);
    assert!(
        lab.relay
            .has_ipv6_route("2001::".parse().unwrap(), 32, INTERFACE)
            .unwrap()
    );

    let report = peer.pinged(&flow(FLOW));
    assert!(is_complete(&report), "{report:?}\n{}", relay.log());
    assert_eq!(peer.pings(SHORT_FLOW), usize::from(SHORT_FLOW));

    let figures = Figures::of(&relay);
    assert_eq!(figures.dropped(), []);
    let shares = figures.fast_shares();
    println!(
        "{datapath} {cabling:?}: fast {shares:?}, median {:?}",
        report.median_round_trip()
    );
    match datapath {
        Datapath::Userspace => assert_eq!(figures.all_fast(), 0),
        Datapath::Xdp | Datapath::XdpGeneric => {
            assert!(shares.iter().all(|share| *share >= FAST_SHARE));
        }
    }
    if datapath == Datapath::Xdp {
        assert_way_out(&lab, cabling, &figures);
    }
    relay.stop().unwrap();
}

/// With one arm frames leave by `XDP_TX`; with two they are redirected to the other port.
fn assert_way_out(lab: &Lab, cabling: Cabling, figures: &Figures) {
    let carried = figures.fast(Reason::Encapsulated) + figures.fast(Reason::Decapsulated);
    let sent_back: u64 = lab
        .relay_interfaces()
        .iter()
        .map(|interface| driver_counter(&lab.relay, interface, "xdp_tx"))
        .sum();
    match cabling {
        Cabling::OneArmed => assert_eq!(sent_back, carried),
        Cabling::TwoArmed => assert_eq!(sent_back, 0),
    }
}

fn tagged(datapath: Datapath, cabling: Cabling, ipv4: &[u16], ipv6: &[u16]) {
    let lab = Lab::new(&Options {
        nats: Vec::new(),
        cabling,
        ipv4_vlan: ipv4.to_vec(),
        ipv6_vlan: ipv6.to_vec(),
    })
    .unwrap();
    let (peer, relay) = start_with_peer(&lab, datapath);

    let report = peer.pinged(&flow(SHORT_FLOW));
    assert!(is_complete(&report), "{report:?}\n{}", relay.log());
    assert_eq!(peer.pings(SHORT_FLOW), usize::from(SHORT_FLOW));

    let figures = Figures::of(&relay);
    assert_eq!(figures.dropped(), []);
    let shares = figures.fast_shares();
    println!("{datapath} {cabling:?} {ipv4:?} {ipv6:?}: fast {shares:?}");
    if datapath == Datapath::Userspace {
        return;
    }
    // Where the kernel has no VLAN devices, a route names the device that stands in for one,
    // and nothing tells the relay which port is behind it: that direction takes the slow path.
    let stand_ins = lab.relay_vlans().iter().any(lab::VlanDevice::is_stand_in);
    for (share, way_out) in shares.iter().zip([ipv4, ipv6]) {
        if way_out.is_empty() || !stand_ins {
            assert!(*share >= 0.95, "{shares:?}");
        } else {
            assert!(figures.fast(Reason::PuntNoRoute) >= u64::from(SHORT_FLOW));
        }
    }
}

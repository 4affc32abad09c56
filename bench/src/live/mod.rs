//! Traffic over veth between namespaces: the shipped relay beside a bare redirect, the kernel and miredo.
//!
//! `docs/benchmarks/live-and-setup.md` tells how it is measured and what the figures include.

pub(crate) mod bed;
pub(crate) mod cpu;
mod device;
pub(crate) mod establish;
pub(crate) mod frame;
pub(crate) mod generator;
pub(crate) mod histogram;
pub(crate) mod ledger;
pub(crate) mod relay;
mod round;
mod scan;

use std::time::Duration;

use anyhow::Result;

use crate::Options;
use crate::report::Figure;
use bed::Cores;
use device::{Device, POPULATION};
use frame::{Direction, InnerBytes};
use generator::Peers;
use ledger::Ledger;
use round::Case;

/// The relay among the devices.
const RELAY: usize = 4;

/// How much is measured.
#[derive(Clone, Copy)]
struct Plan {
    rounds: u32,
    window: Duration,
}

impl Plan {
    const fn of(quick: bool) -> Self {
        if quick {
            Self {
                rounds: 2,
                window: Duration::from_millis(300),
            }
        } else {
            Self {
                rounds: 5,
                window: Duration::from_millis(600),
            }
        }
    }
}

/// The figures of bench `live`.
pub(crate) fn measure(options: &Options) -> Result<Vec<Figure>> {
    let cores = Cores::find()?;
    let plan = Plan::of(options.quick);
    let (tunnel, tunnel_device) = Device::tunnel(cores)?;
    // The first is what the generator itself is measured on.
    let mut devices = [
        Device::direct(cores)?,
        Device::redirect(cores)?,
        Device::kernel(cores)?,
        tunnel_device,
        Device::relay(cores)?,
        Device::miredo(cores)?,
    ];
    let mut ledger = Ledger::new("live");
    for (inner, suffix) in [(InnerBytes::SMALL, ""), (InnerBytes::FULL, "/1280")] {
        let cases = cases(tunnel.name(), inner);
        for _ in 0..plan.rounds {
            let mut round = Vec::new();
            for case in &cases {
                let sample = round::sample(&mut devices, case, inner, plan.window)?;
                round.push((case.name.clone(), sample));
            }
            round::enter(&mut ledger, &round, suffix);
        }
    }
    let [.., relay, _] = &mut devices;
    for _ in 0..plan.rounds {
        scan::measure(&mut ledger, relay, plan.window)?;
    }
    Ok(ledger.into_figures())
}

/// The live figures of bench `server`: solicitations answered by ours, in XDP and in user space, and by miredo-server.
pub(crate) fn measure_server(options: &Options) -> Result<Vec<Figure>> {
    let cores = Cores::find()?;
    let plan = Plan::of(options.quick);
    // The first is what the generator itself is measured on.
    let mut devices = [
        Device::direct(cores)?,
        Device::server(cores, "xdp")?,
        Device::server(cores, "userspace")?,
        Device::miredo_server(cores)?,
    ];
    let cases = ["live-rs-ra", "live-userspace-rs-ra", "live-miredo-rs-ra"];
    let mut ledger = Ledger::new("server");
    for _ in 0..plan.rounds {
        let mut round = Vec::new();
        for (i, name) in cases.iter().enumerate() {
            let case = Case {
                name: (*name).into(),
                device: i + 1,
                direction: Direction::Solicit,
                peers: Peers::Random(POPULATION),
            };
            let sample = round::sample(&mut devices, &case, InnerBytes::SMALL, plan.window)?;
            round.push((case.name, sample));
        }
        round::enter(&mut ledger, &round, "");
    }
    Ok(ledger.into_figures())
}

/// What is measured with inner packets of this size. Many peers cost what they cost whatever the size.
fn cases(tunnel: &str, inner: InnerBytes) -> Vec<Case> {
    let one = Peers::Random(1);
    let case = |name: &str, device, direction, peers| Case {
        name: name.into(),
        device,
        direction,
        peers,
    };
    let mut cases = vec![
        case("redirect", 1, Direction::Encap, one),
        case("relay-encap/1", RELAY, Direction::Encap, one),
        case("relay-decap/1", RELAY, Direction::Decap, one),
        case("kernel-ipv6", 2, Direction::Encap, one),
        case(tunnel, 3, Direction::Encap, one),
        case("miredo-encap/1", 5, Direction::Encap, one),
        case("miredo-decap/1", 5, Direction::Decap, one),
    ];
    if inner == InnerBytes::SMALL {
        let many = Peers::Random(POPULATION);
        cases.insert(3, case("relay-encap/1M", RELAY, Direction::Encap, many));
        cases.insert(4, case("relay-decap/1M", RELAY, Direction::Decap, many));
    }
    cases
}

//! A relay between a scripted server, scripted clients and a native host.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use lab::shipworm::{Datapath, Relay, Settings};
use lab::teredo_client::{Arrival, Bubbles, Clients};
use lab::teredo_server::Server;
use lab::{Lab, Options, RELAY_PORT, wait_for};
use relay_common::{Kind, Reason};
use relay_user::status::Status;

use crate::packet;
use crate::wire::Wire;

/// Longer than anything that happens at once takes on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// The relay's service address.
pub(crate) const SERVICE: SocketAddrV4 = SocketAddrV4::new(Lab::RELAY_V4, RELAY_PORT);

/// Everything around the relay.
pub(crate) struct Scene {
    pub(crate) lab: Lab,
    pub(crate) clients: Clients,
    pub(crate) v4: Wire,
    pub(crate) v6: Wire,
    _server: Server,
}

impl Scene {
    pub(crate) fn new(clients: usize, bubbles: Bubbles) -> Self {
        let lab = Lab::new(&Options {
            nats: Vec::new(),
            ..Options::default()
        })
        .unwrap();
        Self {
            _server: Server::start(&lab.server, Lab::SERVER_V4).unwrap(),
            clients: Clients::start(&lab, Lab::SERVER_V4, clients, bubbles).unwrap(),
            v4: Wire::ipv4(&lab),
            v6: Wire::ipv6(&lab),
            lab,
        }
    }

    pub(crate) fn relay(&self, datapath: Datapath) -> Relay<'_> {
        Relay::start(&self.lab, &Settings::new(datapath)).unwrap()
    }

    /// Makes the relay trust the first `count` clients, by a packet from the host to each.
    pub(crate) fn establish(&self, count: usize) {
        for i in 0..count {
            self.v6
                .send(&packet::udp(Lab::HOST, self.clients.ipv6(i), b"hello"));
        }
        self.arrivals(count);
    }

    /// Waits until `count` packets have reached the clients, and takes them.
    pub(crate) fn arrivals(&self, count: usize) -> Vec<Arrival> {
        wait_for(&format!("{count} packets at the clients"), SOON, || {
            self.clients.waiting() >= count
        })
        .unwrap_or_else(|e| panic!("{e}: {}", self.clients.waiting()));
        self.clients.take_arrivals()
    }
}

/// What the relay says about itself.
pub(crate) fn status(relay: &Relay<'_>) -> Status {
    serde_json::from_value(relay.status().unwrap()).unwrap()
}

/// How many packets have come to each end there is: a packet that one path hands to another is
/// counted where it ends.
pub(crate) fn fates(status: &Status) -> BTreeMap<&'static str, u64> {
    let ours = Reason::ALL
        .iter()
        .filter(|reason| **reason != Reason::NotOurs);
    let ends = ours.map(|reason| {
        let counts = status.reasons.of(*reason);
        let ends_in_fast_path = !matches!(reason.kind(), Kind::Punted | Kind::Passed);
        let fast = if ends_in_fast_path {
            counts.fast.packets
        } else {
            0
        };
        (reason.as_str(), fast + counts.slow.packets)
    });
    ends.filter(|(_, packets)| *packets > 0).collect()
}

/// What has been added to `before`.
pub(crate) fn added(
    before: &BTreeMap<&'static str, u64>,
    after: &BTreeMap<&'static str, u64>,
) -> BTreeMap<&'static str, u64> {
    let grown = after
        .iter()
        .map(|(name, n)| (*name, n - before.get(name).copied().unwrap_or(0)));
    grown.filter(|(_, n)| *n > 0).collect()
}

//! Next hops that the fast path keeps mean what the kernel's routes, rules and neighbours mean, also while they change.

mod changes;
mod frames;
mod neighbours;
mod policy;
mod queued;

use lab::shipworm::{Datapath, Relay, Settings};
use lab::teredo_client::{Bubbles, Clients};
use lab::teredo_server::Server;
use lab::{Cabling, Capture, Lab, Node, Ping, XdpPass, wait_for};

use crate::bare;
use crate::figures::Figures;
use crate::peer::{SERVICE, SOON, packet};
use frames::Sent;

/// ICMPv6 echo request with identifier and sequence number.
const ECHO_REQUEST: [u8; 8] = [128, 0, 0, 0, 0x5e, 0xed, 0, 1];

/// Which way packets leave the relay: by its first cable of a family or by the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leg {
    First,
    Second,
}

/// A relay with two cables to either router, the default routes through the first.
struct TwoWays {
    lab: Lab,
    _far_ends: Vec<XdpPass>,
}

impl TwoWays {
    const IPV4_SECOND: &str = "203.0.113.65";
    const IPV6_SECOND: &str = "2001:db8:6::1";

    fn new() -> Self {
        let lab = bare(Cabling::TwoArmed);
        let far_ends = vec![
            second_cable(&lab.inet, &lab.relay, "lb-v4b"),
            second_cable(&lab.v6r, &lab.relay, "lb-v6b"),
        ];
        lab.inet
            .ip(&["addr add 203.0.113.65/28 dev lb-rly2"])
            .unwrap();
        lab.v6r
            .ip(&["addr add 2001:db8:6::1/64 dev lb-rly2 nodad"])
            .unwrap();
        lab.relay
            .ip(&[
                "addr add 203.0.113.66/28 dev lb-v4b",
                "addr add 2001:db8:6::2/64 dev lb-v6b nodad",
            ])
            .unwrap();
        Self {
            lab,
            _far_ends: far_ends,
        }
    }

    fn relay(&self) -> Relay<'_> {
        let mut settings = Settings::new(Datapath::Xdp);
        settings.flags = [
            "--iface",
            "lb-v4b",
            "--iface",
            "lb-v6b",
            "--bind",
            &Lab::RELAY_V4.to_string(),
            "--native-address",
            &Lab::RELAY_V6.to_string(),
        ]
        .map(str::to_owned)
        .to_vec();
        Relay::start(&self.lab, &settings).unwrap()
    }

    /// Everything the relay sends to clients and to native hosts while `act` runs.
    fn sent_during(&self, act: impl FnOnce()) -> Vec<Sent> {
        let ends = [
            (&self.lab.inet, "lb-rly", Leg::First),
            (&self.lab.inet, "lb-rly2", Leg::Second),
            (&self.lab.v6r, "lb-rly", Leg::First),
            (&self.lab.v6r, "lb-rly2", Leg::Second),
        ];
        let captures = ends.map(|(node, end, leg)| (Capture::start(node, end).unwrap(), leg));
        act();
        captures
            .into_iter()
            .flat_map(|(capture, leg)| frames::sent(&capture.stop().unwrap(), leg))
            .collect()
    }
}

fn second_cable(router: &Node, relay: &Node, near: &str) -> XdpPass {
    const FAR: &str = "lb-rly2";
    let there = relay.netns().path();
    router
        .run([
            "ip", "link", "add", FAR, "type", "veth", "peer", "name", near, "netns", &there,
        ])
        .unwrap();
    for (node, end) in [(router, FAR), (relay, near)] {
        node.run(["ethtool", "-K", end, "tx", "off"]).unwrap();
        node.run(["ip", "link", "set", end, "up"]).unwrap();
    }
    let far_end = XdpPass::attach(router, FAR).unwrap();
    router.run(["ethtool", "-K", FAR, "gro", "off"]).unwrap();
    far_end
}

/// Clients that the relay trusts, on a machine without NAT.
struct Crowd<'a> {
    lab: &'a Lab,
    clients: Clients,
    _server: Server,
}

impl<'a> Crowd<'a> {
    /// All of them known to the relay.
    fn start(lab: &'a Lab, relay: &Relay<'_>, count: usize) -> Self {
        let crowd = Self::unknown(lab, count);
        for client in 0..count {
            crowd.meet(relay, client);
        }
        crowd
    }

    /// The relay has never heard of them.
    fn unknown(lab: &'a Lab, count: usize) -> Self {
        let server = Server::start(&lab.server, Lab::SERVER_V4).unwrap();
        let clients = Clients::start(lab, Lab::SERVER_V4, count, Bubbles::Answered).unwrap();
        Self {
            lab,
            clients,
            _server: server,
        }
    }

    /// The native host sends `client` its first packet, which arrives.
    fn meet(&self, relay: &Relay<'_>, client: usize) {
        let before = self.clients.waiting();
        self.ping(client);
        wait_for("the first packet", SOON, || self.clients.waiting() > before)
            .unwrap_or_else(|e| panic!("{e}: client {client}\n{}", relay.log()));
    }

    /// The native host sends a packet to the client.
    fn ping(&self, client: usize) {
        let once = Ping {
            count: 1,
            linger: std::time::Duration::ZERO,
            ..Ping::default()
        };
        once.run(&self.lab.host, self.clients.ipv6(client)).unwrap();
    }

    /// The client sends a packet to the native host.
    fn call(&self, client: usize) {
        let request = packet(self.clients.ipv6(client), Lab::HOST, ECHO_REQUEST.to_vec());
        self.clients.send(client, SERVICE, &request).unwrap();
    }

    /// Packets both ways until the fast path has kept as many next hops as `enough` asks for.
    fn until(&self, relay: &Relay<'_>, what: &str, enough: impl Fn(&Figures) -> bool) {
        wait_for(what, SOON, || {
            for client in 0..self.clients.count() {
                self.ping(client);
                self.call(client);
            }
            enough(&Figures::of(relay))
        })
        .unwrap_or_else(|e| panic!("{e}: {:?}\n{}", Figures::of(relay).kept(), relay.log()));
    }
}

//! A running relay under attack, and its account of every packet.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lab::shipworm::{Datapath, Relay, Settings};
use lab::{Lab, wait_for};
use relay_common::Reason;
use relay_user::status::Status;
use teredo::addr::{Mapped, ServerV4, TeredoAddr};

use crate::scene::{Scene, added, fates, status};
use crate::wire::Wire;

/// Packets under way at most: fewer than any queue in front of the slow path holds.
const AT_ONCE: u64 = 128;
/// Longer than a burst takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// From where an attacker sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    /// Native IPv6.
    Native,
    /// The IPv4 internet.
    Client,
}

/// A relay and what was sent to it since the attack began.
pub(crate) struct Attack<'a> {
    pub(crate) scene: &'a Scene,
    pub(crate) relay: Relay<'a>,
    before: Status,
    sent: u64,
}

impl<'a> Attack<'a> {
    /// Starts the relay with `flags`, and has it trust the first `established` clients.
    pub(crate) fn start(
        scene: &'a Scene,
        datapath: Datapath,
        flags: &[&str],
        established: usize,
    ) -> Self {
        let settings = Settings {
            flags: flags.iter().map(ToString::to_string).collect(),
            ..Settings::new(datapath)
        };
        let relay = Relay::start(&scene.lab, &settings).unwrap();
        scene.establish(established);
        Self {
            scene,
            before: status(&relay),
            relay,
            sent: 0,
        }
    }

    /// Sends `packets` and waits until the relay has counted each, once.
    pub(crate) fn send(&mut self, from: From, packets: impl IntoIterator<Item = Vec<u8>>) {
        for packet in packets {
            self.wire(from).send(&packet);
            self.sent += 1;
            if self.sent.is_multiple_of(AT_ONCE) {
                self.settle();
            }
        }
        self.settle();
    }

    /// Expects `count` packets that others send.
    pub(crate) fn expect(&mut self, count: u64) {
        self.sent += count;
        self.settle();
    }

    fn wire(&self, from: From) -> &Wire {
        match from {
            From::Native => &self.scene.v6,
            From::Client => &self.scene.v4,
        }
    }

    fn settle(&self) {
        let wanted = seen(&self.before) + self.sent;
        let mut counted = 0;
        wait_for("every packet to be counted", DEADLINE, || {
            counted = seen(&status(&self.relay));
            counted >= wanted
        })
        .unwrap_or_else(|e| panic!("{e}: {counted} of {wanted}, {:?}", self.outcome()));
        assert_eq!(counted, wanted, "each once: {:?}", self.outcome());
    }

    /// What has become of the attack so far.
    pub(crate) fn outcome(&self) -> BTreeMap<&'static str, u64> {
        added(&fates(&self.before), &fates(&status(&self.relay)))
    }

    pub(crate) fn status(&self) -> Status {
        status(&self.relay)
    }

    /// Bubbles sent since the attack began.
    pub(crate) fn bubbles(&self) -> u64 {
        self.status().bubbles_sent - self.before.bubbles_sent
    }
}

/// Packets that have come to an end or wait. Not the bubbles by which clients answer: they come when the relay asks.
fn seen(status: &Status) -> u64 {
    let mut fates = fates(status);
    fates.remove(Reason::BubbleAccepted.as_str());
    fates.values().sum::<u64>() + status.queued.packets
}

/// A native host in a /64 of its own: nobody could tell that the address is forged.
pub(crate) fn forged_host(n: usize) -> Ipv6Addr {
    let n = u16::try_from(n).unwrap();
    Ipv6Addr::new(0x2001, 0xdb8, 0xffff, n, 0, 0, 0, 1)
}

/// A Teredo address of the lab's server that names an IPv4 address and port of the attacker's choice.
pub(crate) fn naming(ip: Ipv4Addr, port: u16) -> TeredoAddr {
    /// Says that the NAT lets everything in (RFC 4380 4), which nobody believes since RFC 5991.
    const CONE: u16 = 0x8000;
    TeredoAddr::new(ServerV4(Lab::SERVER_V4), CONE, Mapped { ip, port })
}

/// An address that no client has, on a machine that is there.
pub(crate) fn victim() -> Ipv4Addr {
    Lab::BENCH_V4
}

//! A running server that accounts for every datagram it is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use lab::shipworm::{Datapath, Server};
use lab::wait_for;
use relay_common::{Kind, Reason};
use relay_user::status::Status;
use serde_json::Value;

use crate::scripted::{Datagram, Left, STRANGERS, Scene};

/// Datagrams under way at most: fewer than any queue in front of the server holds.
const AT_ONCE: u64 = 128;
/// Longer than a burst takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// How many datagrams have come to each end there is.
pub(crate) type Outcome = BTreeMap<&'static str, u64>;

/// The server, what it was sent, and what has left it.
pub(crate) struct Account<'a> {
    scene: &'a Scene,
    server: Server<'a>,
    sent: u64,
    left: u64,
}

impl<'a> Account<'a> {
    /// Starts the server with `flags`.
    pub(crate) fn open(scene: &'a Scene, datapath: Datapath, flags: &[&str]) -> Self {
        let flags = [&["--allow-non-global", STRANGERS], flags].concat();
        Self {
            scene,
            server: Server::start(&scene.lab, datapath, &flags).unwrap(),
            sent: 0,
            left: 0,
        }
    }

    /// Sends `datagrams` and waits until each is counted, once, and everything that is counted as sent has left; gives
    /// what has left.
    pub(crate) fn send(&mut self, datagrams: impl IntoIterator<Item = Datagram>) -> Vec<Left> {
        let mut left = Vec::new();
        for datagram in datagrams {
            self.scene.inject(&datagram);
            self.sent += 1;
            if self.sent.is_multiple_of(AT_ONCE) {
                left.extend(self.settle());
            }
        }
        left.extend(self.settle());
        left
    }

    /// Sends one datagram, and gives what has left and the reason that was counted.
    pub(crate) fn ask(&mut self, datagram: Datagram) -> (Vec<Left>, &'static str) {
        let before = self.outcome();
        let left = self.send([datagram]);
        let grown = |(name, n): (&'static str, u64)| (before.get(name) != Some(&n)).then_some(name);
        let reasons: Vec<_> = self.outcome().into_iter().filter_map(grown).collect();
        let [reason] = reasons[..] else {
            panic!("one datagram, one reason: {reasons:?}");
        };
        (left, reason)
    }

    fn settle(&mut self) -> Vec<Left> {
        let mut left = Vec::new();
        let mut outcome = Outcome::new();
        let settled = wait_for("every datagram to be counted", DEADLINE, || {
            outcome = self.outcome();
            left.extend(self.scene.left());
            counted(&outcome) >= self.sent && self.left + left.len() as u64 >= departed(&outcome)
        });
        self.left += left.len() as u64;
        settled
            .unwrap_or_else(|e| panic!("{e}: {} sent, {} left, {outcome:?}", self.sent, self.left));
        assert_eq!(counted(&outcome), self.sent, "each once: {outcome:?}");
        assert_eq!(departed(&outcome), self.left, "each once: {outcome:?}");
        left
    }

    /// What has become of everything that was sent.
    pub(crate) fn outcome(&self) -> Outcome {
        outcome(self.server.status().unwrap())
    }

    /// Ends the server, which must leave nothing behind.
    pub(crate) fn close(self) {
        self.server.stop().unwrap();
    }
}

/// How many packets have come to each end there is by `status`: one that the program leaves to user space is counted there.
pub(crate) fn outcome(status: Value) -> Outcome {
    let status: Status = serde_json::from_value(status).unwrap();
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

pub(crate) fn counted(outcome: &Outcome) -> u64 {
    outcome.values().sum()
}

/// Packets that the server has sent: at most one for each that came.
pub(crate) fn departed(outcome: &Outcome) -> u64 {
    let sending = [
        Reason::Advertised,
        Reason::ForwardedToClient,
        Reason::ForwardedToNative,
    ];
    let count = |reason: Reason| outcome.get(reason.as_str()).copied().unwrap_or(0);
    sending.map(count).iter().sum()
}

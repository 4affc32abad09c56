//! The shipped program, loaded, among peers that have nothing to do with the case.

use std::net::Ipv4Addr;

use relay_common::{PeerEntry, PeerKey, Reason, Ticks};
use teredo::addr::{Mapped, TeredoAddr};

use crate::case::{Policy, Port, Program, Rules, TICK_NS};
use crate::counted::Counted;
use crate::random::Random;
use crate::reference::Entry;
use crate::rig::{Rig, Settings};
use crate::slow;

/// Other peers in the table.
const BYSTANDERS: u64 = 400;

/// What the program did with one frame. The frame afterwards is what [`Fast::out`] gives.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) action: u32,
    pub(crate) reason: Reason,
    /// Peers for which an early probe was asked for.
    pub(crate) probes: Vec<[u8; 16]>,
}

/// A loaded program.
pub(crate) struct Fast {
    counted: Counted,
}

impl Fast {
    pub(crate) fn load(program: Program) -> Self {
        let rules = Rules::of(program, Policy::Strict);
        let (ip, port) = rules.service;
        let mut rig = Rig::load(&Settings {
            service: Mapped {
                ip: Ipv4Addr::from(ip),
                port,
            },
            tunnel_mtu: u16::try_from(rules.mtu).expect("an MTU"),
            punt_frame_max: u32::try_from(rules.punt_frame_max).expect("a frame"),
            access: slow::access(&rules),
            ..Settings::default()
        });
        if program == Program::Jumbo {
            rig.keep_plain_hops();
        }
        let mut fast = Self {
            counted: Counted::new(rig),
        };
        for (peer, entry) in bystanders() {
            fast.trust(peer, entry);
        }
        fast
    }

    /// The last frame as it came out.
    pub(crate) fn out(&self) -> &[u8] {
        &self.counted.out
    }

    /// Puts a peer into the table, or changes its entry.
    pub(crate) fn trust(&mut self, peer: [u8; 16], entry: Entry) {
        let mapped = Mapped {
            ip: entry.mapped.0.into(),
            port: entry.mapped.1,
        };
        let heard = u32::try_from(entry.heard_ns / TICK_NS).expect("a tick");
        let entry = PeerEntry::new(mapped, Ticks(heard));
        let peers = self.counted.rig.peers();
        peers.insert(key(peer), entry).expect("the table has room");
    }

    /// Takes a peer out of the table.
    pub(crate) fn forget(&mut self, peer: [u8; 16]) {
        self.counted.rig.peers().remove(key(peer));
    }

    /// Where the table says a peer is, and the tick it was heard at.
    pub(crate) fn entry(&mut self, peer: [u8; 16]) -> Option<((u32, u16), u64)> {
        let entry = self.counted.rig.peers().get(key(peer))?;
        let mapped = entry.mapped();
        Some(((mapped.ip.into(), mapped.port), u64::from(entry.last_rx.0)))
    }

    /// Runs the program. `guesses` are reasons to look for first; probes are looked for if there may be some.
    pub(crate) fn run(
        &mut self,
        port: Port,
        frame: &[u8],
        guesses: &[&str],
        may_probe: bool,
    ) -> Ran {
        let ifindex = match port {
            Port::Wan => self.counted.rig.wan,
            Port::Lan => self.counted.rig.lan,
        };
        let (action, reason) = self.counted.run(ifindex, frame, guesses);
        let probes = if may_probe {
            self.counted.rig.probes()
        } else {
            Vec::new()
        };
        Ran {
            action,
            reason,
            probes: probes
                .into_iter()
                .map(|key| TeredoAddr::from(key).octets())
                .collect(),
        }
    }

    /// Invariant 4, and invariant 2 for whom nobody spoke of.
    ///
    /// # Panics
    /// If the counters are not the packets sent, or a bystander was touched.
    pub(crate) fn settle(&mut self) {
        self.counted.settle();
        assert_eq!(
            self.counted.rig.probes(),
            [],
            "probes nobody should ask for"
        );
        assert_eq!(self.counted.rig.peers().len() as u64, BYSTANDERS);
        for (peer, entry) in bystanders() {
            let should = (entry.mapped, entry.heard_ns / TICK_NS);
            let is = self.entry(peer).map(|is| is.0);
            assert_eq!(is, Some(should.0), "a bystander");
        }
    }
}

fn key(peer: [u8; 16]) -> PeerKey {
    let address = TeredoAddr::from_octets(&peer).expect("peers are in 2001::/32");
    PeerKey::from(&address)
}

/// Peers of a server no case uses. A fifth has a learned mapping.
fn bystanders() -> impl Iterator<Item = ([u8; 16], Entry)> {
    (0..BYSTANDERS).map(|number| {
        let mut random = Random::of(0x7e7e, number);
        let mut peer = [0x20, 0x01, 0, 0, 9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0];
        peer[8..].copy_from_slice(&random.bytes(8));
        let address = TeredoAddr::from_octets(&peer).expect("in 2001::/32");
        let mut mapped = (address.mapped().ip.into(), address.mapped().port);
        if number % 5 == 0 {
            mapped.1 ^= 1;
        }
        let entry = Entry {
            mapped,
            heard_ns: number * TICK_NS,
        };
        (peer, entry)
    })
}

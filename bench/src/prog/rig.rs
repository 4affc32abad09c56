//! The programs side by side in one namespace, and what is measured with them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use relay_common::Reason;
use relay_user::datapath::ServerRole;

use super::companion::{Companion, Direction, Drawn, Load, Ports, test_run};
use super::frame;
use super::ground::{self, IN, OUT, ifindex};
use super::subject::{Shipped, Subject, Textbook, all_counted};

/// So long after a packet of a peer nothing need be done: well within the 20 s after which the program would ask for
/// probes.
const HEARD_LATELY: Duration = Duration::from_secs(8);
/// So long after it the peer may be stale before its next packet arrives, and is trusted anew: well within 30 s.
const HEARD_TOO_LONG_AGO: Duration = Duration::from_secs(20);

/// Runs of which the quickest counts: whoever else uses the processor makes a program slower, never quicker.
const RUNS: u32 = 5;

/// How long a program may take to learn next hops.
const LEARNT_WITHIN: Duration = Duration::from_secs(10);

/// The programs that carry packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Shipped,
    Textbook,
}

/// A program and when it last heard peers.
struct Known<S> {
    subject: S,
    /// By number of peers, counted from the first: when the last of that many was heard.
    heard: BTreeMap<u32, Instant>,
}

/// Everything loaded in one namespace.
pub(super) struct Rig {
    companion: Companion,
    shipped: Known<Shipped>,
    textbook: Known<Textbook>,
    ingress: u32,
    /// Of the last draw: another for each measurement, the same for the two it is the difference of.
    seed: u64,
}

impl Rig {
    /// Lays everything out in the calling thread's namespace. The tables have room for `capacity` peers and are
    /// full. `lines` and `sequence`: see [`Companion::load`].
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn new(
        capacity: u32,
        lines: u32,
        sequence: &[u32],
        server: Option<ServerRole>,
    ) -> Result<Self> {
        ground::lay_out()?;
        let ingress = ifindex(IN)?;
        let mut companion = Companion::load([ingress, ifindex(OUT)?], lines, sequence)?;
        let mut shipped = Known::new(Shipped::load(capacity, server)?);
        let mut textbook = Known::new(Textbook::load(capacity)?);
        shipped.keep_fresh(&mut companion, capacity)?;
        textbook.keep_fresh(&mut companion, capacity)?;
        Ok(Self {
            companion,
            shipped,
            textbook,
            ingress,
            seed: 0,
        })
    }

    /// Instructions of the shipped program the verifier looked at, and bytes of machine code.
    ///
    /// # Errors
    /// The kernel does not say.
    pub(super) fn program_size(&mut self) -> Result<(u32, u32)> {
        self.shipped.subject.size()
    }

    /// The companion's own programs.
    pub(super) fn companion(&mut self) -> &mut Companion {
        &mut self.companion
    }

    /// The quickest of several runs over `packets` in all, less the quickest of what each is the difference to.
    ///
    /// # Errors
    /// Those of a run.
    pub(super) fn quickest(
        &mut self,
        packets: u32,
        mut run: impl FnMut(&mut Self, u64, u32) -> Result<[f64; 2]>,
    ) -> Result<f64> {
        let mut quickest = [f64::INFINITY; 2];
        for _ in 0..RUNS {
            self.seed += 1;
            let ns = run(self, self.seed, packets / RUNS)?;
            for (quickest, ns) in quickest.iter_mut().zip(ns) {
                *quickest = quickest.min(ns);
            }
        }
        let [total, other] = quickest;
        Ok(total - other)
    }

    /// Nanoseconds a packet of the shipped program on a frame it leaves as it is.
    ///
    /// # Errors
    /// The kernel's refusal, or packets that ended otherwise.
    pub(super) fn run_untouched(
        &mut self,
        frame: &[u8],
        packets: u32,
        reason: Reason,
    ) -> Result<f64> {
        self.quickest(packets, |rig, _, packets| {
            let shipped = &mut rig.shipped.subject;
            let before = shipped.counted(reason)?;
            let (ns, _) = test_run(shipped.program()?, rig.ingress, frame, packets)?;
            all_counted(shipped.counted(reason)? - before, packets, reason.as_str())?;
            Ok([ns, 0.0])
        })
    }

    /// Nanoseconds a packet of a program on a frame it carries: behind the companion, less the companion alone.
    ///
    /// # Errors
    /// The kernel's refusal, or packets that were not carried.
    pub(super) fn run_carried(&mut self, which: Which, load: Load<'_>) -> Result<f64> {
        let companion = &mut self.companion;
        match which {
            Which::Shipped => self.shipped.keep_fresh(companion, load.peers)?,
            Which::Textbook => self.textbook.keep_fresh(companion, load.peers)?,
        }
        self.quickest(load.packets, |rig, seed, packets| {
            let load = Load {
                seed,
                packets,
                ..load
            };
            let companion = &mut rig.companion;
            let total = match which {
                Which::Shipped => rig.shipped.run(companion, load)?,
                Which::Textbook => rig.textbook.run(companion, load)?,
            };
            Ok([total, companion.run_before_nothing(load)?])
        })
    }

    /// Nanoseconds a packet of the server in the shipped program: behind the companion, less the companion alone.
    ///
    /// # Errors
    /// The kernel's refusal, or packets that ended otherwise than in `reason`.
    pub(super) fn run_served(&mut self, load: Load<'_>, reason: Reason) -> Result<f64> {
        self.quickest(load.packets, |rig, seed, packets| {
            let load = Load {
                seed,
                packets,
                ..load
            };
            let shipped = &mut rig.shipped.subject;
            // What it keeps is good for some seconds only.
            shipped.serve(load.direction)?;
            let next = shipped.program()?.fd()?.try_clone()?;
            let before = shipped.counted(reason)?;
            let total = rig.companion.run_before(&next, load)?;
            let counted = shipped.counted(reason)? - before;
            all_counted(counted, packets, reason.as_str())?;
            Ok([total, rig.companion.run_before_nothing(load)?])
        })
    }

    /// One packet through a program, as it comes out.
    #[cfg(test)]
    pub(super) fn carry_one(&mut self, which: Which, frame: &[u8]) -> Result<Vec<u8>> {
        let program = match which {
            Which::Shipped => self.shipped.subject.program()?,
            Which::Textbook => self.textbook.subject.program()?,
        };
        super::companion::carry_one(program, self.ingress, frame)
    }
}

impl<S: Subject> Known<S> {
    fn new(subject: S) -> Self {
        Self {
            subject,
            heard: BTreeMap::new(),
        }
    }

    /// Sends a load through the companion and this program.
    fn run(&mut self, companion: &mut Companion, load: Load<'_>) -> Result<f64> {
        // What it keeps is good for some seconds only.
        self.subject.serve(load.direction)?;
        let next = self.subject.program()?.fd()?.try_clone()?;
        let before = self.subject.carried(load.direction)?;
        let ns = companion.run_before(&next, load)?;
        let carried = self.subject.carried(load.direction)? - before;
        all_counted(
            carried,
            load.packets,
            match load.direction {
                Direction::Encap => "encapsulated",
                Direction::Decap => "decapsulated",
                Direction::ToServer => "forwarded",
            },
        )?;
        Ok(ns)
    }

    /// Sees to it that the first `peers` peers are trusted and fresh for the next measurement.
    fn keep_fresh(&mut self, companion: &mut Companion, peers: u32) -> Result<()> {
        let heard = self.heard.range(peers..).map(|(_, at)| at.elapsed()).min();
        match heard {
            Some(ago) if ago < HEARD_LATELY => return Ok(()),
            Some(ago) if ago < HEARD_TOO_LONG_AGO => {
                self.pass(companion, Direction::Decap, peers)?;
            }
            _ => {
                self.subject.introduce(peers)?;
                self.warm_up(companion, peers)?;
            }
        }
        self.heard.insert(peers, Instant::now());
        Ok(())
    }

    /// Lets the program learn whatever it keeps by peer or destination, before anything is measured.
    fn warm_up(&mut self, companion: &mut Companion, peers: u32) -> Result<()> {
        let give_up_at = Instant::now() + LEARNT_WITHIN;
        for direction in [Direction::Decap, Direction::Encap] {
            self.pass(companion, direction, 1)?;
            while !self.subject.serve(direction)? {
                ensure!(Instant::now() < give_up_at, "the program keeps no next hop");
                self.pass(companion, direction, 1)?;
            }
        }
        self.pass(companion, Direction::Decap, peers)?;
        self.pass(companion, Direction::Encap, peers)
    }

    /// One packet from or to each of the first `peers` peers.
    fn pass(&mut self, companion: &mut Companion, direction: Direction, peers: u32) -> Result<()> {
        let frame = frame::usual(direction);
        self.run(
            companion,
            Load {
                direction,
                ports: Ports::Two,
                frame: &frame,
                peers,
                drawn: Drawn::InTurn,
                seed: 0,
                packets: peers,
            },
        )?;
        Ok(())
    }
}

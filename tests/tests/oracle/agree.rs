//! Runs a case through the three and holds what they say against each other.

use std::collections::BTreeMap;
use std::time::Duration;

use relay_common::{Kind, Reason};

use crate::case::{Answer, Case, PROBE_NS, Program, Rules, Step, TICK_NS};
use crate::fast::{Fast, Ran};
use crate::output;
use crate::reference::{Arrival, Entry, Eyes, Outcome, Probing, State, is_to_port};
use crate::rig::now_ns;
use crate::slow::Slow;
use crate::tally::Tally;

/// Runs of one case, before what differs is taken for a disagreement: the clock may move on between two that look at it.
const RUNS: u32 = 4;

/// Where the fast path leaves a frame to the kernel for good, there is nothing to ask the others.
const KERNELS: [&str; 3] = ["NotOurs", "OuterFragment", "OuterOptions"];

/// The loaded programs.
pub(crate) struct World {
    programs: Vec<(Program, Fast)>,
    /// Cases run.
    pub(crate) cases: u64,
    /// Frames run.
    pub(crate) packets: u64,
    /// What became of them.
    pub(crate) tally: Tally,
    /// Cases run again because the clock may have moved.
    pub(crate) reruns: u64,
}

impl World {
    /// Loads `programs` into the calling thread's namespace.
    pub(crate) fn load(programs: &[Program]) -> Self {
        let load = |program: &Program| (*program, Fast::load(*program));
        Self {
            programs: programs.iter().map(load).collect(),
            cases: 0,
            packets: 0,
            tally: Tally::default(),
            reruns: 0,
        }
    }

    /// Runs a case.
    ///
    /// # Errors
    /// What the three do not agree about.
    pub(crate) fn run(&mut self, case: &Case) -> Result<(), String> {
        let mut answer = Ok(());
        self.cases += 1;
        self.packets += case.steps.len() as u64;
        for run in 0..RUNS {
            if run > 0 {
                self.reruns += 1;
                await_mid_tick();
            }
            answer = self.run_once(case);
            if answer.is_ok() {
                break;
            }
        }
        answer
    }

    /// See [`Fast::settle`].
    pub(crate) fn settle(&mut self) {
        for (_, fast) in &mut self.programs {
            fast.settle();
        }
    }

    fn run_once(&mut self, case: &Case) -> Result<(), String> {
        let of_case = |(program, _): &&mut (Program, Fast)| *program == case.program;
        let (_, fast) = self
            .programs
            .iter_mut()
            .find(of_case)
            .expect("its program is loaded");
        let rules = Rules::of(case.program, case.policy);
        let mut trial = Trial {
            slow: Slow::new(&rules),
            state: State::default(),
            asked: BTreeMap::new(),
            rules,
            fast,
            tally: &mut self.tally,
        };
        let now_ns = now_ns();
        for peer in &case.peers {
            let mapped = (u32::from(*peer.mapped.ip()), peer.mapped.port());
            let heard_ns = (now_ns / TICK_NS - peer.age_ticks) * TICK_NS;
            let (address, entry) = (peer.address.octets(), Entry { mapped, heard_ns });
            trial.state.trusted.insert(address, entry);
            trial.slow.trust(address, entry);
            trial.fast.trust(address, entry);
        }
        let answer = case
            .steps
            .iter()
            .enumerate()
            .try_for_each(|(number, step)| {
                trial
                    .step(step)
                    .map_err(|text| format!("step {number}: {text}"))
            });
        for peer in trial.state.trusted.keys() {
            trial.fast.forget(*peer);
        }
        answer
    }
}

/// Waits until no tick is near. The program derives its clock from the jiffies, which may run a little ahead of or behind
/// the one asked here; about the time in the middle of a tick they agree.
fn await_mid_tick() {
    const POLL: Duration = Duration::from_millis(1);
    while !(TICK_NS / 4..TICK_NS / 2).contains(&(now_ns() % TICK_NS)) {
        std::thread::sleep(POLL);
    }
}

/// A case under way.
struct Trial<'a> {
    rules: Rules,
    state: State,
    slow: Slow,
    fast: &'a mut Fast,
    tally: &'a mut Tally,
    /// Peers the fast path has asked to probe, and when each had been heard then.
    asked: BTreeMap<[u8; 16], u64>,
}

impl Trial<'_> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        let frame = patched(step, &self.state);
        let now_ns = now_ns();
        let arrival = |eyes| Arrival {
            rules: &self.rules,
            eyes,
            now_ns,
            is_to_port: is_to_port(&frame),
        };
        let (mut after, mut seen) = (self.state.clone(), self.state.clone());
        let whole = arrival(Eyes::All).judge(&mut after, &frame);
        let mut partial = arrival(Eyes::FastPath).judge(&mut seen, &frame);
        output::excuse_by_route(&mut partial);

        let is_quiet = |entry: &Entry| now_ns - entry.heard_ns >= PROBE_NS - TICK_NS;
        let may_probe = self.state.trusted.values().any(is_quiet);
        let mut guesses = vec![partial.reason];
        guesses.extend(&partial.excuses);
        let ran = self.fast.run(step.port, &frame, &guesses, may_probe);
        self.check_fast(step, &frame, &ran, &partial, &whole, now_ns)?;
        self.check_table(&ran, &seen)?;
        self.tally.note(whole.reason, ran.reason);

        if !KERNELS.contains(&whole.reason) {
            let turn = self.slow.take(now_ns, &frame);
            if (turn.reason, &turn.effects) != (whole.reason, &whole.effects) {
                return Err(format!(
                    "the slow path says {} {:02x?}, the reference {} {:02x?}",
                    turn.reason, turn.effects, whole.reason, whole.effects
                ));
            }
            for bubble in turn.bubbles {
                if let Some(probing) = after.probing.get_mut(&bubble.client) {
                    (probing.cookie, probing.nonce) = (Some(bubble.cookie), bubble.nonce);
                }
            }
        }
        if !self.slow.table_is(&after) {
            return Err("the slow path's table is not the reference's".into());
        }
        if !self.slow.adds_up() {
            return Err("the slow path's counters do not add up".into());
        }
        // What the slow path writes, the fast path finds, and forgets that it has asked.
        for (peer, entry) in &after.trusted {
            if self.fast.entry(*peer) != Some((entry.mapped, entry.heard_ns / TICK_NS)) {
                self.fast.trust(*peer, *entry);
                self.asked.remove(peer);
            }
        }
        self.state = after;
        Ok(())
    }

    fn check_fast(
        &mut self,
        step: &Step,
        frame: &[u8],
        ran: &Ran,
        partial: &Outcome,
        whole: &Outcome,
        now_ns: u64,
    ) -> Result<(), String> {
        let is_carried = matches!(partial.reason, "Encapsulated" | "Decapsulated");
        let name = ran.reason.as_str();
        let kind = ran.reason.kind();
        let is_right = match kind {
            Kind::Passed if ran.reason == Reason::FrameTooLargeToPunt => {
                frame.len() > self.rules.punt_frame_max && !partial.excuses.is_empty()
            }
            Kind::Punted => {
                frame.len() <= self.rules.punt_frame_max && partial.excuses.contains(&name)
            }
            Kind::Forwarded => {
                // The one thing that is not looked at (invariant 6).
                let unseen = whole.reason == "OuterUdpChecksumWrong";
                name == partial.reason && (name == whole.reason || unseen)
            }
            Kind::Passed => name == whole.reason,
            Kind::Dropped | Kind::Consumed => !is_carried && name == partial.reason,
        };
        if !is_right {
            let excuses = &partial.excuses;
            return Err(format!(
                "the fast path says {name}, the reference {} (with half its eyes {}, excuses {excuses:?})",
                whole.reason, partial.reason
            ));
        }
        let action = match kind {
            Kind::Forwarded => output::check(step.port, &self.rules, partial, self.fast.out())?,
            Kind::Passed | Kind::Punted => crate::rig::action::PASS,
            Kind::Dropped | Kind::Consumed => crate::rig::action::DROP,
        };
        if ran.action != action {
            return Err(format!("{name} with action {}, not {action}", ran.action));
        }
        if kind != Kind::Forwarded && self.fast.out() != frame {
            return Err(format!("{name}, and the frame has changed"));
        }
        self.check_probes(ran, partial, frame, now_ns)
    }

    /// from the tick in which 20 s are over on, and then certainly.
    fn check_probes(
        &mut self,
        ran: &Ran,
        partial: &Outcome,
        frame: &[u8],
        now_ns: u64,
    ) -> Result<(), String> {
        let wants = ran.reason == Reason::Encapsulated && partial.wants_probe;
        let destination = crate::reference::link(frame)
            .and_then(|link| frame.get(link.at + 24..link.at + 40))
            .and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        let entry = destination.and_then(|peer| self.state.trusted.get(&peer));
        let (Some(peer), Some(entry)) = (destination, entry) else {
            return match ran.probes[..] {
                [] => Ok(()),
                _ => Err("a probe of somebody else was asked for".into()),
            };
        };
        let has_asked = self.asked.get(&peer) == Some(&entry.heard_ns);
        match ran.probes[..] {
            [] if wants && !has_asked => Err("no early probe was asked for".into()),
            [] => Ok(()),
            [of] if of == peer && !has_asked => {
                self.asked.insert(peer, entry.heard_ns);
                if now_ns - entry.heard_ns + TICK_NS >= PROBE_NS {
                    Ok(())
                } else {
                    Err("a probe was asked for before 20 s were over".into())
                }
            }
            _ => Err(format!("too many probes: {:02x?}", ran.probes)),
        }
    }

    /// Invariant 2: the program refreshes, and does nothing else to the table.
    fn check_table(&mut self, ran: &Ran, seen: &State) -> Result<(), String> {
        for (peer, before) in &self.state.trusted {
            let is = self.fast.entry(*peer);
            let as_before = Some((before.mapped, before.heard_ns / TICK_NS));
            let as_seen = seen
                .trusted
                .get(peer)
                .map(|entry| (entry.mapped, entry.heard_ns / TICK_NS));
            let may_wait =
                ran.reason.kind() == Kind::Punted || ran.reason == Reason::FrameTooLargeToPunt;
            let is_refreshed = is == as_seen && as_seen.is_some_and(|e| e.0 == before.mapped);
            if !(is_refreshed || (may_wait && is == as_before)) {
                return Err(format!(
                    "{}: the table says {is:x?}, the reference {as_seen:x?}",
                    ran.reason.as_str()
                ));
            }
        }
        Ok(())
    }
}

/// The frame of a step, with what the relay said so far.
fn patched(step: &Step, state: &State) -> Vec<u8> {
    let mut frame = step.frame.clone();
    for patch in &step.patches {
        let Some(Probing { cookie, nonce, .. }) = state.probing.get(&patch.peer.octets()) else {
            continue;
        };
        let value: Option<&[u8]> = match patch.answer {
            Answer::Cookie => cookie.as_ref().map(<[u8; 16]>::as_slice),
            Answer::Nonce => nonce.as_ref().map(<[u8; 4]>::as_slice),
        };
        if let Some(value) = value
            && let Some(place) = frame.get_mut(patch.at..patch.at + value.len())
        {
            place.copy_from_slice(value);
        }
    }
    frame
}

//! Runs a case through the three and holds what they say against each other.

use relay_common::{Kind, Reason};

use super::case::{Case, Program, RELAY_PORT};
use super::fast::Fast;
use super::output;
use super::slow::Slow;
use crate::case::{Policy, Step};
use crate::reference::server::{Arrival, Rules, Taken, Verdict};
use crate::reference::{self, Eyes, State, is_to_port};
use crate::rig::{action, leaves, now_ns};
use crate::tally::Tally;

/// Runs of one case, before what differs is taken for a disagreement: a machine that stands still for a second lets a token in.
const RUNS: u32 = 4;

/// The loaded programs.
pub(crate) struct World {
    programs: Vec<(Program, Fast)>,
    /// Cases run.
    pub(crate) cases: u64,
    /// Frames run.
    pub(crate) packets: u64,
    /// What became of them.
    pub(crate) tally: Tally,
    /// Cases run again.
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
        self.cases += 1;
        self.packets += case.steps.len() as u64;
        let mut answer = self.run_once(case);
        for _ in 1..RUNS {
            if answer.is_ok() {
                break;
            }
            self.reruns += 1;
            answer = self.run_once(case);
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
        if case.program == Program::Scarce {
            fast.fill_buckets(case.steps.iter().map(|step| &step.frame[..]));
        }
        let rules = case.program.rules();
        let mut trial = Trial {
            program: case.program,
            slow: Slow::new(&rules),
            taken: Taken::default(),
            taken_by_fast_path: Taken::default(),
            rules,
            fast,
            tally: &mut self.tally,
        };
        let mut steps = case.steps.iter().enumerate();
        steps.try_for_each(|(number, step)| {
            trial
                .step(step)
                .map_err(|text| format!("step {number}: {text}"))
        })
    }
}

/// A case under way.
struct Trial<'a> {
    program: Program,
    rules: Rules,
    slow: Slow,
    taken: Taken,
    /// The program has buckets of its own, from which it takes for what it settles itself.
    taken_by_fast_path: Taken,
    fast: &'a mut Fast,
    tally: &'a mut Tally,
}

impl Trial<'_> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        let frame = &step.frame[..];
        let arrival = |eyes| Arrival {
            rules: &self.rules,
            eyes,
            is_to_port: is_to_port(frame),
        };
        let whole = arrival(Eyes::All).judge(&mut self.taken, frame);
        let mut taken = self.taken_by_fast_path.clone();
        let mut partial = arrival(Eyes::FastPath).judge(&mut taken, frame);
        output::excuse_by_route(&mut partial);

        let counted_before = self.slow.bytes();
        // Where the kernel gives nothing to the sockets there is nothing to ask them.
        if let Ok(udp) = arrival(Eyes::All).udp(frame) {
            let (reason, leaving) = self.slow.take(udp.to.0, udp.from, udp.payload);
            if (reason, &leaving) != (whole.reason, &whole.leaving) {
                return Err(format!(
                    "the sockets say {reason} {leaving:02x?}, the reference {} {:02x?}",
                    whole.reason, whole.leaving
                ));
            }
            if !self.slow.adds_up() {
                return Err("the sockets' counters do not add up".into());
            }
        }

        let guesses = [partial.reason, "PassToServer"];
        let (action, reason) = self.fast.run(step.port, frame, &guesses);
        self.check_fast(step, (action, reason), &partial)?;
        // An advertisement is no packet that was carried.
        let is_carried = reason == Reason::ForwardedToClient && reason.as_str() == whole.reason;
        let bytes = if is_carried {
            Some(self.slow.bytes() - counted_before)
        } else {
            (!leaves(reason)).then_some(frame.len() as u64)
        };
        if bytes.is_some_and(|bytes| bytes != self.fast.bytes()) {
            let is = self.fast.bytes();
            return Err(format!("{is} bytes counted, not {bytes:?}"));
        }
        self.tally.note(whole.reason, reason);
        if reason != Reason::PassToServer {
            self.taken_by_fast_path = taken;
        }
        Ok(())
    }

    fn check_fast(
        &self,
        step: &Step,
        (action, reason): (u32, Reason),
        partial: &Verdict,
    ) -> Result<(), String> {
        let (name, frame) = (reason.as_str(), &step.frame[..]);
        let is_right = match reason {
            Reason::PassToServer => partial.may_pass,
            _ if partial.reason == "NotOurs" => self.names_of_relay(frame).contains(&name),
            _ => name == partial.reason,
        };
        if !is_right {
            let Verdict {
                reason, may_pass, ..
            } = partial;
            return Err(format!(
                "the fast path says {name}, the reference {reason} (may pass: {may_pass})"
            ));
        }
        let out = self.fast.out();
        let expected = match reason.kind() {
            _ if leaves(reason) => output::check(step.port, frame, partial, out)?,
            Kind::Passed | Kind::Punted => action::PASS,
            _ => action::DROP,
        };
        if action != expected {
            return Err(format!("{name} with action {action}, not {expected}"));
        }
        if !leaves(reason) && out != frame {
            return Err(format!("{name}, and the frame has changed"));
        }
        Ok(())
    }

    /// What a relay in the same program, who knows nobody, may call a frame that is not the server's.
    fn names_of_relay(&self, frame: &[u8]) -> Vec<&'static str> {
        if !self.program.has_relay() {
            return vec!["NotOurs"];
        }
        let mut rules = crate::case::Rules::of(crate::case::Program::Plain, Policy::Lab);
        rules.service = (self.rules.primary, RELAY_PORT);
        let arrival = reference::Arrival {
            rules: &rules,
            eyes: Eyes::FastPath,
            now_ns: now_ns(),
            is_to_port: is_to_port(frame),
        };
        let outcome = arrival.judge(&mut State::default(), frame);
        let mut names = outcome.excuses;
        names.push(outcome.reason);
        names
    }
}

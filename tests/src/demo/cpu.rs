//! Processor time of a daemon.

use std::fs;
use std::time::Instant;

/// The kernel's unit of processor time in `/proc`, the same on every architecture we run on.
const TICKS_PER_S: f64 = 100.0;

/// A process and the processor time it had used at first sight.
#[derive(Clone, Copy, Debug)]
pub struct DaemonCpu {
    pid: u32,
    ticks: u64,
    since: Instant,
}

impl DaemonCpu {
    /// The only child of `init`, the first process of a daemon's PID namespace.
    pub fn below(init: u32) -> Option<Self> {
        let children = fs::read_to_string(format!("/proc/{init}/task/{init}/children")).ok()?;
        let pid = children.split_whitespace().next()?.parse().ok()?;
        Some(Self {
            pid,
            ticks: ticks(pid)?,
            since: Instant::now(),
        })
    }

    /// Its share of one processor since first sight, in percent.
    pub fn percent(&self) -> Option<f64> {
        let used = ticks(self.pid)?.saturating_sub(self.ticks);
        #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
        let seconds = used as f64 / TICKS_PER_S;
        Some(100.0 * seconds / self.since.elapsed().as_secs_f64())
    }
}

fn ticks(pid: u32) -> Option<u64> {
    user_and_system(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The sum of `utime` and `stime`, fields 14 and 15. The name before may hold anything.
fn user_and_system(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut from_state = rest.split_whitespace();
    let user: u64 = from_state.nth(11)?.parse().ok()?;
    let system: u64 = from_state.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "42 (a) (b 1) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0";
        assert_eq!(user_and_system(stat), Some(42));
    }

    #[test]
    fn the_time_of_this_process_is_known() {
        assert!(ticks(std::process::id()).is_some());
    }
}

//! Who used how much processor time, to the nanosecond.
//!
//! The kernel charges work in soft interrupts to the task they interrupt (without
//! `CONFIG_IRQ_TIME_ACCOUNTING`), so the sum over the generator's
//! thread, the device's own tasks and `ksoftirqd` is all that a packet costs, and nothing that other
//! programs on the machine do is in it, as it would be in `/proc/stat`.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// Processor time of the calling thread.
pub(crate) fn of_this_thread() -> Result<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live `timespec`.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    ensure!(done == 0, "the clock of a thread is always there");
    Ok(Duration::new(
        u64::try_from(time.tv_sec)?,
        u32::try_from(time.tv_nsec)?,
    ))
}

/// Processes whose time counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks(Vec<u32>);

impl Tasks {
    /// `root` and all its descendants.
    pub(crate) fn of(root: u32) -> Result<Self> {
        let mut processes = vec![root];
        let mut next = 0;
        while let Some(process) = processes.get(next).copied() {
            for thread in threads(process)? {
                let path = format!("/proc/{process}/task/{thread}/children");
                let children = fs::read_to_string(&path).with_context(|| path.clone())?;
                processes.extend(
                    children
                        .split_whitespace()
                        .filter_map(|c| c.parse::<u32>().ok()),
                );
            }
            next += 1;
        }
        Ok(Self(processes))
    }

    /// The kernel's threads that take over soft interrupts.
    pub(crate) fn soft_interrupts() -> Result<Self> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Some(process) = entry?.file_name().to_str().and_then(|n| n.parse().ok()) else {
                continue;
            };
            let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
            if name.starts_with("ksoftirqd/") {
                found.push(process);
            }
        }
        ensure!(
            !found.is_empty(),
            "no ksoftirqd in /proc: run in the first PID namespace"
        );
        Ok(Self(found))
    }

    /// The last process found: of a daemon that forks, the one that works.
    pub(crate) fn worker(&self) -> Option<u32> {
        self.0.last().copied()
    }

    /// Processor time of all of them so far.
    pub(crate) fn time(&self) -> Result<Duration> {
        let mut sum = Duration::ZERO;
        for process in &self.0 {
            for thread in threads(*process)? {
                let path = format!("/proc/{process}/task/{thread}/schedstat");
                // A thread that has just ended is no error; its time is lost, as little as it is.
                if let Ok(text) = fs::read_to_string(path) {
                    sum += run_time(&text).context("schedstat begins with nanoseconds")?;
                }
            }
        }
        Ok(sum)
    }

    /// Keeps all their threads on `core`.
    pub(crate) fn pin(&self, core: usize) -> Result<()> {
        // SAFETY: all zero is the empty set.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set is valid; the macro bounds the index.
        unsafe { libc::CPU_SET(core, &mut set) };
        for process in &self.0 {
            for thread in threads(*process)? {
                let thread = libc::pid_t::try_from(thread)?;
                // SAFETY: the set is valid for its size.
                let done =
                    unsafe { libc::sched_setaffinity(thread, size_of_val(&set), &raw const set) };
                ensure!(
                    done == 0,
                    "cannot keep thread {thread} on processor {core}: {}",
                    std::io::Error::last_os_error()
                );
            }
        }
        Ok(())
    }
}

fn threads(process: u32) -> Result<Vec<u32>> {
    let path = format!("/proc/{process}/task");
    let entries = fs::read_dir(&path).with_context(|| format!("{path}: the process has ended"))?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect())
}

fn run_time(schedstat: &str) -> Option<Duration> {
    let ns = schedstat.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(ns))
}

/// Keeps the calling thread on `core` and lets it sleep for as short as it asks.
pub(crate) fn pin_this_thread(core: usize) -> Result<()> {
    ensure!(
        core_affinity::set_for_current(core_affinity::CoreId { id: core }),
        "cannot keep the generator on processor {core}"
    );
    // SAFETY: no pointers.
    let done = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    ensure!(done == 0, "the timer slack of a thread can always be set");
    Ok(())
}

/// Lets the calling thread go first on its processor, for as long as it lives: what must keep its
/// pace beside a busy daemon.
pub(crate) fn hurry_this_thread() -> Result<()> {
    const NICENESS: libc::c_int = -19;
    // SAFETY: no pointers; 0 names the calling thread.
    let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
    ensure!(
        done == 0,
        "cannot raise the generator's priority: {}",
        std::io::Error::last_os_error()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_field_of_schedstat_is_the_time_that_counts() {
        assert_eq!(run_time("1500 99 3\n"), Some(Duration::from_nanos(1500)));
        assert_eq!(run_time(""), None);
    }

    #[test]
    fn work_shows_in_the_time_of_this_process() {
        let tasks = Tasks::of(std::process::id()).unwrap();
        let (before, thread_before) = (tasks.time().unwrap(), of_this_thread().unwrap());
        let mut work = 0_u64;
        while of_this_thread().unwrap() < thread_before + Duration::from_millis(20) {
            work = std::hint::black_box(work.wrapping_mul(31) + 1);
        }
        assert!(tasks.time().unwrap().saturating_sub(before) >= Duration::from_millis(10));
    }
}

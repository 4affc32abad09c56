//! Waiting for a condition with a deadline.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Polls `condition` until it holds and returns how long that took.
///
/// # Errors
/// `what` did not happen `within` the given time.
pub fn wait_for(
    what: &str,
    within: Duration,
    mut condition: impl FnMut() -> bool,
) -> Result<Duration> {
    wait_for_some(what, within, || condition().then_some(())).map(|((), took)| took)
}

/// Polls `probe` until it yields a value; returns the value and how long that took.
///
/// # Errors
/// `what` did not happen `within` the given time.
pub fn wait_for_some<T>(
    what: &str,
    within: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> Result<(T, Duration)> {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return Ok((value, start.elapsed()));
        }
        if start.elapsed() > within {
            bail!("waited {within:?} in vain for: {what}");
        }
        thread::sleep(POLL_INTERVAL);
    }
}

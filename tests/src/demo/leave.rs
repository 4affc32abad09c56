//! What must be gone when a lab is.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::{Lab, Traces, wait_for};

/// A killed process lets go of its namespace a moment after it is reaped.
const GONE_DEADLINE: Duration = Duration::from_secs(5);

/// The namespaces and the directory of a lab, noted while it is up.
#[derive(Debug)]
pub struct Remains {
    traces: Traces,
    dir: PathBuf,
}

impl Remains {
    /// Notes what belongs to `lab`.
    ///
    /// # Errors
    /// A namespace cannot be examined.
    pub fn of(lab: &Lab) -> Result<Self> {
        Ok(Self {
            traces: Traces::of(lab)?,
            dir: lab.dir().to_owned(),
        })
    }

    /// Makes sure that all of it is gone. The lab must have been dropped.
    ///
    /// # Errors
    /// What is left.
    pub fn assert_gone(&self) -> Result<()> {
        let mut left = Vec::new();
        let gone = wait_for("the end of all namespaces", GONE_DEADLINE, || {
            left = self.traces.holders().unwrap_or_default();
            left.is_empty()
        });
        if self.dir.exists() {
            left.push(self.dir.display().to_string());
        }
        if !left.is_empty() {
            bail!("left behind: {}", left.join(", "));
        }
        gone.map(drop)
    }
}

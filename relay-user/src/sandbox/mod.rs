//! What the daemon gives up once it has opened all it will ever use.
//!
//! A relay reads what anybody sends, as root. When it runs it needs little of what root may do, so it gives the rest up in
//! two steps:
//!
//! | step | when | for | what |
//! |---|---|---|---|
//! | [`Sandbox::enter`] | before the first thread starts | the calling thread and those it starts | capabilities, `no_new_privs`, files |
//! | [`Sandbox::seal`] | when all threads run | the process | system calls |
//!
//! What is allowed, and why, stands in `docs/decisions/0012-least-privilege.md`.

mod calls;
mod capabilities;
mod files;

use std::fmt::Display;
use std::path::Path;

use crate::error::StartError;

pub use capabilities::kept as kept_capabilities;

/// A process that can open no more files and has the [capabilities](kept_capabilities) it uses.
#[derive(Debug)]
#[must_use = "system calls are free until it is sealed"]
pub struct Sandbox {
    /// What this kernel cannot do for it; for `status`.
    pub weakness: Option<String>,
}

impl Sandbox {
    /// Gives up files and capabilities, for the calling thread and those it starts from now on. Below the directories
    /// `files_in` files may still be removed, below `directories_in` empty directories, as far as these exist.
    ///
    /// # Errors
    /// The kernel refuses what it offers.
    pub fn enter(files_in: &[&Path], directories_in: &[&Path]) -> Result<Self, StartError> {
        // Which kernel runs stands in a file.
        let kept = kept_capabilities().collect();
        let weakness =
            files::give_up(files_in, directories_in).map_err(|error| refused("files", &error))?;
        capabilities::give_up_all_but(kept).map_err(|error| refused("capabilities", &error))?;
        Ok(Self { weakness })
    }

    /// Gives up system calls, for all threads there are. One that is not listed fails with `EPERM`; those that only an
    /// intruder makes end the process by `SIGSYS`.
    ///
    /// # Errors
    /// The kernel knows no filters of system calls.
    pub fn seal(self) -> Result<(), StartError> {
        calls::give_up().map_err(|error| refused("system calls", &error))
    }
}

fn refused(what: &str, error: &impl Display) -> StartError {
    StartError::new(
        "--sandbox",
        "",
        format!("{what}: {error}"),
        "--sandbox=false runs without",
    )
}

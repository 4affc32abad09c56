//! Giving up files, by Landlock: nothing can be opened, made, renamed or executed. The filter of system calls does not
//! let files be opened either; it cannot tell one directory from another, though, so where entries may be removed is
//! said here alone.

use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};
use tracing::{debug, warn};

/// The newest Landlock whose rights were looked through (Linux 6.12). Later ones are not asked for: one of them keeps
/// sockets of others, the service manager's included, from being spoken to.
const KNOWN: ABI = ABI::V6;

/// Gives up files, TCP ports, and signals to other processes, for the calling thread and those it starts; sets
/// `no_new_privs`. Says what this kernel cannot do.
///
/// # Errors
/// The kernel has Landlock and refuses.
pub(super) fn give_up(
    files_in: &[&Path],
    directories_in: &[&Path],
) -> Result<Option<String>, RulesetError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::Signal)?
        .create()?;
    let files = files_in
        .iter()
        .map(|directory| (directory, AccessFs::RemoveFile));
    let directories = directories_in
        .iter()
        .map(|directory| (directory, AccessFs::RemoveDir));
    for (directory, remove) in files.chain(directories) {
        match PathFd::new(directory) {
            Ok(directory) => rules = rules.add_rule(PathBeneath::new(directory, remove))?,
            Err(error) => debug!(%error, "nothing can be removed there later"),
        }
    }
    let status = rules.restrict_self()?;
    debug!(?status, "Landlock");
    if status.ruleset != RulesetStatus::NotEnforced {
        return Ok(None);
    }
    let weakness =
        "the kernel has no Landlock: files cannot be opened, but removed wherever root may";
    warn!("{weakness}");
    Ok(Some(weakness.to_owned()))
}

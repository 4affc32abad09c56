//! What the machine must have before the program is worth loading.

use std::fs;

use caps::{CapSet, Capability};
use tracing::debug;

use super::Mode;
use crate::error::StartError;

/// The oldest kernel that runs the program. What it needs came with: batches of map entries 5.6,
/// XDP links 5.9, the coarse clock 5.11, multi-buffer XDP 5.18.
const KERNEL_MIN: (u32, u32) = (5, 18);

/// Capabilities of loading and attaching, and the one that stands for all of them on old systems.
const CAPABILITIES: [Capability; 2] = [Capability::CAP_BPF, Capability::CAP_NET_ADMIN];

/// How to get what is missing.
pub(super) const BECOME_ROOT: &str =
    "run it with sudo, or grant CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW and CAP_PERFMON";

/// Refuses a machine the program cannot run on.
pub(super) fn check(mode: Mode) -> Result<(), StartError> {
    check_kernel(mode, release().trim())?;
    match missing_capability() {
        Some(capability) => Err(StartError::new(
            "--datapath",
            mode.as_str(),
            format!("capability {capability} is missing"),
            BECOME_ROOT,
        )),
        None => Ok(()),
    }
}

/// As `uname -r` gives it.
fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default()
}

/// Version of the kernel that runs: the first two numbers.
pub fn kernel_version() -> Option<(u32, u32)> {
    version(&release())
}

/// A release that cannot be read is not refused: the kernel itself will say what it lacks.
fn check_kernel(mode: Mode, release: &str) -> Result<(), StartError> {
    match version(release) {
        Some(version) if version < KERNEL_MIN => Err(StartError::new(
            "--datapath",
            mode.as_str(),
            format!("kernel {release} is too old: multi-buffer XDP came with 5.18"),
            "boot a newer kernel, or use --datapath userspace",
        )),
        _ => Ok(()),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The first capability the thread does not have.
pub(super) fn missing_capability() -> Option<Capability> {
    let has = |c| caps::has_cap(None, CapSet::Effective, c).unwrap_or(true);
    if has(Capability::CAP_SYS_ADMIN) {
        return CAPABILITIES[1..].iter().copied().find(|c| !has(*c));
    }
    CAPABILITIES.into_iter().find(|c| !has(*c))
}

/// Packet buffers of `AF_XDP` sockets are locked memory, which is limited unless root lifts it. Where
/// that is refused, opening the socket will say so.
pub fn lift_locked_memory_limit() {
    let unlimited = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the pointer is to a whole rlimit that outlives the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const unlimited) } != 0 {
        debug!("the limit of locked memory stays");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_multi_buffer_xdp_is_refused_by_version() {
        let error = check_kernel(Mode::Xdp, "5.10.0-28-amd64").unwrap_err();
        assert_eq!(
            error.to_string(),
            "relay: --datapath xdp: kernel 5.10.0-28-amd64 is too old: multi-buffer XDP came with 5.18 \
             (boot a newer kernel, or use --datapath userspace)"
        );
    }

    #[test]
    fn newer_and_unreadable_kernel_versions_are_let_through() {
        for release in ["5.18.0", "6.1.0-42-cloud-amd64", "7.0-rc1", "", "custom"] {
            assert_eq!(check_kernel(Mode::Xdp, release), Ok(()), "{release}");
        }
    }
}

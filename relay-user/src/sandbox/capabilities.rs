//! Giving up capabilities.

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use tracing::debug;

use crate::datapath::kernel_version;

/// Since this kernel whoever holds a map may use it, whatever `kernel.unprivileged_bpf_disabled` says.
const MAPS_ARE_FREE_SINCE: (u32, u32) = (5, 19);

/// The capabilities a running daemon uses on this kernel.
///
/// * `CAP_NET_ADMIN`: the route to 2001::/32 is taken away at the end, and the kernel is told which neighbours are in use.
/// * `CAP_BPF`, before Linux 5.19: reads and writes of maps.
pub fn kept() -> impl Iterator<Item = Capability> {
    let maps_are_free = kernel_version().is_some_and(|version| version >= MAPS_ARE_FREE_SINCE);
    std::iter::once(Capability::CAP_NET_ADMIN)
        .chain((!maps_are_free).then_some(Capability::CAP_BPF))
}

/// Takes all capabilities but `kept` out of all sets of the calling thread, and these out of those that count at `exec`.
///
/// # Errors
/// The kernel's refusal.
pub(super) fn give_up_all_but(mut kept: CapsHashSet) -> Result<(), CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    kept.retain(|capability| permitted.contains(capability));
    // Without CAP_SETPCAP it stays as it is: it counts at `exec` alone, which the sandbox does not have.
    if let Err(error) = caps::clear(None, CapSet::Bounding) {
        debug!(%error, "the bounding set of capabilities stays");
    }
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

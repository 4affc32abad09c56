//! What would refuse a start although settings and addresses are sound, as far as it can be known without touching
//! anything. Whether a driver has native XDP shows at the start alone.

use super::fast_path::port_of;
use crate::config::{DatapathChoice, RelaySettings};
use crate::datapath;
use crate::error::StartError;
use crate::net::Snapshot;
use crate::slowpath::tun;

/// Refuses what [`run`](super::relay::run) would refuse, for `shipworm check`.
///
/// # Errors
/// The refusal: the device of another relay, a port that is none, another XDP program on a port.
pub fn foresee(settings: &RelaySettings, machine: &Snapshot) -> Result<(), StartError> {
    tun::foresee(machine)?;
    let pins = settings.pin_dir.as_deref();
    match settings.daemon.datapath {
        // `auto` falls back, in the end to user space.
        DatapathChoice::Auto | DatapathChoice::Userspace => Ok(()),
        DatapathChoice::Xdp | DatapathChoice::XdpGeneric => settings
            .daemon
            .ifaces
            .iter()
            .try_for_each(|name| datapath::foresee(port_of(machine, name)?.port, pins)),
    }
}

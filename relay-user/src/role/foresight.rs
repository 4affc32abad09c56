//! What would refuse a start although settings and addresses are sound, as far as it can be known without touching
//! anything. Whether a driver has native XDP shows at the start alone.

use std::path::Path;

use super::fast_path::port_of;
use crate::config::{DaemonSettings, DatapathChoice};
use crate::datapath;
use crate::error::StartError;
use crate::net::Snapshot;
use crate::slowpath::tun;

/// Refuses what a start would refuse, for `shipworm check`.
///
/// # Errors
/// The refusal: a port that is none, another XDP program on a port.
pub fn foresee(
    settings: &DaemonSettings,
    pin_dir: Option<&Path>,
    machine: &Snapshot,
) -> Result<(), StartError> {
    match settings.datapath {
        // `auto` falls back, in the end to user space.
        DatapathChoice::Auto | DatapathChoice::Userspace => Ok(()),
        DatapathChoice::Xdp | DatapathChoice::XdpGeneric => settings
            .ifaces
            .iter()
            .try_for_each(|name| datapath::foresee(port_of(machine, name)?.port, pin_dir)),
    }
}

/// Refuses what a relay's start would refuse about its TUN device.
///
/// # Errors
/// The device of another relay is there.
pub fn foresee_tun(machine: &Snapshot) -> Result<(), StartError> {
    tun::foresee(machine)
}

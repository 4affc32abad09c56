//! Taking over from a relay that runs: everything that may fail is tried before it is asked to stop.

use std::os::fd::OwnedFd;
use std::path::Path;

use relay_common::maps;

use crate::config::{self, InterfaceInfo, RelaySettings, Resolved, ServerSettings};
use crate::control;
use crate::datapath::{Datapath, LOOPBACK, Mode, RelayRole, Secrets, Settings};
use crate::error::StartError;
use crate::slowpath::tun::Tun;
use crate::slowpath::udp::ServiceSocket;

/// What there is one of, and a relay must have.
pub(super) struct Place {
    pub(super) resolved: Resolved,
    pub(super) service: ServiceSocket,
    pub(super) tun: Tun,
    /// Those of the server beside it, where another had one.
    pub(super) server_sockets: Vec<OwnedFd>,
}

/// Takes over from the relay at the control socket of `settings`. `None`: nobody answers there.
///
/// # Errors
/// The settings ask for another service address, this kernel does not take the program, or the relay that runs refuses. It
/// goes on then.
pub(super) fn take_over(
    settings: &RelaySettings,
    server: Option<&ServerSettings>,
    interfaces: &[InterfaceInfo],
) -> Result<Option<Place>, StartError> {
    let refuse = |cause: String, next: &str| {
        StartError::new(
            "--take-over",
            settings.daemon.socket.display().to_string(),
            cause,
            next,
        )
    };
    config::require_privileges(settings.daemon.datapath)?;
    let Ok(status) = control::status(&settings.daemon.socket) else {
        return Ok(None);
    };
    let resolved = config::resolve(settings, interfaces)?;
    let Some(running) = status.service_address else {
        return Err(refuse(
            "what runs there is no relay".to_owned(),
            "a server is stopped, and the other started",
        ));
    };
    if resolved.service != running {
        return Err(refuse(
            format!(
                "the relay that runs serves {running}, this one would serve {}",
                resolved.service
            ),
            "an address is changed by stopping the one and starting the other",
        ));
    }
    if let Some(pinned) = &status.datapath.pinned_in
        && !looks_into(settings, Path::new(pinned))
    {
        return Err(refuse(
            format!(
                "the program of the relay that runs is pinned in {pinned}, where this one would not look"
            ),
            "keep its --pin-dir and XDP, or stop the one and start the other",
        ));
    }
    try_program(settings, server, &resolved)?;
    let taken = control::take_over(&settings.daemon.socket)
        .map_err(|error| refuse(error.to_string(), "it goes on; see its log"))?;
    let Some(taken) = taken else {
        return Ok(None);
    };
    let tun = Tun::handed_over(taken.tun)
        .map_err(|error| refuse(error.to_string(), "start it without --take-over"))?;
    Ok(Some(Place {
        service: ServiceSocket::handed_over(taken.service),
        tun,
        resolved,
        server_sockets: taken.server,
    }))
}

/// Whether a relay with these settings goes on with the program pinned in `directory`. It would find its ports taken, or leave
/// them with a program nobody looks after.
fn looks_into(settings: &RelaySettings, directory: &Path) -> bool {
    settings.daemon.datapath != config::DatapathChoice::Userspace
        && settings.pin_dir.as_deref() == directory.parent()
}

/// Loads the program with the smallest of tables, and unloads it.
fn try_program(
    settings: &RelaySettings,
    server: Option<&ServerSettings>,
    resolved: &Resolved,
) -> Result<(), StartError> {
    if settings.daemon.datapath == config::DatapathChoice::Userspace {
        return Ok(());
    }
    let secrets = Secrets::draw()
        .map_err(|error| StartError::new("random source", "", error.to_string(), ""))?;
    Datapath::load(&Settings {
        mode: Mode::Xdp,
        fib_ifindex: LOOPBACK,
        relay: Some(RelayRole {
            service: resolved.service,
            tunnel_mtu: teredo::relay::Config::new(resolved.service).tunnel_mtu,
            max_peers: maps::MAX_PORTS,
            access: settings.access.clone(),
        }),
        server: server.map(super::server::role),
        secrets,
    })
    .map(drop)
}

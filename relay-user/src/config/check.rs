//! What `shipworm check` does: everything that can be known before a start, changing nothing.

use std::fmt;
use std::net::SocketAddrV4;
use std::path::Path;

use teredo::addr::SERVER_PORT;
use teredo::relay::AccessList;

use super::machine::probe_port;
use super::{
    InterfaceInfo, RelaySettings, Resolved, ServerDaemonSettings, ServerSettings, check_ports,
    find_server, peer_table_bytes, require_privileges, resolve,
};
use crate::control;
use crate::error::StartError;

/// The setting without which nothing is forwarded towards clients through the TUN device.
const FORWARDING: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// What the relay would do, one line an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    lines: Vec<(&'static str, String)>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (item, text) in &self.lines {
            writeln!(f, "{item:<17} {text}")?;
        }
        Ok(())
    }
}

/// Compares `settings` with this machine: privileges, interfaces, addresses, the service port, the control socket.
///
/// # Errors
/// The first thing that would keep the relay from starting.
pub fn check(
    settings: &RelaySettings,
    interfaces: &[InterfaceInfo],
) -> Result<(Resolved, Plan), StartError> {
    require_privileges(settings.daemon.datapath)?;
    let resolved = resolve(settings, interfaces)?;
    probe_port("--bind", resolved.service)?;
    control::refuse_if_taken(&settings.daemon.socket)?;
    let forwarding =
        std::fs::read_to_string(Path::new(FORWARDING)).is_ok_and(|value| value.trim() != "0");
    let plan = plan(settings, &resolved, forwarding);
    Ok((resolved, plan))
}

/// Compares a server that is alone in its process with this machine.
///
/// # Errors
/// The first thing that would keep it from starting.
pub fn plan_server(
    settings: &ServerDaemonSettings,
    interfaces: &[InterfaceInfo],
) -> Result<Plan, StartError> {
    let daemon = &settings.daemon;
    require_privileges(daemon.datapath)?;
    check_ports(daemon, interfaces)?;
    let mut plan = check_server(&settings.server, interfaces)?;
    control::refuse_if_taken(&daemon.socket)?;
    plan.lines.extend([
        ("interfaces", daemon.ifaces.join(", ")),
        ("datapath", daemon.datapath.as_str().to_owned()),
        (
            "control socket",
            format!("{}, free", daemon.socket.display()),
        ),
    ]);
    Ok(plan)
}

/// Compares a server's addresses with this machine, and binds its ports for a moment.
///
/// # Errors
/// An address that is not here, or a port that is taken.
pub fn check_server(
    settings: &ServerSettings,
    interfaces: &[InterfaceInfo],
) -> Result<Plan, StartError> {
    find_server(settings, interfaces)?;
    for (key, ip) in [
        ("--primary", settings.primary),
        ("--secondary", settings.secondary),
    ] {
        probe_port(key, SocketAddrV4::new(ip, SERVER_PORT))?;
    }
    let asks = match (settings.credentials.len(), settings.require_auth) {
        (0, _) => "none".to_owned(),
        (clients, true) => format!("of {clients} clients, required"),
        (clients, false) => format!("of {clients} clients"),
    };
    Ok(Plan {
        lines: vec![
            (
                "server addresses",
                format!("{}, {}, can be bound", settings.primary, settings.secondary),
            ),
            ("credentials", asks),
        ],
    })
}

fn plan(settings: &RelaySettings, resolved: &Resolved, forwarding: bool) -> Plan {
    let ports: Vec<String> = resolved
        .ports
        .iter()
        .map(|p| format!("{} (index {})", p.name, p.ifindex))
        .collect();
    let mut lines = vec![
        ("interfaces", ports.join(", ")),
        (
            "service address",
            format!(
                "{} on {}, can be bound",
                resolved.service, resolved.service_on
            ),
        ),
        (
            "native address",
            format!("{} on {}", resolved.native_address, resolved.native_on),
        ),
        ("datapath", settings.daemon.datapath.as_str().to_owned()),
        (
            "max peers",
            format!(
                "{}, {} MiB of kernel memory",
                settings.max_peers,
                peer_table_bytes(settings.max_peers).div_ceil(1 << 20)
            ),
        ),
        (
            "control socket",
            format!("{}, free", settings.daemon.socket.display()),
        ),
    ];
    if !settings.daemon.allow_non_global.is_empty() {
        let nets: Vec<String> = settings
            .daemon
            .allow_non_global
            .iter()
            .map(ToString::to_string)
            .collect();
        lines.push(("opened ranges", format!("{} (laboratory)", nets.join(", "))));
    }
    for (item, list) in [
        ("native hosts", &settings.access.native),
        ("clients", &settings.access.clients),
        ("servers", &settings.access.servers),
    ] {
        if !list.is_empty() {
            lines.push((item, described(list)));
        }
    }
    if !forwarding {
        lines.push((
            "warning",
            "IPv6 forwarding is off, so first packets will not reach clients: sysctl -w net.ipv6.conf.all.forwarding=1"
                .to_owned(),
        ));
    }
    Plan { lines }
}

/// Whom a list serves.
fn described(list: &AccessList) -> String {
    let allowed = list.rules().iter().filter(|rule| rule.is_allowed).count();
    let others = if list.allows_others() {
        "allowed"
    } else {
        "denied"
    };
    format!(
        "{allowed} prefixes allowed, {} denied, all others {others}",
        list.rules().len() - allowed
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::RelayFlags;
    use crate::config::{PortRef, settings};

    #[test]
    fn the_plan_names_every_item_once() {
        let settings = settings(&RelayFlags {
            iface: vec!["eth0".to_owned()],
            allow_non_global: vec!["203.0.113.0/24".to_owned()],
            ..RelayFlags::default()
        })
        .expect("sound");
        let resolved = Resolved {
            ports: vec![PortRef {
                ifindex: 2,
                name: "eth0".to_owned(),
            }],
            service: "203.0.113.18:3545".parse().expect("an address"),
            service_on: "eth0".to_owned(),
            native_address: "2001:db8::18".parse().expect("an address"),
            native_on: "eth0".to_owned(),
        };
        let text = plan(&settings, &resolved, false).to_string();
        assert_eq!(
            text,
            "interfaces        eth0 (index 2)\n\
             service address   203.0.113.18:3545 on eth0, can be bound\n\
             native address    2001:db8::18 on eth0\n\
             datapath          xdp\n\
             max peers         1048576, 51 MiB of kernel memory\n\
             control socket    /run/shipworm/relay.sock, free\n\
             opened ranges     203.0.113.0/24 (laboratory)\n\
             warning           IPv6 forwarding is off, so first packets will not reach clients: \
             sysctl -w net.ipv6.conf.all.forwarding=1\n"
        );
        assert!(
            !super::plan(&settings, &resolved, true)
                .to_string()
                .contains("warning")
        );
    }

    #[test]
    fn an_interface_that_is_missing_fails_the_check() {
        let settings = settings(&RelayFlags {
            iface: vec!["eth9".to_owned()],
            datapath: Some(crate::config::DatapathChoice::Userspace),
            ..RelayFlags::default()
        })
        .expect("sound");
        assert!(check(&settings, &[]).is_err());
    }
}

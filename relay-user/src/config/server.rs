//! The validated settings of a server.

use std::net::Ipv4Addr;

use teredo::relay::Ipv4Net;
use teredo::server::{Credentials, Limits};

use super::given::{GivenServer, Sourced};
use super::settings::{daemon, laboratory_prefix, opened};
use super::{DEFAULT_SERVER_SOCKET, DaemonSettings, InterfaceInfo, file, flags, secrets};
use crate::cli::ServerFlags;
use crate::error::StartError;

/// Settings of the server as such: sound in themselves, not yet compared with this machine.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The address clients are configured with (S-1).
    pub primary: Ipv4Addr,
    /// The address from which a client with the cone bit is answered (S-10).
    pub secondary: Ipv4Addr,
    /// Ranges outside global unicast that clients may have (invariant 8).
    pub allow_non_global: Vec<Ipv4Net>,
    /// Clients and their secrets.
    pub credentials: Credentials,
    /// Whether only clients with credentials are answered.
    pub require_auth: bool,
    /// How much it answers and sends (S-17).
    pub limits: Limits,
}

/// Settings of `shipworm server`.
#[derive(Clone, Debug)]
pub struct ServerDaemonSettings {
    /// What every daemon has.
    pub daemon: DaemonSettings,
    /// What makes it a server.
    pub server: ServerSettings,
}

/// Reads flags and, where one is named, the configuration file; a flag wins over the file, a list of flags
/// replaces the list of the file.
///
/// # Errors
/// The first thing that is wrong, naming flag, or file, line and key.
pub fn server_settings(flags: &ServerFlags) -> Result<ServerDaemonSettings, StartError> {
    let from_flags = flags::given_server(flags)?;
    let from_file = match &flags.config {
        Some(path) => file::sections(path)?.for_server(),
        None => GivenServer::default(),
    };
    alone(from_flags.or(from_file))
}

/// A server alone in its process.
pub(super) fn alone(given: GivenServer) -> Result<ServerDaemonSettings, StartError> {
    let server = validate(&given)?;
    let daemon = daemon(given.daemon, DEFAULT_SERVER_SOCKET)?;
    Ok(ServerDaemonSettings { daemon, server })
}

/// Judges together what makes a server.
pub(super) fn validate(given: &GivenServer) -> Result<ServerSettings, StartError> {
    let Some(primary) = &given.primary else {
        return Err(StartError::new(
            "--primary",
            "",
            "the server needs the address its clients are configured with",
            "name it: --primary 192.0.2.1, or primary in the section [server] of the file",
        ));
    };
    let secondary = match &given.secondary {
        Some(secondary) => secondary.clone(),
        None => Sourced {
            value: Ipv4Addr::from_bits(primary.value.to_bits().wrapping_add(1)),
            origin: primary.origin.clone(),
        },
    };
    if primary.value == secondary.value {
        return Err(secondary.origin.refuse(
            "secondary",
            secondary.value,
            "the same as the primary address",
            "a client learns how its NAT filters from a second one",
        ));
    }
    let allow_non_global = opened(given.daemon.allow_non_global.clone())?;
    for (key, address) in [("primary", primary), ("secondary", &secondary)] {
        let ip = address.value;
        let is_open = allow_non_global.iter().any(|net| net.contains(ip));
        if !is_open && !teredo::addr::is_global_unicast(ip) {
            let next = format!(
                "serve at public addresses, or --allow-non-global {} for a laboratory",
                laboratory_prefix(ip)
            );
            return Err(address.origin.refuse(key, ip, "not global unicast", next));
        }
    }
    let credentials = match &given.secret_file {
        Some(path) => secrets::read(&path.value).map_err(|unusable| {
            let shown = path.value.display();
            path.origin
                .refuse("secret-file", shown, unusable.cause, unusable.next)
        })?,
        None => Credentials::default(),
    };
    let require_auth = given.require_auth.as_ref().is_some_and(|r| r.value);
    if let Some(asked) = &given.require_auth
        && asked.value
        && given.secret_file.is_none()
    {
        return Err(asked.origin.refuse(
            "require-auth",
            "true",
            "there are no secrets, so that nobody would be answered",
            "name them: --secret-file FILE",
        ));
    }
    Ok(ServerSettings {
        primary: primary.value,
        secondary: secondary.value,
        allow_non_global,
        credentials,
        require_auth,
        limits: given.numbers.server_limits(),
    })
}

/// Looks for the server's addresses on this machine.
///
/// # Errors
/// One is not on any of its interfaces.
pub fn find_server(
    settings: &ServerSettings,
    interfaces: &[InterfaceInfo],
) -> Result<(), StartError> {
    for (key, ip) in [
        ("--primary", settings.primary),
        ("--secondary", settings.secondary),
    ] {
        if !interfaces.iter().any(|i| i.ipv4.contains(&ip)) {
            let have: Vec<String> = interfaces
                .iter()
                .flat_map(|i| i.ipv4.iter().map(|ip| format!("{} {ip}", i.name)))
                .collect();
            return Err(StartError::new(
                key,
                ip.to_string(),
                "not an address of this machine",
                format!(
                    "add it, or name another; IPv4 addresses here: {}",
                    have.join(", ")
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn flags() -> ServerFlags {
        ServerFlags {
            iface: vec!["eth0".to_owned()],
            primary: Some("203.0.113.5".to_owned()),
            allow_non_global: vec!["203.0.113.0/24".to_owned()],
            ..ServerFlags::default()
        }
    }

    fn message(change: impl FnOnce(&mut ServerFlags)) -> String {
        let mut flags = flags();
        change(&mut flags);
        server_settings(&flags)
            .expect_err("refused")
            .of("server")
            .to_string()
    }

    #[test]
    fn the_secondary_address_is_the_next_one_unless_named() {
        let settings = server_settings(&flags()).expect("sound");
        assert_eq!(settings.server.secondary, Ipv4Addr::new(203, 0, 113, 6));
        assert_eq!(settings.server.limits, Limits::default());
        assert_eq!(
            settings.daemon.socket.to_string_lossy(),
            DEFAULT_SERVER_SOCKET
        );
        let mut flags = flags();
        flags.secondary = Some("203.0.113.77".to_owned());
        let settings = server_settings(&flags).expect("sound");
        assert_eq!(settings.server.secondary, Ipv4Addr::new(203, 0, 113, 77));
    }

    #[test]
    fn addresses_that_cannot_serve_are_refused_with_the_next_step() {
        assert!(message(|f| f.primary = None).starts_with("server: --primary: the server needs"));
        assert!(
            message(|f| f.secondary.clone_from(&f.primary))
                .starts_with("server: --secondary 203.0.113.5: the same as the primary address")
        );
        assert_eq!(
            message(|f| f.allow_non_global.clear()),
            "server: --primary 203.0.113.5: not global unicast (serve at public addresses, or \
             --allow-non-global 203.0.113.0/24 for a laboratory)"
        );
        assert!(
            message(|f| f.primary = Some("239.0.0.1".to_owned()))
                .contains("--primary 239.0.0.1: not a unicast address")
        );
        assert!(message(|f| f.iface.clear()).starts_with("server: --iface: at least one"));
    }

    #[test]
    fn credentials_that_nobody_can_have_are_not_asked_for() {
        assert_eq!(
            message(|f| f.require_auth = Some(true)),
            "server: --require-auth true: there are no secrets, so that nobody would be answered \
             (name them: --secret-file FILE)"
        );
        let missing = message(|f| f.secret_file = Some("/nonexistent/secrets".to_owned()));
        assert!(
            missing.starts_with("server: --secret-file /nonexistent/secrets: No such file"),
            "{missing}"
        );
    }

    #[test]
    fn secrets_never_show_in_the_settings() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        let text = "[[client]]\nid = \"alice\"\nsecret = \"correct horse battery\"\n";
        file.write_all(text.as_bytes()).expect("written");
        let mut flags = flags();
        flags.secret_file = Some(file.path().display().to_string());
        flags.require_auth = Some(true);
        let settings = server_settings(&flags).expect("sound");
        assert_eq!(settings.server.credentials.len(), 1);
        assert!(!format!("{settings:?}").contains("horse"));
    }

    #[test]
    fn an_address_of_another_machine_is_refused_with_those_of_this_one() {
        let settings = server_settings(&flags()).expect("sound").server;
        let here = InterfaceInfo {
            name: "eth0".to_owned(),
            ipv4: vec![settings.primary],
            ..InterfaceInfo::default()
        };
        let text = find_server(&settings, std::slice::from_ref(&here))
            .expect_err("the secondary is missing")
            .to_string();
        assert!(
            text.ends_with("IPv4 addresses here: eth0 203.0.113.5)")
                && text.contains("203.0.113.6"),
            "{text}"
        );
    }
}

//! What `run` runs: the roles its file has sections for.

use std::path::Path;

use super::file;
use super::server::{self, ServerDaemonSettings, ServerSettings};
use super::settings::{self, RelaySettings};
use crate::cli::RelayFlags;
use crate::error::StartError;

/// The roles of one process.
#[derive(Debug)]
pub enum Sections {
    /// A relay, and maybe a server beside it that shares its interfaces, datapath, log and control socket.
    Relay {
        /// The relay.
        relay: Box<RelaySettings>,
        /// The server.
        server: Option<ServerSettings>,
    },
    /// A server alone.
    Server(Box<ServerDaemonSettings>),
}

/// Reads the file at `path`.
///
/// # Errors
/// The first thing that is wrong, naming file, line and key, or that it has no section.
pub fn sections(path: &Path) -> Result<Sections, StartError> {
    let file = file::sections(path)?;
    let server = file.server.is_some().then(|| file.for_server());
    if file.relay.is_some() {
        return Ok(Sections::Relay {
            relay: Box::new(settings::validate(file.for_relay())?),
            server: server.as_ref().map(server::validate).transpose()?,
        });
    }
    match server {
        Some(given) => Ok(Sections::Server(Box::new(server::alone(given)?))),
        None => Err(StartError::new(
            "--config",
            path.display().to_string(),
            "neither a section [relay] nor [server]",
            "give it one, empty if need be; `shipworm relay` runs a relay without",
        )),
    }
}

/// What `check` looks at: the roles the file of `flags` has sections for, or the relay of file and flags where it has none.
///
/// # Errors
/// As those of the daemons.
pub fn wanted(flags: &RelayFlags) -> Result<Sections, StartError> {
    if let Some(path) = &flags.config {
        let file = file::sections(path)?;
        if file.server.is_some() {
            if file.relay.is_none() {
                return Ok(Sections::Server(Box::new(server::alone(
                    file.for_server(),
                )?)));
            }
            let server = server::validate(&file.for_server())?;
            return Ok(Sections::Relay {
                relay: Box::new(settings::settings(flags)?),
                server: Some(server),
            });
        }
    }
    Ok(Sections::Relay {
        relay: Box::new(settings::settings(flags)?),
        server: None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(text: &str) -> Result<Sections, StartError> {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        sections(file.path())
    }

    const TOP: &str = "iface = [\"eth0\"]\nallow-non-global = [\"203.0.113.0/24\"]\n";
    const SERVER: &str = "[server]\nprimary = \"203.0.113.5\"\n";

    #[test]
    fn a_section_is_a_role() {
        let both = read(&format!("{TOP}[relay]\n{SERVER}")).expect("sound");
        assert!(matches!(
            both,
            Sections::Relay {
                server: Some(_),
                ..
            }
        ));
        let relay = read(&format!("{TOP}[relay]\n")).expect("sound");
        assert!(matches!(relay, Sections::Relay { server: None, .. }));
        let Sections::Server(server) = read(&format!("{TOP}{SERVER}")).expect("sound") else {
            panic!("no relay was asked for");
        };
        assert_eq!(server.daemon.ifaces, ["eth0"]);
        assert_eq!(server.server.allow_non_global.len(), 1);
    }

    #[test]
    fn a_file_without_sections_is_refused() {
        let text = read(TOP).expect_err("refused").of("run").to_string();
        assert!(text.starts_with("run: --config "), "{text}");
        assert!(
            text.contains("neither a section [relay] nor [server]"),
            "{text}"
        );
    }
}

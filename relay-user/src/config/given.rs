//! What was given, by flag or by file, and where: errors must be able to point at it.

use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use teredo::relay::Ipv4Net;

use super::lists::GivenLists;
use super::numbers::GivenNumbers;
use super::{Bind, DatapathChoice, Level, LogFormat};
use crate::error::StartError;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// On the command line.
    Flag,
    /// In the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// Line of the key, counted from 1.
        line: usize,
    },
}

impl Origin {
    /// The error for `key` = `value` at this place.
    pub(super) fn refuse(
        &self,
        key: &str,
        value: impl Display,
        cause: impl Display,
        next: impl Into<String>,
    ) -> StartError {
        match self {
            Self::Flag => StartError::new(
                format!("--{key}"),
                value.to_string(),
                cause.to_string(),
                next,
            ),
            Self::File { path, line } => StartError::new(
                "--config",
                path.display().to_string(),
                format!("line {line}: {key} = {value}: {cause}"),
                next,
            ),
        }
    }
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sourced<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// The keys that every daemon has, as far as they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GivenDaemon {
    pub(super) iface: Vec<Sourced<String>>,
    pub(super) datapath: Option<Sourced<DatapathChoice>>,
    pub(super) allow_non_global: Vec<Sourced<Ipv4Net>>,
    pub(super) socket: Option<Sourced<PathBuf>>,
    pub(super) log: Option<Sourced<Level>>,
    pub(super) log_format: Option<Sourced<LogFormat>>,
    pub(super) sandbox: Option<Sourced<bool>>,
}

impl GivenDaemon {
    /// These values where given, else those of `other`. A list replaces the other list.
    fn or(self, other: Self) -> Self {
        Self {
            iface: list(self.iface, other.iface),
            datapath: self.datapath.or(other.datapath),
            allow_non_global: list(self.allow_non_global, other.allow_non_global),
            socket: self.socket.or(other.socket),
            log: self.log.or(other.log),
            log_format: self.log_format.or(other.log_format),
            sandbox: self.sandbox.or(other.sandbox),
        }
    }
}

/// Every key of the relay, as far as it was given. Each value is sound alone; together they are judged later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) daemon: GivenDaemon,
    pub(super) bind: Option<Sourced<Bind>>,
    pub(super) native_address: Option<Sourced<Ipv6Addr>>,
    pub(super) lists: GivenLists,
    pub(super) max_peers: Option<Sourced<u32>>,
    pub(super) numbers: GivenNumbers,
    pub(super) zero_copy: Option<Sourced<bool>>,
    pub(super) pin_dir: Option<Sourced<Option<PathBuf>>>,
}

impl Given {
    /// These values where given, else those of `other`. A list replaces the other list.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            daemon: self.daemon.or(other.daemon),
            bind: self.bind.or(other.bind),
            native_address: self.native_address.or(other.native_address),
            lists: self.lists.or(other.lists),
            max_peers: self.max_peers.or(other.max_peers),
            numbers: self.numbers.or(other.numbers),
            zero_copy: self.zero_copy.or(other.zero_copy),
            pin_dir: self.pin_dir.or(other.pin_dir),
        }
    }
}

/// Every key of the server, as far as it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GivenServer {
    pub(super) daemon: GivenDaemon,
    pub(super) primary: Option<Sourced<Ipv4Addr>>,
    pub(super) secondary: Option<Sourced<Ipv4Addr>>,
    pub(super) secret_file: Option<Sourced<PathBuf>>,
    pub(super) require_auth: Option<Sourced<bool>>,
    pub(super) numbers: GivenNumbers,
}

impl GivenServer {
    /// These values where given, else those of `other`. A list replaces the other list.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            daemon: self.daemon.or(other.daemon),
            primary: self.primary.or(other.primary),
            secondary: self.secondary.or(other.secondary),
            secret_file: self.secret_file.or(other.secret_file),
            require_auth: self.require_auth.or(other.require_auth),
            numbers: self.numbers.or(other.numbers),
        }
    }

    /// These values where given, else what the file says for every daemon. Each has a control socket of its own.
    pub(super) fn or_shared(self, shared: &Given) -> Self {
        self.or(Self {
            daemon: GivenDaemon {
                socket: None,
                ..shared.daemon.clone()
            },
            ..Self::default()
        })
    }
}

fn list<T>(a: Vec<T>, b: Vec<T>) -> Vec<T> {
    if a.is_empty() { b } else { a }
}

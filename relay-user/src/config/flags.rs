//! Values from the command line.

use super::given::{Given, GivenServer, Origin, Sourced};
use super::lists::{GivenLists, ListSource};
use super::numbers::{GivenNumbers, NUMBERS, SERVER_NUMBERS};
use super::value::{self, Refusal};
use crate::cli::{ListFlags, RelayFlags, ServerFlags};
use crate::error::StartError;

fn sourced<T>(value: T) -> Sourced<T> {
    Sourced {
        value,
        origin: Origin::Flag,
    }
}

fn one<T>(
    key: &str,
    text: &str,
    judge: impl Fn(&str) -> Result<T, Refusal>,
) -> Result<Sourced<T>, StartError> {
    judge(text)
        .map(sourced)
        .map_err(|r| Origin::Flag.refuse(key, text, r.cause, r.next))
}

impl ListSource for ListFlags {
    fn list<N>(
        &self,
        key: &'static str,
        _: &str,
        judge: impl Fn(&str) -> Result<N, Refusal>,
    ) -> Result<Vec<Sourced<N>>, StartError> {
        let texts = self.texts(key).iter();
        texts.map(|text| one(key, text, &judge)).collect()
    }
}

/// The flags of `relay`, each judged.
pub(super) fn given(flags: &RelayFlags) -> Result<Given, StartError> {
    let mut numbers = GivenNumbers::default();
    for (number, text) in NUMBERS.iter().zip(flags.numbers.texts()) {
        if let Some(text) = text {
            let value = one(number.key, text, |text| number.judge_text(text))?;
            numbers.set(number, value);
        }
    }
    let mut lists = GivenLists::default();
    for key in GivenLists::KEYS {
        lists.read(key, &flags.lists)?;
    }
    Ok(Given {
        iface: flags
            .iface
            .iter()
            .map(|t| one("iface", t, value::interface))
            .collect::<Result<_, _>>()?,
        bind: flags
            .bind
            .as_deref()
            .map(|t| one("bind", t, value::bind))
            .transpose()?,
        native_address: flags
            .native_address
            .as_deref()
            .map(|t| one("native-address", t, value::native_address))
            .transpose()?,
        datapath: flags.datapath.map(sourced),
        allow_non_global: flags
            .allow_non_global
            .iter()
            .map(|t| one("allow-non-global", t, value::cidr))
            .collect::<Result<_, _>>()?,
        lists,
        max_peers: flags
            .max_peers
            .as_deref()
            .map(|t| one("max-peers", t, value::max_peers_text))
            .transpose()?,
        numbers,
        socket: flags
            .socket
            .as_deref()
            .map(|t| one("socket", t, value::socket))
            .transpose()?,
        log: flags.log.map(sourced),
        log_format: flags.log_format.map(sourced),
        zero_copy: flags.zero_copy.map(sourced),
        pin_dir: flags
            .pin_dir
            .as_deref()
            .map(|t| one("pin-dir", t, value::pin_dir))
            .transpose()?,
        sandbox: flags.sandbox.map(sourced),
    })
}

/// The flags of `server`, each judged.
pub(super) fn given_server(flags: &ServerFlags) -> Result<GivenServer, StartError> {
    fn maybe<T>(
        key: &str,
        text: Option<&String>,
        judge: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Result<Option<Sourced<T>>, StartError> {
        text.map(|text| one(key, text, judge)).transpose()
    }
    let mut numbers = GivenNumbers::default();
    for (number, text) in SERVER_NUMBERS.iter().zip(flags.numbers.texts()) {
        if let Some(text) = text {
            let value = one(number.key, text, |text| number.judge_text(text))?;
            numbers.set(number, value);
        }
    }
    Ok(GivenServer {
        iface: flags
            .iface
            .iter()
            .map(|t| one("iface", t, value::interface))
            .collect::<Result<_, _>>()?,
        primary: maybe("primary", flags.primary.as_ref(), value::server_address)?,
        secondary: maybe("secondary", flags.secondary.as_ref(), value::server_address)?,
        datapath: flags.datapath.map(sourced),
        allow_non_global: flags
            .allow_non_global
            .iter()
            .map(|t| one("allow-non-global", t, value::cidr))
            .collect::<Result<_, _>>()?,
        secret_file: maybe("secret-file", flags.secret_file.as_ref(), value::path)?,
        require_auth: flags.require_auth.map(sourced),
        numbers,
        socket: maybe("socket", flags.socket.as_ref(), value::socket)?,
        log: flags.log.map(sourced),
        log_format: flags.log_format.map(sourced),
        sandbox: flags.sandbox.map(sourced),
    })
}

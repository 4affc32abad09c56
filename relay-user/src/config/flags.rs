//! Values from the command line.

use super::given::{Given, GivenDaemon, GivenServer, Origin, Sourced};
use super::lists::{GivenLists, ListSource};
use super::numbers::{GivenNumbers, NUMBERS, Number, SERVER_NUMBERS};
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

fn maybe<T>(
    key: &str,
    text: Option<&String>,
    judge: impl Fn(&str) -> Result<T, Refusal>,
) -> Result<Option<Sourced<T>>, StartError> {
    text.map(|text| one(key, text, judge)).transpose()
}

fn all<T>(
    key: &str,
    texts: &[String],
    judge: impl Fn(&str) -> Result<T, Refusal>,
) -> Result<Vec<Sourced<T>>, StartError> {
    texts.iter().map(|text| one(key, text, &judge)).collect()
}

/// The numbers of `among`, as far as they were given in `texts`.
fn numbers(among: &[Number], texts: &[Option<&str>]) -> Result<GivenNumbers, StartError> {
    let mut numbers = GivenNumbers::default();
    for (number, text) in among.iter().zip(texts) {
        if let Some(text) = text {
            let value = one(number.key, text, |text| number.judge_text(text))?;
            numbers.set(number, value);
        }
    }
    Ok(numbers)
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
    let numbers = numbers(&NUMBERS, &flags.numbers.texts())?;
    let mut lists = GivenLists::default();
    for key in GivenLists::KEYS {
        lists.read(key, &flags.lists)?;
    }
    Ok(Given {
        daemon: GivenDaemon {
            iface: all("iface", &flags.iface, value::interface)?,
            datapath: flags.datapath.map(sourced),
            allow_non_global: all("allow-non-global", &flags.allow_non_global, value::cidr)?,
            socket: maybe("socket", flags.socket.as_ref(), value::socket)?,
            log: flags.log.map(sourced),
            log_format: flags.log_format.map(sourced),
            sandbox: flags.sandbox.map(sourced),
        },
        bind: maybe("bind", flags.bind.as_ref(), value::bind)?,
        native_address: maybe(
            "native-address",
            flags.native_address.as_ref(),
            value::native_address,
        )?,
        lists,
        max_peers: maybe("max-peers", flags.max_peers.as_ref(), value::max_peers_text)?,
        numbers,
        zero_copy: flags.zero_copy.map(sourced),
        pin_dir: maybe("pin-dir", flags.pin_dir.as_ref(), value::pin_dir)?,
    })
}

/// The flags of `server`, each judged.
pub(super) fn given_server(flags: &ServerFlags) -> Result<GivenServer, StartError> {
    Ok(GivenServer {
        daemon: GivenDaemon {
            iface: all("iface", &flags.iface, value::interface)?,
            datapath: flags.datapath.map(sourced),
            allow_non_global: all("allow-non-global", &flags.allow_non_global, value::cidr)?,
            socket: maybe("socket", flags.socket.as_ref(), value::socket)?,
            log: flags.log.map(sourced),
            log_format: flags.log_format.map(sourced),
            sandbox: flags.sandbox.map(sourced),
        },
        primary: maybe("primary", flags.primary.as_ref(), value::server_address)?,
        secondary: maybe("secondary", flags.secondary.as_ref(), value::server_address)?,
        secret_file: maybe("secret-file", flags.secret_file.as_ref(), value::path)?,
        require_auth: flags.require_auth.map(sourced),
        numbers: numbers(&SERVER_NUMBERS, &flags.numbers.texts())?,
    })
}

//! Which key of which section is what.

use super::super::given::{Given, GivenDaemon, GivenServer};
use super::super::keys::{KEYS, SERVER_KEYS};
use super::super::numbers::Number;
use super::super::value;
use super::Entry;
use crate::error::StartError;

/// A key that every daemon has. Says whether it is one.
fn daemon_key(entry: &Entry<'_>, given: &mut GivenDaemon) -> Result<bool, StartError> {
    match entry.key {
        "iface" => given.iface = entry.list("[\"eth0\"]", value::interface)?,
        "datapath" => given.datapath = Some(entry.choice()?),
        "allow-non-global" => {
            given.allow_non_global = entry.list("[\"198.51.100.0/24\"]", value::cidr)?;
        }
        "socket" => given.socket = Some(entry.string(value::socket)?),
        "log" => given.log = Some(entry.choice()?),
        "log-format" => given.log_format = Some(entry.choice()?),
        "sandbox" => given.sandbox = Some(entry.boolean()?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// A key of the top level or of `[relay]`.
pub(super) fn relay_key(entry: &Entry<'_>, given: &mut Given) -> Result<(), StartError> {
    if daemon_key(entry, &mut given.daemon)? {
        return Ok(());
    }
    match entry.key {
        "bind" => given.bind = Some(entry.string(value::bind)?),
        "native-address" => given.native_address = Some(entry.string(value::native_address)?),
        "max-peers" => given.max_peers = Some(entry.integer(value::max_peers)?),
        "zero-copy" => given.zero_copy = Some(entry.boolean()?),
        "pin-dir" => given.pin_dir = Some(entry.string(value::pin_dir)?),
        key => {
            if let Some(number) = Number::of(key) {
                let value = entry.integer(|n| number.judge(n))?;
                given.numbers.set(number, value);
            } else if !given.lists.read(key, entry)? {
                return Err(entry.unknown(KEYS, "at the top level or in [relay]"));
            }
        }
    }
    Ok(())
}

/// A key of `[server]`.
pub(super) fn server_key(entry: &Entry<'_>, given: &mut GivenServer) -> Result<(), StartError> {
    if daemon_key(entry, &mut given.daemon)? {
        return Ok(());
    }
    match entry.key {
        "primary" => given.primary = Some(entry.string(value::server_address)?),
        "secondary" => given.secondary = Some(entry.string(value::server_address)?),
        "secret-file" => given.secret_file = Some(entry.string(value::path)?),
        "require-auth" => given.require_auth = Some(entry.boolean()?),
        key => {
            let Some(number) = Number::of_server(key) else {
                return Err(entry.unknown(SERVER_KEYS, "in [server]"));
            };
            let value = entry.integer(|n| number.judge(n))?;
            given.numbers.set(number, value);
        }
    }
    Ok(())
}

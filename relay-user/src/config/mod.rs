//! Settings of the relay: from flags and file to values that have been judged.
//!
//! ```text
//! flags ─► flags.rs ─┐
//!                    ├─► Given ─► settings.rs ─► RelaySettings ─► resolve.rs ─► Resolved
//! file  ─► file.rs  ─┘   (value.rs, numbers.rs and lists.rs judge each value; keys.rs names them)
//! ```
//!
//! A [`RelaySettings`] is sound in itself; a [`Resolved`] fits this machine.

mod both;
mod check;
mod file;
mod flags;
mod given;
mod keys;
mod lists;
mod machine;
mod numbers;
mod resolve;
mod secrets;
mod server;
mod settings;
mod value;

pub use both::{Sections, sections, wanted};
pub use check::{check, check_server, plan_server};
pub use keys::{KEYS, Key, SERVER_KEYS};
pub use machine::{bind_error, require_privileges};
pub use resolve::{InterfaceInfo, PortRef, Resolved, check_ports, resolve};
pub use server::{ServerDaemonSettings, ServerSettings, find_server, server_settings};
pub use settings::{
    Bind, DaemonSettings, DatapathChoice, Level, LogFormat, RelaySettings, peer_table_bytes,
    settings,
};

/// UDP port of the service when none is asked for: customary for relays (R-1).
pub const DEFAULT_PORT: u16 = 3545;
/// Control socket when none is asked for.
pub const DEFAULT_SOCKET: &str = "/run/shipworm/relay.sock";
/// Control socket of `server` when none is asked for.
pub const DEFAULT_SERVER_SOCKET: &str = "/run/shipworm/server.sock";
/// Most peers that can be asked for.
pub const MAX_MAX_PEERS: u32 = 1 << 26;
/// Most interfaces of one relay.
pub const MAX_IFACES: usize = relay_common::maps::MAX_PORTS as usize;
/// Most ranges that can be opened by `allow-non-global`.
pub const MAX_ALLOW_NON_GLOBAL: usize = 64;
/// Most prefixes of one list of those who are served or not.
pub const MAX_ACCESS_PREFIXES: usize = relay_common::maps::MAX_ACCESS as usize / 2;

//! The relay as a state machine without I/O (rules R-1 to R-57).
//!
//! ```text
//! from_native / from_client / handle_timeout ──► Relay ──► poll() ─► Command
//!                                                 │  ▲
//!                                   PeerTable ◄───┘  └── now, random bytes: arguments
//! ```

mod command;
mod config;
mod table;

pub use command::{Command, UdpKind};
pub use config::{Config, Hop, Ipv4Net, Limits};
pub use table::{PeerTable, TableFull, Trusted};

pub use crate::wire::icmp6::Icmp6Error;

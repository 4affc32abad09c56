//! The flags of `server`.

use std::path::PathBuf;

use clap::Args;

use crate::config::{DatapathChoice, Level, LogFormat};

/// Flags of `server`. Each is also a key of the section `[server]` of the configuration file; a flag wins over the file.
#[derive(Args, Clone, Debug, Default)]
pub struct ServerFlags {
    /// Interface at which clients' packets arrive; repeat it for several (at most 64).
    /// Required here or in the configuration file.
    #[arg(long, value_name = "NAME")]
    pub iface: Vec<String>,

    /// The server's address: clients are configured with it, and it is in their Teredo addresses.
    /// Required here or in the configuration file.
    #[arg(long, value_name = "IPV4")]
    pub primary: Option<String>,

    /// Its second address, from which a client is answered that wants to know how its NAT filters.
    /// [default: primary + 1]
    #[arg(long, value_name = "IPV4")]
    pub secondary: Option<String>,

    /// How packets are answered: `xdp` in the driver; `xdp-generic` in the kernel's generic hook (slower);
    /// `auto` tries both, then user space, and says so loudly; `userspace` without XDP. [default: xdp]
    #[arg(long, value_name = "MODE", value_enum)]
    pub datapath: Option<DatapathChoice>,

    /// IPv4 range outside global unicast that clients may have all the same, for laboratories;
    /// repeat it for several (at most 64). [default: none]
    #[arg(long, value_name = "CIDR")]
    pub allow_non_global: Vec<String>,

    /// File with client ids and their secrets for secure qualification. [default: none]
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<String>,

    /// Answer only clients that prove they know their secret.
    /// [default: false]
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub require_auth: Option<bool>,

    /// How much it answers and sends.
    #[command(flatten)]
    pub numbers: ServerNumberFlags,

    /// Control socket, which `status` asks. [default: /run/shipworm/server.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<String>,

    /// Least severity that is logged. Client addresses appear at debug and trace alone. [default: info]
    #[arg(long, value_name = "LEVEL", value_enum)]
    pub log: Option<Level>,

    /// How log lines are written to standard error. [default: text]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,

    /// Give up what a running daemon does not use: capabilities, files, system calls.
    /// [default: true]
    #[arg(long, value_name = "BOOL", num_args = 1, require_equals = true)]
    pub sandbox: Option<bool>,

    /// Configuration file in TOML; its section `[server]` has the names of these flags as keys. [default: none]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Flags of `server` that are whole numbers.
#[derive(Args, Clone, Debug, Default)]
pub struct ServerNumberFlags {
    /// Packets from one IPv4 address that are sent on to clients a second, 1 to 10000000, in the long run.
    /// [default: 1000]
    #[arg(long, value_name = "N")]
    pub source_per_s: Option<String>,

    /// Packets from one IPv4 address that may come at once, 1 to 10000000.
    /// [default: 20000]
    #[arg(long, value_name = "N")]
    pub source_burst: Option<String>,

    /// Advertisements and packets sent on to one IPv4 address a second, 1 to 10000000, in the long run.
    /// [default: 200]
    #[arg(long, value_name = "N")]
    pub target_per_s: Option<String>,

    /// Advertisements and packets that may go to one IPv4 address at once, 1 to 10000000.
    /// [default: 400]
    #[arg(long, value_name = "N")]
    pub target_burst: Option<String>,

    /// Echoes sent on to native IPv6 a second, 0 to 10000000, in the long run.
    /// [default: 1000]
    #[arg(long, value_name = "N")]
    pub native_per_s: Option<String>,

    /// Echoes to native IPv6 that may go at once, 0 to 10000000.
    /// [default: 2000]
    #[arg(long, value_name = "N")]
    pub native_burst: Option<String>,
}

impl ServerNumberFlags {
    /// What was given for each, in the order of the documentation.
    pub fn texts(&self) -> [Option<&str>; 6] {
        [
            &self.source_per_s,
            &self.source_burst,
            &self.target_per_s,
            &self.target_burst,
            &self.native_per_s,
            &self.native_burst,
        ]
        .map(Option::as_deref)
    }
}

//! The command line: what can be asked for, before anything is judged.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod server;

pub use server::{ServerFlags, ServerNumberFlags};

use crate::config::{DatapathChoice, Level, LogFormat};

/// Exit status: everything went well.
pub const EXIT_OK: u8 = 0;
/// Exit status: failed while running, or no answer from a daemon.
pub const EXIT_FAILED: u8 = 1;
/// Exit status: the command line or the configuration is wrong. clap uses the same for usage errors.
pub const EXIT_CONFIGURATION: u8 = 2;
/// Exit status: the configuration is sound, but this machine cannot start it.
pub const EXIT_CANNOT_START: u8 = 3;

const EXIT_CODES: &str = "\
Exit codes:
  0  ok
  1  failed while running, or no daemon answered
  2  the command line or the configuration is wrong
  3  this machine cannot start it: missing interface or address, port taken, no privileges, ...";

/// Carries IPv6 to hosts behind IPv4 NATs with Teredo (RFC 4380, 5991, 6081).
#[derive(Debug, Parser)]
#[command(name = "shipworm", version, about, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the Teredo relay in the foreground until SIGTERM or SIGINT.
    #[command(after_help = EXIT_CODES)]
    Relay(RunFlags),
    /// Run the Teredo server in the foreground until SIGTERM or SIGINT.
    #[command(after_help = EXIT_CODES)]
    Server(ServerFlags),
    /// Run what the configuration file has a section for, relay and server, in one process.
    #[command(after_help = EXIT_CODES)]
    Run(BothFlags),
    /// Check flags, configuration file and this machine for `relay`, and for `server` where the file has a section for it,
    /// binds included; change nothing.
    #[command(after_help = EXIT_CODES)]
    Check(RelayFlags),
    /// Show what a running relay or server does: addresses, datapath, peers, traffic, every drop reason.
    #[command(after_help = EXIT_CODES)]
    Status(AskFlags),
    /// List the peers of a running relay.
    #[command(after_help = EXIT_CODES)]
    Peers(PeersFlags),
}

/// Flags of `relay`.
#[derive(Args, Clone, Debug, Default)]
pub struct RunFlags {
    /// What it does.
    #[command(flatten)]
    pub relay: RelayFlags,

    /// Take over from the relay that answers at the control socket, if there is one: it hands over its sockets and ends, and where
    /// its peers are pinned no packet of theirs is lost. The way to a new version, and back.
    #[arg(long)]
    pub take_over: bool,
}

/// Flags of `run`.
#[derive(Args, Clone, Debug)]
pub struct BothFlags {
    /// Configuration file in TOML with a section `[relay]`, `[server]` or both.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,

    /// Take over from the daemon that answers at the relay's control socket, if there is one.
    #[arg(long)]
    pub take_over: bool,
}

/// Flags of `relay` and `check`. Each is also a key of the configuration file; a flag wins over the file.
#[derive(Args, Clone, Debug, Default)]
pub struct RelayFlags {
    /// Interface that carries Teredo or native IPv6 traffic; repeat it for several (at most 64).
    /// Required here or in the configuration file.
    #[arg(long, value_name = "NAME")]
    pub iface: Vec<String>,

    /// IPv4 address and UDP port of the Teredo service. Never port 3544, which is a server's.
    /// [default: first global IPv4 address of the interfaces, port 3545]
    #[arg(long, value_name = "IPV4[:PORT]")]
    pub bind: Option<String>,

    /// Source address of the ICMPv6 errors sent to native IPv6 hosts.
    /// [default: first global IPv6 address of the interfaces]
    #[arg(long, value_name = "IPV6")]
    pub native_address: Option<String>,

    /// How packets are carried: `xdp` in the driver; `xdp-generic` in the kernel's generic hook (slower);
    /// `auto` tries both, then user space, and says so loudly; `userspace` without XDP. [default: xdp]
    #[arg(long, value_name = "MODE", value_enum)]
    pub datapath: Option<DatapathChoice>,

    /// IPv4 range outside global unicast that clients may have all the same, for laboratories;
    /// repeat it for several (at most 64). [default: none]
    #[arg(long, value_name = "CIDR")]
    pub allow_non_global: Vec<String>,

    /// Whom the relay serves.
    #[command(flatten)]
    pub lists: ListFlags,

    /// Peers the relay can trust at the same time, 1 to 67108864; about 50 bytes of kernel memory each.
    /// [default: 1048576]
    #[arg(long, value_name = "N")]
    pub max_peers: Option<String>,

    /// Bounds of the slow path.
    #[command(flatten)]
    pub numbers: NumberFlags,

    /// Control socket, which `status` and `peers` ask. [default: /run/shipworm/relay.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<String>,

    /// Least severity that is logged. Client addresses appear at debug and trace alone. [default: info]
    #[arg(long, value_name = "LEVEL", value_enum)]
    pub log: Option<Level>,

    /// How log lines are written to standard error. [default: text]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,

    /// Bind AF_XDP sockets in zero-copy mode where the driver can. Some drivers are known to fail in it.
    /// [default: false]
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub zero_copy: Option<bool>,

    /// Directory on a BPF file system in which program and peers outlive the daemon, or `none`.
    /// [default: /sys/fs/bpf/shipworm]
    #[arg(long, value_name = "DIR")]
    pub pin_dir: Option<String>,

    /// Give up what a running daemon does not use: capabilities, files, system calls.
    /// [default: true]
    #[arg(long, value_name = "BOOL", num_args = 1, require_equals = true)]
    pub sandbox: Option<bool>,

    /// Configuration file in TOML, with the names of these flags as keys. [default: none]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Flags of `relay` and `check` that say whom it serves. The longest prefix that holds an address decides; where
/// anything is allowed, everything else is denied.
#[derive(Args, Clone, Debug, Default)]
pub struct ListFlags {
    /// IPv6 prefix of native hosts that are served; repeat it for several (at most 4096). [default: all]
    #[arg(long, value_name = "CIDR")]
    pub native_allow: Vec<String>,

    /// IPv6 prefix of native hosts that are not served; repeat it for several (at most 4096). [default: none]
    #[arg(long, value_name = "CIDR")]
    pub native_deny: Vec<String>,

    /// IPv4 prefix of clients that are served; repeat it for several (at most 4096). [default: all]
    #[arg(long, value_name = "CIDR")]
    pub client_allow: Vec<String>,

    /// IPv4 prefix of clients that are not served; repeat it for several (at most 4096). [default: none]
    #[arg(long, value_name = "CIDR")]
    pub client_deny: Vec<String>,

    /// IPv4 prefix of Teredo servers whose clients are served; repeat it for several (at most 4096). [default: all]
    #[arg(long, value_name = "CIDR")]
    pub server_allow: Vec<String>,

    /// IPv4 prefix of Teredo servers whose clients are not served; repeat it for several (at most 4096).
    /// [default: none]
    #[arg(long, value_name = "CIDR")]
    pub server_deny: Vec<String>,
}

impl ListFlags {
    /// What was given for `key`; nothing for what is no key of a list.
    pub fn texts(&self, key: &str) -> &[String] {
        match key {
            "native-allow" => &self.native_allow,
            "native-deny" => &self.native_deny,
            "client-allow" => &self.client_allow,
            "client-deny" => &self.client_deny,
            "server-allow" => &self.server_allow,
            "server-deny" => &self.server_deny,
            _ => &[],
        }
    }
}

/// Flags of `relay` and `check` that are whole numbers: how much of what the slow path holds and sends.
#[derive(Args, Clone, Debug, Default)]
pub struct NumberFlags {
    /// State machines of the slow path, 1 to 64: more let more cores work on new peers.
    /// [default: 1]
    #[arg(long, value_name = "N")]
    pub shards: Option<String>,

    /// New peers that are probed a second, 1 to 10000000, in the long run.
    /// [default: 2000]
    #[arg(long, value_name = "N")]
    pub new_peers_per_s: Option<String>,

    /// New peers that may come at once, 1 to 10000000.
    /// [default: 20000]
    #[arg(long, value_name = "N")]
    pub new_peers_burst: Option<String>,

    /// Bubbles sent to one Teredo server a second, 1 to 10000000, in the long run.
    /// [default: 100]
    #[arg(long, value_name = "N")]
    pub server_bubbles_per_s: Option<String>,

    /// Bubbles to one Teredo server that may go at once, 1 to 10000000.
    /// [default: 20000]
    #[arg(long, value_name = "N")]
    pub server_bubbles_burst: Option<String>,

    /// Repeats of bubbles to new peers a second that no answer or packet paid for, 0 to 10000000, in the long run.
    /// [default: 10]
    #[arg(long, value_name = "N")]
    pub repeats_per_s: Option<String>,

    /// Repeats of bubbles to new peers that may go while nobody answers, 0 to 10000000.
    /// [default: 200]
    #[arg(long, value_name = "N")]
    pub repeats_burst: Option<String>,

    /// Peers being probed or remembered as blocked, 1 to 16777216.
    /// [default: 65536]
    #[arg(long, value_name = "N")]
    pub pending_peers: Option<String>,

    /// Peers without an answer that the hosts of one native /64 may ask for, 1 to 16777216.
    /// [default: 64]
    #[arg(long, value_name = "N")]
    pub unanswered_per_source_prefix: Option<String>,

    /// Packets that wait for one peer, 1 to 4096.
    /// [default: 16]
    #[arg(long, value_name = "N")]
    pub queue_packets_per_peer: Option<String>,

    /// Bytes that wait for one peer, 1280 to 16777216.
    /// [default: 16384]
    #[arg(long, value_name = "N")]
    pub queue_bytes_per_peer: Option<String>,

    /// Bytes that wait for all peers, 1280 to 4294967296.
    /// [default: 8388608]
    #[arg(long, value_name = "N")]
    pub queue_bytes_total: Option<String>,

    /// ICMPv6 errors sent a second, 0 to 1000000, in the long run.
    /// [default: 10]
    #[arg(long, value_name = "N")]
    pub icmp6_per_s: Option<String>,

    /// ICMPv6 errors that may go at once, 0 to 1000000.
    /// [default: 10]
    #[arg(long, value_name = "N")]
    pub icmp6_burst: Option<String>,
}

impl NumberFlags {
    /// What was given for each, in the order of the documentation.
    pub fn texts(&self) -> [Option<&str>; 14] {
        [
            &self.shards,
            &self.new_peers_per_s,
            &self.new_peers_burst,
            &self.server_bubbles_per_s,
            &self.server_bubbles_burst,
            &self.repeats_per_s,
            &self.repeats_burst,
            &self.pending_peers,
            &self.unanswered_per_source_prefix,
            &self.queue_packets_per_peer,
            &self.queue_bytes_per_peer,
            &self.queue_bytes_total,
            &self.icmp6_per_s,
            &self.icmp6_burst,
        ]
        .map(Option::as_deref)
    }
}

/// Flags of `status`.
#[derive(Args, Clone, Debug)]
pub struct AskFlags {
    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,

    /// Control socket of the daemon.
    #[arg(long, value_name = "PATH", default_value = crate::config::DEFAULT_SOCKET)]
    pub socket: PathBuf,
}

/// Flags of `peers`.
#[derive(Args, Clone, Debug)]
pub struct PeersFlags {
    /// How to ask.
    #[command(flatten)]
    pub ask: AskFlags,

    /// Most peers to list, 1 to 100000.
    #[arg(
        long,
        value_name = "N",
        default_value_t = crate::control::DEFAULT_PEER_ROWS,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(crate::control::MAX_PEER_ROWS))
    )]
    pub limit: u32,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::config::{KEYS, Key, SERVER_KEYS};

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// The subcommands that have keys.
    const KEYED: [(&str, &[Key]); 3] = [("relay", KEYS), ("check", KEYS), ("server", SERVER_KEYS)];

    #[test]
    fn every_key_of_the_file_is_a_flag_and_the_other_way_round() {
        let command = Cli::command();
        for (name, keys) in KEYED {
            let sub = command
                .find_subcommand(name)
                .expect("a subcommand of that name");
            let mut flags: Vec<&str> = sub.get_arguments().filter_map(|a| a.get_long()).collect();
            flags.retain(|f| !matches!(*f, "config" | "help" | "take-over"));
            let keys: Vec<&str> = keys.iter().map(|k| k.name).collect();
            assert_eq!(flags, keys);
        }
    }

    #[test]
    fn the_help_of_each_flag_ends_in_the_default_of_its_key() {
        let command = Cli::command();
        for (name, keys) in KEYED {
            let sub = command
                .find_subcommand(name)
                .expect("a subcommand of that name");
            for key in keys {
                let flag = sub.get_arguments().find(|a| a.get_long() == Some(key.name));
                let help = flag
                    .and_then(clap::Arg::get_help)
                    .expect("a help text")
                    .to_string();
                let end = match key.default {
                    default if default.ends_with("required") => "configuration file".to_owned(),
                    default => format!("[default: {default}]"),
                };
                assert!(help.ends_with(&end), "{}: {help}", key.name);
            }
        }
    }

    #[test]
    fn lists_repeat_and_a_bare_zero_copy_means_true() {
        let cli = Cli::try_parse_from([
            "shipworm",
            "relay",
            "--iface",
            "a",
            "--iface",
            "b",
            "--zero-copy",
            "--datapath",
            "xdp-generic",
        ])
        .expect("a sound command line");
        let Command::Relay(flags) = cli.command else {
            panic!("asked for relay")
        };
        assert!(!flags.take_over);
        let flags = flags.relay;
        assert_eq!(flags.iface, ["a", "b"]);
        assert_eq!(flags.zero_copy, Some(true));
        assert_eq!(flags.datapath, Some(DatapathChoice::XdpGeneric));
    }

    #[test]
    fn the_help_lists_every_exit_code() {
        let help = Cli::command().render_long_help().to_string();
        for code in [EXIT_OK, EXIT_FAILED, EXIT_CONFIGURATION, EXIT_CANNOT_START] {
            assert!(help.contains(&format!("\n  {code}  ")), "{code}");
        }
    }
}

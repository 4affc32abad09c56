//! The validated settings of a relay.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::ValueEnum;
use relay_common::{TableShape, maps};
use teredo::addr::is_global_unicast;
use teredo::relay::{Access, Ipv4Net, Limits};

use super::given::{Given, GivenDaemon, Sourced};
use super::{DEFAULT_SOCKET, MAX_ALLOW_NON_GLOBAL, MAX_IFACES, file, flags};
use crate::cli::RelayFlags;
use crate::datapath::DEFAULT_PIN_DIR;
use crate::error::StartError;

/// The service address as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind {
    /// IPv4 address: unicast, and global or opened by `allow-non-global`.
    pub ip: Ipv4Addr,
    /// UDP port, neither 0 nor 3544.
    pub port: u16,
}

/// How packets are to be carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DatapathChoice {
    /// XDP in the driver, or not at all.
    Xdp,
    /// XDP in the kernel's generic hook: any driver, slower.
    XdpGeneric,
    /// The fastest that works here; a fall-back is announced.
    Auto,
    /// UDP socket and TUN device alone.
    Userspace,
}

impl DatapathChoice {
    /// The name in flags, file and status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp-generic",
            Self::Auto => "auto",
            Self::Userspace => "userspace",
        }
    }
}

/// Least severity that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// The relay cannot do its job.
    Error,
    /// Somebody should look.
    Warn,
    /// Start, stop and changes of state.
    Info,
    /// Decisions about single peers; holds client addresses.
    Debug,
    /// Single packets; holds client addresses.
    Trace,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What every daemon has, whatever its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonSettings {
    /// Interfaces, 1 to [`MAX_IFACES`], each once.
    pub ifaces: Vec<String>,
    /// How packets are carried.
    pub datapath: DatapathChoice,
    /// Ranges outside global unicast that clients may have (invariant 8).
    pub allow_non_global: Vec<Ipv4Net>,
    /// Path of the control socket.
    pub socket: PathBuf,
    /// Least severity that is logged.
    pub log: Level,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Whether the daemon gives up what it does not use.
    pub sandbox: bool,
}

impl DaemonSettings {
    /// Whether it may talk to `ip`: global unicast, or opened.
    pub fn may_talk_to(&self, ip: Ipv4Addr) -> bool {
        is_global_unicast(ip) || self.allow_non_global.iter().any(|net| net.contains(ip))
    }
}

/// Settings of the relay: sound in themselves, not yet compared with this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelaySettings {
    /// What every daemon has.
    pub daemon: DaemonSettings,
    /// Service address; `None`: first global IPv4 of the interfaces, port 3545.
    pub bind: Option<Bind>,
    /// Source of ICMPv6 errors; `None`: first global IPv6 of the interfaces.
    pub native_address: Option<Ipv6Addr>,
    /// Whom the relay serves.
    pub access: Access,
    /// Peers trusted at the same time, 1 to [`MAX_MAX_PEERS`](super::MAX_MAX_PEERS).
    pub max_peers: u32,
    /// State machines the slow path has, for as many cores.
    pub shards: NonZeroUsize,
    /// Bounds of the relay, all shards together.
    pub limits: Limits,
    /// Whether AF_XDP sockets try zero-copy mode.
    pub zero_copy: bool,
    /// Directory of a BPF file system in which program and peers outlive the daemon; `None`: they do not.
    pub pin_dir: Option<PathBuf>,
}

/// Bytes of kernel memory a peer table for `max_peers` takes.
pub fn peer_table_bytes(max_peers: u32) -> u64 {
    TableShape::new(max_peers, [0; 4]).bytes()
}

/// Reads flags and, where one is named, the configuration file; a flag wins over the file, a list of flags
/// replaces the list of the file.
///
/// # Errors
/// The first thing that is wrong, naming flag, or file, line and key.
pub fn settings(flags: &RelayFlags) -> Result<RelaySettings, StartError> {
    let from_flags = flags::given(flags)?;
    let from_file = match &flags.config {
        Some(path) => file::sections(path)?.for_relay(),
        None => Given::default(),
    };
    validate(from_flags.or(from_file))
}

/// What every daemon has, with `default_socket` where no control socket was given.
pub(super) fn daemon(
    given: GivenDaemon,
    default_socket: &str,
) -> Result<DaemonSettings, StartError> {
    Ok(DaemonSettings {
        ifaces: interfaces(&given.iface)?,
        datapath: given.datapath.map_or(DatapathChoice::Xdp, |d| d.value),
        allow_non_global: opened(given.allow_non_global)?,
        socket: given
            .socket
            .map_or_else(|| PathBuf::from(default_socket), |path| path.value),
        log: given.log.map_or(Level::Info, |level| level.value),
        log_format: given
            .log_format
            .map_or(LogFormat::Text, |format| format.value),
        sandbox: given.sandbox.is_none_or(|s| s.value),
    })
}

pub(super) fn validate(given: Given) -> Result<RelaySettings, StartError> {
    let settings = RelaySettings {
        daemon: daemon(given.daemon, DEFAULT_SOCKET)?,
        bind: given.bind.as_ref().map(|b| b.value),
        native_address: given.native_address.map(|a| a.value),
        access: given.lists.access()?,
        max_peers: given.max_peers.map_or(maps::DEFAULT_MAX_PEERS, |n| n.value),
        shards: given.numbers.shards(),
        limits: given.numbers.limits(),
        zero_copy: given.zero_copy.is_some_and(|z| z.value),
        pin_dir: given
            .pin_dir
            .map_or_else(|| Some(PathBuf::from(DEFAULT_PIN_DIR)), |dir| dir.value),
    };
    if let Some(Sourced {
        value: bind,
        origin,
    }) = given.bind
        && !settings.daemon.may_talk_to(bind.ip)
    {
        let shown = format!("{}:{}", bind.ip, bind.port);
        let next = format!(
            "bind a public address, or --allow-non-global {} for a laboratory",
            laboratory_prefix(bind.ip)
        );
        return Err(origin.refuse("bind", shown, "not global unicast", next));
    }
    Ok(settings)
}

/// The ranges that are opened, if they are not too many.
pub(super) fn opened(given: Vec<Sourced<Ipv4Net>>) -> Result<Vec<Ipv4Net>, StartError> {
    if let Some(extra) = given.get(MAX_ALLOW_NON_GLOBAL) {
        return Err(extra.origin.refuse(
            "allow-non-global",
            extra.value,
            format!("more than {MAX_ALLOW_NON_GLOBAL} ranges"),
            "join neighbouring ranges",
        ));
    }
    Ok(given.into_iter().map(|net| net.value).collect())
}

fn interfaces(given: &[Sourced<String>]) -> Result<Vec<String>, StartError> {
    if given.is_empty() {
        return Err(StartError::new(
            "--iface",
            "",
            "at least one interface is needed",
            "name it: --iface eth0, or iface = [\"eth0\"] in the file of --config",
        ));
    }
    let mut names: Vec<String> = Vec::with_capacity(given.len());
    for Sourced { value, origin } in given {
        if names.contains(value) {
            return Err(origin.refuse("iface", value, "named twice", "name each interface once"));
        }
        if names.len() == MAX_IFACES {
            return Err(origin.refuse(
                "iface",
                value,
                format!("more than {MAX_IFACES} interfaces"),
                "run a relay for each group of them",
            ));
        }
        names.push(value.clone());
    }
    Ok(names)
}

/// The prefix to propose for opening `ip`: its /24, as laboratories use them.
pub(super) fn laboratory_prefix(ip: Ipv4Addr) -> String {
    let [a, b, c, _] = ip.octets();
    format!("{a}.{b}.{c}.0/24")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::config::KEYS;

    fn flags(ifaces: &[&str]) -> RelayFlags {
        RelayFlags {
            iface: ifaces.iter().map(ToString::to_string).collect(),
            ..RelayFlags::default()
        }
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    fn message(flags: &RelayFlags) -> String {
        settings(flags).expect_err("refused").to_string()
    }

    #[test]
    fn the_documented_defaults_are_those_of_the_code() {
        let settings = settings(&flags(&["eth0"])).expect("sound");
        let default = |name| KEYS.iter().find(|k| k.name == name).expect("a key").default;
        assert_eq!(settings.daemon.datapath.as_str(), default("datapath"));
        assert_eq!(settings.max_peers.to_string(), default("max-peers"));
        assert_eq!(settings.daemon.socket.to_string_lossy(), default("socket"));
        assert_eq!(
            format!("{:?}", settings.daemon.log).to_lowercase(),
            default("log")
        );
        assert_eq!(
            format!("{:?}", settings.daemon.log_format).to_lowercase(),
            default("log-format")
        );
        assert_eq!(settings.zero_copy.to_string(), default("zero-copy"));
        let pin_dir = settings.pin_dir.expect("pinned unless asked otherwise");
        assert_eq!(pin_dir.to_string_lossy(), default("pin-dir"));
        assert_eq!(settings.daemon.sandbox.to_string(), default("sandbox"));
        assert!(
            settings.daemon.allow_non_global.is_empty() && default("allow-non-global") == "none"
        );
        assert!(settings.bind.is_none() && default("bind").ends_with("port 3545"));
        assert!(settings.native_address.is_none());
    }

    #[test]
    fn flags_win_over_the_file_and_lists_replace_lists() {
        let file = file(
            "iface = [\"a\", \"b\"]\nmax-peers = 5\nshards = 3\npending-peers = 8\nlog = \"debug\"\nzero-copy = true\n",
        );
        let mut flags = flags(&["c"]);
        flags.config = Some(file.path().to_owned());
        flags.max_peers = Some("7".to_owned());
        flags.zero_copy = Some(false);
        flags.numbers.pending_peers = Some("9".to_owned());
        let settings = settings(&flags).expect("sound");
        assert_eq!(settings.daemon.ifaces, ["c"]);
        assert_eq!(settings.max_peers, 7);
        assert_eq!(settings.limits.pending_peers, 9);
        assert_eq!(settings.shards.get(), 3);
        assert_eq!(settings.daemon.log, Level::Debug);
        assert!(!settings.zero_copy);
    }

    #[test]
    fn no_interface_at_all_is_refused() {
        let text = message(&flags(&[]));
        assert!(
            text.starts_with("relay: --iface: at least one interface is needed ("),
            "{text}"
        );
    }

    #[test]
    fn an_interface_named_twice_or_one_too_many_is_refused() {
        assert_eq!(
            message(&flags(&["eth0", "eth0"])),
            "relay: --iface eth0: named twice (name each interface once)"
        );
        let names: Vec<String> = (0..65).map(|n| format!("eth{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(message(&flags(&names)).contains("--iface eth64: more than 64 interfaces"));
        assert!(settings(&flags(&names[..64])).is_ok());
    }

    #[test]
    fn a_service_address_is_global_or_opened() {
        let mut flags = flags(&["eth0"]);
        flags.bind = Some("203.0.113.18".to_owned());
        assert_eq!(
            message(&flags),
            "relay: --bind 203.0.113.18:3545: not global unicast \
             (bind a public address, or --allow-non-global 203.0.113.0/24 for a laboratory)"
        );
        flags.allow_non_global = vec!["203.0.113.0/24".to_owned()];
        let bind = settings(&flags).expect("sound").bind.expect("given");
        assert_eq!((bind.ip.octets()[3], bind.port), (18, 3545));
    }

    #[test]
    fn a_service_address_in_the_file_is_refused_with_its_line() {
        let file = file("iface = [\"a\"]\nbind = \"10.0.0.1\"\n");
        let mut flags = flags(&[]);
        flags.config = Some(file.path().to_owned());
        assert!(message(&flags).contains("line 2: bind = 10.0.0.1:3545: not global unicast"));
    }

    #[test]
    fn a_wrong_flag_names_itself_and_its_value() {
        let mut flags = flags(&["eth0"]);
        flags.max_peers = Some("0".to_owned());
        assert!(message(&flags).starts_with("relay: --max-peers 0: expected 1 to 67108864 peers"));
        flags.max_peers = None;
        flags.numbers.icmp6_burst = Some("x".to_owned());
        assert_eq!(
            message(&flags),
            "relay: --icmp6-burst x: not a whole number (leave icmp6-burst out for 10)"
        );
    }

    #[test]
    fn the_packaged_example_is_sound() {
        let mut flags = flags(&[]);
        flags.config = Some(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/relay.toml").into());
        let settings = settings(&flags).expect("sound");
        assert_eq!(settings.daemon.ifaces, ["eth0"]);
    }

    #[test]
    fn the_default_table_takes_fifty_bytes_a_peer() {
        assert_eq!(peer_table_bytes(1 << 20).div_ceil(1 << 20), 51);
    }
}

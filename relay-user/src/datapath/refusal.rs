//! Refusals of kernel and drivers in words that say what to do.

use std::error::Error;
use std::io;

use aya::programs::{ProgramError, loaded_programs};

use super::{Mode, Settings, requirements};
use crate::error::StartError;
use crate::net::{Link, Snapshot};

/// Lines of the verifier's log that are shown: the end of it says what is wrong.
const VERIFIER_LINES: usize = 12;

/// Largest MTU at which a driver takes native XDP even from a program for multi-buffer frames.
/// Drivers that are not listed have no such limit, or one we do not know.
const NATIVE_MTU_MAX: &[(&str, u32)] = &[
    ("ena", 3498),
    ("gve", 2032),
    ("hv_netvsc", 3506),
    ("i40e", 9702),
    ("igb", 3046),
    ("igc", 1500),
    ("ixgbe", 3050),
    ("mana", 3506),
    ("netsec", 1500),
    ("stmmac", 1500),
    ("tun", 1500),
    ("vmxnet3", 3494),
];

/// What a driver means by an error number.
struct Meaning {
    driver: &'static str,
    errno: i32,
    cause: &'static str,
    next: &'static str,
}

const MEANINGS: &[Meaning] = &[
    Meaning {
        driver: "ena",
        errno: libc::EINVAL,
        cause: "ena takes native XDP only while at most half of its queues are in use",
        next: "halve them with ethtool -L {iface} combined N, or use --datapath auto",
    },
    Meaning {
        driver: "virtio_net",
        errno: libc::EOPNOTSUPP,
        cause: "virtio_net takes native XDP only without the host's receive offloads",
        next: "switch guest_tso4, guest_tso6, guest_ecn and guest_ufo off on the host, or use --datapath auto",
    },
    Meaning {
        driver: "virtio_net",
        errno: libc::ENOMEM,
        cause: "virtio_net needs one more queue for each CPU",
        next: "give the device more queues on the host, or use --datapath auto",
    },
    Meaning {
        driver: "ixgbe",
        errno: libc::ENOMEM,
        cause: "ixgbe has no transmit queue for each of more than 64 CPUs",
        next: "boot with fewer CPUs, or use --datapath auto",
    },
];

/// The driver's or the kernel's refusal to attach.
pub(super) fn attach(port: &Link, driver: &str, mode: Mode, error: &ProgramError) -> StartError {
    let errno = errno_of(error);
    let (cause, next) = match errno {
        Some(libc::EBUSY | libc::EEXIST) => match occupied(port) {
            Some(refusal) => return refusal,
            None => (words(error), String::new()),
        },
        Some(libc::EPERM | libc::EACCES) => not_permitted(),
        Some(libc::ENODEV) => ("no such interface any more".into(), String::new()),
        Some(errno) if mode == Mode::Xdp => native(port, driver, errno, error),
        _ => (words(error), String::new()),
    };
    StartError::new("--iface", port.name.as_str(), cause, next)
}

/// A refusal of native XDP that is about the driver.
fn native(port: &Link, driver: &str, errno: i32, error: &ProgramError) -> (String, String) {
    let mtu = port.mtu;
    let limit = NATIVE_MTU_MAX.iter().find(|(name, _)| *name == driver);
    if let Some((_, limit)) = limit
        && mtu > *limit
    {
        return (
            format!("{driver} takes native XDP up to an MTU of {limit}, it is {mtu} now"),
            format!(
                "ip link set {} mtu {limit}, or use --datapath xdp-generic",
                port.name
            ),
        );
    }
    let meaning = MEANINGS
        .iter()
        .find(|m| m.driver == driver && m.errno == errno);
    if let Some(meaning) = meaning {
        return (
            meaning.cause.into(),
            meaning.next.replace("{iface}", &port.name),
        );
    }
    let driver = if driver.is_empty() { "unknown" } else { driver };
    if errno == libc::EOPNOTSUPP {
        return (
            format!("driver {driver} has no native XDP"),
            "use --datapath xdp-generic, or auto".into(),
        );
    }
    let words = words(error);
    if mtu > 1500 {
        return (
            format!("driver {driver} refuses native XDP at an MTU of {mtu}: {words}"),
            format!("ip link set {} mtu 1500, or use --datapath auto", port.name),
        );
    }
    (
        format!("driver {driver} refuses native XDP: {words}"),
        "use --datapath xdp-generic, or auto".into(),
    )
}

/// A refusal to load program or maps.
pub(super) fn load(settings: &Settings, error: &(dyn Error + 'static)) -> StartError {
    let mode = settings.mode.as_str();
    if let Some(log) = verifier_log(error) {
        return StartError::new(
            "--datapath",
            mode,
            format!(
                "the kernel's verifier rejects the program:\n{}\n",
                tail(&log)
            ),
            "report it with the kernel's version, and use --datapath userspace until then",
        );
    }
    match errno_of(error) {
        Some(libc::EPERM | libc::EACCES) => {
            let (cause, next) = not_permitted();
            StartError::new("--datapath", mode, cause, next)
        }
        Some(libc::ENOMEM) => no_memory(settings.max_peers()),
        _ => StartError::new("--datapath", mode, words(error), "use --datapath userspace"),
    }
}

/// A refusal to map the peer table into this process.
pub(super) fn peer_table(max_peers: u32, error: &io::Error) -> StartError {
    match error.raw_os_error() {
        Some(libc::ENOMEM) => no_memory(max_peers),
        _ => StartError::new("map", relay_common::maps::PEERS, error.to_string(), ""),
    }
}

fn no_memory(max_peers: u32) -> StartError {
    StartError::new(
        "--max-peers",
        max_peers.to_string(),
        "not enough memory for the peer table",
        "ask for fewer peers, or raise the memory limit of this process (ulimit -v, its control group)",
    )
}

/// A refusal to enter a port into a map.
pub(super) fn map(port: &Link, error: &(dyn Error + 'static)) -> StartError {
    let (cause, next) = match errno_of(error) {
        Some(libc::E2BIG) => (
            format!("more than {} ports", relay_common::maps::MAX_PORTS),
            "name fewer interfaces",
        ),
        _ => (words(error), ""),
    };
    StartError::new("--iface", port.name.as_str(), cause, next)
}

fn not_permitted() -> (String, String) {
    match requirements::missing_capability() {
        Some(capability) => (
            format!("capability {capability} is missing"),
            requirements::BECOME_ROOT.into(),
        ),
        None => (
            "the kernel does not permit it although the capabilities are there".into(),
            "a container, a user namespace or kernel lockdown may forbid bpf()".into(),
        ),
    }
}

/// The refusal of a port that has a program now, named by name and number; `None` if it has none.
fn occupied(port: &Link) -> Option<StartError> {
    // The link at hand may be older than the program.
    let now = std::thread::spawn(Snapshot::take).join().ok()?.ok();
    match now {
        Some(now) => occupied_then(now.by_index(port.index)?),
        None => occupied_then(port),
    }
}

/// The same as of the moment `port` was looked at.
pub(super) fn occupied_then(port: &Link) -> Option<StartError> {
    let id = port.xdp_prog_id?;
    let name = loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(str::to_owned))
        .unwrap_or_default();
    Some(StartError::new(
        "--iface",
        port.name.as_str(),
        format!("another XDP program is attached: \"{name}\", id {id}"),
        format!("take it off, see ip link show {}", port.name),
    ))
}

/// The error number at the bottom of a chain of errors.
fn errno_of(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.raw_os_error();
        }
        next = error.source();
    }
    None
}

/// All the chain has to say, once.
fn words(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        next = error.source();
    }
    words
}

fn verifier_log(error: &(dyn Error + 'static)) -> Option<String> {
    match error.downcast_ref::<ProgramError>() {
        Some(ProgramError::LoadError { verifier_log, .. }) => Some(verifier_log.to_string()),
        _ => None,
    }
    .filter(|log| !log.trim().is_empty())
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(VERIFIER_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::LinkKind;
    use aya::sys::SyscallError;

    fn port(mtu: u32) -> Link {
        Link {
            index: 7,
            name: "eth9".into(),
            mac: [2, 0, 0, 0, 0, 1],
            mtu,
            up: true,
            kind: LinkKind::Physical,
            ipv4: Vec::new(),
            ipv6: Vec::new(),
            xdp_prog_id: None,
        }
    }

    fn refused(driver: &str, mtu: u32, mode: Mode, errno: i32) -> String {
        let error = ProgramError::SyscallError(SyscallError {
            call: "bpf_link_create",
            io_error: io::Error::from_raw_os_error(errno),
        });
        attach(&port(mtu), driver, mode, &error).to_string()
    }

    #[test]
    fn a_driver_without_native_xdp_is_named() {
        assert_eq!(
            refused("e1000", 1500, Mode::Xdp, libc::EOPNOTSUPP),
            "relay: --iface eth9: driver e1000 has no native XDP (use --datapath xdp-generic, or auto)"
        );
    }

    #[test]
    fn a_known_driver_s_own_error_number_is_understood() {
        let message = refused("ena", 1500, Mode::Xdp, libc::EINVAL);
        assert!(message.contains("half of its queues"), "{message}");
        assert!(message.contains("ethtool -L eth9"), "{message}");
    }

    #[test]
    fn an_mtu_above_the_driver_s_limit_is_named_with_the_limit() {
        assert_eq!(
            refused("ixgbe", 9000, Mode::Xdp, libc::EINVAL),
            "relay: --iface eth9: ixgbe takes native XDP up to an MTU of 3050, it is 9000 now \
             (ip link set eth9 mtu 3050, or use --datapath xdp-generic)"
        );
    }

    #[test]
    fn a_large_mtu_is_suspected_where_no_limit_is_known() {
        let message = refused("newnic", 9000, Mode::Xdp, libc::EINVAL);
        assert!(message.contains("at an MTU of 9000"), "{message}");
    }

    #[test]
    fn generic_mode_never_blames_the_driver() {
        let message = refused("e1000", 9000, Mode::XdpGeneric, libc::EINVAL);
        assert!(
            !message.contains("driver") && message.contains("Invalid argument"),
            "{message}"
        );
    }

    #[test]
    fn only_the_end_of_a_long_verifier_log_is_shown() {
        let log = (0..100).map(|n| format!("line {n}\n"));
        let log = log.collect::<Vec<_>>().join("\n");
        assert!(tail(&log).starts_with("line 88\n") && tail(&log).ends_with("line 99"));
    }
}

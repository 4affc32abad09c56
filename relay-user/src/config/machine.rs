//! What this machine must grant before the relay can start: privileges and the service port.

use std::fs;
use std::io;
use std::net::{SocketAddrV4, UdpSocket};

use caps::{CapSet, Capability};

use super::DatapathChoice;
use crate::error::StartError;

/// Checks that the process holds the capabilities `datapath` takes.
///
/// # Errors
/// The missing ones by name.
pub fn require_privileges(datapath: DatapathChoice) -> Result<(), StartError> {
    let effective = caps::read(None, CapSet::Effective).map_err(|e| {
        StartError::new(
            "privileges",
            "",
            e.to_string(),
            "is /proc mounted? Run as root",
        )
    })?;
    let missing = missing_privileges(datapath, |cap| effective.contains(&cap));
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
    Err(StartError::new(
        "privileges",
        "",
        format!("this process lacks {}", names.join(", ")),
        "run it as root, or by the systemd unit, which grants them",
    ))
}

fn missing_privileges(
    datapath: DatapathChoice,
    held: impl Fn(Capability) -> bool,
) -> Vec<Capability> {
    let mut wanted = vec![Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];
    // CAP_SYS_ADMIN includes both.
    if datapath != DatapathChoice::Userspace && !held(Capability::CAP_SYS_ADMIN) {
        wanted.extend([Capability::CAP_BPF, Capability::CAP_PERFMON]);
    }
    wanted.retain(|cap| !held(*cap));
    wanted
}

/// Binds the service port that `key` asks for, and lets it go again.
///
/// # Errors
/// The port is taken (by whom, if it can be known), or the kernel's refusal.
pub(super) fn probe_port(key: &str, service: SocketAddrV4) -> Result<(), StartError> {
    match UdpSocket::bind(service) {
        Ok(_) => Ok(()),
        Err(e) => Err(bind_error(key, service, &e)),
    }
}

/// What a failure to bind a service port, which `key` asks for, means.
pub fn bind_error(key: &str, service: SocketAddrV4, error: &io::Error) -> StartError {
    let (cause, next) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            match holder(service) {
                Some(holder) => format!("UDP port taken by {holder}"),
                None => "UDP port taken".to_owned(),
            },
            match key {
                "--bind" => format!(
                    "stop that, or --bind {}:PORT; `ss -lunp sport = :{}` lists who listens",
                    service.ip(),
                    service.port()
                ),
                // Clients know one port of a server.
                _ => format!(
                    "stop that; `ss -lunp sport = :{}` lists who listens",
                    service.port()
                ),
            },
        ),
        io::ErrorKind::AddrNotAvailable => (
            "not an address of this machine".to_owned(),
            "`ip -4 address` lists those that are".to_owned(),
        ),
        _ => (error.to_string(), "the kernel refused the bind".to_owned()),
    };
    StartError::new(key, service.to_string(), cause, next)
}

/// Name and process identifier of whoever holds the UDP port `service`, where /proc tells.
fn holder(service: SocketAddrV4) -> Option<String> {
    let inode = ["/proc/net/udp", "/proc/net/udp6"]
        .iter()
        .find_map(|path| {
            fs::read_to_string(path)
                .ok()?
                .lines()
                .find_map(|line| inode_of(line, service).map(str::to_owned))
        })?;
    let wanted = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = descriptors
            .flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str()));
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", name.trim()));
        }
    }
    None
}

/// The socket inode of a line of /proc/net/udp or udp6, if that socket blocks `service`.
fn inode_of(line: &str, service: SocketAddrV4) -> Option<&str> {
    let mut fields = line.split_whitespace();
    let (ip, port) = fields.nth(1)?.split_once(':')?;
    if u16::from_str_radix(port, 16) != Ok(service.port()) {
        return None;
    }
    // The kernel prints each 32-bit word of an address in host order.
    let own = u32::from_ne_bytes(service.ip().octets());
    let blocks = ip.bytes().all(|b| b == b'0') || u32::from_str_radix(ip, 16) == Ok(own);
    // Before the inode: rem_address, st, queues, timer, retransmits, uid, timeout.
    if blocks { fields.nth(7) } else { None }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_free_port_is_free_and_stays_so() {
        let held = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let service = match held.local_addr().expect("bound") {
            std::net::SocketAddr::V4(a) => a,
            std::net::SocketAddr::V6(_) => panic!("bound to IPv4"),
        };
        drop(held);
        assert_eq!(probe_port("--bind", service), Ok(()));
        assert_eq!(probe_port("--bind", service), Ok(()));
    }

    #[test]
    fn a_taken_port_names_its_holder() {
        let held = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = held.local_addr().expect("bound").port();
        let error = probe_port("--bind", SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
            .expect_err("taken")
            .to_string();
        let pid = std::process::id();
        assert!(
            error.starts_with(&format!(
                "relay: --bind 127.0.0.1:{port}: UDP port taken by "
            )) && error.contains(&format!("(pid {pid})")),
            "{error}"
        );
    }

    #[test]
    fn an_address_from_elsewhere_is_said_to_be_so() {
        let service = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 77), 3545);
        let error = probe_port("--bind", service)
            .expect_err("not here")
            .to_string();
        assert!(error.contains("not an address of this machine"), "{error}");
    }

    #[test]
    fn a_wildcard_socket_of_either_family_blocks_the_port() {
        let service = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0x0dd9);
        let rest =
            "00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0 0";
        let zeros = "0".repeat(32);
        for (local, blocks) in [
            ("00000000:0DD9", true),
            ("0100007F:0DD9", cfg!(target_endian = "little")),
            ("0200007F:0DD9", false),
            ("00000000:0DDA", false),
            (&*format!("{zeros}:0DD9"), true),
        ] {
            let line = format!("  12: {local} {rest}");
            let inode = inode_of(&line, service);
            assert_eq!(inode, blocks.then_some("4711"), "{local}");
        }
    }

    #[test]
    fn xdp_takes_bpf_capabilities_and_user_space_does_not() {
        let none = |_| false;
        assert_eq!(
            missing_privileges(DatapathChoice::Userspace, none),
            [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW]
        );
        assert_eq!(missing_privileges(DatapathChoice::Xdp, none).len(), 4);
        let admin = |cap| {
            matches!(
                cap,
                Capability::CAP_SYS_ADMIN | Capability::CAP_NET_ADMIN | Capability::CAP_NET_RAW
            )
        };
        assert!(missing_privileges(DatapathChoice::Xdp, admin).is_empty());
    }
}

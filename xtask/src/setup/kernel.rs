//! What the small internet needs of the kernel and of our rights.

use std::path::Path;

use anyhow::{Result, bail};

use super::apt::is_root;
use super::host::{Host, ThisHost};

/// Refuses to start network tests or the demo where they cannot run.
///
/// # Errors
/// Names everything that is missing.
pub(crate) fn check(command: &str) -> Result<()> {
    let problems = problems(&ThisHost);
    if problems.is_empty() {
        return Ok(());
    }
    let mut message = format!(
        "the small internet cannot be built here:\n  {}",
        problems.join("\n  ")
    );
    if !is_root(&ThisHost) {
        message += &format!("\nAs root: sudo -E env \"PATH=$PATH\" {command}");
    }
    bail!(message)
}

/// Why network tests and the demo cannot run on `host`; empty if they can.
pub(crate) fn problems(host: &dyn Host) -> Vec<String> {
    let mut problems = Vec::new();
    let mut require = |works: bool, problem: &str| {
        if !works {
            problems.push(problem.to_owned());
        }
    };
    require(
        host.exists(Path::new("/sys/kernel/btf/vmlinux")),
        "the kernel has no BTF (CONFIG_DEBUG_INFO_BTF)",
    );
    require(
        host.exists(Path::new("/dev/net/tun")),
        "there is no /dev/net/tun (CONFIG_TUN; in a container: give it the device)",
    );
    require(
        host.text(Path::new("/proc/net/protocols"))
            .is_some_and(|protocols| protocols.lines().any(|line| line.starts_with("XDP "))),
        "the kernel has no AF_XDP sockets (CONFIG_XDP_SOCKETS)",
    );
    if !is_root(host) {
        require(
            false,
            "only root may create network namespaces and load XDP programs",
        );
        return problems;
    }
    let in_namespace = |script: &str| {
        host.output("unshare", &["--net", "sh", "-c", script])
            .is_some()
    };
    require(
        in_namespace("ip link add va type veth peer name vb"),
        "network namespaces with veth pairs cannot be created (CAP_SYS_ADMIN, CAP_NET_ADMIN, CONFIG_VETH)",
    );
    require(
        in_namespace(
            "nft add table ip t && nft 'add chain ip t c { type nat hook postrouting priority 100; }'",
        ),
        "nftables cannot do NAT (CONFIG_NF_TABLES, CONFIG_NFT_NAT)",
    );
    problems
}

#[cfg(test)]
mod tests {
    use super::super::host::fake::FakeHost;
    use super::*;

    fn kernel() -> FakeHost {
        FakeHost::default()
            .file("/sys/kernel/btf/vmlinux", "")
            .file("/dev/net/tun", "")
            .file(
                "/proc/net/protocols",
                "protocol  size\nXDP       1088      0\n",
            )
    }

    #[test]
    fn an_ordinary_user_is_told_that_root_is_needed() {
        let problems = problems(&kernel().output("id -u", "1000\n"));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("root"));
    }

    #[test]
    fn each_missing_feature_of_the_kernel_is_named() {
        let problems = problems(&FakeHost::default().output("id -u", "0\n")).join("\n");
        for feature in ["BTF", "/dev/net/tun", "AF_XDP", "veth", "NAT"] {
            assert!(problems.contains(feature), "{feature} in\n{problems}");
        }
    }
}

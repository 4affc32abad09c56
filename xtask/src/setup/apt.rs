//! Installing Debian packages.

use anyhow::{Result, bail};

use super::host::{Host, version_in};
use crate::sh::{Sh, sh};

/// Removing a package to make room for ours is not ours to decide.
const INSTALL: &str = "apt-get install -q -y --no-install-recommends --no-remove";

/// How packages can be installed on this machine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Apt {
    /// We are root.
    Root,
    /// `sudo` asks no password.
    Sudo,
    /// There is apt-get, but we may not use it.
    Forbidden,
    /// There is no apt-get.
    Absent,
}

impl Apt {
    /// What `host` allows.
    pub(crate) fn of(host: &dyn Host) -> Self {
        if host.program("apt-get").is_none() {
            return Self::Absent;
        }
        if is_root(host) {
            return Self::Root;
        }
        match host.output("sudo", &["-n", "true"]) {
            Some(_) => Self::Sudo,
            None => Self::Forbidden,
        }
    }

    /// Whether packages can be installed.
    pub(crate) fn usable(&self) -> bool {
        matches!(self, Self::Root | Self::Sudo)
    }

    fn shell(&self, purpose: &str, script: &str) -> Sh {
        match self {
            Self::Sudo => sh(purpose, "sudo").args(["-n", "sh", "-c", script]),
            _ => sh(purpose, "sh").args(["-c", script]),
        }
    }

    /// Fetches the lists of packages.
    ///
    /// # Errors
    /// apt-get failed, for example without a network.
    pub(crate) fn update(&self) -> Result<()> {
        self.shell("fetch the package lists", "apt-get update -q")
            .run()
    }

    /// Installs `packages` and sees to it that none of them starts a service, now or at the next boot.
    ///
    /// # Errors
    /// apt-get failed; nothing was removed to make room.
    pub(crate) fn install(&self, packages: &[&str]) -> Result<()> {
        if !self.usable() {
            bail!("packages cannot be installed here");
        }
        self.shell("install packages", &install_script(packages))
            .shown_as(&format!("{INSTALL} {}", packages.join(" ")))
            .run()
    }
}

/// Whether we run as root.
pub(crate) fn is_root(host: &dyn Host) -> bool {
    host.output("id", &["-u"])
        .is_some_and(|uid| uid.trim() == "0")
}

/// The commands somebody with the right to install packages has to type.
pub(crate) fn by_hand(packages: &[&str]) -> String {
    let mut lines = format!(
        "    sudo apt-get update\n    sudo apt-get install --no-install-recommends {}\n",
        packages.join(" ")
    );
    if !services(packages).is_empty() {
        let services = services(packages).join(" ");
        lines += &format!(
            "    sudo systemctl disable --now {services}    # the tests start their own\n"
        );
    }
    lines
}

/// Those of `packages` that bring a service of the same name, which would start by itself.
fn services<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let with_service = ["miredo", "miredo-server"];
    packages
        .iter()
        .copied()
        .filter(|package| with_service.contains(package))
        .collect()
}

/// A policy-rc.d that forbids starting services stands while apt-get runs, unless the machine has its own.
fn install_script(packages: &[&str]) -> String {
    let mut disable = String::new();
    for service in services(packages) {
        disable += &format!(
            "if command -v systemctl >/dev/null; then systemctl disable --quiet {service} || true; fi\n\
             if command -v update-rc.d >/dev/null; then update-rc.d {service} disable || true; fi\n"
        );
    }
    format!(
        "set -e\n\
         policy=/usr/sbin/policy-rc.d\n\
         if [ ! -e $policy ]; then\n\
         trap 'rm -f $policy' EXIT\n\
         trap 'exit 130' HUP INT TERM\n\
         printf '#!/bin/sh\\nexit 101\\n' > $policy\n\
         chmod 755 $policy\n\
         fi\n\
         DEBIAN_FRONTEND=noninteractive {INSTALL} {}\n\
         {disable}",
        packages.join(" ")
    )
}

/// The version `apt-get install` would take.
pub(crate) fn candidate(host: &dyn Host, package: &str) -> Option<(u32, u32, u32)> {
    let policy = host.output("apt-cache", &["policy", package])?;
    let line = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate:"))?;
    version_in(line)
}

#[cfg(test)]
mod tests {
    use super::super::host::fake::FakeHost;
    use super::*;

    fn debian() -> FakeHost {
        FakeHost::default().file("/usr/bin/apt-get", "")
    }

    #[test]
    fn packages_are_installed_by_root_or_by_sudo_that_asks_nothing() {
        assert_eq!(
            Apt::of(&FakeHost::default().output("id -u", "0\n")),
            Apt::Absent
        );
        assert_eq!(Apt::of(&debian().output("id -u", "0\n")), Apt::Root);
        let user = debian().output("id -u", "1000\n");
        assert_eq!(Apt::of(&user), Apt::Forbidden);
        assert_eq!(Apt::of(&user.output("sudo -n true", "")), Apt::Sudo);
    }

    #[test]
    fn no_service_is_started_and_nothing_removed_by_an_installation() {
        let script = install_script(&["miredo", "ethtool"]);
        assert!(script.contains("exit 101"));
        assert!(script.contains("systemctl disable --quiet miredo "));
        assert!(script.contains("--no-remove miredo ethtool"));
        assert!(!script.contains("disable --quiet ethtool"));
    }

    #[test]
    fn the_guard_against_services_is_removed_also_after_a_failure() {
        let directory = std::env::temp_dir().join(format!("xtask-apt-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let policy = directory.join("policy-rc.d");
        let seen = directory.join("seen");
        let script = install_script(&["ethtool"])
            .replace("/usr/sbin/policy-rc.d", &policy.to_string_lossy())
            .replace(
                "DEBIAN_FRONTEND=noninteractive apt-get install",
                &format!("cp $policy {}; false #", seen.display()),
            );
        let status = std::process::Command::new("sh")
            .args(["-c", &script])
            .status()
            .unwrap();
        assert!(!status.success());
        assert!(
            seen.exists(),
            "the guard stood while packages were installed"
        );
        assert!(!policy.exists(), "the guard is gone");
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn the_candidate_version_is_read_from_the_policy() {
        let host = debian().output(
            "apt-cache policy rustc-web",
            "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n  Version table:\n",
        );
        assert_eq!(candidate(&host, "rustc-web"), Some((1, 96, 0)));
        let none = debian().output(
            "apt-cache policy rustc-web",
            "rustc-web:\n  Candidate: (none)\n",
        );
        assert_eq!(candidate(&none, "rustc-web"), None);
        assert_eq!(candidate(&debian(), "rustc-web"), None);
    }

    #[test]
    fn commands_to_type_stop_the_services_too() {
        assert!(by_hand(&["miredo"]).contains("systemctl disable --now miredo"));
        assert!(!by_hand(&["make"]).contains("systemctl"));
    }
}

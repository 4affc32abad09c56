//! One machine of the small internet.

use std::ffi::OsStr;
use std::fs;
use std::net::Ipv6Addr;
use std::process::Command;

use anyhow::{Context, Result};

use crate::netns::Netns;
use crate::process::{Pids, Process, run_in};

/// A machine: a network namespace with a name for messages.
#[derive(Debug)]
pub struct Node {
    name: String,
    netns: Netns,
}

impl Node {
    /// A machine without interfaces but loopback, which is up. It forwards both families and
    /// sends every ICMPv6 error; addresses given to it later are usable at once.
    ///
    /// # Errors
    /// No namespace can be made, or a setting is refused.
    pub fn new(name: &str) -> Result<Self> {
        let node = Self {
            name: name.to_owned(),
            netns: Netns::new().context("cannot make a network namespace (root is needed)")?,
        };
        for (key, value) in [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv6/conf/all/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_dad", "0"),
            ("net/ipv6/icmp/ratelimit", "0"),
        ] {
            node.sysctl(key, value)?;
        }
        node.run(["ip", "link", "set", "lo", "up"])?;
        Ok(node)
    }

    /// The name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The machine's network namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Runs a program to its end and returns its standard output.
    ///
    /// # Errors
    /// It cannot be started or exits with an error: node, command and what it wrote.
    pub fn run<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Result<String> {
        let output = run_in(&self.netns, &self.name, command(argv)?)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `ip` with the words of each line, for example `addr add 2001:db8::1/64 dev lo`.
    ///
    /// # Errors
    /// The first line that fails.
    pub fn ip(&self, lines: &[&str]) -> Result<()> {
        for line in lines {
            self.run(["ip"].into_iter().chain(line.split_whitespace()))?;
        }
        Ok(())
    }

    /// Starts a program that runs beside the test.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Result<Process> {
        self.spawn_command(Pids::Shared, command(argv)?)
    }

    /// Starts a daemon that forks: its descendants die with it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn_daemon<S: AsRef<OsStr>>(
        &self,
        argv: impl IntoIterator<Item = S>,
    ) -> Result<Process> {
        self.spawn_command(Pids::Own, command(argv)?)
    }

    /// Starts `command`, which may carry an environment.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn_command(&self, pids: Pids, command: Command) -> Result<Process> {
        let program = command.get_program().to_string_lossy().into_owned();
        let name = format!("{}@{}", program, self.name);
        Process::spawn(&name, &self.netns, pids, command)
    }

    /// Runs `f` in a thread inside the machine, for sockets made by the test itself.
    ///
    /// # Panics
    /// If the namespace cannot be entered, which a lab that came up never sees.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.netns
            .enter(f)
            .unwrap_or_else(|e| panic!("{}: cannot enter the namespace: {e}", self.name))
    }

    /// Sets a kernel parameter named by its path, for example `net/ipv6/conf/all/forwarding`.
    ///
    /// # Errors
    /// No such parameter, or the value is refused.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.enter(|| fs::write(format!("/proc/sys/{key}"), value))
            .with_context(|| format!("{}: cannot set {key}={value}", self.name))
    }

    /// Index of an interface.
    ///
    /// # Errors
    /// No such interface.
    pub fn ifindex(&self, interface: &str) -> Result<u32> {
        let c_name = std::ffi::CString::new(interface)?;
        // SAFETY: the pointer is to a string that ends in zero and outlives the call.
        let index = self.enter(|| unsafe { libc::if_nametoindex(c_name.as_ptr()) });
        (index != 0)
            .then_some(index)
            .with_context(|| format!("{}: no interface {interface}", self.name))
    }

    /// Link-layer address of an interface, as `ip` prints it.
    ///
    /// # Errors
    /// No such interface.
    pub fn mac(&self, interface: &str) -> Result<String> {
        let json = self.run(["ip", "-j", "link", "show", "dev", interface])?;
        let links: serde_json::Value = serde_json::from_str(&json)?;
        let mac = links[0]["address"].as_str().map(str::to_owned);
        mac.with_context(|| format!("{}: {interface} has no address", self.name))
    }

    /// Names of all interfaces.
    ///
    /// # Errors
    /// The kernel's list cannot be read.
    pub fn interfaces(&self) -> Result<Vec<String>> {
        let table = self.proc_net("dev")?;
        let names = table.lines().skip(2).filter_map(|l| l.split_once(':'));
        Ok(names.map(|(name, _)| name.trim().to_owned()).collect())
    }

    /// IPv6 addresses of an interface, in the kernel's order; none if it does not exist.
    ///
    /// # Errors
    /// The kernel's list cannot be read.
    pub fn ipv6_addresses(&self, interface: &str) -> Result<Vec<Ipv6Addr>> {
        let table = self.proc_net("if_inet6")?;
        Ok(table
            .lines()
            .filter_map(|line| parse_if_inet6(line, interface))
            .collect())
    }

    /// Whether a UDP socket is bound to `port`.
    ///
    /// # Errors
    /// The kernel's list cannot be read.
    pub fn has_udp_socket(&self, port: u16) -> Result<bool> {
        let table = self.proc_net("udp")?;
        let suffix = format!(":{port:04X}");
        Ok(table
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1))
            .any(|local| local.ends_with(&suffix)))
    }

    /// Whether the main IPv6 table has a route to exactly `prefix` through `interface`.
    ///
    /// # Errors
    /// The kernel's table cannot be read.
    pub fn has_ipv6_route(&self, prefix: Ipv6Addr, len: u8, interface: &str) -> Result<bool> {
        let table = self.proc_net("ipv6_route")?;
        let wanted = (hex(prefix), format!("{len:02x}"));
        Ok(table.lines().any(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words.first() == Some(&wanted.0.as_str())
                && words.get(1) == Some(&wanted.1.as_str())
                && words.last() == Some(&interface)
        }))
    }

    fn proc_net(&self, file: &str) -> Result<String> {
        self.enter(|| fs::read_to_string(format!("/proc/thread-self/net/{file}")))
            .with_context(|| format!("{}: /proc/net/{file}", self.name))
    }
}

fn command<S: AsRef<OsStr>>(argv: impl IntoIterator<Item = S>) -> Result<Command> {
    let mut words = argv.into_iter();
    let mut command = Command::new(words.next().context("no program named")?);
    command.args(words);
    Ok(command)
}

fn parse_if_inet6(line: &str, interface: &str) -> Option<Ipv6Addr> {
    let words: Vec<_> = line.split_whitespace().collect();
    if words.last() != Some(&interface) {
        return None;
    }
    u128::from_str_radix(words.first()?, 16)
        .ok()
        .map(Ipv6Addr::from_bits)
}

fn hex(address: Ipv6Addr) -> String {
    format!("{:032x}", address.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_address_list_is_read_by_interface() {
        let line = "20010000cb0071022ad863bf39cc9bfd 07 20 00 80   teredo";
        assert_eq!(
            parse_if_inet6(line, "teredo"),
            "2001:0:cb00:7102:2ad8:63bf:39cc:9bfd".parse().ok()
        );
        assert_eq!(parse_if_inet6(line, "lb-lan"), None);
    }
}

//! What the figures were measured on.

use std::fs;
use std::process::Command;
use std::thread;

use serde::Serialize;

/// What is not known.
const UNKNOWN: &str = "unknown";

/// A machine, and the state of the project measured on it.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// Model of the processor.
    pub(crate) cpu: String,
    /// Its clock, MHz, at this moment.
    pub(crate) clock_mhz: String,
    /// Processors this process may use.
    pub(crate) cpus: usize,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
    /// Release of the kernel.
    pub(crate) kernel: String,
    /// Day in UTC.
    pub(crate) date: String,
    /// Commit of the project, `-dirty` with changes that are in none.
    pub(crate) commit: String,
}

impl Machine {
    /// This one, now.
    pub(crate) fn this() -> Self {
        let cpu = read("/proc/cpuinfo");
        let memory = read("/proc/meminfo");
        let memory_kib =
            field(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        Self {
            cpu: field(&cpu, "model name").unwrap_or(UNKNOWN).to_owned(),
            clock_mhz: field(&cpu, "cpu MHz").unwrap_or(UNKNOWN).to_owned(),
            cpus: thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory_kib.unwrap_or_default() / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            date: said("date", &["--utc", "+%F"]),
            commit: said("git", &["describe", "--always", "--dirty", "--exclude=*"]),
        }
    }

    /// One paragraph for people.
    pub(crate) fn sentence(&self) -> String {
        let Self {
            cpu,
            clock_mhz,
            cpus,
            memory_mib,
            kernel,
            date,
            commit,
        } = self;
        format!(
            "Measured on {date} at commit {commit}: {cpu}, {clock_mhz} MHz, {cpus} CPUs, {memory_mib} MiB, Linux {kernel}."
        )
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// The first line a command prints.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .and_then(|text| text.lines().next().map(str::to_owned))
        .unwrap_or_else(|| UNKNOWN.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "model\t: 1\nmodel name\t: A CPU\nMemTotal:  2048 kB\n";
        assert_eq!(field(text, "model name"), Some("A CPU"));
        assert_eq!(field(text, "MemTotal"), Some("2048 kB"));
        assert_eq!(field(text, "name"), None);
    }

    #[test]
    fn what_no_command_says_is_unknown() {
        assert_eq!(said("no-such-program", &[]), UNKNOWN);
        assert_eq!(said("false", &[]), UNKNOWN);
        assert_eq!(said("echo", &["a b"]), "a b");
    }
}

//! Values from the configuration file. Every refusal names the line.

mod sections;

use std::borrow::Cow;
use std::fmt::Display;
use std::path::Path;

use clap::ValueEnum;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::given::{Given, GivenServer, Origin, Sourced};
use super::keys::{KEYS, Key, SERVER_KEYS, nearest};
use super::lists::ListSource;
use super::value::{self, Refusal};
use crate::error::StartError;

type Item<'a> = Spanned<DeValue<'a>>;

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Sections {
    /// At its top level: for every daemon.
    pub(super) top: Given,
    /// In `[relay]`, where that is there.
    pub(super) relay: Option<Given>,
    /// In `[server]`, where that is there.
    pub(super) server: Option<GivenServer>,
}

impl Sections {
    /// What it says for a relay.
    pub(super) fn for_relay(self) -> Given {
        self.relay.unwrap_or_default().or(self.top)
    }

    /// What it says for a server.
    pub(super) fn for_server(&self) -> GivenServer {
        self.server.clone().unwrap_or_default().or_shared(&self.top)
    }
}

/// Reads and judges the file at `path`.
pub(super) fn sections(path: &Path) -> Result<Sections, StartError> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        StartError::new(
            "--config",
            path.display().to_string(),
            e.to_string(),
            "name a readable TOML file, or leave --config out",
        )
    })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Sections, StartError> {
    let file = File { path, text };
    let table = DeTable::parse(text).map_err(|e| {
        let line = file.line(e.span().map_or(0, |span| span.start));
        file.refuse(line, e.message(), "the file is TOML: key = value")
    })?;
    let mut sections = Sections::default();
    for entry in file.entries(table.get_ref()) {
        match (entry.key, entry.item.get_ref()) {
            ("relay", DeValue::Table(section)) => {
                let mut given = Given::default();
                for entry in file.entries(section) {
                    sections::relay_key(&entry, &mut given)?;
                }
                sections.relay = Some(given);
            }
            ("server", DeValue::Table(section)) => {
                let mut given = GivenServer::default();
                for entry in file.entries(section) {
                    sections::server_key(&entry, &mut given)?;
                }
                sections.server = Some(given);
            }
            _ => sections::relay_key(&entry, &mut sections.top)?,
        }
    }
    Ok(sections)
}

fn advice(unknown: &str, keys: &[Key], place: &str) -> String {
    nearest(unknown, keys).map_or_else(
        || {
            let names: Vec<&str> = keys.iter().map(|k| k.name).collect();
            format!("the keys are {}, all {place}", names.join(", "))
        },
        |name| format!("did you mean {name:?}?"),
    )
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl<'a> File<'a> {
    /// The entries of `table` in the order of the file, so that its first mistake is reported first.
    fn entries(&'a self, table: &'a DeTable<'a>) -> Vec<Entry<'a>> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(name, item): (&'a Spanned<Cow<'a, str>>, &'a Item<'a>)| Entry {
            file: self,
            at: name.span().start,
            key: name.get_ref(),
            item,
        };
        entries.into_iter().map(entry).collect()
    }

    /// Line of the byte at `offset`, counted from 1.
    fn line(&self, offset: usize) -> usize {
        let before = self.text.char_indices().take_while(|(at, _)| *at < offset);
        1 + before.filter(|(_, c)| *c == '\n').count()
    }

    fn refuse(&self, line: usize, cause: impl Display, next: impl Into<String>) -> StartError {
        StartError::new(
            "--config",
            self.path.display().to_string(),
            format!("line {line}: {cause}"),
            next,
        )
    }
}

struct Entry<'a> {
    file: &'a File<'a>,
    /// Where its key begins.
    at: usize,
    key: &'a str,
    item: &'a Item<'a>,
}

impl Entry<'_> {
    fn unknown(&self, keys: &[Key], place: &str) -> StartError {
        let line = self.file.line(self.at);
        let cause = format!("unknown key {:?}", self.key);
        self.file.refuse(line, cause, advice(self.key, keys, place))
    }

    fn origin(&self, item: &Item<'_>) -> Origin {
        Origin::File {
            path: self.file.path.to_owned(),
            line: self.file.line(item.span().start),
        }
    }

    fn wrong_type(&self, item: &Item<'_>, expected: &str) -> StartError {
        let line = self.file.line(item.span().start);
        let cause = format!(
            "{}: expected {expected}, found {}",
            self.key,
            found(item.get_ref())
        );
        let form = KEYS
            .iter()
            .chain(SERVER_KEYS)
            .find(|k| k.name == self.key)
            .map_or("", |k| k.form);
        self.file.refuse(line, cause, format!("takes a {form}"))
    }

    fn judged<T>(
        &self,
        item: &Item<'_>,
        shown: impl Display,
        verdict: Result<T, Refusal>,
    ) -> Result<Sourced<T>, StartError> {
        let origin = self.origin(item);
        match verdict {
            Ok(value) => Ok(Sourced { value, origin }),
            Err(r) => Err(origin.refuse(self.key, shown, r.cause, r.next)),
        }
    }

    fn text<T>(
        &self,
        item: &Item<'_>,
        judge: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Result<Sourced<T>, StartError> {
        match item.get_ref() {
            DeValue::String(text) => self.judged(item, format!("{text:?}"), judge(text)),
            _ => Err(self.wrong_type(item, "a string")),
        }
    }

    fn string<T>(
        &self,
        judge: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Result<Sourced<T>, StartError> {
        self.text(self.item, judge)
    }

    fn choice<T: ValueEnum>(&self) -> Result<Sourced<T>, StartError> {
        self.string(value::choice)
    }

    fn list<T>(
        &self,
        example: &str,
        judge: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Result<Vec<Sourced<T>>, StartError> {
        let DeValue::Array(items) = self.item.get_ref() else {
            let expected = format!("a list of strings such as {example}");
            return Err(self.wrong_type(self.item, &expected));
        };
        items.iter().map(|item| self.text(item, &judge)).collect()
    }

    fn integer<T>(
        &self,
        judge: impl Fn(i128) -> Result<T, Refusal>,
    ) -> Result<Sourced<T>, StartError> {
        let DeValue::Integer(n) = self.item.get_ref() else {
            return Err(self.wrong_type(self.item, "a whole number"));
        };
        // Out of i128 is out of every key's bounds too.
        let number = i128::from_str_radix(n.as_str(), n.radix()).unwrap_or(i128::MAX);
        self.judged(self.item, n, judge(number))
    }

    fn boolean(&self) -> Result<Sourced<bool>, StartError> {
        match self.item.get_ref() {
            DeValue::Boolean(b) => self.judged(self.item, b, Ok(*b)),
            _ => Err(self.wrong_type(self.item, "true or false")),
        }
    }
}

impl ListSource for Entry<'_> {
    fn list<N>(
        &self,
        _: &'static str,
        example: &str,
        judge: impl Fn(&str) -> Result<N, Refusal>,
    ) -> Result<Vec<Sourced<N>>, StartError> {
        Entry::list(self, example, judge)
    }
}

fn found(value: &DeValue<'_>) -> Cow<'static, str> {
    match value {
        DeValue::String(s) => format!("the string {s:?}").into(),
        DeValue::Integer(n) => format!("the number {n}").into(),
        DeValue::Float(n) => format!("the number {n}").into(),
        DeValue::Boolean(b) => format!("{b}").into(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::config::{Bind, DatapathChoice, Level, LogFormat};

    fn message(text: &str) -> String {
        parse(Path::new("/etc/shipworm/relay.toml"), text)
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn every_key_is_read() {
        let given = parse(
            Path::new("f"),
            r#"
iface = ["eth0", "eth1"]
bind = "203.0.113.18:4000"
native-address = "2001:db8::1"
datapath = "auto"
allow-non-global = ["203.0.113.0/24"]
max-peers = 65_536
shards = 2
icmp6-burst = 0
socket = "/tmp/s"
log = "debug"
log-format = "json"
zero-copy = true
"#,
        )
        .expect("a sound file")
        .for_relay();
        let names: Vec<&str> = given
            .daemon
            .iface
            .iter()
            .map(|i| i.value.as_str())
            .collect();
        assert_eq!(names, ["eth0", "eth1"]);
        let bind = Bind {
            ip: Ipv4Addr::new(203, 0, 113, 18),
            port: 4000,
        };
        assert_eq!(given.bind.expect("given").value, bind);
        assert_eq!(
            given.native_address.expect("given").value.to_string(),
            "2001:db8::1"
        );
        assert_eq!(
            given.daemon.datapath.expect("given").value,
            DatapathChoice::Auto
        );
        assert_eq!(given.daemon.allow_non_global.len(), 1);
        let max_peers = given.max_peers.expect("given");
        assert_eq!(max_peers.value, 65_536);
        assert_eq!(
            max_peers.origin,
            Origin::File {
                path: "f".into(),
                line: 7
            }
        );
        assert_eq!(given.numbers.shards().get(), 2);
        assert_eq!(given.numbers.limits().icmp6_burst, 0);
        assert_eq!(
            given.daemon.socket.expect("given").value,
            Path::new("/tmp/s")
        );
        assert_eq!(given.daemon.log.expect("given").value, Level::Debug);
        assert_eq!(
            given.daemon.log_format.expect("given").value,
            LogFormat::Json
        );
        assert!(given.zero_copy.expect("given").value);
    }

    #[test]
    fn each_section_has_its_keys_and_takes_the_rest_from_the_top() {
        let text = r#"
iface = ["eth0"]
log = "debug"
socket = "/tmp/s"
[relay]
log = "warn"
max-peers = 7
[server]
primary = "203.0.113.5"
require-auth = true
secret-file = "/etc/shipworm/secrets"
source-burst = 9
"#;
        let sections = parse(Path::new("f"), text).expect("a sound file");
        let server = sections.for_server();
        assert_eq!(server.daemon.iface[0].value, "eth0");
        assert_eq!(
            server.primary.expect("given").value,
            Ipv4Addr::new(203, 0, 113, 5)
        );
        assert!(server.secondary.is_none() && server.daemon.socket.is_none());
        assert_eq!(server.daemon.log.expect("shared").value, Level::Debug);
        assert_eq!(server.numbers.server_limits().source_burst, 9);
        assert!(server.require_auth.expect("given").value);
        let relay = sections.for_relay();
        assert_eq!(relay.daemon.log.expect("given").value, Level::Warn);
        assert_eq!(relay.max_peers.expect("given").value, 7);
        assert_eq!(
            relay.daemon.socket.expect("shared").value,
            Path::new("/tmp/s")
        );
    }

    #[test]
    fn a_key_in_the_wrong_section_is_refused_with_its_line() {
        assert!(message("[server]\nmax-peers = 5\n").contains("line 2: unknown key \"max-peers\""));
        assert!(
            message("\nprimary = \"203.0.113.5\"\n").contains("line 2: unknown key \"primary\"")
        );
        assert!(message("server = 5\n").contains("line 1: unknown key \"server\""));
    }

    #[test]
    fn an_unknown_key_is_refused_with_line_and_nearest_name() {
        assert_eq!(
            message("iface = [\"eth0\"]\n\nmax-peer = 5\n"),
            r#"relay: --config /etc/shipworm/relay.toml: line 3: unknown key "max-peer" (did you mean "max-peers"?)"#
        );
    }

    #[test]
    fn an_unknown_key_like_no_other_is_answered_with_all() {
        let text = message("[qqq]\n");
        assert!(text.contains("line 1: unknown key \"qqq\" (the keys are iface, bind"));
    }

    #[test]
    fn a_wrong_type_says_key_line_expected_and_found() {
        assert_eq!(
            message("\nmax-peers = \"many\""),
            "relay: --config /etc/shipworm/relay.toml: line 2: max-peers: expected a whole number, found the string \"many\" \
             (takes a number of peers, 1 to 67108864)"
        );
        for (text, cause) in [
            (
                "iface = \"eth0\"",
                "line 1: iface: expected a list of strings such as [\"eth0\"], found the string \"eth0\"",
            ),
            (
                "iface = [\n\"eth0\",\n5]",
                "line 3: iface: expected a string, found the number 5",
            ),
            (
                "zero-copy = 1",
                "line 1: zero-copy: expected true or false, found the number 1",
            ),
            (
                "bind = {}",
                "line 1: bind: expected a string, found a table",
            ),
        ] {
            let text = message(text);
            assert!(text.contains(cause), "{text}");
        }
    }

    #[test]
    fn a_wrong_value_says_key_line_value_and_next_step() {
        for (text, part) in [
            (
                "log = \"loud\"",
                "line 1: log = \"loud\": no such choice (one of: error, warn, info, debug, trace)",
            ),
            (
                "max-peers = 0",
                "line 1: max-peers = 0: expected 1 to 67108864 peers",
            ),
            (
                "max-peers = 999999999999999999999999999999999999999999",
                "expected 1 to 67108864 peers",
            ),
            (
                "bind = \"203.0.113.18:3544\"",
                "line 1: bind = \"203.0.113.18:3544\": port 3544 belongs",
            ),
        ] {
            let text = message(text);
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn the_first_mistake_in_the_file_is_reported() {
        assert!(message("zero-copy = 1\nbind = 5").contains("line 1: zero-copy"));
    }

    #[test]
    fn what_is_not_toml_is_refused_with_its_line() {
        assert!(message("iface = [\"eth0\"]\nbind 5\n").contains(": line 2: "));
    }

    #[test]
    fn a_missing_file_names_itself() {
        let text = sections(Path::new("/nonexistent/relay.toml"))
            .expect_err("refused")
            .to_string();
        assert!(
            text.starts_with("relay: --config /nonexistent/relay.toml: No such file"),
            "{text}"
        );
    }
}

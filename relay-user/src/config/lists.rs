//! The keys that say whom the relay serves: prefixes allowed and denied, for each kind of address.

use std::fmt::Display;

use teredo::relay::{Access, AccessList, Ipv4Net, Ipv6Net};

use super::MAX_ACCESS_PREFIXES;
use super::given::Sourced;
use super::value::{self, Refusal};
use crate::error::StartError;

/// Prefixes of one key.
type Prefixes<N> = Vec<Sourced<N>>;

/// What was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GivenLists {
    native_allow: Prefixes<Ipv6Net>,
    native_deny: Prefixes<Ipv6Net>,
    client_allow: Prefixes<Ipv4Net>,
    client_deny: Prefixes<Ipv4Net>,
    server_allow: Prefixes<Ipv4Net>,
    server_deny: Prefixes<Ipv4Net>,
}

/// Whatever reads a list of prefixes, from the command line or from a file.
pub(super) trait ListSource {
    /// Reads the list of `key`, each item judged by `judge`.
    fn list<N>(
        &self,
        key: &'static str,
        example: &str,
        judge: impl Fn(&str) -> Result<N, Refusal>,
    ) -> Result<Prefixes<N>, StartError>;
}

impl GivenLists {
    /// The keys, in the order of the documentation.
    pub(super) const KEYS: [&'static str; 6] = [
        "native-allow",
        "native-deny",
        "client-allow",
        "client-deny",
        "server-allow",
        "server-deny",
    ];

    /// Reads the list called `key`. Says whether there is such a list.
    pub(super) fn read(&mut self, key: &str, from: &impl ListSource) -> Result<bool, StartError> {
        let [
            native_allow,
            native_deny,
            client_allow,
            client_deny,
            server_allow,
            server_deny,
        ] = Self::KEYS;
        let native = |key| from.list(key, "[\"2001:db8::/32\"]", value::ipv6_prefix);
        let ipv4 = |key| from.list(key, "[\"192.0.2.0/24\"]", value::ipv4_prefix);
        match key {
            "native-allow" => self.native_allow = native(native_allow)?,
            "native-deny" => self.native_deny = native(native_deny)?,
            "client-allow" => self.client_allow = ipv4(client_allow)?,
            "client-deny" => self.client_deny = ipv4(client_deny)?,
            "server-allow" => self.server_allow = ipv4(server_allow)?,
            "server-deny" => self.server_deny = ipv4(server_deny)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// These lists where given, else those of `other`.
    pub(super) fn or(self, other: Self) -> Self {
        fn list<T>(a: Vec<T>, b: Vec<T>) -> Vec<T> {
            if a.is_empty() { b } else { a }
        }
        Self {
            native_allow: list(self.native_allow, other.native_allow),
            native_deny: list(self.native_deny, other.native_deny),
            client_allow: list(self.client_allow, other.client_allow),
            client_deny: list(self.client_deny, other.client_deny),
            server_allow: list(self.server_allow, other.server_allow),
            server_deny: list(self.server_deny, other.server_deny),
        }
    }

    /// The lists, judged together.
    ///
    /// # Errors
    /// A list is too long, or a prefix is allowed and denied.
    pub(super) fn access(&self) -> Result<Access, StartError> {
        let native = pair("native", &self.native_allow, &self.native_deny)?;
        let clients = pair("client", &self.client_allow, &self.client_deny)?;
        let servers = pair("server", &self.server_allow, &self.server_deny)?;
        Ok(Access {
            native: AccessList::of_ipv6(&native.0, &native.1),
            clients: AccessList::of_ipv4(&clients.0, &clients.1),
            servers: AccessList::of_ipv4(&servers.0, &servers.1),
        })
    }
}

/// The prefixes of one kind.
fn pair<N: Copy + Eq + Display>(
    kind: &str,
    allow: &[Sourced<N>],
    deny: &[Sourced<N>],
) -> Result<(Vec<N>, Vec<N>), StartError> {
    for (word, list) in [("allow", allow), ("deny", deny)] {
        if let Some(extra) = list.get(MAX_ACCESS_PREFIXES) {
            return Err(extra.origin.refuse(
                &format!("{kind}-{word}"),
                extra.value,
                format!("more than {MAX_ACCESS_PREFIXES} prefixes"),
                "join neighbouring prefixes, or filter in front of the relay",
            ));
        }
    }
    let values = |list: &[Sourced<N>]| list.iter().map(|prefix| prefix.value).collect();
    let (allow, denied): (Vec<N>, Vec<N>) = (values(allow), values(deny));
    if let Some(both) = deny.iter().find(|prefix| allow.contains(&prefix.value)) {
        return Err(both.origin.refuse(
            &format!("{kind}-deny"),
            both.value,
            format!("{kind}-allow has the same prefix"),
            "keep it in one of the two: the longest prefix decides",
        ));
    }
    Ok((allow, denied))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use crate::cli::RelayFlags;
    use crate::config::{MAX_ACCESS_PREFIXES, RelaySettings, settings};
    use crate::error::StartError;

    fn with(flags: impl FnOnce(&mut RelayFlags)) -> Result<RelaySettings, StartError> {
        let mut given = RelayFlags {
            iface: vec!["eth0".to_owned()],
            ..RelayFlags::default()
        };
        flags(&mut given);
        settings(&given)
    }

    #[test]
    fn every_list_is_read_from_flags_and_from_the_file() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(
            br#"
native-allow = ["2001:db8::/32"]
native-deny = ["2001:db8:bad::/48"]
client-allow = ["8.0.0.0/8"]
client-deny = ["8.8.0.0/16", "9.0.0.0/8"]
server-allow = ["1.1.1.1/32"]
server-deny = ["1.0.0.0/8"]
"#,
        )
        .expect("written");
        let access = with(|flags| {
            flags.config = Some(file.path().to_owned());
            flags.lists.client_deny = vec!["8.9.0.0/16".to_owned()];
        })
        .expect("sound")
        .access;
        let native = |ip: &str| access.native.allows_ipv6(ip.parse().expect("an address"));
        assert!(native("2001:db8::1") && !native("2001:db8:bad::1") && !native("2600::1"));
        let client = |ip: &str| access.clients.allows_ipv4(ip.parse().expect("an address"));
        assert!(client("8.8.0.1") && !client("8.9.0.1") && !client("9.0.0.1"));
        let server = |ip: &str| access.servers.allows_ipv4(ip.parse().expect("an address"));
        assert!(server("1.1.1.1") && !server("1.1.1.2"));
    }

    #[test]
    fn without_lists_everybody_is_served() {
        let access = with(|_| {}).expect("sound").access;
        assert!(access.native.is_empty() && access.clients.is_empty() && access.servers.is_empty());
    }

    #[test]
    fn a_prefix_allowed_and_denied_is_refused() {
        let error = with(|flags| {
            flags.lists.native_allow = vec!["2001:db8::/32".to_owned()];
            flags.lists.native_deny = vec!["2001:db8::/32".to_owned()];
        })
        .expect_err("refused");
        assert_eq!(
            error.to_string(),
            "relay: --native-deny 2001:db8::/32: native-allow has the same prefix \
             (keep it in one of the two: the longest prefix decides)"
        );
    }

    #[test]
    fn one_prefix_too_many_is_refused() {
        let prefixes = |count: usize| {
            let octets = |n: usize| format!("8.{}.{}.0/24", n / 256, n % 256);
            (0..count).map(octets).collect::<Vec<_>>()
        };
        assert!(with(|flags| flags.lists.server_deny = prefixes(MAX_ACCESS_PREFIXES)).is_ok());
        let error = with(|flags| flags.lists.server_deny = prefixes(MAX_ACCESS_PREFIXES + 1))
            .expect_err("refused");
        assert!(
            error.to_string().contains("more than 4096 prefixes"),
            "{error}"
        );
    }
}

//! The keys that are whole numbers within bounds: the limits of relay and server (invariant 9), and the relay's shards.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use teredo::relay::Limits;
use teredo::server;

use super::given::Sourced;
use super::value::Refusal;

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) key: &'static str,
    pub(super) unit: &'static str,
    pub(super) least: u64,
    pub(super) most: u64,
    pub(super) default: u64,
}

const fn number(
    key: &'static str,
    unit: &'static str,
    (least, most): (u64, u64),
    default: u64,
) -> Number {
    Number {
        key,
        unit,
        least,
        most,
        default,
    }
}

/// Those of the relay, in the order of the documentation.
pub(super) const NUMBERS: [Number; 14] = [
    number("shards", "shards", (1, 64), 1),
    number("new-peers-per-s", "peers a second", (1, 10_000_000), 2000),
    number("new-peers-burst", "peers", (1, 10_000_000), 20_000),
    number(
        "server-bubbles-per-s",
        "bubbles a second",
        (1, 10_000_000),
        100,
    ),
    number("server-bubbles-burst", "bubbles", (1, 10_000_000), 20_000),
    number("repeats-per-s", "bubbles a second", (0, 10_000_000), 10),
    number("repeats-burst", "bubbles", (0, 10_000_000), 200),
    number("pending-peers", "peers", (1, 16_777_216), 65_536),
    number("unanswered-per-source-prefix", "peers", (1, 16_777_216), 64),
    number("queue-packets-per-peer", "packets", (1, 4096), 16),
    number("queue-bytes-per-peer", "bytes", (1280, 16_777_216), 16_384),
    number(
        "queue-bytes-total",
        "bytes",
        (1280, 4_294_967_296),
        8_388_608,
    ),
    number("icmp6-per-s", "errors a second", (0, 1_000_000), 10),
    number("icmp6-burst", "errors", (0, 1_000_000), 10),
];

/// Those of the server, in the order of the documentation.
pub(super) const SERVER_NUMBERS: [Number; 6] = [
    number("source-per-s", "packets a second", (1, 10_000_000), 1000),
    number("source-burst", "packets", (1, 10_000_000), 20_000),
    number("target-per-s", "packets a second", (1, 10_000_000), 200),
    number("target-burst", "packets", (1, 10_000_000), 400),
    number("native-per-s", "echoes a second", (0, 10_000_000), 1000),
    number("native-burst", "echoes", (0, 10_000_000), 2000),
];

impl Number {
    /// The one of the relay called `key`.
    pub(super) fn of(key: &str) -> Option<&'static Self> {
        NUMBERS.iter().find(|number| number.key == key)
    }

    /// The one of the server called `key`.
    pub(super) fn of_server(key: &str) -> Option<&'static Self> {
        SERVER_NUMBERS.iter().find(|number| number.key == key)
    }

    /// Judges a value.
    pub(super) fn judge(&self, n: i128) -> Result<u64, Refusal> {
        match u64::try_from(n) {
            Ok(n) if (self.least..=self.most).contains(&n) => Ok(n),
            _ => Err(self.refusal(format!(
                "expected {} to {} {}",
                self.least, self.most, self.unit
            ))),
        }
    }

    /// Judges a value given as text.
    pub(super) fn judge_text(&self, text: &str) -> Result<u64, Refusal> {
        let number = text
            .parse()
            .map_err(|_| self.refusal("not a whole number".to_owned()))?;
        self.judge(number)
    }

    fn refusal(&self, cause: String) -> Refusal {
        Refusal {
            cause,
            next: format!("leave {} out for {}", self.key, self.default),
        }
    }
}

/// The numbers that were given, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GivenNumbers(BTreeMap<&'static str, Sourced<u64>>);

impl GivenNumbers {
    /// Adds the value of `number`.
    pub(super) fn set(&mut self, number: &Number, value: Sourced<u64>) {
        self.0.insert(number.key, value);
    }

    /// These values where given, else those of `other`.
    pub(super) fn or(self, other: Self) -> Self {
        let mut all = other.0;
        all.extend(self.0);
        Self(all)
    }

    /// The value of `key`, or its default.
    fn get<T: TryFrom<u64> + Default>(&self, key: &str) -> T {
        let default = || {
            let number = Number::of(key).or_else(|| Number::of_server(key));
            number.map(|number| number.default)
        };
        let value = self.0.get(key).map(|given| given.value).or_else(default);
        // Every bound fits its type: a test asks for the largest of all.
        value
            .and_then(|value| T::try_from(value).ok())
            .unwrap_or_default()
    }

    /// How many shards there shall be.
    pub(super) fn shards(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.get("shards")).unwrap_or(NonZeroUsize::MIN)
    }

    /// The limits of the relay, all shards together.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            pending_peers: self.get("pending-peers"),
            queue_packets_per_peer: self.get("queue-packets-per-peer"),
            queue_bytes_per_peer: self.get("queue-bytes-per-peer"),
            queue_bytes_total: self.get("queue-bytes-total"),
            new_peers_per_s: self.get("new-peers-per-s"),
            new_peers_burst: self.get("new-peers-burst"),
            server_bubbles_per_s: self.get("server-bubbles-per-s"),
            server_bubbles_burst: self.get("server-bubbles-burst"),
            repeats_per_s: self.get("repeats-per-s"),
            repeats_burst: self.get("repeats-burst"),
            unanswered_per_source_prefix: self.get("unanswered-per-source-prefix"),
            icmp6_per_s: self.get("icmp6-per-s"),
            icmp6_burst: self.get("icmp6-burst"),
            cookie_epoch: Limits::default().cookie_epoch,
        }
    }

    /// The limits of the server.
    pub(super) fn server_limits(&self) -> server::Limits {
        server::Limits {
            source_per_s: self.get("source-per-s"),
            source_burst: self.get("source-burst"),
            target_per_s: self.get("target-per-s"),
            target_burst: self.get("target-burst"),
            native_per_s: self.get("native-per-s"),
            native_burst: self.get("native-burst"),
            ..server::Limits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::given::Origin;
    use crate::config::{KEYS, SERVER_KEYS};

    #[test]
    fn nothing_given_is_the_defaults_of_the_protocol() {
        let given = GivenNumbers::default();
        assert_eq!(given.limits(), Limits::default());
        assert_eq!(given.shards().get(), 1);
        assert_eq!(given.server_limits(), server::Limits::default());
    }

    #[test]
    fn every_number_changes_something_and_its_largest_value_fits() {
        let default = GivenNumbers::default();
        for number in NUMBERS.iter().chain(&SERVER_NUMBERS) {
            let mut given = GivenNumbers::default();
            let value = Sourced {
                value: number.most,
                origin: Origin::Flag,
            };
            given.set(number, value);
            assert_ne!(
                (given.limits(), given.shards(), given.server_limits()),
                (default.limits(), default.shards(), default.server_limits()),
                "{}",
                number.key
            );
            assert_eq!(given.get::<u64>(number.key), number.most);
        }
    }

    #[test]
    fn the_documentation_names_bounds_and_default_of_each() {
        for number in NUMBERS.iter().chain(&SERVER_NUMBERS) {
            let mut keys = KEYS.iter().chain(SERVER_KEYS);
            let key = keys.find(|key| key.name == number.key);
            let key = key.unwrap_or_else(|| panic!("no key {}", number.key));
            assert_eq!(key.default, number.default.to_string());
            let bounds = format!(
                "number of {}, {} to {}",
                number.unit, number.least, number.most
            );
            assert_eq!(key.form, bounds);
        }
    }

    #[test]
    fn values_outside_the_bounds_are_refused_with_the_bounds_and_the_default() {
        let number = Number::of("shards").expect("a key");
        assert_eq!(number.judge_text("64"), Ok(64));
        for text in ["0", "65", "-1", "many", "1e1", ""] {
            let refusal = number.judge_text(text).expect_err(text);
            assert_eq!(refusal.next, "leave shards out for 1");
        }
        let refusal = number.judge(65).expect_err("too many");
        assert_eq!(refusal.cause, "expected 1 to 64 shards");
    }
}

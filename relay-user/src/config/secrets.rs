//! The file of clients and their secrets for secure qualification (RFC 4380 5.2.2, S-20).
//!
//! ```toml
//! [[client]]
//! id = "alice"                  # or id-hex = "616c696365"
//! secret-hex = "0c6b...e1"      # or secret = "text"; at least 16 bytes
//! retired = false               # true: still answered, and told to get a new secret
//! ```

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Deserialize;
use teredo::server::{Credentials, KeyState};

/// Shortest secret: what HMAC-SHA1 with a guessable one proves is nothing.
const SECRET_BYTES_MIN: usize = 16;

/// Permission bits that let others than the owner see the file.
const OTHERS: u32 = 0o077;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Clients {
    #[serde(default)]
    client: Vec<Client>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Client {
    id: Option<String>,
    id_hex: Option<String>,
    secret: Option<String>,
    secret_hex: Option<String>,
    #[serde(default)]
    retired: bool,
}

/// Why a file of secrets is refused. Never holds a secret.
#[derive(Debug)]
pub(super) struct Unusable {
    pub(super) cause: String,
    pub(super) next: &'static str,
}

impl Unusable {
    fn new(cause: impl fmt::Display, next: &'static str) -> Self {
        Self {
            cause: cause.to_string(),
            next,
        }
    }
}

/// Reads the file at `path`.
pub(super) fn read(path: &Path) -> Result<Credentials, Unusable> {
    let unreadable = |error| Unusable::new(error, "name a file its owner can read");
    let mode = std::fs::metadata(path).map_err(unreadable)?.mode();
    if mode & OTHERS != 0 {
        return Err(Unusable::new(
            format!(
                "mode {:04o} lets others than its owner at the secrets",
                mode & 0o7777
            ),
            "chmod 600",
        ));
    }
    parse(&std::fs::read_to_string(path).map_err(unreadable)?)
}

fn parse(text: &str) -> Result<Credentials, Unusable> {
    const FORM: &str = "a list of [[client]], each with id or id-hex, secret or secret-hex, and retired if need be";
    let Clients { client: clients } = toml::from_str(text).map_err(|error| {
        // Its own words would quote the line.
        let line = error
            .span()
            .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        Unusable::new(format!("line {line}: {}", error.message()), FORM)
    })?;
    if clients.is_empty() {
        return Err(Unusable::new("no clients in it", FORM));
    }
    let mut credentials = Credentials::default();
    for (number, client) in (1..).zip(clients) {
        let refuse = |cause: &str| Unusable::new(format!("client {number}: {cause}"), FORM);
        let id = one_of("id", client.id, client.id_hex).map_err(|cause| refuse(&cause))?;
        let secret =
            one_of("secret", client.secret, client.secret_hex).map_err(|cause| refuse(&cause))?;
        if secret.len() < SECRET_BYTES_MIN {
            return Err(refuse("a secret has at least 16 bytes"));
        }
        let state = if client.retired {
            KeyState::Retired
        } else {
            KeyState::Current
        };
        credentials
            .insert(&id, &secret, state)
            .map_err(|error| refuse(&error.to_string()))?;
    }
    Ok(credentials)
}

/// The bytes of a value that is given as text or in hexadecimal digits.
fn one_of(key: &str, text: Option<String>, digits: Option<String>) -> Result<Vec<u8>, String> {
    match (text, digits) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(digits)) => {
            hex::decode(digits).map_err(|_| format!("{key}-hex takes pairs of hexadecimal digits"))
        }
        _ => Err(format!("takes either {key} or {key}-hex")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn cause(text: &str) -> String {
        parse(text).expect_err("refused").cause
    }

    #[test]
    fn ids_and_secrets_are_text_or_hexadecimal_digits() {
        let text = r#"
[[client]]
id = "alice"
secret = "0123456789abcdef"
[[client]]
id-hex = "00ff"
secret-hex = "000102030405060708090a0b0c0d0e0f10"
retired = true
"#;
        assert_eq!(parse(text).expect("sound").len(), 2);
    }

    #[test]
    fn what_is_wrong_is_named_without_a_secret() {
        let secret = "secret = \"0123456789abcdef\"";
        for (text, expected) in [
            ("", "no clients in it"),
            (
                "[[client]]\nid = \"a\"\n",
                "client 1: takes either secret or secret-hex",
            ),
            (
                "[[client]]\nid = \"a\"\nsecret = \"short\"\n",
                "client 1: a secret has at least 16 bytes",
            ),
            (
                "[[client]]\nid-hex = \"0\"\nsecret = \"0123456789abcdef\"\n",
                "client 1: id-hex takes pairs of hexadecimal digits",
            ),
            (
                "[[client]]\nid = \"a\"\npassword = \"x\"\n",
                "line 3: unknown field",
            ),
        ] {
            let cause = cause(text);
            assert!(cause.starts_with(expected), "{cause}");
        }
        let twice = format!("[[client]]\nid = \"a\"\n{secret}\n").repeat(2);
        assert!(cause(&twice).starts_with("client 2: the client identifier is listed twice"));
        let broken = format!("[[client]]\nid = \"a\"\n{secret} oops\n");
        let cause = cause(&broken);
        assert!(
            cause.starts_with("line 3: ") && !cause.contains("0123"),
            "{cause}"
        );
    }

    #[test]
    fn a_file_others_can_read_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let allow = |mode| {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode))
                .expect("own file");
        };
        allow(0o640);
        let refused = read(file.path()).expect_err("refused");
        assert_eq!(
            refused.cause,
            "mode 0640 lets others than its owner at the secrets"
        );
        allow(0o600);
        assert_eq!(
            read(file.path()).expect_err("empty").cause,
            "no clients in it"
        );
    }
}

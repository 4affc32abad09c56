//! Secure qualification: who may ask, and how an answer proves where it comes from (RFC 4380 5.2.2, S-20 to S-22).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use hmac::{Hmac, Mac};
use sha1::Sha1;

use crate::Fate;
use crate::wire::auth::Auth;
use crate::wire::origin::Origin;

/// Bytes of an authentication value: HMAC-SHA1, not truncated (S-20).
pub const AUTH_VALUE_LEN: usize = 20;

/// Longest client identifier in bytes: its length is one byte (RFC 4380 5.1.1).
pub const CLIENT_ID_MAX_LEN: usize = u8::MAX as usize;

/// Whether a client may keep its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Good.
    Current,
    /// Still answered, and told to get a new one (S-21).
    Retired,
}

impl KeyState {
    /// The confirmation byte of an answer (RFC 4380 5.1.1).
    const fn confirmation(self) -> u8 {
        match self {
            Self::Current => 0,
            Self::Retired => 1,
        }
    }
}

/// What a client and its server share: an HMAC that has taken in the secret. The secret itself is not kept.
#[derive(Clone)]
pub(super) struct Key {
    mac: Hmac<Sha1>,
    state: KeyState,
}

impl Key {
    /// The HMAC over everything an authentication value covers: trailers are not (S-20).
    fn over(
        &self,
        nonce: [u8; 8],
        confirmation: u8,
        origin: Option<Origin>,
        packet: &[u8],
    ) -> Hmac<Sha1> {
        let mut mac = self.mac.clone();
        mac.update(&nonce);
        mac.update(&[confirmation]);
        if let Some(origin) = origin {
            mac.update(&origin.to_bytes());
        }
        mac.update(packet);
        mac
    }

    /// Appends the header of the answer `origin | packet` to the solicitation that carried `asked` (S-21).
    pub(super) fn write_answer(
        &self,
        asked: &Auth<'_>,
        origin: Origin,
        packet: &[u8],
        out: &mut Vec<u8>,
    ) {
        let confirmation = self.state.confirmation();
        let mac = self.over(asked.nonce, confirmation, Some(origin), packet);
        let value: [u8; AUTH_VALUE_LEN] = mac.finalize().into_bytes().into();
        // The identifier came in a header like this, so it fits.
        if let Some(auth) = Auth::secure(asked.client_id(), &value, asked.nonce, confirmation) {
            auth.write(out);
        }
    }
}

/// The clients a server knows, by identifier, each with its key. A key that has expired is not listed any more.
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<Box<[u8]>, Key>);

impl fmt::Debug for Credentials {
    /// How many there are: neither identifiers nor secrets belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} clients)", self.0.len())
    }
}

impl Credentials {
    /// Adds a client.
    ///
    /// # Errors
    /// [`CredentialError`]; nothing is changed then.
    pub fn insert(
        &mut self,
        id: &[u8],
        secret: &[u8],
        state: KeyState,
    ) -> Result<(), CredentialError> {
        if id.is_empty() || id.len() > CLIENT_ID_MAX_LEN {
            return Err(CredentialError::IdLength(id.len()));
        }
        if self.0.contains_key(id) {
            return Err(CredentialError::IdTwice);
        }
        let mac = Hmac::new_from_slice(secret)
            .ok()
            .filter(|_| !secret.is_empty())
            .ok_or(CredentialError::SecretEmpty)?;
        self.0.insert(id.into(), Key { mac, state });
        Ok(())
    }

    /// Whether there is no client.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many clients there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The key of the client whose solicitation this is, if it proves to have it. Values are compared in constant time
    /// (S-22); identifiers are no secret.
    ///
    /// # Errors
    /// [`Fate::ClientIdUnknown`], [`Fate::CredentialsWrong`].
    pub(super) fn verify(
        &self,
        auth: &Auth<'_>,
        origin: Option<Origin>,
        packet: &[u8],
    ) -> Result<&Key, Fate> {
        let key = self.0.get(auth.client_id()).ok_or(Fate::ClientIdUnknown)?;
        key.over(auth.nonce, auth.confirmation, origin, packet)
            .verify_slice(auth.auth_value())
            .map_err(|_| Fate::CredentialsWrong)?;
        Ok(key)
    }
}

/// Why credentials are not accepted into the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialError {
    /// The identifier is empty or longer than 255 bytes; its length.
    IdLength(usize),
    /// The identifier is listed already.
    IdTwice,
    /// The secret is empty.
    SecretEmpty,
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdLength(len) => write!(
                f,
                "the client identifier has {len} bytes: give it 1 to {CLIENT_ID_MAX_LEN}"
            ),
            Self::IdTwice => f.write_str("the client identifier is listed twice: leave one"),
            Self::SecretEmpty => f.write_str("the secret is empty: give it at least one byte"),
        }
    }
}

impl core::error::Error for CredentialError {}

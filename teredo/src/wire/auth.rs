//! The authentication header (RFC 4380 5.1.1). It is carried here, not verified: HMAC is the
//! business of the roles that hold a secret (S-20).

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use crate::Fate;

/// First two bytes of an authentication header.
pub const AUTH_TYPE: [u8; 2] = [0x00, 0x01];

/// Length in bytes with neither client identifier nor authentication value.
pub const AUTH_MIN_LEN: usize = 13;

/// An authentication header.
///
/// ```text
/// byte 0..2   00 01
/// byte 2      ID-len
/// byte 3      AU-len
///             client identifier      (ID-len)
///             authentication value   (AU-len)
///             nonce                  (8)
///             confirmation           (1)
/// ```
///
/// Deployed clients and servers use it for the nonce alone, with both lengths 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_field_names)] // "Authentication value" is the RFC's term.
pub struct Auth<'a> {
    client_id: &'a [u8],
    auth_value: &'a [u8],
    /// Chosen by the client for a router solicitation, repeated by the server.
    pub nonce: [u8; 8],
    /// 0 from a client; from a server 0 if the key is still good, else a new key is needed.
    pub confirmation: u8,
}

impl<'a> Auth<'a> {
    /// The usual form: no identifier, no value, confirmation 0.
    pub const fn with_nonce(nonce: [u8; 8]) -> Self {
        Self {
            client_id: &[],
            auth_value: &[],
            nonce,
            confirmation: 0,
        }
    }

    /// The secure form; `None` if identifier or value exceeds 255 bytes.
    pub const fn secure(
        client_id: &'a [u8],
        auth_value: &'a [u8],
        nonce: [u8; 8],
        confirmation: u8,
    ) -> Option<Self> {
        if client_id.len() > u8::MAX as usize || auth_value.len() > u8::MAX as usize {
            return None;
        }
        Some(Self {
            client_id,
            auth_value,
            nonce,
            confirmation,
        })
    }

    /// Client identifier, at most 255 bytes.
    pub const fn client_id(&self) -> &'a [u8] {
        self.client_id
    }

    /// Authentication value, at most 255 bytes.
    pub const fn auth_value(&self) -> &'a [u8] {
        self.auth_value
    }

    /// Reads the header at the beginning of `bytes`; gives it and what follows it. `None` if the first
    /// two bytes are not [`AUTH_TYPE`].
    ///
    /// # Errors
    /// [`Fate::AuthenticationTruncated`].
    pub fn parse(bytes: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, Fate> {
        match bytes.strip_prefix(&AUTH_TYPE) {
            None => Ok(None),
            Some(fields) => Self::parse_fields(fields)
                .ok_or(Fate::AuthenticationTruncated)
                .map(Some),
        }
    }

    fn parse_fields(fields: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[id_len, au_len], rest) = fields.split_first_chunk()?;
        let (client_id, rest) = rest.split_at_checked(usize::from(id_len))?;
        let (auth_value, rest) = rest.split_at_checked(usize::from(au_len))?;
        let (&nonce, rest) = rest.split_first_chunk()?;
        let (&confirmation, rest) = rest.split_first()?;
        let auth = Self {
            client_id,
            auth_value,
            nonce,
            confirmation,
        };
        Some((auth, rest))
    }

    /// Appends the header as on the wire.
    #[cfg(feature = "alloc")]
    #[allow(clippy::cast_possible_truncation)] // The constructors keep both lengths in a byte.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&AUTH_TYPE);
        out.push(self.client_id.len() as u8);
        out.push(self.auth_value.len() as u8);
        out.extend_from_slice(self.client_id);
        out.extend_from_slice(self.auth_value);
        out.extend_from_slice(&self.nonce);
        out.push(self.confirmation);
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;

    #[test]
    fn the_usual_form_has_thirteen_bytes() {
        let mut bytes = Vec::new();
        Auth::with_nonce([1, 2, 3, 4, 5, 6, 7, 8]).write(&mut bytes);
        assert_eq!(bytes, [0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0]);
        assert_eq!(bytes.len(), AUTH_MIN_LEN);
    }

    #[test]
    fn a_header_cut_anywhere_is_truncated() {
        let mut bytes = Vec::new();
        let auth = Auth::secure(b"client-1", &[7; 20], [9; 8], 1).unwrap();
        auth.write(&mut bytes);
        assert_eq!(Auth::parse(&bytes), Ok(Some((auth, &[][..]))));
        for len in 2..bytes.len() {
            assert_eq!(
                Auth::parse(&bytes[..len]),
                Err(Fate::AuthenticationTruncated)
            );
        }
    }

    #[test]
    fn fields_longer_than_their_length_byte_can_say_are_refused() {
        assert!(Auth::secure(&[0; 256], &[], [0; 8], 0).is_none());
        assert!(Auth::secure(&[], &[0; 256], [0; 8], 0).is_none());
        assert!(Auth::secure(&[0; 255], &[0; 255], [0; 8], 0).is_some());
    }
}

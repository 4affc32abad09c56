//! What may stand in front of the inner packet (2.1): the same decisions as `teredo::wire::payload::parse`, which a test
//! holds against these.

use relay_common::Reason;
use teredo::wire::auth::{AUTH_MIN_LEN, AUTH_TYPE};
use teredo::wire::checksum::Sum;
use teredo::wire::ipv6::{self, Ipv6Header};
use teredo::wire::origin::ORIGIN_TYPE;

use crate::frame::Frame;

/// Bytes of an authentication header without identifier and value.
pub(super) const AUTH_LEN: usize = AUTH_MIN_LEN;
/// Bytes of an origin indication.
pub(super) const ORIGIN_LEN: usize = 8;

/// Headers can lie outside the first buffer, where only a socket reads them.
const ELSEWHERE: Reason = Reason::PassToServer;

/// The headers of a datagram. An authentication header has neither identifier nor value.
#[derive(Clone, Copy)]
pub(super) struct Headers {
    pub(super) has_auth: bool,
    pub(super) has_origin: bool,
}

impl Headers {
    /// Reads the headers of a payload of `len` bytes at `payload`.
    ///
    /// # Errors
    /// [`Reason::PayloadNotTeredo`], [`Reason::AuthenticationTruncated`], [`Reason::OriginTruncated`],
    /// [`Reason::HeaderOutOfOrder`]; [`Reason::PassToServer`] for credentials.
    #[inline(always)]
    pub(super) fn read(frame: &Frame, payload: usize, len: usize) -> Result<Self, Reason> {
        if len < 2 {
            return Err(Reason::PayloadNotTeredo);
        }
        let first = kind(frame, payload)?;
        if first[0] >> 4 == 6 {
            return Ok(Self {
                has_auth: false,
                has_origin: false,
            });
        }
        let mut headers = Self {
            has_auth: first == AUTH_TYPE,
            has_origin: first == ORIGIN_TYPE,
        };
        if headers.has_auth {
            headers.has_origin = Self::behind_auth(frame, payload, len)?;
        } else if !headers.has_origin {
            return Err(Reason::PayloadNotTeredo);
        }
        if len < headers.len() {
            return Err(Reason::OriginTruncated);
        }
        if len >= headers.len() + 2 {
            let next = kind(frame, payload + headers.len())?;
            if next == AUTH_TYPE || next == ORIGIN_TYPE {
                return Err(Reason::HeaderOutOfOrder);
            }
        }
        Ok(headers)
    }

    /// Whether an origin indication follows the authentication header at the beginning.
    #[inline(always)]
    fn behind_auth(frame: &Frame, payload: usize, len: usize) -> Result<bool, Reason> {
        if len < 4 {
            return Err(Reason::AuthenticationTruncated);
        }
        let lengths = kind(frame, payload + 2)?;
        if lengths != [0, 0] {
            return Err(Reason::PassToServer);
        }
        if len < AUTH_LEN {
            return Err(Reason::AuthenticationTruncated);
        }
        Ok(len >= AUTH_LEN + 2 && kind(frame, payload + AUTH_LEN)? == ORIGIN_TYPE)
    }

    /// Bytes of all of them.
    #[inline(always)]
    pub(super) fn len(self) -> usize {
        match (self.has_auth, self.has_origin) {
            (false, false) => 0,
            (false, true) => ORIGIN_LEN,
            (true, false) => AUTH_LEN,
            (true, true) => AUTH_LEN + ORIGIN_LEN,
        }
    }

    /// Their sum, as the beginning of a payload.
    #[inline(always)]
    pub(super) fn sum(self, frame: &Frame, payload: usize) -> Option<Sum> {
        const BOTH: usize = AUTH_LEN + ORIGIN_LEN;
        let sum = Sum::new();
        Some(match (self.has_auth, self.has_origin) {
            (false, false) => sum,
            (false, true) => sum.add_bytes(frame.at::<[u8; ORIGIN_LEN]>(payload)?),
            (true, false) => sum.add_bytes(frame.at::<[u8; AUTH_LEN]>(payload)?),
            (true, true) => sum.add_bytes(frame.at::<[u8; BOTH]>(payload)?),
        })
    }
}

/// The two bytes that say what follows.
#[inline(always)]
fn kind(frame: &Frame, at: usize) -> Result<[u8; 2], Reason> {
    frame.at::<[u8; 2]>(at).copied().ok_or(ELSEWHERE)
}

/// The header of the inner packet at `start`, where `len` bytes of the payload are left.
///
/// # Errors
/// [`Reason::InnerTruncated`], [`Reason::InnerVersionNot6`].
#[inline(always)]
pub(super) fn inner(frame: &Frame, start: usize, len: usize) -> Result<&Ipv6Header, Reason> {
    if len < ipv6::HEADER_LEN {
        return Err(Reason::InnerTruncated);
    }
    let inner = frame.at::<Ipv6Header>(start).ok_or(ELSEWHERE)?;
    if inner.version() != 6 {
        return Err(Reason::InnerVersionNot6);
    }
    if inner.packet_len() > len {
        return Err(Reason::InnerTruncated);
    }
    Ok(inner)
}

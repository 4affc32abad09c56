//! What the server asks its caller to do.

use crate::addr::Mapped;

/// One of the server's two addresses, on port 3544 (S-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Local {
    /// The primary address, P.
    Primary,
    /// The secondary address, Q.
    Secondary,
}

impl Local {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Primary => Self::Secondary,
            Self::Secondary => Self::Primary,
        }
    }
}

/// Something for the caller to send. Its bytes are the server's, until it is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Send a datagram from port 3544.
    SendUdp {
        /// Where from.
        from: Local,
        /// Where to.
        to: Mapped,
        /// UDP payload.
        payload: &'a [u8],
    },
    /// Hand an IPv6 packet to native routing (S-14).
    Forward {
        /// The whole packet: hop limit decremented, trailers cut.
        packet: &'a [u8],
    },
}

//! What becomes of a frame, written straight from PROTOCOL.md: bytes in, verdict out.
//!
//! Shares no code with the relay. It is asked twice about each frame. With [`Eyes::All`] it is the
//! protocol, which the slow path must follow. With [`Eyes::FastPath`] it knows what the XDP program may know: not which
//! IPv4 addresses are opened, broadcasts or this machine's, nor whether
//! the outer UDP checksum is right, which takes a pass over the payload (invariant 6).

mod addresses;
pub(crate) mod bytes;
mod datagram;
mod from_client;
mod from_native;
mod headers;
pub(crate) mod server;
mod state;

pub(crate) use headers::{Link, link};
pub(crate) use state::{Entry, Probing, State};

use crate::case::Rules;

/// Whether a frame is for the port itself: others must not notice us.
pub(crate) fn is_to_port(frame: &[u8]) -> bool {
    frame.starts_with(&crate::rig::PORT_MAC)
}

/// Who judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Eyes {
    All,
    FastPath,
}

/// Something that leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// A UDP datagram from the service port.
    Datagram {
        to: (u32, u16),
        tos: u8,
        payload: Vec<u8>,
    },
    /// An indirect bubble, whose source and nonce are the relay's to choose.
    Bubble { server: u32, client: [u8; 16] },
    /// A packet handed to native routing, which has yet to take the hop.
    Native(Vec<u8>),
    /// An ICMPv6 error (3.6).
    Error {
        to: [u8; 16],
        kind: u8,
        code: u8,
        parameter: u32,
        quote: Vec<u8>,
    },
}

/// What became of the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Its name in the list of reasons; [`WAITS`] if it is not decided yet.
    pub(crate) reason: &'static str,
    /// What leaves, in this order.
    pub(crate) effects: Vec<Effect>,
    /// Why the fast path may leave it to the slow path, by the names of its reasons.
    pub(crate) excuses: Vec<&'static str>,
    /// The fast path is to ask for an early probe, if it carries the packet.
    pub(crate) wants_probe: bool,
}

/// The packet waits in its peer's queue.
pub(crate) const WAITS: &str = "Waits";

/// A frame at a port of the relay.
pub(crate) struct Arrival<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) eyes: Eyes,
    /// The monotonic clock in nanoseconds.
    pub(crate) now_ns: u64,
    /// Whether the frame was sent to the port's own MAC address.
    pub(crate) is_to_port: bool,
}

/// The end of a packet that goes nowhere.
type Ended = &'static str;

impl Arrival<'_> {
    /// Judges `frame` and changes `state` accordingly.
    pub(crate) fn judge(&self, state: &mut State, frame: &[u8]) -> Outcome {
        let mut outcome = Outcome {
            reason: "NotOurs",
            effects: Vec::new(),
            excuses: Vec::new(),
            wants_probe: false,
        };
        let decided = match link(frame) {
            Some(Link { kind: 0x86dd, at }) => self.enter_tunnel(state, &frame[at..], &mut outcome),
            Some(Link { kind: 0x0800, at }) => self.leave_tunnel(state, &frame[at..], &mut outcome),
            _ => Err("NotOurs"),
        };
        outcome.reason = decided.unwrap_or_else(|ended| ended);
        outcome
    }

    /// Whether `ip` may be a host of the IPv4 internet (1.6).
    fn is_global(&self, ip: u32) -> bool {
        if self.eyes == Eyes::FastPath {
            return true;
        }
        addresses::is_host(ip, &self.rules.opened) && !self.rules.broadcasts.contains(&ip)
    }

    /// Whether the operator serves this native host.
    fn serves_native(&self, ip: &[u8; 16]) -> bool {
        addresses::is_served(u128::from_be_bytes(*ip), 128, &self.rules.natives)
    }

    /// Whether the operator serves a client there.
    fn serves_client(&self, ip: u32) -> bool {
        addresses::is_served(ip, 32, &self.rules.clients)
    }

    /// Whether the operator serves the clients of this server.
    fn serves_server(&self, ip: u32) -> bool {
        addresses::is_served(ip, 32, &self.rules.servers)
    }

    /// Whether `ip` is one of this machine.
    fn is_own(&self, ip: u32) -> bool {
        self.eyes == Eyes::All && (ip == self.rules.service.0 || self.rules.own.contains(&ip))
    }
}

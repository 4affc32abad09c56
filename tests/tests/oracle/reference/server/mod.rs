//! PROTOCOL 4: the server, from a frame to at most one datagram or packet.
//!
//! It too is asked twice. [`Eyes::FastPath`] does not know broadcasts and further addresses of this machine, and checks no outer
//! UDP checksum.

mod qualification;

pub(crate) use qualification::value;

use std::collections::BTreeMap;

use super::addresses::{
    client, in_6to4, in_isatap, is_host, is_multicast, is_no_host, is_teredo, server,
};
use super::bytes::{address_at, u32_at, upper_sum};
use super::datagram::{self, Payload, Udp};
use super::{Ended, Eyes, Link, link};

/// The server's UDP port (S-1).
pub(crate) const SERVER_PORT: u16 = 3544;

/// ff02::2.
const ALL_ROUTERS: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/// Bytes behind the IPv6 header of what is no bubble (S-14).
const ICMP6_MAX: usize = 88;
/// Bytes behind a packet that is sent on: room for every trailer there is (S-16, S-18).
const TRAILERS_MAX: usize = 88;

/// Who proves to be a client: identifier, secret, and whether the answer tells it to get a new one (S-21).
pub(crate) const CREDENTIALS: [(&[u8], &[u8], bool); 2] = [
    (b"alpha", b"a secret of alpha", false),
    (b"b", b"an old secret of b", true),
];

/// What a server was told, in plain numbers.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// P.
    pub(crate) primary: u32,
    /// Q.
    pub(crate) secondary: u32,
    /// S-5.
    pub(crate) requires_credentials: bool,
    /// Opened ranges: prefix and its length.
    pub(crate) opened: Vec<(u32, u32)>,
    /// Further addresses of this machine.
    pub(crate) own: Vec<u32>,
    /// Broadcast addresses of attached subnets.
    pub(crate) broadcasts: Vec<u32>,
    /// Packets at once for one source, to one target, to native IPv6 (S-17). Nothing flows in while a case lasts.
    pub(crate) bursts: Bursts,
}

/// See [`Rules::bursts`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bursts {
    pub(crate) source: u32,
    pub(crate) target: u32,
    pub(crate) native: u32,
}

/// Tokens taken so far, by address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken {
    pub(crate) sources: BTreeMap<u32, u32>,
    pub(crate) targets: BTreeMap<u32, u32>,
    native: u32,
}

/// What leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// A datagram from port 3544 of one of the two addresses.
    Datagram {
        from: u32,
        to: (u32, u16),
        payload: Vec<u8>,
    },
    /// A packet for native routing, its hop limit decremented (S-14).
    Native(Vec<u8>),
}

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The name of its reason.
    pub(crate) reason: &'static str,
    /// What leaves.
    pub(crate) leaving: Option<Leaving>,
    /// Where it would go to a client, as far as content and addresses are concerned, and how many bytes the payload has then.
    pub(crate) way: Option<(u32, usize)>,
    /// The fast path may leave it to the server's sockets.
    pub(crate) may_pass: bool,
}

/// A frame at a port of the server.
pub(crate) struct Arrival<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) eyes: Eyes,
    /// Whether the frame was sent to the port's own MAC address.
    pub(crate) is_to_port: bool,
}

/// A well-formed datagram from somebody who may be answered.
struct Received<'a> {
    from: (u32, u16),
    /// P or Q.
    at: u32,
    payload: Payload<'a>,
    source: [u8; 16],
    destination: [u8; 16],
    /// First byte of an ICMPv6 message.
    kind: Option<u8>,
    is_bubble: bool,
}

impl Arrival<'_> {
    /// Judges `frame` and takes tokens accordingly.
    pub(crate) fn judge(&self, taken: &mut Taken, frame: &[u8]) -> Verdict {
        let mut verdict = Verdict {
            reason: "NotOurs",
            leaving: None,
            way: None,
            may_pass: false,
        };
        let decided = self
            .udp(frame)
            .and_then(|udp| self.serve(&udp, taken, &mut verdict));
        verdict.reason = decided.unwrap_or_else(|ended| ended);
        verdict
    }

    /// The datagram in `frame`, if the kernel gives it to one of the server's sockets.
    pub(crate) fn udp<'a>(&self, frame: &'a [u8]) -> Result<Udp<'a>, Ended> {
        let sockets = [self.rules.primary, self.rules.secondary].map(|ip| (ip, SERVER_PORT));
        match link(frame) {
            Some(Link { kind: 0x0800, at }) => {
                datagram::udp(&frame[at..], &sockets, self.is_to_port, self.eyes)
            }
            _ => Err("NotOurs"),
        }
    }

    fn serve(
        &self,
        udp: &Udp<'_>,
        taken: &mut Taken,
        verdict: &mut Verdict,
    ) -> Result<Ended, Ended> {
        // S-4, S-8.
        for (is_so, reason) in [
            (udp.from.1 == 0, "OuterSourcePortZero"),
            (!self.is_global(udp.from.0), "OuterSourceNotGlobal"),
            (
                udp.from.1 == SERVER_PORT && self.is_of_server(udp.from.0),
                "OuterSourceOwn",
            ),
        ] {
            if is_so {
                return Err(reason);
            }
        }
        // S-20: credentials are the sockets'.
        if let [0, 1, id_len, value_len, ..] = *udp.payload {
            verdict.may_pass |= (id_len, value_len) != (0, 0);
        }
        let payload = datagram::payload(udp.payload)?;
        let packet = payload.packet;
        let received = Received {
            from: udp.from,
            at: udp.to.0,
            source: address_at(packet, 8),
            destination: address_at(packet, 24),
            kind: packet.get(40).copied(),
            is_bubble: packet.len() == 40 && packet[6] == 59,
            payload,
        };
        // S-3.
        if !received.is_bubble && packet[6] != 58 {
            return Err("NotBubbleNorIcmp6");
        }
        // A message that is none.
        verdict.may_pass |= !received.is_bubble && packet.len() < 48;
        // S-9.
        let d = received.destination;
        if d == ALL_ROUTERS || d == self.link_local() {
            let is_link_local = received.source[0] == 0xfe && received.source[1] & 0xc0 == 0x80;
            let is_solicitation = packet[6] == 58 && received.kind == Some(133);
            if is_solicitation && is_link_local && d == ALL_ROUTERS {
                return self.advertise(&received, taken, verdict);
            }
            return Err("ServerAddressed");
        }
        self.may_speak(&received)?;
        verdict.may_pass |= !is_teredo(&d);
        if is_teredo(&d) {
            self.send_on(&received, taken, verdict)
        } else {
            self.route(&received, taken, verdict)
        }
    }

    /// S-6, S-7. Nobody is sent back his own packet (S-8).
    fn may_speak(&self, received: &Received<'_>) -> Result<(), Ended> {
        let (s, d) = (&received.source, &received.destination);
        if is_teredo(s) {
            if client(s) != received.from {
                return Err("OuterSourceMismatch");
            }
        } else if !is_teredo(d) || server(d) != self.rules.primary {
            return Err("ClientOfAnotherServer");
        }
        if is_teredo(d) && client(d) == received.from {
            return Err("OuterSourceMismatch");
        }
        Ok(())
    }

    /// S-15.
    fn send_on(
        &self,
        received: &Received<'_>,
        taken: &mut Taken,
        verdict: &mut Verdict,
    ) -> Result<Ended, Ended> {
        let (packet, tail) = (received.payload.packet, received.payload.tail);
        let target = client(&received.destination);
        if packet.len() - 40 > ICMP6_MAX {
            return Err("Icmp6TooLarge");
        }
        let is_message = received
            .kind
            .is_some_and(|kind| !(133..=137).contains(&kind));
        if !received.is_bubble && !is_message {
            return Err("Icmp6NotCarried");
        }
        if tail.len() > TRAILERS_MAX {
            return Err("TrailersTooLong");
        }
        let mut payload = Vec::new();
        if server(&received.destination) == self.rules.primary {
            payload.extend(origin(received.from));
        }
        payload.extend(packet);
        payload.extend(tail);
        self.may_be_sent_to(target)?;
        verdict.way = Some((target.0, payload.len()));
        let Bursts {
            source: of_source,
            target: of_target,
            ..
        } = self.rules.bursts;
        take(&mut taken.sources, received.from.0, of_source).ok_or("OuterSourceRateExceeded")?;
        take(&mut taken.targets, target.0, of_target).ok_or("TargetRateExceeded")?;
        verdict.leaving = Some(Leaving::Datagram {
            from: self.rules.primary,
            to: target,
            payload,
        });
        Ok("ForwardedToClient")
    }

    fn may_be_sent_to(&self, target: (u32, u16)) -> Result<(), Ended> {
        for (is_so, reason) in [
            (!self.is_global(target.0), "MappedAddressNotGlobal"),
            (target.1 == 0, "MappedPortZero"),
            (self.is_own(target.0), "MappedAddressOwn"),
        ] {
            if is_so {
                return Err(reason);
            }
        }
        Ok(())
    }

    /// S-13, S-14.
    fn route(
        &self,
        received: &Received<'_>,
        taken: &mut Taken,
        verdict: &mut Verdict,
    ) -> Result<Ended, Ended> {
        let d = &received.destination;
        let packet = received.payload.packet;
        let forbidden_6to4 = in_6to4(d).is_some_and(|ip| !self.is_global(ip) || self.is_own(ip));
        let forbidden_isatap = in_isatap(d).is_some_and(|ip| self.is_own(ip));
        let is_echo = matches!(received.kind, Some(128 | 129));
        for (is_so, reason) in [
            (is_multicast(d), "DestinationMulticast"),
            (is_no_host(d), "DestinationNotGlobal"),
            // R-44, of which a server's native leg is no exception.
            (d[0] >> 5 != 1, "DestinationNotServed"),
            (
                forbidden_6to4 || forbidden_isatap,
                "DestinationEmbedsForbiddenAddress",
            ),
            (packet.len() - 40 > ICMP6_MAX, "Icmp6TooLarge"),
            (!is_echo, "Icmp6NotCarried"),
        ] {
            if is_so {
                return Err(reason);
            }
        }
        let bursts = self.rules.bursts;
        take(&mut taken.targets, received.from.0, bursts.target).ok_or("TargetRateExceeded")?;
        if taken.native == bursts.native {
            return Err("NativeRateExceeded");
        }
        taken.native += 1;
        if packet[7] <= 1 {
            return Err("HopLimitExceeded");
        }
        let mut packet = packet.to_vec();
        packet[7] -= 1;
        verdict.leaving = Some(Leaving::Native(packet));
        Ok("ForwardedToNative")
    }

    /// The server's own link-local address (1.3).
    fn link_local(&self) -> [u8; 16] {
        let mut address = [
            0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x80, 0, 0xf2, 0x27, 0, 0, 0, 0,
        ];
        address[12..].copy_from_slice(&(!self.rules.primary).to_be_bytes());
        address
    }

    fn is_global(&self, ip: u32) -> bool {
        let is_broadcast = self.eyes == Eyes::All && self.rules.broadcasts.contains(&ip);
        is_host(ip, &self.rules.opened) && !is_broadcast
    }

    fn is_of_server(&self, ip: u32) -> bool {
        ip == self.rules.primary || ip == self.rules.secondary
    }

    fn is_own(&self, ip: u32) -> bool {
        self.is_of_server(ip) || (self.eyes == Eyes::All && self.rules.own.contains(&ip))
    }
}

/// Takes a token of `ip` if one of `burst` is left.
fn take(taken: &mut BTreeMap<u32, u32>, ip: u32, burst: u32) -> Option<()> {
    let taken = taken.entry(ip).or_default();
    (*taken < burst).then(|| *taken += 1)
}

/// An origin indication (2.2).
fn origin((ip, port): (u32, u16)) -> [u8; 8] {
    let mut origin = [0; 8];
    origin[2..4].copy_from_slice(&(!port).to_be_bytes());
    origin[4..].copy_from_slice(&(!ip).to_be_bytes());
    origin
}

/// Addresses whose buckets a frame may take from.
pub(crate) fn addresses_in(frame: &[u8]) -> Vec<u32> {
    let Some(Link { at, .. }) = link(frame) else {
        return Vec::new();
    };
    let mut addresses = Vec::new();
    if frame.len() >= at + 20 {
        addresses.push(u32_at(frame, at + 12));
    }
    let payload = frame.get(at + 28..).unwrap_or_default();
    if let Ok(payload) = datagram::payload(payload) {
        addresses.push(client(&address_at(payload.packet, 24)).0);
    }
    addresses
}

/// Options of a solicitation: none of length 0, none that exceeds it (RFC 4861 6.1.1).
fn are_options(mut options: &[u8]) -> bool {
    while let [_, len, ..] = *options {
        let len = 8 * usize::from(len);
        if len == 0 || len > options.len() {
            return false;
        }
        options = &options[len..];
    }
    options.is_empty()
}

/// Whether a solicitation is what RFC 4861 6.1.1 demands (S-11).
fn is_valid(packet: &[u8]) -> bool {
    packet[7] == 255
        && packet.len() >= 48
        && packet[41] == 0
        && upper_sum(packet, 58) == 0xffff
        && are_options(&packet[48..])
}

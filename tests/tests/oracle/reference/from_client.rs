//! PROTOCOL 3.4: a client towards native IPv6.

use super::addresses::{client, in_6to4, in_isatap, is_multicast, is_no_host, is_teredo, server};
use super::bytes::address_at;
use super::datagram::{self, Payload, is_header};
use super::headers::{Trailers, is_source_routed, trailers};
use super::{Arrival, Effect, Ended, Eyes, Outcome, State};
use crate::case::is_fresh_to_the_tick;

/// A datagram taken apart.
struct Datagram<'a> {
    from: (u32, u16),
    tos: u8,
    /// The IPv6 packet, exactly.
    packet: &'a [u8],
    has_origin: bool,
    tail: &'a [u8],
}

impl Arrival<'_> {
    pub(super) fn leave_tunnel(
        &self,
        state: &mut State,
        data: &[u8],
        outcome: &mut Outcome,
    ) -> Result<Ended, Ended> {
        let datagram = self.datagram(data, outcome)?;
        let packet = datagram.packet;
        let (s, d) = (address_at(packet, 8), address_at(packet, 24));
        let (len, next) = (packet.len(), packet[6]);
        let is_bubble = len == 40 && next == 59;
        let entry = state.trusted.get(&s).copied();
        for (is_so, excuse) in [
            (is_bubble, "PuntBubble"),
            (!datagram.tail.is_empty(), "PuntTrailer"),
            (entry.is_none(), "PuntPeerUnknown"),
            (
                entry.is_some_and(|e| !is_fresh_to_the_tick(self.now_ns, e.heard_ns)),
                "PuntPeerStale",
            ),
            (
                datagram.from == client(&s) && entry.is_some_and(|e| e.mapped != datagram.from),
                "PuntMappingChanged",
            ),
            (
                in_6to4(&d).or(in_isatap(&d)).is_some(),
                "PuntEmbeddedAddress",
            ),
            (matches!(next, 0 | 43 | 60), "PuntRoutingHeader"),
            (packet[7] <= 1, "PuntHopLimitExceeded"),
        ] {
            if is_so {
                outcome.excuses.push(excuse);
            }
        }

        //
        if !is_teredo(&s) {
            return Err("SourceNotTeredo");
        }
        if is_multicast(&d) {
            return Err("DestinationMulticast");
        }
        if !self.serves_client(client(&s).0) {
            return Err("ClientDenied");
        }
        if !self.serves_server(server(&s)) {
            return Err("ServerDenied");
        }
        if len == 40 && !is_bubble {
            return Err("JumbogramForm");
        }
        let trailers = trailers(datagram.tail)?;
        if is_bubble && trailers.alternate_is_malformed {
            return Err("TrailerMalformed");
        }
        if entry.is_none() && !state.probing.contains_key(&s) {
            return Err("PeerUnknown");
        }
        //
        if !self.may_speak(state, &datagram, &trailers, is_bubble) {
            return Err("OuterSourceMismatch");
        }
        if !self.serves_client(datagram.from.0) {
            return Err("ClientDenied");
        }
        state.trust(s, datagram.from, self.now_ns, outcome);
        if is_bubble {
            // once in 2 s, which no case lasts. A relay without room for the limit may be silent.
            let asks = trailers.is_solicitation && !datagram.has_origin;
            let may_answer = entry.is_some() && !is_teredo(&d) && self.rules.has_room();
            if asks && may_answer && state.advertised.insert(s) {
                outcome.effects.push(advertisement(datagram.from, d, s));
            }
            return Ok("BubbleAccepted");
        }
        self.forward(&datagram, d, outcome)
    }

    /// The outer headers, R-30 and R-31.
    fn datagram<'a>(&self, data: &'a [u8], outcome: &mut Outcome) -> Result<Datagram<'a>, Ended> {
        let service = self.rules.service;
        let udp = datagram::udp(data, &[service], self.is_to_port, self.eyes)?;
        //
        let from = udp.from;
        if from.1 == 0 {
            return Err("OuterSourcePortZero");
        }
        if !self.is_global(from.0) {
            return Err("OuterSourceNotGlobal");
        }
        if self.eyes == Eyes::All && from == service {
            return Err("OuterSourceOwn");
        }
        if is_header(udp.payload) {
            outcome.excuses.push("PuntTunnelHeader");
        }
        let Payload {
            origin,
            packet,
            tail,
            ..
        } = datagram::payload(udp.payload)?;
        Ok(Datagram {
            from,
            tos: udp.tos,
            packet,
            has_origin: origin.is_some(),
            tail,
        })
    }

    /// R-36 a to d, and R-38: nothing that may not be sent to is learnt.
    fn may_speak(
        &self,
        state: &State,
        datagram: &Datagram<'_>,
        trailers: &Trailers,
        is_bubble: bool,
    ) -> bool {
        let (s, d) = (
            address_at(datagram.packet, 8),
            address_at(datagram.packet, 24),
        );
        let from = datagram.from;
        if self.is_own(from.0) {
            return false;
        }
        let probing = state.probing.get(&s);
        let is_cookie = probing.is_some_and(|p| p.cookie == Some(d));
        let is_nonce =
            probing.is_some_and(|p| !p.is_early && p.nonce.is_some() && p.nonce == trailers.nonce);
        from == client(&s)
            || state.trusted.get(&s).is_some_and(|e| e.mapped == from)
            || (is_bubble && (is_cookie || is_nonce))
    }

    ///
    fn forward(
        &self,
        datagram: &Datagram<'_>,
        d: [u8; 16],
        outcome: &mut Outcome,
    ) -> Result<Ended, Ended> {
        let forbidden_6to4 = in_6to4(&d).is_some_and(|ip| !self.is_global(ip) || self.is_own(ip));
        let forbidden_isatap = in_isatap(&d).is_some_and(|ip| self.is_own(ip));
        let mut packet = datagram.packet.to_vec();
        let (outer, inner) = (datagram.tos & 3, packet[1] >> 4 & 3);
        for (is_so, reason) in [
            (is_no_host(&d), "DestinationNotGlobal"),
            (is_teredo(&d), "DestinationTeredo"),
            (
                forbidden_6to4 || forbidden_isatap,
                "DestinationEmbedsForbiddenAddress",
            ),
            (d[0] >> 5 != 1, "DestinationNotServed"),
            (!self.serves_native(&d), "NativeDenied"),
            (is_source_routed(&packet), "RoutingHeaderType0"),
            // RFC 6040 4.2.
            (inner == 0 && outer == 3, "CongestionMarkedNotEct"),
        ] {
            if is_so {
                return Err(reason);
            }
        }
        let ecn = match (inner, outer) {
            (0, _) => 0,
            (_, 3) => 3,
            (2, 1) => 1,
            (own, _) => own,
        };
        packet[1] = packet[1] & !0x30 | ecn << 4;
        outcome.effects.push(Effect::Native(packet));
        Ok("Decapsulated")
    }
}

/// The answer to a neighbour solicitation. Its hop limit is left open.
fn advertisement(to: (u32, u16), source: [u8; 16], destination: [u8; 16]) -> Effect {
    let payload = [
        &[0x60, 0, 0, 0, 0, 0, 59, 0][..],
        &source,
        &destination,
        &[4, 4, 1, 0, 0, 0],
    ]
    .concat();
    Effect::Datagram {
        to,
        tos: 0,
        payload,
    }
}

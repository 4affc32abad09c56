//! A client towards native IPv6.

use core::net::SocketAddrV4;

use super::command::UdpKind;
use super::outbox::Order;
use super::peer::Phase;
use super::pending::Place;
use super::table::PeerTable;
use super::{Relay, Trusted};
use crate::addr::{Mapped, TeredoAddr};
use crate::wire::ipv6::{self, Ipv6Header};
use crate::wire::payload::{self, Payload};
use crate::wire::trailer::{NdKind, Trailers};
use crate::wire::{bubble, ecn};
use crate::{Fate, Instant, filter};

impl<T: PeerTable> Relay<T> {
    /// Takes a datagram received on the service port from `source`, with `tos` in its outer header.
    ///
    /// Authentication headers and origin indications mean nothing to a relay and are skipped; an
    /// origin is never sent to.
    pub fn from_client(
        &mut self,
        now: Instant,
        source: SocketAddrV4,
        tos: u8,
        payload: &[u8],
    ) -> Fate {
        let outer = Mapped::from(source);
        let parsed = match self.judge_outer(outer) {
            Ok(()) => payload::parse(payload),
            Err(fate) => Err(fate),
        };
        let (bytes, fate) = match parsed {
            Err(fate) => (payload.len(), fate),
            Ok(parsed) => (
                parsed.packet.len(),
                self.receive(now, outer, tos, &parsed)
                    .unwrap_or_else(|fate| fate),
            ),
        };
        self.tally.add(fate, bytes);
        fate
    }

    ///
    fn judge_outer(&self, outer: Mapped) -> Result<(), Fate> {
        if outer.port == 0 {
            return Err(Fate::OuterSourcePortZero);
        }
        if !self.policy.is_global(outer.ip) {
            return Err(Fate::OuterSourceNotGlobal);
        }
        if outer == self.config.service.into() {
            return Err(Fate::OuterSourceOwn);
        }
        Ok(())
    }

    /// The peer is updated before its destination is judged: answers to bubbles have
    /// link-local ones.
    fn receive(
        &mut self,
        now: Instant,
        outer: Mapped,
        tos: u8,
        received: &Payload<'_>,
    ) -> Result<Fate, Fate> {
        let header = received.header;
        let peer = TeredoAddr::from_octets(&header.source).ok_or(Fate::SourceNotTeredo)?;
        if header.destination[0] == 0xff {
            return Err(Fate::DestinationMulticast);
        }
        self.policy.judge_access(&peer)?;
        let is_bubble = header.is_bubble();
        if header.payload_len() == 0 && !is_bubble {
            return Err(Fate::JumbogramForm);
        }
        let trailers = Trailers::parse(received.tail)?;
        if is_bubble && trailers.alternate_address_malformed {
            return Err(Fate::TrailerMalformed);
        }
        let entry = self.trusted(&peer);
        let place = self.pending.find(&peer);
        if entry.is_none() && place.is_none() {
            return Err(Fate::PeerUnknown);
        }
        let bubble = is_bubble.then_some((header, &trailers));
        if !self.may_speak(now, &peer, outer, entry, place, bubble) {
            return Err(Fate::OuterSourceMismatch);
        }
        self.policy.judge_client(outer.ip)?;
        self.trust(now, &peer, place, outer);
        if is_bubble {
            if entry.is_some()
                && received.origin.is_none()
                && trailers.nd == Some(NdKind::Solicitation)
            {
                self.advertise(now, &peer, outer, header);
            }
            return Ok(Fate::BubbleAccepted);
        }
        self.forward(tos, received)
    }

    /// Whether `outer` may speak for `peer` (R-36 a to d). What it says may come to be where the relay sends.
    fn may_speak(
        &self,
        now: Instant,
        peer: &TeredoAddr,
        outer: Mapped,
        entry: Option<Trusted>,
        place: Option<Place>,
        bubble: Option<(&Ipv6Header, &Trailers)>,
    ) -> bool {
        if !self.policy.may_send(outer.ip) {
            return false;
        }
        if outer == peer.mapped() || entry.is_some_and(|entry| entry.mapped == outer) {
            return true;
        }
        let Some((header, trailers)) = bubble else {
            return false;
        };
        let asked = place
            .map(|place| self.pending.get(place))
            .filter(|pending| pending.phase == Phase::Probing);
        let sent = asked.and_then(|pending| pending.nonce);
        self.cookies.is_answered(now, peer, &header.destination)
            || (sent.is_some() && sent == trailers.nonce)
    }

    /// Hands data on to native IPv6, if its destination may be reached from a tunnel.
    fn forward(&mut self, tos: u8, received: &Payload<'_>) -> Result<Fate, Fate> {
        let header = received.header;
        let judged = filter::client_destination(&header.destination);
        if matches!(judged, Ok(_) | Err(Fate::DestinationNotServed)) {
            // R-43 comes before R-44.
            self.policy
                .judge_destination(filter::embedded(&header.destination))?;
        }
        judged?;
        self.policy.judge_native(header.destination)?;
        if has_routing_header_0(header.next_header, received.body) {
            return Err(Fate::RoutingHeaderType0);
        }
        let class = ecn::decapsulate(tos, header.traffic_class())?;
        self.outbox.pen().extend_from_slice(received.packet);
        if class != header.traffic_class()
            && let [first, second, ..] = self.outbox.draft()
        {
            *first = *first & 0xf0 | class >> 4;
            *second = *second & 0x0f | class << 4;
        }
        self.outbox.order(Order::Forward);
        Ok(Fate::Decapsulated)
    }

    /// Answers a neighbour solicitation in a direct bubble from a peer that was trusted before, once in
    /// 2 s (R-40, RFC 6081 4.4).
    fn advertise(&mut self, now: Instant, peer: &TeredoAddr, to: Mapped, request: &Ipv6Header) {
        if TeredoAddr::is_teredo(&request.destination) || !self.advertisements.take(now, *peer) {
            return;
        }
        let trailers = Trailers {
            nd: Some(NdKind::Advertisement),
            ..Trailers::default()
        };
        self.counts.advertisements_sent += 1;
        bubble::write(
            request.destination,
            request.source,
            &trailers,
            self.outbox.pen(),
        );
        self.outbox.order(Order::SendUdp {
            to,
            tos: 0,
            kind: UdpKind::Bubble,
        });
    }
}

/// Whether the extension headers a router may see begin with a routing header of type 0.
/// Hop-by-hop and destination options, and other routing headers, are looked through.
fn has_routing_header_0(mut next_header: u8, mut rest: &[u8]) -> bool {
    const DESTINATION_OPTIONS: u8 = 60;
    const HEADERS_MAX: usize = 8;
    for _ in 0..HEADERS_MAX {
        let (&[next, length, kind, ..], ipv6::HOP_BY_HOP | ipv6::ROUTING | DESTINATION_OPTIONS) =
            (rest, next_header)
        else {
            return false;
        };
        if next_header == ipv6::ROUTING && kind == 0 {
            return true;
        }
        next_header = next;
        rest = rest
            .get(8 * (usize::from(length) + 1)..)
            .unwrap_or_default();
    }
    false
}

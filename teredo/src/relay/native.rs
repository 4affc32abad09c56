//! Native IPv6 towards a client.

use super::command::{Icmp6Error, UdpKind};
use super::config::Hop;
use super::outbox::Order;
use super::peer::{PEER_FRESH, PROBE_AFTER, Phase};
use super::pending::Place;
use super::prefixes::SourcePrefix;
use super::table::PeerTable;
use super::{Relay, Trusted};
use crate::addr::{Mapped, TeredoAddr};
use crate::wire::{ecn, ipv6};
use crate::{Fate, Instant, filter};
use ipv6::Ipv6Header;

/// Byte of the hop limit in an IPv6 header.
const HOP_LIMIT_OFFSET: usize = 7;

impl<T: PeerTable> Relay<T> {
    /// Takes an IPv6 packet for a Teredo destination from the native side.
    ///
    /// `None`: it waits in the peer's queue, and its fate is counted when the peer answers, fails
    /// to, or the relay shuts down.
    pub fn from_native(&mut self, now: Instant, packet: &[u8], hop: Hop) -> Option<Fate> {
        let (bytes, fate) = match ipv6::parse(packet) {
            Err(fate) => (packet.len(), Some(fate)),
            Ok((header, _, tail)) => {
                let packet = &packet[..packet.len() - tail.len()];
                (packet.len(), self.route(now, header, packet, hop))
            }
        };
        if let Some(fate) = fate {
            self.tally.add(fate, bytes);
        }
        fate
    }

    fn route(
        &mut self,
        now: Instant,
        header: &Ipv6Header,
        packet: &[u8],
        hop: Hop,
    ) -> Option<Fate> {
        let peer = match self.admit(now, header, packet, hop) {
            Ok(peer) => peer,
            Err(fate) => return Some(fate),
        };
        let entry = self.trusted(&peer);
        let learned = entry.map_or(peer.mapped(), |entry| entry.mapped);
        if let Err(fate) = self.policy.judge_client(learned.ip) {
            return Some(fate);
        }
        let place = self.pending.find(&peer);
        let place = self.settle(now, place, entry);
        let Some(entry) = entry.filter(|entry| is_fresh(now, entry)) else {
            let origin = entry.is_none().then(|| source_prefix(header));
            return self.wait_for(now, &peer, place, origin, packet, hop);
        };
        self.send_data(entry.mapped, packet, hop, UdpKind::Data);
        if now.saturating_since(entry.last_rx) >= PROBE_AFTER {
            self.probe_early(now, &peer, place);
        }
        Some(Fate::Encapsulated)
    }

    /// The checks that ask for no state, in the order of the rules; and R-34, whose form is no
    /// packet in this direction either.
    fn admit(
        &mut self,
        now: Instant,
        header: &Ipv6Header,
        packet: &[u8],
        hop: Hop,
    ) -> Result<TeredoAddr, Fate> {
        let destination = filter::native_destination(&header.destination);
        if destination == Err(Fate::DestinationNotTeredo) && self.admit_source(header).is_ok() {
            self.answer_with_error(now, packet, Icmp6Error::AddressUnreachable);
        }
        destination?;
        self.admit_source(header)?;
        if header.payload_len() == 0 && !header.is_bubble() {
            return Err(Fate::JumbogramForm);
        }
        let peer =
            TeredoAddr::from_octets(&header.destination).ok_or(Fate::DestinationNotTeredo)?;
        self.policy.judge_peer(&peer)?;
        let mtu = self.config.tunnel_mtu;
        if packet.len() > usize::from(mtu) {
            self.answer_with_error(now, packet, Icmp6Error::PacketTooBig { mtu: mtu.into() });
            return Err(Fate::PacketTooBig);
        }
        if hop == Hop::Pending && header.hop_limit <= 1 {
            self.answer_with_error(now, packet, Icmp6Error::HopLimitExceeded);
            return Err(Fate::HopLimitExceeded);
        }
        Ok(peer)
    }

    fn admit_source(&self, header: &Ipv6Header) -> Result<(), Fate> {
        let embedded = filter::native_source(&header.source)?;
        self.policy.judge_native(header.source)?;
        self.policy.judge_source(embedded)
    }

    /// A packet for a peer that may not be sent to yet: 3.8, first row but TRUSTED.
    fn wait_for(
        &mut self,
        now: Instant,
        peer: &TeredoAddr,
        place: Option<Place>,
        origin: Option<SourcePrefix>,
        packet: &[u8],
        hop: Hop,
    ) -> Option<Fate> {
        if self.is_shut_down {
            return Some(Fate::ShutDown);
        }
        let place = match place.map(|place| (place, self.pending.get(place))) {
            Some((place, pending)) if pending.phase != Phase::Blocked => {
                self.pending.await_answer(place);
                place
            }
            Some((_, blocked)) if now < blocked.window_end() => {
                self.table.remove(peer);
                self.answer_with_error(now, packet, Icmp6Error::AddressUnreachable);
                return Some(Fate::PeerBlocked);
            }
            past => {
                if let Some((place, _)) = past {
                    self.pending.remove(place);
                }
                match self.start(now, peer, Phase::Probing, origin) {
                    Ok(place) => place,
                    Err(fate) => return Some(fate),
                }
            }
        };
        let queue = &mut self.pending.get_mut(place).queue;
        self.memory.push(queue, packet, hop).err()
    }

    /// Sends `packet` as the whole UDP payload, one hop older.
    fn send_data(&mut self, to: Mapped, packet: &[u8], hop: Hop, kind: UdpKind) {
        self.outbox.pen().extend_from_slice(packet);
        self.send_draft(to, hop, kind);
    }

    /// Sends the packet that is the outbox's draft.
    pub(super) fn send_draft(&mut self, to: Mapped, hop: Hop, kind: UdpKind) {
        let packet = self.outbox.draft();
        let class = ipv6::parse(packet).map_or(0, |(header, ..)| header.traffic_class());
        if let (Hop::Pending, Some(hop_limit)) = (hop, packet.get_mut(HOP_LIMIT_OFFSET)) {
            *hop_limit = hop_limit.saturating_sub(1);
        }
        let tos = ecn::encapsulate(class);
        self.outbox.order(Order::SendUdp { to, tos, kind });
    }
}

/// Whether the peer of `entry` may be sent to without asking.
pub(super) fn is_fresh(now: Instant, entry: &Trusted) -> bool {
    now.saturating_since(entry.last_rx) <= PEER_FRESH
}

fn source_prefix(header: &Ipv6Header) -> SourcePrefix {
    let mut prefix = SourcePrefix::default();
    prefix.copy_from_slice(&header.source[..8]);
    prefix
}

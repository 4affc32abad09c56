//! PROTOCOL 3.2: native IPv6 towards a client.

use std::collections::btree_map::Entry;

use super::addresses::{client, in_6to4, in_isatap, is_multicast, is_no_host, is_teredo, server};
use super::bytes::{address_at, u16_at};
use super::headers::may_be_error;
use super::state::{Probing, tunnelled};
use super::{Arrival, Effect, Ended, Eyes, Outcome, State, WAITS};
use crate::case::{PROBE_NS, STALE_NS, TICK_NS, is_fresh_to_the_tick};

/// As much of a packet as an error of 1280 bytes has room for.
const QUOTE_MAX: usize = 1232;

impl Arrival<'_> {
    pub(super) fn enter_tunnel(
        &self,
        state: &mut State,
        data: &[u8],
        outcome: &mut Outcome,
    ) -> Result<Ended, Ended> {
        if data.len() < 40 || data[0] >> 4 != 6 || !self.is_to_port {
            return Err("NotOurs");
        }
        let (s, d) = (address_at(data, 8), address_at(data, 24));
        if !is_teredo(&d) {
            return Err("NotOurs");
        }
        let len = 40 + usize::from(u16_at(data, 4));
        let (mapped, server) = (client(&d), server(&d));
        let entry = state.trusted.get(&d).copied();
        // What a link pads is no part of the packet.
        let packet = &data[..len.min(data.len())];
        let hop_limit = data[7];

        for (is_so, excuse) in [
            (
                in_6to4(&s).or(in_isatap(&s)).is_some(),
                "PuntEmbeddedAddress",
            ),
            (len > self.rules.mtu, "PuntPacketTooBig"),
            (hop_limit <= 1, "PuntHopLimitExceeded"),
            (entry.is_none(), "PuntPeerUnknown"),
            (
                entry.is_some_and(|e| !is_fresh_to_the_tick(self.now_ns, e.heard_ns)),
                "PuntPeerStale",
            ),
        ] {
            if is_so {
                outcome.excuses.push(excuse);
            }
        }

        for (is_so, reason) in [
            //
            (len > data.len(), "InnerTruncated"),
            (is_multicast(&s) || is_no_host(&s), "SourceNotGlobal"),
            (is_teredo(&s), "SourceTeredo"),
            (!self.serves_native(&s), "NativeDenied"),
            (
                in_6to4(&s)
                    .or(in_isatap(&s))
                    .is_some_and(|ip| self.is_own(ip)),
                "SourceEmbedsOwnAddress",
            ),
            (len == 40 && data[6] != 59, "JumbogramForm"),
            (!self.serves_client(mapped.0), "ClientDenied"),
            (!self.serves_server(server), "ServerDenied"),
            (!self.is_global(mapped.0), "MappedAddressNotGlobal"),
            (!self.is_global(server), "ServerAddressNotGlobal"),
            (mapped.1 == 0, "MappedPortZero"),
            (self.is_own(mapped.0), "MappedAddressOwn"),
            (self.is_own(server), "ServerAddressOwn"),
        ] {
            if is_so {
                return Err(reason);
            }
        }
        //
        if len > self.rules.mtu {
            let mtu = u32::try_from(self.rules.mtu).expect("at most 65535");
            error(outcome, packet, (2, 0), mtu);
            return Err("PacketTooBig");
        }
        if hop_limit <= 1 {
            error(outcome, packet, (3, 0), 0);
            return Err("HopLimitExceeded");
        }
        if entry.is_some_and(|entry| !self.serves_client(entry.mapped.0)) {
            return Err("ClientDenied");
        }
        //
        if let Some(entry) = entry {
            let silence_ns = self.now_ns - entry.heard_ns;
            if silence_ns <= STALE_NS {
                outcome
                    .effects
                    .push(tunnelled(entry.mapped, packet.to_vec()));
                outcome.wants_probe = silence_ns >= PROBE_NS;
                let may_probe = self.rules.has_room() && self.rules.may_bubble();
                if outcome.wants_probe && may_probe && !state.probing.contains_key(&d) {
                    outcome.effects.push(Effect::Bubble { server, client: d });
                    let early = Probing {
                        is_early: true,
                        ..Probing::default()
                    };
                    state.probing.insert(d, early);
                }
                return Ok("Encapsulated");
            }
        }
        self.wait(state, d, entry.is_none(), packet, outcome)
    }

    /// 3.8: the first row but TRUSTED.
    fn wait(
        &self,
        state: &mut State,
        peer: [u8; 16],
        is_new: bool,
        packet: &[u8],
        outcome: &mut Outcome,
    ) -> Result<Ended, Ended> {
        let waiting = match state.probing.entry(peer) {
            Entry::Occupied(probing) => probing.into_mut(),
            Entry::Vacant(place) => {
                for (is_so, reason) in [
                    (!self.rules.has_room(), "PeerTableFull"),
                    (is_new && !self.rules.may_add(), "NewPeerRateExceeded"),
                    (!self.rules.may_bubble(), "BubbleRateExceeded"),
                ] {
                    if is_so && self.eyes == Eyes::All {
                        return Err(reason);
                    }
                }
                let (server, client) = (server(&peer), peer);
                outcome.effects.push(Effect::Bubble { server, client });
                place.insert(Probing::default())
            }
        };
        waiting.is_early = false;
        let bytes: usize = waiting.queue.iter().map(Vec::len).sum();
        if waiting.queue.len() >= self.rules.queue_packets
            || bytes + packet.len() > self.rules.queue_bytes
        {
            return Err("PeerQueueFull");
        }
        waiting.queue.push(packet.to_vec());
        Ok(WAITS)
    }
}

fn error(outcome: &mut Outcome, packet: &[u8], (kind, code): (u8, u8), parameter: u32) {
    if may_be_error(packet) {
        return;
    }
    outcome.effects.push(Effect::Error {
        to: address_at(packet, 8),
        kind,
        code,
        parameter,
        quote: packet[..packet.len().min(QUOTE_MAX)].to_vec(),
    });
}

const _: () = assert!(PROBE_NS + TICK_NS < STALE_NS);

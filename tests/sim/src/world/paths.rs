//! The links: how long a packet takes, what becomes of it on its way, and whom it reaches.

use std::time::Duration;

use teredo::addr::{Mapped, SERVER_PORT, TeredoAddr};
use teredo::wire::icmp6::{Echo, EchoKind};
use teredo::wire::ipv6;

use super::event::Event;
use super::{ClientNode, World, host_ip};
use crate::net::{Crossing, Output, delay};
use crate::packet::{self, Tag};
use crate::server::{PlainServer, TeredoServer};

impl World {
    pub(super) fn launch_v4(&mut self, from: Mapped, to: Mapped, payload: Vec<u8>) {
        let pause = delay(
            self.plan.seed,
            from.ip.to_bits().into(),
            to.ip.to_bits().into(),
        );
        let inner = teredo::wire::payload::parse(&payload).ok();
        let tag = inner.and_then(|inner| packet::tag(inner.packet));
        self.launch(pause, tag, Event::V4 { from, to, payload });
    }

    /// Native routing: one hop less, over a path that depends on both ends alone.
    pub(super) fn launch_v6(&mut self, mut packet: Vec<u8>) {
        let Ok((header, ..)) = ipv6::parse(&packet) else {
            return;
        };
        if header.hop_limit <= 1 {
            return;
        }
        let place = |addr: &[u8; 16]| u64::from(addr[15]) ^ u64::from(addr[7]) << 32;
        let pause = delay(
            self.plan.seed,
            place(&header.source),
            place(&header.destination),
        );
        let tag = packet::tag(&packet);
        packet[7] -= 1;
        self.launch(pause, tag, Event::V6(packet));
    }

    fn launch(&mut self, pause: Duration, tag: Option<Tag>, event: Event) {
        let crossing = self.weather.cross(&mut self.rng);
        let doubled = matches!(crossing, Crossing::Twice(..));
        if let Some(tag) = tag {
            self.observer.crosses(tag, doubled);
        }
        let arrival = self.now + pause;
        match crossing {
            Crossing::Lost => {}
            Crossing::Once(late) => self.at(arrival + late, event),
            Crossing::Twice(first, second) => {
                self.at(arrival + first, event.clone());
                self.at(arrival + second, event);
            }
        }
    }

    pub(super) fn v4_arrives(&mut self, from: Mapped, to: Mapped, payload: &[u8]) {
        if self.cut_off == Some(to.ip) || self.cut_off == Some(from.ip) {
            return;
        }
        let relay = self
            .relays
            .iter()
            .position(|relay| relay.setup.service == to);
        if let Some(i) = relay {
            self.observer.relay_hears(i, from, payload);
            return self.relay(i, |relay, now, out| {
                relay.from_client(now, from, payload, out);
            });
        }
        let is_server = |server: &&mut PlainServer| {
            to.port == SERVER_PORT && (to.ip == server.primary || to.ip == server.secondary())
        };
        if let Some(server) = self.servers.iter_mut().find(is_server) {
            let mut out = Vec::new();
            server.receive(to.ip, from, payload, &mut out);
            for output in out {
                match output {
                    Output::V4 { from, to, payload } => {
                        self.observer.sends_to(to.ip);
                        self.launch_v4(from, to, payload);
                    }
                    Output::V6(packet) => self.launch_v6(packet),
                }
            }
            return;
        }
        if let Some(i) = self.enters_nats(from, to) {
            self.client(i, |client, now, out| {
                client.receive(now, from, payload, out);
            });
        }
    }

    /// The source a datagram of client `i` to `to` has on the internet.
    pub(super) fn leaves_nats(&mut self, i: usize, to: Mapped) -> Option<Mapped> {
        let node = &mut self.clients[i];
        let from = node.nat.outbound(self.now, node.local, to)?;
        match node.carrier {
            Some(carrier) => self.carriers[carrier].outbound(self.now, from, to),
            None => Some(from),
        }
    }

    /// The client a datagram from `from` to `to` gets through to.
    fn enters_nats(&self, from: Mapped, to: Mapped) -> Option<usize> {
        let carrier = self.carriers.iter().position(|nat| nat.ip() == to.ip);
        let to = match carrier {
            Some(carrier) => self.carriers[carrier].inbound(self.now, from, to.port)?,
            None => to,
        };
        let is_there = |node: &ClientNode| node.carrier == carrier && node.nat.ip() == to.ip;
        let i = self.clients.iter().position(is_there)?;
        let local = self.clients[i].nat.inbound(self.now, from, to.port)?;
        (local == self.clients[i].local).then_some(i)
    }

    pub(super) fn v6_arrives(&mut self, packet: &[u8]) {
        let Ok((header, body, _)) = ipv6::parse(packet) else {
            return;
        };
        let host =
            |addr: &[u8; 16]| (0..self.nearest.len()).find(|i| host_ip(*i).octets() == *addr);
        if TeredoAddr::is_teredo(&header.destination) {
            // From elsewhere than a host: the relay is one the region of the source has.
            let region = usize::from(header.source[15] ^ header.source[7]);
            let nearest = host(&header.source).map(|i| self.nearest[i]);
            let i = nearest.unwrap_or(region % self.relays.len());
            return self.relay(i, |relay, now, out| relay.from_native(now, packet, out));
        }
        if host(&header.destination).is_none() {
            return;
        }
        if let Some(tag) = packet::tag(packet) {
            self.observer.arrives(tag);
        }
        let request = Echo::parse(header, body).filter(|echo| echo.kind == EchoKind::Request);
        let reply = request.and_then(|request| {
            let reply = Echo {
                kind: EchoKind::Reply,
                ..request
            };
            reply.build(header.destination, header.source, 64)
        });
        if let Some(reply) = reply {
            self.launch_v6(reply);
        }
    }
}

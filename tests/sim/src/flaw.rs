//! Relays with one mistake each: what the properties are for must be seen by them.

use std::time::Duration;

use teredo::Instant;
use teredo::addr::{Mapped, SERVER_PORT, TeredoAddr};
use teredo::wire::ipv6;

use crate::net::Output;
use crate::packet;
use crate::relay::{Held, RelayNode};

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Sends data twice.
    Doubles,
    /// Sends the packets of a queue last first.
    Reverses,
    /// Loses every tenth data packet.
    Forgets,
    /// Sends a bubble again 1 s after each.
    BubblesTooSoon,
    /// Goes on bubbling every 3 s for ever.
    BubblesForEver,
    /// Sends a thousand bubbles to the peer's server, each for another peer.
    FloodsServers,
    /// Sends a datagram to 10.0.0.1 for each new peer.
    SendsToPrivate,
    /// Never frees what it queued.
    Hoards,
    /// Does not serve anybody once it was restarted.
    StaysDead,
    /// Hands on what comes from anybody.
    TrustsAnybody,
    /// Routes Teredo to Teredo back to IPv6.
    Loops,
}

impl Flaw {
    /// Every mistake.
    pub const ALL: [Self; 11] = [
        Self::Doubles,
        Self::Reverses,
        Self::Forgets,
        Self::BubblesTooSoon,
        Self::BubblesForEver,
        Self::FloodsServers,
        Self::SendsToPrivate,
        Self::Hoards,
        Self::StaysDead,
        Self::TrustsAnybody,
        Self::Loops,
    ];
}

/// A relay that makes one mistake.
pub struct Flawed<R> {
    relay: R,
    flaw: Flaw,
    count: u64,
    /// Bytes of native packets.
    taken: usize,
    is_dead: bool,
    /// A bubble to be sent again.
    again: Option<(Instant, Output)>,
}

impl<R: RelayNode> Flawed<R> {
    /// `relay`, which from now on makes the mistake `flaw`.
    pub const fn new(relay: R, flaw: Flaw) -> Self {
        Self {
            relay,
            flaw,
            count: 0,
            taken: 0,
            is_dead: false,
            again: None,
        }
    }

    fn spoil(&mut self, now: Instant, out: &mut Vec<Output>) {
        let is_data = |output: &Output| match output {
            Output::V4 { payload, .. } => packet::tag(payload).is_some(),
            Output::V6(packet) => packet::tag(packet).is_some(),
        };
        let bubble = out.iter().find(|output| is_bubble(output)).cloned();
        match self.flaw {
            Flaw::Doubles => {
                let again: Vec<_> = out
                    .iter()
                    .filter(|output| is_data(output))
                    .cloned()
                    .collect();
                out.extend(again);
            }
            Flaw::Reverses => out.reverse(),
            Flaw::Forgets => out.retain(|output| {
                self.count += u64::from(is_data(output));
                !is_data(output) || !self.count.is_multiple_of(10)
            }),
            Flaw::BubblesTooSoon | Flaw::BubblesForEver => {
                let pause = if self.flaw == Flaw::BubblesForEver {
                    3
                } else {
                    1
                };
                if let Some(bubble) = bubble {
                    self.again = Some((now + Duration::from_secs(pause), bubble));
                }
            }
            Flaw::FloodsServers => {
                if let Some(Output::V4 { from, to, payload }) = bubble {
                    for n in 0..30_000_u32 {
                        let mut payload = payload.clone();
                        payload[36..40].copy_from_slice(&(!(0x0b00_0000 + n)).to_be_bytes());
                        out.push(Output::V4 { from, to, payload });
                    }
                }
            }
            Flaw::SendsToPrivate => {
                if let Some(Output::V4 { from, payload, .. }) = bubble {
                    let ip = [10, 0, 0, 1].into();
                    let to = Mapped { ip, port: 3544 };
                    out.push(Output::V4 { from, to, payload });
                }
            }
            Flaw::Hoards | Flaw::StaysDead | Flaw::TrustsAnybody | Flaw::Loops => {}
        }
        if self.is_dead {
            out.clear();
        }
    }
}

fn is_bubble(output: &Output) -> bool {
    match output {
        Output::V4 { to, payload, .. } => {
            to.port == SERVER_PORT
                && ipv6::parse(payload).is_ok_and(|(header, ..)| header.is_bubble())
        }
        Output::V6(_) => false,
    }
}

impl<R: RelayNode> RelayNode for Flawed<R> {
    fn from_native(&mut self, now: Instant, packet: &[u8], out: &mut Vec<Output>) {
        self.taken += packet.len();
        self.relay.from_native(now, packet, out);
        let source = ipv6::parse(packet).map(|(header, ..)| header.source);
        if self.flaw == Flaw::Loops && source.is_ok_and(|source| TeredoAddr::is_teredo(&source)) {
            out.push(Output::V6(packet.to_vec()));
        }
        self.spoil(now, out);
    }

    fn from_client(&mut self, now: Instant, from: Mapped, payload: &[u8], out: &mut Vec<Output>) {
        self.relay.from_client(now, from, payload, out);
        let inner = ipv6::parse(payload).ok().map(|(header, ..)| *header);
        let is_unserved = out.is_empty() && packet::tag(payload).is_some();
        if let Some(header) = inner.filter(|_| is_unserved) {
            let is_teredo = TeredoAddr::is_teredo(&header.destination);
            if self.flaw == Flaw::TrustsAnybody && !is_teredo
                || self.flaw == Flaw::Loops && is_teredo
            {
                out.push(Output::V6(payload.to_vec()));
            }
        }
        self.spoil(now, out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let again = self.again.as_ref().map(|(at, _)| *at);
        self.relay.poll_timeout().into_iter().chain(again).min()
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Output>) {
        if let Some((at, bubble)) = self.again.take() {
            if at <= now {
                out.push(bubble);
            } else {
                self.again = Some((at, bubble));
            }
        }
        let mut more = Vec::new();
        self.relay.handle_timeout(now, &mut more);
        out.append(&mut more);
        self.spoil(now, out);
    }

    fn restart(&mut self, keeps_table: bool) {
        self.is_dead = self.flaw == Flaw::StaysDead;
        self.relay.restart(keeps_table);
    }

    fn held(&self) -> Held {
        let held = self.relay.held();
        if self.flaw == Flaw::Hoards {
            return Held {
                queued_bytes: held.queued_bytes + self.taken,
                ..held
            };
        }
        held
    }
}

//! The userspace relay: its front end for frames and its state machine, over a table of its own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::Duration;

use relay_common::Reason;
use relay_user::slowpath::frame;
use teredo::Instant;
use teredo::addr::{Mapped, TeredoAddr};
use teredo::relay::{
    Access, AccessList, Command, Config, Hop, Icmp6Error, Ipv4Net, Ipv6Net, Limits, Relay, Trusted,
    UdpKind,
};

use crate::case::{Rules, Served, TICK_NS};
use crate::reference::{Effect, Entry, State, WAITS};

/// More than any case asks for.
const PLENTY: u32 = 1_000_000;

/// What the relay sent to a server to reach a client.
pub(crate) struct SentBubble {
    pub(crate) client: [u8; 16],
    pub(crate) cookie: [u8; 16],
    pub(crate) nonce: Option<[u8; 4]>,
}

/// What became of one frame.
pub(crate) struct Turn {
    pub(crate) reason: &'static str,
    pub(crate) effects: Vec<Effect>,
    pub(crate) bubbles: Vec<SentBubble>,
}

/// Whom the relay serves by these rules.
pub(crate) fn access(rules: &Rules) -> Access {
    let ipv4 = |list: &[Served<u32>], wanted: bool| {
        list.iter()
            .filter(|(.., is_served)| *is_served == wanted)
            .map(|(ip, len, _)| Ipv4Net::new(Ipv4Addr::from(*ip), *len).expect("at most 32"))
            .collect::<Vec<_>>()
    };
    let ipv6 = |list: &[Served<u128>], wanted: bool| {
        list.iter()
            .filter(|(.., is_served)| *is_served == wanted)
            .map(|(ip, len, _)| Ipv6Net::new(Ipv6Addr::from(*ip), *len).expect("at most 128"))
            .collect::<Vec<_>>()
    };
    let of_ipv4 = |list: &[Served<u32>]| AccessList::of_ipv4(&ipv4(list, true), &ipv4(list, false));
    Access {
        native: AccessList::of_ipv6(&ipv6(&rules.natives, true), &ipv6(&rules.natives, false)),
        clients: of_ipv4(&rules.clients),
        servers: of_ipv4(&rules.servers),
    }
}

/// A relay without a past.
pub(crate) struct Slow {
    relay: Relay<BTreeMap<TeredoAddr, Trusted>>,
    /// Packets that reached the state machine.
    fed: u64,
}

impl Slow {
    pub(crate) fn new(rules: &Rules) -> Self {
        let service = SocketAddrV4::new(rules.service.0.into(), rules.service.1);
        let nets = rules.opened.iter().map(|(prefix, len)| {
            let len = u8::try_from(*len).expect("at most 32");
            Ipv4Net::new(Ipv4Addr::from(*prefix), len).expect("at most 32")
        });
        let config = Config {
            tunnel_mtu: u16::try_from(rules.mtu).expect("an MTU"),
            allow_non_global: nets.collect(),
            nonce_trailer: rules.has_nonces(),
            access: access(rules),
            limits: Limits {
                pending_peers: if rules.has_room() { 1024 } else { 0 },
                new_peers_per_s: if rules.may_add() { PLENTY } else { 0 },
                new_peers_burst: PLENTY,
                server_bubbles_per_s: PLENTY,
                server_bubbles_burst: if rules.may_bubble() { PLENTY } else { 0 },
                queue_packets_per_peer: rules.queue_packets,
                queue_bytes_per_peer: rules.queue_bytes,
                icmp6_per_s: PLENTY,
                icmp6_burst: PLENTY,
                cookie_epoch: Duration::from_mins(5),
                ..Limits::default()
            },
            ..Config::new(service)
        };
        let mut relay = Relay::new(config, BTreeMap::new(), [7; 32]);
        let addresses = |of: &[u32]| of.iter().map(|ip| Ipv4Addr::from(*ip)).collect::<Vec<_>>();
        relay.set_own_ipv4(&addresses(&rules.own), &addresses(&rules.broadcasts));
        Self { relay, fed: 0 }
    }

    pub(crate) fn trust(&mut self, peer: [u8; 16], entry: Entry) {
        let trusted = Trusted {
            mapped: Mapped {
                ip: entry.mapped.0.into(),
                port: entry.mapped.1,
            },
            last_rx: Instant::from_nanos(entry.heard_ns),
        };
        let peer = TeredoAddr::from_octets(&peer).expect("peers are in 2001::/32");
        self.relay.table_mut().insert(peer, trusted);
    }

    /// Takes a frame as it was punted.
    pub(crate) fn take(&mut self, now_ns: u64, bytes: &[u8]) -> Turn {
        let now = Instant::from_nanos(now_ns);
        let reason = match frame::read(bytes) {
            Err(reason) => reason.as_str(),
            Ok(frame) => {
                self.fed += 1;
                let fate = match frame {
                    frame::Frame::Native(packet) => {
                        self.relay.from_native(now, packet, Hop::Pending)
                    }
                    frame::Frame::Client {
                        source,
                        tos,
                        payload,
                    } => Some(self.relay.from_client(now, source, tos, payload)),
                };
                fate.map_or(WAITS, |fate| Reason::from(fate).as_str())
            }
        };
        let mut turn = Turn {
            reason,
            effects: Vec::new(),
            bubbles: Vec::new(),
        };
        while let Some(command) = self.relay.poll() {
            turn.note(&command);
        }
        turn
    }

    /// Whether the table says what `state` says, to the tick.
    pub(crate) fn table_is(&self, state: &State) -> bool {
        let table = self.relay.table();
        table.len() == state.trusted.len()
            && table.iter().zip(&state.trusted).all(|(is, should)| {
                is.0.octets() == *should.0
                    && (u32::from(is.1.mapped.ip), is.1.mapped.port) == should.1.mapped
                    && is.1.last_rx.as_nanos() / TICK_NS == should.1.heard_ns / TICK_NS
            })
    }

    /// Invariant 4: what was fed is counted or waits.
    pub(crate) fn adds_up(&self) -> bool {
        let waiting = self.relay.gauges().queued_packets as u64;
        self.relay.tally().total().packets + waiting == self.fed
    }
}

impl Turn {
    fn note(&mut self, command: &Command<'_>) {
        let effect = match *command {
            Command::Forward { packet } => Effect::Native(packet.to_vec()),
            Command::Icmp6 { to, error, quote } => {
                let (kind, code, parameter) = match error {
                    Icmp6Error::PacketTooBig { mtu } => (2, 0, mtu),
                    Icmp6Error::HopLimitExceeded => (3, 0, 0),
                    Icmp6Error::AddressUnreachable => (1, 3, 0),
                };
                let (to, quote) = (to.octets(), quote.to_vec());
                Effect::Error {
                    to,
                    kind,
                    code,
                    parameter,
                    quote,
                }
            }
            Command::SendUdp {
                to,
                tos,
                payload,
                kind,
            } => self.datagram((to.ip.into(), to.port), tos, payload, kind),
        };
        self.effects.push(effect);
    }

    fn datagram(&mut self, to: (u32, u16), tos: u8, payload: &[u8], kind: UdpKind) -> Effect {
        let mut payload = payload.to_vec();
        if kind == UdpKind::Bubble {
            // 2.5: 64 or 255, as the relay likes.
            assert!(matches!(payload[7], 64 | 255), "{payload:02x?}");
            payload[7] = 0;
            if let Some(bubble) = indirect_bubble(&payload)
                && to.1 == 3544
                && tos == 0
            {
                let client = bubble.client;
                self.bubbles.push(bubble);
                return Effect::Bubble {
                    server: to.0,
                    client,
                };
            }
        }
        Effect::Datagram { to, tos, payload }
    }
}

/// A bubble from a link-local cookie, with a nonce or without, and nothing else in it.
fn indirect_bubble(payload: &[u8]) -> Option<SentBubble> {
    let (header, tail) = payload.split_at_checked(40)?;
    let is_cookie =
        header[8..16] == [0xfe, 0x80, 0, 0, 0, 0, 0, 0] && header[16].trailing_zeros() >= 2;
    if header[..8] != [0x60, 0, 0, 0, 0, 0, 59, 0] || !is_cookie {
        return None;
    }
    let nonce = match *tail {
        [] => None,
        [1, 4, a, b, c, d] => Some([a, b, c, d]),
        _ => return None,
    };
    Some(SentBubble {
        client: header[24..].try_into().ok()?,
        cookie: header[8..24].try_into().ok()?,
        nonce,
    })
}

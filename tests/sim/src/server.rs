//! Teredo servers (PROTOCOL 4).

use std::net::Ipv4Addr;

use teredo::addr::{Mapped, SERVER_PORT, ServerV4, TeredoAddr};
use teredo::wire::auth::Auth;
use teredo::wire::icmp6::Echo;
use teredo::wire::origin::Origin;
use teredo::wire::payload;
use teredo::wire::rs_ra::{RouterAdvertisement, RouterSolicitation};

use crate::net::{Output, may_be_sent_to};

/// A stateless Teredo server as the world sees it.
pub trait TeredoServer {
    /// Takes a datagram that came from `from` to address `to` of the server.
    fn receive(&mut self, to: Ipv4Addr, from: Mapped, payload: &[u8], out: &mut Vec<Output>);
}

/// Largest ICMPv6 message forwarded (S-14).
const ICMP6_MAX: usize = 88;

/// Rules S-3 to S-16, without secure qualification.
#[derive(Clone, Copy, Debug)]
pub struct PlainServer {
    /// P of S-1; Q is the next address.
    pub primary: Ipv4Addr,
}

impl PlainServer {
    /// Q.
    pub const fn secondary(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.primary.to_bits() + 1)
    }

    fn is_own(self, ip: Ipv4Addr) -> bool {
        ip == self.primary || ip == self.secondary()
    }

    fn solicited(
        self,
        to: Ipv4Addr,
        from: Mapped,
        received: &payload::Payload<'_>,
    ) -> Option<Output> {
        let solicitation = RouterSolicitation::parse(received.header, received.body).ok()?;
        let leaves_from = match (solicitation.cone(), to == self.primary) {
            (false, _) => to,
            (true, true) => self.secondary(),
            (true, false) => self.primary,
        };
        let answer =
            RouterAdvertisement::answer(&solicitation, ServerV4(self.primary), Some(1280)).build();
        let auth = received.auth.map(|auth| Auth::with_nonce(auth.nonce));
        let origin = Origin { mapped: from };
        Some(Output::V4 {
            from: Mapped {
                ip: leaves_from,
                port: SERVER_PORT,
            },
            to: from,
            payload: payload::build(auth.as_ref(), Some(&origin), &answer),
        })
    }
}

impl TeredoServer for PlainServer {
    fn receive(&mut self, to: Ipv4Addr, from: Mapped, datagram: &[u8], out: &mut Vec<Output>) {
        let Ok(received) = payload::parse(datagram) else {
            return;
        };
        let header = received.header;
        if !may_be_sent_to(from.ip) || self.is_own(from.ip) {
            return;
        }
        if let Some(answer) = self.solicited(to, from, &received) {
            out.push(answer);
            return;
        }
        let echo = Echo::parse(header, received.body)
            .filter(|_| usize::from(header.payload_len()) <= ICMP6_MAX);
        if !header.is_bubble() && echo.is_none() {
            return;
        }
        let source = TeredoAddr::from_octets(&header.source);
        let client = TeredoAddr::from_octets(&header.destination);
        let is_mine = |addr: TeredoAddr| addr.server().0 == self.primary;
        let accepted = match source {
            Some(source) => source.mapped() == from,
            None => client.is_some_and(is_mine),
        };
        if !accepted {
            return;
        }
        let Some(client) = client else {
            if header.destination[0] >> 5 == 1 {
                out.push(Output::V6(received.packet.to_vec()));
            }
            return;
        };
        let target = client.mapped();
        if !may_be_sent_to(target.ip) || self.is_own(target.ip) || target.port == 0 {
            return;
        }
        let origin = Origin { mapped: from };
        let mut forwarded =
            payload::build(None, is_mine(client).then_some(&origin), received.packet);
        forwarded.extend_from_slice(received.tail);
        out.push(Output::V4 {
            from: Mapped {
                ip: self.primary,
                port: SERVER_PORT,
            },
            to: target,
            payload: forwarded,
        });
    }
}

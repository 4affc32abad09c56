//! What the server accepts, and where it sends it (S-3, S-5 to S-9, S-13 to S-16).

use super::command::Local;
use super::{Order, Server};
use crate::addr::{Mapped, ServerV4, TeredoAddr};
use crate::filter::{self, Embedded};
use crate::wire::ipv6::{self, Ipv6Header};
use crate::wire::origin::Origin;
use crate::wire::payload::Payload;
use crate::wire::rs_ra;
use crate::{Fate, Instant};

/// Byte of the hop limit in an IPv6 header.
const HOP_LIMIT_OFFSET: usize = 7;

impl Server {
    /// S-3 and S-5 to S-15.
    pub(super) fn dispose(
        &mut self,
        now: Instant,
        at: Local,
        outer: Mapped,
        received: &Payload<'_>,
    ) -> Result<Order, Fate> {
        let header = received.header;
        if !header.is_bubble() && header.next_header != ipv6::ICMP6 {
            return Err(Fate::NotBubbleNorIcmp6);
        }
        if header.destination == rs_ra::ALL_ROUTERS || header.destination == self.link_local {
            if rs_ra::is_solicitation(header, received.body) {
                return self.advertise(now, at, outer, received);
            }
            return Err(Fate::ServerAddressed);
        }
        filter::server_source(header, outer, ServerV4(self.config.primary))?;
        let client = TeredoAddr::from_octets(&header.destination);
        if client.is_none() {
            self.judge_native(header)?;
        }
        filter::server_content(header, received.body.first().copied(), client.is_none())?;
        match client {
            Some(client) => self.forward_to_client(now, outer, &client, received),
            None => self.forward_to_native(now, outer, received),
        }
    }

    /// S-13, and what another tunnel router of this machine would make of it.
    fn judge_native(&self, header: &Ipv6Header) -> Result<(), Fate> {
        let forbidden = match filter::client_destination(&header.destination)? {
            Embedded::None => false,
            Embedded::SixToFour(ip) => !self.hosts.may_send(ip),
            Embedded::Isatap(ip) => self.hosts.is_own(ip),
        };
        if forbidden {
            return Err(Fate::DestinationEmbedsForbiddenAddress);
        }
        Ok(())
    }

    /// S-15. Headers of others go no further, trailers do (S-18).
    fn forward_to_client(
        &mut self,
        now: Instant,
        outer: Mapped,
        client: &TeredoAddr,
        received: &Payload<'_>,
    ) -> Result<Order, Fate> {
        if received.tail.len() > filter::SERVER_TRAILERS_MAX_LEN {
            return Err(Fate::TrailersTooLong);
        }
        let to = client.mapped();
        if !self.hosts.is_global(to.ip) {
            return Err(Fate::MappedAddressNotGlobal);
        }
        if to.port == 0 {
            return Err(Fate::MappedPortZero);
        }
        if self.hosts.is_own(to.ip) {
            return Err(Fate::MappedAddressOwn);
        }
        if !self.sources.take_or_take_over(now, outer.ip) {
            return Err(Fate::OuterSourceRateExceeded);
        }
        if !self.targets.take_or_take_over(now, to.ip) {
            return Err(Fate::TargetRateExceeded);
        }
        if client.server().0 == self.config.primary {
            let origin = Origin { mapped: outer };
            self.out.extend_from_slice(&origin.to_bytes());
        }
        self.out.extend_from_slice(received.packet);
        self.out.extend_from_slice(received.tail);
        Ok(Order::ToClient { to })
    }

    /// S-14. The server is a router here: the hop limit goes down by one. No client takes more of what all of them share than
    /// it may get itself.
    fn forward_to_native(
        &mut self,
        now: Instant,
        outer: Mapped,
        received: &Payload<'_>,
    ) -> Result<Order, Fate> {
        if !self.targets.take_or_take_over(now, outer.ip) {
            return Err(Fate::TargetRateExceeded);
        }
        if !self.native.take(now) {
            return Err(Fate::NativeRateExceeded);
        }
        let hop_limit = match received.header.hop_limit {
            0 | 1 => return Err(Fate::HopLimitExceeded),
            n => n - 1,
        };
        self.out.extend_from_slice(received.packet);
        if let Some(byte) = self.out.get_mut(HOP_LIMIT_OFFSET) {
            *byte = hop_limit;
        }
        Ok(Order::ToNative)
    }
}

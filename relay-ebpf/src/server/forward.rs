//! Bubbles and small ICMPv6 sent on to a client (S-6, S-7, S-13 to S-16).

use relay_common::{KeyWords, MappedWord, Reason};
use teredo::addr::SERVER_PORT;
use teredo::filter;
use teredo::wire::checksum::{self, Sum};
use teredo::wire::ipv6;
use zerocopy::{FromBytes, IntoBytes, KnownLayout, Unaligned};

use super::headers::ORIGIN_LEN;
use super::{
    BUBBLE, ICMP6_MAX_LEN, REDIRECT, ROUTER_SOLICITATION, Received, accept, is_of_client, is_own,
    may_be_sent_to, rates, server_of, socket,
};
use crate::frame::{self, Frame, LinkHeader};
use crate::nexthop::NextHop;
use crate::outer::{self, Outer, UdpHeader};
use crate::{Carried, config};

/// A packet on its way to a client, decided and not written yet.
pub(super) struct Leaving {
    next: NextHop,
    outer: Outer,
    /// The origin indication in front of the packet, for a client of this server.
    origin: Option<u64>,
    /// Where the inner packet begins in the frame received.
    start: usize,
    /// Bytes from there on: the packet and its trailers.
    rest_len: usize,
    /// Bytes of the packet.
    packet_len: usize,
}

/// An origin indication (2.2) as it lies in memory.
#[inline(always)]
pub(super) fn origin(of: MappedWord) -> u64 {
    u64::from(!of.port()) << 16 | u64::from(!of.ip()) << 32
}

/// Judges a packet that is not for the server itself. `message` is its ICMPv6 type, or [`BUBBLE`].
///
/// # Errors
/// The reason for which it is dropped, or [`Reason::PassToServer`].
#[inline(always)]
pub(super) fn judge(
    frame: &Frame,
    outer: &Outer,
    received: &Received<'_>,
    message: u8,
) -> Result<Leaving, Reason> {
    let Received {
        inner,
        from,
        start,
        port,
        rest_len,
        ..
    } = *received;
    accept(received)?;
    is_of_client(&inner.destination)?;
    if message != BUBBLE {
        if inner.payload_len() > ICMP6_MAX_LEN {
            return Err(Reason::Icmp6TooLarge);
        }
        if (ROUTER_SOLICITATION..=REDIRECT).contains(&message) {
            return Err(Reason::Icmp6NotCarried);
        }
    }
    if rest_len > inner.packet_len() + filter::SERVER_TRAILERS_MAX_LEN {
        return Err(Reason::TrailersTooLong);
    }
    let target = KeyWords::of_address(zerocopy::transmute!(inner.destination)).embedded();
    if !may_be_sent_to(target.ip()) {
        return Err(Reason::MappedAddressNotGlobal);
    }
    if target.port() == 0 {
        return Err(Reason::MappedPortZero);
    }
    if is_own(target.ip()) {
        return Err(Reason::MappedAddressOwn);
    }
    let origin = (server_of(&inner.destination) == config::server_primary()).then(|| origin(from));
    let payload_len = rest_len + if origin.is_some() { ORIGIN_LEN } else { 0 };
    let ends = [
        socket(config::server_primary(), SERVER_PORT.to_be()),
        target,
    ];
    let udp_checksum = match sum_of_rest(frame, outer, received)? {
        None => 0,
        Some(rest) => udp_checksum(ends, payload_len, origin, rest),
    };
    let len = payload_len + outer::LEN;
    let next =
        NextHop::of_server(frame, port, ends[0], target, len).map_err(|_| Reason::PassToServer)?;
    rates::from_source(from.ip())?;
    rates::to_target(target.ip())?;
    Ok(Leaving {
        next,
        outer: Outer::new(
            Reason::ForwardedToClient,
            0,
            payload_len,
            ends,
            udp_checksum,
        ),
        origin,
        start,
        rest_len,
        packet_len: inner.packet_len(),
    })
}

/// What the packet and its trailers sum to, by the checksum they came with. `None`: they came without.
///
/// A datagram that arrives damaged leaves damaged by as much: nothing is hidden, and no byte of it is looked at.
#[inline(always)]
fn sum_of_rest(
    frame: &Frame,
    outer: &Outer,
    received: &Received<'_>,
) -> Result<Option<u16>, Reason> {
    let udp = outer.udp;
    let checksum = u16::from_be(udp.checksum);
    if checksum == 0 {
        return Ok(None);
    }
    let udp_len = u16::from_be(udp.len);
    // With its checksum everything sums to zero: what is left is minus all that is known.
    let rest = received
        .headers
        .sum(frame, received.payload)
        .ok_or(Reason::PassToServer)?
        .add_u16(checksum)
        .add_u32(u32::from_be(outer.ipv4.source))
        .add_u32(u32::from_be(outer.ipv4.destination))
        .add_u16(ipv6::UDP.into())
        .add_u16(udp_len)
        .add_u16(u16::from_be(udp.source))
        .add_u16(u16::from_be(udp.destination))
        .add_u16(udp_len)
        .finish();
    // Behind thirteen bytes upper halves stood in lower ones.
    Ok(Some(if received.headers.has_auth {
        rest.swap_bytes()
    } else {
        rest
    }))
}

/// The checksum of the datagram that leaves, of whose payload `rest` is the sum behind the origin.
#[inline(always)]
fn udp_checksum(
    [source, target]: [MappedWord; 2],
    payload_len: usize,
    origin: Option<u64>,
    rest: u16,
) -> u16 {
    let udp_len = (payload_len + UdpHeader::LEN) as u16;
    let origin = u64::from_be(origin.unwrap_or(0));
    let sum = Sum::new()
        .add_u32(u32::from_be(source.ip()))
        .add_u32(u32::from_be(target.ip()))
        .add_u16(ipv6::UDP.into())
        .add_u16(udp_len)
        .add_u16(u16::from_be(source.port()))
        .add_u16(u16::from_be(target.port()))
        .add_u16(udp_len)
        .add_u32((origin >> 32) as u32)
        .add_u32(origin as u32)
        .add_u16(rest);
    checksum::as_udp_field(sum.finish())
}

/// The front of the frame that leaves, without or with (`ORIGINS` 1) an origin indication.
#[repr(C, packed)]
#[derive(FromBytes, IntoBytes, KnownLayout, Unaligned)]
struct Front<const TAGS: usize, const ORIGINS: usize> {
    link: LinkHeader<TAGS>,
    outer: Outer,
    origin: [u64; ORIGINS],
}

impl Leaving {
    /// Writes the front and sends the frame.
    ///
    /// # Errors
    /// [`Reason::PassToServer`]: the driver has no room in front of the frame. The frame is unmodified.
    #[inline(always)]
    pub(super) fn send(&self, frame: &mut Frame) -> Result<Carried, Reason> {
        match (self.next.tag_count(), self.origin) {
            (0, None) => self.write::<0, 0>(frame),
            (0, Some(_)) => self.write::<0, 1>(frame),
            (1, None) => self.write::<1, 0>(frame),
            (1, Some(_)) => self.write::<1, 1>(frame),
            (_, None) => self.write::<2, 0>(frame),
            (_, Some(_)) => self.write::<2, 1>(frame),
        }?;
        Ok(Carried {
            reason: Reason::ForwardedToClient,
            bytes: self.packet_len,
            action: self.next.action,
        })
    }

    #[inline(always)]
    fn write<const TAGS: usize, const ORIGINS: usize>(
        &self,
        frame: &mut Frame,
    ) -> Result<(), Reason> {
        let front_len = size_of::<Front<TAGS, ORIGINS>>();
        frame
            .move_head(self.start as i32 - front_len as i32)
            .map_err(|_| Reason::PassToServer)?;
        // Cannot fail: the room was just made. The verifier wants to see it.
        let front = frame
            .at_mut::<Front<TAGS, ORIGINS>>(0)
            .ok_or(Reason::NoHeadroom)?;
        front.link = self.next.link_header(frame::IPV4);
        front.outer = self.outer;
        front.origin = [self.origin.unwrap_or_default(); ORIGINS];
        frame.trim(front_len + self.rest_len);
        Ok(())
    }
}

//! A router solicitation turned around into the advertisement (S-10 to S-12).

use aya_ebpf::bindings::xdp_action;
use relay_common::{MappedWord, Reason};
use teredo::addr::{SERVER_PORT, TeredoAddr};
use teredo::wire::checksum::{self, Sum};
use teredo::wire::ipv6;
use teredo::wire::rs_ra::{ALL_ROUTERS, ND_HOP_LIMIT};
use zerocopy::{FromBytes, IntoBytes, KnownLayout, Unaligned};

use super::headers::AUTH_LEN;
use super::{ROUTER_SOLICITATION, Received, has_cone_bit, rates, socket};
use crate::frame::{Frame, LinkHeader, Wire};
use crate::outer::{self, Outer, UdpHeader};
use crate::{Carried, config};

/// Bytes of a solicitation without options.
const SOLICITATION_LEN: u16 = 8;
/// Bytes of the advertisement behind its IPv6 header.
const ADVERTISEMENT_LEN: u16 = 56;
/// Bytes of the IPv6 packet that answers.
const PACKET_LEN: usize = ipv6::HEADER_LEN + ADVERTISEMENT_LEN as usize;

/// The answer to a solicitation, decided and not written yet.
pub(super) struct Answer {
    link_len: usize,
    outer: Outer,
    /// Nonce of the solicitation, in two halves, if it had an authentication header (S-12).
    nonce: Option<[u32; 2]>,
    origin: u64,
    /// Source of the solicitation.
    destination: [u64; 2],
    icmp6_checksum: u16,
}

/// Judges the solicitation.
///
/// # Errors
/// [`Reason::SolicitationInvalid`], [`Reason::TargetRateExceeded`], [`Reason::PassToServer`].
#[inline(always)]
pub(super) fn answer(frame: &Frame, received: &Received<'_>) -> Result<Answer, Reason> {
    let Received { start, inner, .. } = *received;
    let (from, to) = (received.from, received.to);
    // Options, trailers and an origin are no client's we know of.
    if config::server_requires_credentials()
        || received.headers.has_origin
        || inner.payload_len() != SOLICITATION_LEN
        || received.rest_len != inner.packet_len()
    {
        return Err(Reason::PassToServer);
    }
    let message = frame
        .at::<[u8; SOLICITATION_LEN as usize]>(start + ipv6::HEADER_LEN)
        .ok_or(Reason::PassToServer)?;
    let source = Sum::new().add_bytes(&inner.source);
    let code = message[1];
    let checksum = source
        .add_bytes(&ALL_ROUTERS)
        .add_u16(SOLICITATION_LEN)
        .add_u16(ipv6::ICMP6.into())
        .add_bytes(message)
        .finish();
    if inner.hop_limit != ND_HOP_LIMIT || code != 0 || checksum != 0 {
        return Err(Reason::SolicitationInvalid);
    }
    let nonce = if received.headers.has_auth {
        let nonce = frame
            .at::<Wire<[u32; 2]>>(received.payload + 4)
            .ok_or(Reason::PassToServer)?;
        Some(nonce.0)
    } else {
        None
    };
    let at = if has_cone_bit(&inner.source) {
        other_address(to)
    } else {
        to
    };
    let ends = [socket(at, SERVER_PORT.to_be()), from];
    let origin = super::forward::origin(from);
    let payload_len = PACKET_LEN + size_of::<u64>() + if nonce.is_some() { AUTH_LEN } else { 0 };
    let udp_checksum = udp_checksum(ends, payload_len, nonce, origin);
    rates::to_target(from.ip())?;
    Ok(Answer {
        link_len: received.payload - outer::LEN,
        outer: Outer::new(Reason::Advertised, 0, payload_len, ends, udp_checksum),
        nonce,
        origin,
        destination: zerocopy::transmute!(inner.source),
        icmp6_checksum: icmp6_checksum(source),
    })
}

/// The server's address that is not `address`.
#[inline(always)]
fn other_address(address: u32) -> u32 {
    if address == config::server_primary() {
        config::server_secondary()
    } else {
        config::server_primary()
    }
}

/// What is the same in every advertisement, as 64-bit words of the wire: behind the primary address, which stands
/// inverted in the source and plain in the prefix and so adds nothing to a sum.
mod words {
    use super::{ADVERTISEMENT_LEN, ND_HOP_LIMIT, TeredoAddr, ipv6};

    /// The first word of the IPv6 header, without addresses.
    pub(super) const IPV6: u64 = 0x6000_0000 << 32
        | (ADVERTISEMENT_LEN as u64) << 16
        | (ipv6::ICMP6 as u64) << 8
        | ND_HOP_LIMIT as u64;
    /// The first 64 bits of a link-local address.
    pub(super) const LINK_LOCAL: u64 = 0xfe80_0000_0000_0000;
    /// Cone bit and port 3544 inverted, then the address inverted.
    pub(super) const SERVER: u64 = 0x8000_f227_0000_0000;
    /// Type, code, checksum; hop limit, flags, router lifetime.
    pub(super) const TYPE: u64 = 0x8600_0000_0000_0000;
    /// Reachable time; retransmission timer in ms.
    pub(super) const TIMERS: u64 = 2000;
    /// Prefix information: type, length, prefix length, A flag; valid lifetime.
    pub(super) const PREFIX_OPTION: u64 = 0x0304_4040_ffff_ffff;
    /// Preferred lifetime; reserved.
    pub(super) const PREFERRED: u64 = 0xffff_ffff_0000_0000;
    /// The prefix, without the primary address.
    pub(super) const PREFIX: u64 = (u32::from_be_bytes(TeredoAddr::PREFIX) as u64) << 32;
    /// MTU option: type, length, reserved; 1280.
    pub(super) const MTU_OPTION: u64 = 0x0501_0000_0000_0500;
}

/// Adds a word of the wire.
#[inline(always)]
const fn add_u64(sum: Sum, word: u64) -> Sum {
    sum.add_u32((word >> 32) as u32).add_u32(word as u32)
}

/// Checksum of the advertisement to a solicitation whose source has the sum `source`.
#[inline(always)]
fn icmp6_checksum(source: Sum) -> u16 {
    const FIXED: u16 = {
        let mut sum = Sum::new()
            .add_u16(ADVERTISEMENT_LEN)
            .add_u16(ipv6::ICMP6 as u16);
        let mut words: &[u64] = &[
            words::LINK_LOCAL,
            words::SERVER,
            words::TYPE,
            words::TIMERS,
            words::PREFIX_OPTION,
            words::PREFERRED,
            words::PREFIX,
            words::MTU_OPTION,
        ];
        while let [word, rest @ ..] = words {
            sum = add_u64(sum, *word);
            words = rest;
        }
        !sum.finish()
    };
    source.add_u16(FIXED).finish()
}

/// The outer checksum (invariant 6). The advertisement's own makes all of the packet but its first and fourth
/// 16-bit words sum to minus the protocol.
#[inline(always)]
fn udp_checksum(
    [source, destination]: [MappedWord; 2],
    payload_len: usize,
    nonce: Option<[u32; 2]>,
    origin: u64,
) -> u16 {
    let udp_len = (payload_len + UdpHeader::LEN) as u16;
    let sum = Sum::new()
        .add_u32(u32::from_be(source.ip()))
        .add_u32(u32::from_be(destination.ip()))
        .add_u16(ipv6::UDP.into())
        .add_u16(udp_len)
        .add_u16(u16::from_be(source.port()))
        .add_u16(u16::from_be(destination.port()))
        .add_u16(udp_len);
    let packet = add_u64(Sum::new(), u64::from_be(origin))
        .add_u32((words::IPV6 >> 32) as u32)
        .add_u16(words::IPV6 as u16)
        .add_u16(!u16::from(ipv6::ICMP6));
    let packet = !packet.finish();
    let sum = match nonce {
        None => sum.add_u16(packet),
        // Thirteen bytes in front of it: what stood in the upper halves stands in the lower ones.
        Some([a, b]) => sum
            .add_u16(1)
            .add_u32(u32::from_be(a))
            .add_u32(u32::from_be(b))
            .add_u16(packet.swap_bytes()),
    };
    checksum::as_udp_field(sum.finish())
}

/// Thirteen bytes of authentication header: no identifier, no value, confirmation 0.
#[repr(C, packed)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Unaligned)]
struct Auth {
    kind_and_lengths: u32,
    nonce: [u32; 2],
    confirmation: u8,
}

const _: () = assert!(size_of::<Auth>() == AUTH_LEN);

/// The frame that leaves, without or with (`AUTHS` 1) an authentication header. Words are as on the wire.
#[repr(C, packed)]
#[derive(FromBytes, IntoBytes, KnownLayout, Unaligned)]
struct Front<const TAGS: usize, const AUTHS: usize> {
    link: LinkHeader<TAGS>,
    outer: Outer,
    auth: [Auth; AUTHS],
    origin: u64,
    ipv6: u64,
    source: [u64; 2],
    destination: [u64; 2],
    message: [u64; 7],
}

impl Answer {
    /// Turns the frame around.
    ///
    /// # Errors
    /// [`Reason::PassToServer`]: the driver has no room in front of the frame. The frame is unmodified.
    #[inline(always)]
    pub(super) fn send(&self, frame: &mut Frame) -> Result<Carried, Reason> {
        match self.link_len {
            LinkHeader::<0>::LEN => self.write_link::<0>(frame),
            LinkHeader::<1>::LEN => self.write_link::<1>(frame),
            _ => self.write_link::<2>(frame),
        }?;
        Ok(Carried {
            reason: Reason::Advertised,
            bytes: PACKET_LEN,
            action: xdp_action::XDP_TX,
        })
    }

    #[inline(always)]
    fn write_link<const TAGS: usize>(&self, frame: &mut Frame) -> Result<(), Reason> {
        match self.nonce {
            None => self.write::<TAGS, 0>(frame),
            Some(_) => self.write::<TAGS, 1>(frame),
        }
    }

    #[inline(always)]
    fn write<const TAGS: usize, const AUTHS: usize>(
        &self,
        frame: &mut Frame,
    ) -> Result<(), Reason> {
        const GROWTH: i32 = (ADVERTISEMENT_LEN - SOLICITATION_LEN) as i32 + size_of::<u64>() as i32;
        let link = *frame
            .at::<LinkHeader<TAGS>>(0)
            .ok_or(Reason::PassToServer)?;
        frame.move_head(-GROWTH).map_err(|_| Reason::PassToServer)?;
        // Cannot fail: the room was just made. The verifier wants to see it.
        let front = frame
            .at_mut::<Front<TAGS, AUTHS>>(0)
            .ok_or(Reason::NoHeadroom)?;
        front.link = LinkHeader {
            macs: link.macs.swapped(),
            ..link
        };
        front.outer = self.outer;
        front.auth = [Auth {
            kind_and_lengths: 0x0001_0000_u32.to_be(),
            nonce: self.nonce.unwrap_or_default(),
            confirmation: 0,
        }; AUTHS];
        let primary = u64::from(u32::from_be(config::server_primary()));
        front.origin = self.origin;
        front.ipv6 = words::IPV6.to_be();
        front.source = [
            words::LINK_LOCAL.to_be(),
            (words::SERVER | (primary ^ 0xffff_ffff)).to_be(),
        ];
        front.destination = self.destination;
        front.message = [
            (words::TYPE | u64::from(self.icmp6_checksum) << 32).to_be(),
            words::TIMERS.to_be(),
            words::PREFIX_OPTION.to_be(),
            words::PREFERRED.to_be(),
            (words::PREFIX | primary).to_be(),
            0,
            words::MTU_OPTION.to_be(),
        ];
        frame.trim(size_of::<Front<TAGS, AUTHS>>());
        Ok(())
    }
}

const _: () = assert!(ROUTER_SOLICITATION + 1 == (words::TYPE >> 56) as u8);

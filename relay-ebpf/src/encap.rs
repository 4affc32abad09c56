//! Native IPv6 towards a client.

use relay_common::{PeerKey, Reason};
use teredo::addr::TeredoAddr;
use teredo::filter::{self, Embedded};
use teredo::wire::ipv6::{self, Ipv6Header};
use teredo::wire::{checksum, ecn};
use zerocopy::{FromBytes, IntoBytes, KnownLayout, Unaligned};

use crate::frame::{self, Frame, Link, LinkHeader};
use crate::nexthop::NextHop;
use crate::outer::{self, Outer, UdpHeader};
use crate::peers::Peer;
use crate::{Carried, config, port};

/// The front of the frame that leaves.
#[repr(C)]
#[derive(FromBytes, IntoBytes, KnownLayout, Unaligned)]
struct Front<const TAGS: usize> {
    link: LinkHeader<TAGS>,
    outer: Outer,
    inner: Ipv6Header,
}

/// Sends a packet to a trusted peer.
///
/// # Errors
/// The reason for which it is passed, punted or dropped. The frame is unmodified, except for [`Reason::NoHeadroom`].
#[inline(always)]
pub(crate) fn encapsulate(frame: &mut Frame, link: Link) -> Result<Carried, Reason> {
    let inner = frame.at::<Ipv6Header>(link.len).ok_or(Reason::NotOurs)?;
    let Some(destination) = TeredoAddr::from_octets(&inner.destination) else {
        return Err(Reason::NotOurs);
    };
    if inner.version() != 6 {
        return Err(Reason::NotOurs);
    }
    port::is_addressee(frame)?;

    let len = inner.packet_len();
    let received = frame.len() - link.len;
    if len > received {
        return Err(Reason::InnerTruncated);
    }
    match filter::native_source(&inner.source) {
        Ok(Embedded::None) => {}
        Ok(Embedded::SixToFour(_) | Embedded::Isatap(_)) => {
            return Err(Reason::PuntEmbeddedAddress);
        }
        Err(fate) => return Err(fate.into()),
    }
    if inner.payload_len() == 0 && !inner.is_bubble() {
        return Err(Reason::JumbogramForm);
    }
    if len > config::tunnel_mtu() {
        return Err(Reason::PuntPacketTooBig);
    }
    if inner.hop_limit <= 1 {
        return Err(Reason::PuntHopLimitExceeded);
    }
    let peer = Peer::fresh(PeerKey::from(&destination))?;
    peer.probe_if_quiet();

    let inner = frame.at::<Ipv6Header>(link.len).ok_or(Reason::NotOurs)?;
    let sent = Ipv6Header {
        hop_limit: inner.hop_limit - 1,
        ..*inner
    };
    let (to, to_port) = peer.mapped_octets();
    let udp_checksum = if checksum_is_implied(frame, link.len + ipv6::HEADER_LEN, &sent) {
        let udp_len = (len + UdpHeader::LEN) as u16;
        checksum::outer_udp(&sent, config::service(), peer.mapped(), udp_len)
    } else {
        0
    };
    let tos = ecn::encapsulate(sent.traffic_class());
    let next = NextHop::ipv4(frame, to, to_port, tos, len + outer::LEN)?;
    let outer = Outer::new(tos, len, to, to_port, udp_checksum);

    match next.tag_count() {
        0 => write::<0>(frame, link, &next, &outer, sent.hop_limit)?,
        1 => write::<1>(frame, link, &next, &outer, sent.hop_limit)?,
        _ => write::<2>(frame, link, &next, &outer, sent.hop_limit)?,
    }
    frame.trim(received - len);
    Ok(Carried {
        reason: Reason::Encapsulated,
        bytes: len,
        action: next.action,
    })
}

/// Whether the packet's own transport checksum implies the sum of the whole packet (invariant 6):
/// TCP, UDP with a checksum over all of the payload, or ICMPv6, with no extension header in between.
#[inline(always)]
fn checksum_is_implied(frame: &Frame, transport: usize, inner: &Ipv6Header) -> bool {
    /// Bytes up to and with the checksum field.
    const TCP_CHECKSUM_END: u16 = 18;
    const ICMP6_CHECKSUM_END: u16 = 4;

    match inner.next_header {
        ipv6::TCP => inner.payload_len() >= TCP_CHECKSUM_END,
        ipv6::ICMP6 => inner.payload_len() >= ICMP6_CHECKSUM_END,
        ipv6::UDP => frame.at::<UdpHeader>(transport).is_some_and(|udp| {
            udp.checksum != [0; 2] && udp.len == inner.payload_len && udp.len() >= UdpHeader::LEN
        }),
        _ => false,
    }
}

#[inline(always)]
fn write<const TAGS: usize>(
    frame: &mut Frame,
    link: Link,
    next: &NextHop,
    outer: &Outer,
    hop_limit: u8,
) -> Result<(), Reason> {
    let room = LinkHeader::<TAGS>::LEN + outer::LEN - link.len;
    frame.move_head(-(room as i32))?;
    // Cannot fail: the room was just made. The verifier wants to see it.
    let front = frame.at_mut::<Front<TAGS>>(0).ok_or(Reason::NoHeadroom)?;
    front.link = next.link_header(frame::IPV4);
    front.outer = *outer;
    front.inner.hop_limit = hop_limit;
    Ok(())
}

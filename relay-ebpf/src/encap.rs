//! Native IPv6 towards a client.

use relay_common::{KeyWords, MappedWord, Reason};
use teredo::addr::{Mapped, TeredoAddr};
use teredo::filter::{self, Embedded};
use teredo::wire::ipv6::{self, Ipv6Header};
use teredo::wire::{checksum, ecn};
use zerocopy::{FromBytes, IntoBytes, KnownLayout, Unaligned};

use crate::frame::{self, Frame, Link, LinkHeader};
use crate::nexthop::NextHop;
use crate::outer::{self, Outer, UdpHeader};
use crate::peers::Peer;
use crate::{Carried, access, config, port};

/// The front of the frame that leaves.
#[repr(C, packed)]
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
    if !TeredoAddr::is_teredo(&inner.destination) || inner.version() != 6 {
        return Err(Reason::NotOurs);
    }
    let port = port::addressee(frame)?;

    let len = inner.packet_len();
    if !frame.has(link.len, len) {
        return Err(Reason::InnerTruncated);
    }
    match filter::native_source(&inner.source) {
        Ok(Embedded::None) => access::native(&inner.source)?,
        Ok(Embedded::SixToFour(_) | Embedded::Isatap(_)) => {
            return Err(Reason::PuntEmbeddedAddress);
        }
        Err(fate) => return Err(fate.into()),
    }
    if inner.payload_len() == 0 && !inner.is_bubble() {
        return Err(Reason::JumbogramForm);
    }
    access::client(&inner.destination)?;
    if len > config::tunnel_mtu() {
        return Err(Reason::PuntPacketTooBig);
    }
    if inner.hop_limit <= 1 {
        return Err(Reason::PuntHopLimitExceeded);
    }
    let key = KeyWords::of_address(zerocopy::transmute!(inner.destination));
    let mut peer = Peer::fresh(key)?;
    access::learned(key, peer.mapped)?;
    peer.probe_if_quiet();

    let tos = ecn::encapsulate(inner.traffic_class());
    let hop_limit = inner.hop_limit - 1;
    let udp_checksum = if checksum_is_implied(frame, link.len + ipv6::HEADER_LEN, inner) {
        let sent = Ipv6Header {
            hop_limit,
            ..*inner
        };
        let udp_len = (len + UdpHeader::LEN) as u16;
        checksum::outer_udp(&sent, config::service(), mapped(peer.mapped), udp_len)
    } else {
        0
    };
    let next = NextHop::ipv4(frame, port, &peer, tos, len + outer::LEN)?;
    let ends = [config::service_word(), peer.mapped];
    let outer = Outer::new(Reason::Encapsulated, tos, len, ends, udp_checksum);

    let tags_len = match next.tag_count() {
        0 => write::<0>(frame, link, &next, &outer, hop_limit)?,
        1 => write::<1>(frame, link, &next, &outer, hop_limit)?,
        _ => write::<2>(frame, link, &next, &outer, hop_limit)?,
    };
    frame.trim(tags_len + outer::LEN + len);
    Ok(Carried {
        reason: Reason::Encapsulated,
        bytes: len,
        action: next.action,
    })
}

#[inline(always)]
fn mapped(word: MappedWord) -> Mapped {
    Mapped {
        ip: u32::from_be(word.ip()).into(),
        port: u16::from_be(word.port()),
    }
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
            udp.checksum != 0
                && udp.len() == usize::from(inner.payload_len())
                && udp.len() >= UdpHeader::LEN
        }),
        _ => false,
    }
}

/// Writes the front. Gives the length of the link header.
#[inline(always)]
fn write<const TAGS: usize>(
    frame: &mut Frame,
    link: Link,
    next: &NextHop,
    outer: &Outer,
    hop_limit: u8,
) -> Result<usize, Reason> {
    let room = LinkHeader::<TAGS>::LEN + outer::LEN - link.len;
    frame.move_head(-(room as i32))?;
    // Cannot fail: the room was just made. The verifier wants to see it.
    let front = frame.at_mut::<Front<TAGS>>(0).ok_or(Reason::NoHeadroom)?;
    front.link = next.link_header(frame::IPV4);
    front.outer = *outer;
    front.inner.hop_limit = hop_limit;
    Ok(LinkHeader::<TAGS>::LEN)
}

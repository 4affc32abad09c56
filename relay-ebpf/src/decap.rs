//! From a client towards native IPv6.

use relay_common::{KeyWords, MappedWord, Port, Reason};
use teredo::Fate;
use teredo::addr::TeredoAddr;
use teredo::filter::{self, Embedded};
use teredo::wire::ecn;
use teredo::wire::ipv6::{self, Ipv6Header};
use zerocopy::{FromBytes, IntoBytes, KnownLayout, Unaligned};

use crate::frame::{self, Frame, Link, LinkHeader};
use crate::nexthop::NextHop;
use crate::outer::{self, Outer};
use crate::peers::Peer;
use crate::{Carried, access, datagram};

/// Next header: destination options.
const DESTINATION_OPTIONS: u8 = 60;

/// The front of the frame that leaves.
#[repr(C, packed)]
#[derive(FromBytes, IntoBytes, KnownLayout, Unaligned)]
struct Front<const TAGS: usize> {
    link: LinkHeader<TAGS>,
    inner: Ipv6Header,
}

/// Hands a packet of a trusted peer on.
///
/// # Errors
/// The reason for which it is passed, punted or dropped. The frame is unmodified.
#[inline(always)]
pub(crate) fn decapsulate(
    frame: &mut Frame,
    link: Link,
    port: &'static Port,
) -> Result<Carried, Reason> {
    let outer = *frame.at::<Outer>(link.len).ok_or(Reason::NotOurs)?;
    let payload_len = datagram::payload_len(&outer, frame, link)?;

    // What else R-30 refuses is not the mapped address of any peer.
    if outer.udp.source == 0 {
        return Err(Reason::OuterSourcePortZero);
    }
    let start = link.len + outer::LEN;
    let inner = inner_header(frame, start, payload_len)?;
    if !TeredoAddr::is_teredo(&inner.source) {
        return Err(Reason::SourceNotTeredo);
    }
    let source = KeyWords::of_address(zerocopy::transmute!(inner.source));
    let destination = filter::client_destination(&inner.destination);
    if matches!(destination, Err(Fate::DestinationMulticast)) {
        return Err(Reason::DestinationMulticast);
    }
    access::client(&inner.source)?;
    if inner.is_bubble() {
        return Err(Reason::PuntBubble);
    }
    if inner.payload_len() == 0 {
        return Err(Reason::JumbogramForm);
    }
    let len = inner.packet_len();
    if payload_len > len {
        return Err(Reason::PuntTrailer);
    }

    let peer = Peer::fresh(source)?;
    speaks_for(&outer, source, &peer)?;
    access::learned(source, peer.mapped)?;
    // Accepted, whatever becomes of the packet.
    peer.heard();
    match destination {
        Ok(Embedded::None) => {}
        Ok(Embedded::SixToFour(_) | Embedded::Isatap(_)) => {
            return Err(Reason::PuntEmbeddedAddress);
        }
        Err(fate) => return Err(fate.into()),
    }
    let inner = frame.at::<Ipv6Header>(start).ok_or(Reason::NotOurs)?;
    access::native(&inner.destination)?;
    if matches!(
        inner.next_header,
        ipv6::ROUTING | ipv6::HOP_BY_HOP | DESTINATION_OPTIONS
    ) {
        return Err(Reason::PuntRoutingHeader);
    }
    if inner.hop_limit <= 1 {
        return Err(Reason::PuntHopLimitExceeded);
    }
    let mut sent = Ipv6Header {
        hop_limit: inner.hop_limit - 1,
        ..*inner
    };
    let class = ecn::decapsulate(outer.ipv4.tos, sent.traffic_class())?;
    sent.set_traffic_class(class);
    let next = NextHop::ipv6(frame, port, &sent, peer.now)?;

    let tags_len = match next.tag_count() {
        0 => write::<0>(frame, start, &next, &sent)?,
        1 => write::<1>(frame, start, &next, &sent)?,
        _ => write::<2>(frame, start, &next, &sent)?,
    };
    frame.trim(tags_len + len);
    Ok(Carried {
        reason: Reason::Decapsulated,
        bytes: len,
        action: next.action,
    })
}

/// The inner header at `start` of a UDP payload of `payload_len` bytes: the same
/// decisions as `teredo::wire::payload::parse`, which a test holds against these.
#[inline(always)]
fn inner_header(frame: &Frame, start: usize, payload_len: usize) -> Result<&Ipv6Header, Reason> {
    // Only a frame in several buffers can have its headers elsewhere.
    const ELSEWHERE: Reason = Reason::FrameTooLargeToPunt;

    if payload_len < 2 {
        return Err(Reason::PayloadNotTeredo);
    }
    match *frame.at::<[u8; 2]>(start).ok_or(ELSEWHERE)? {
        [0x60..=0x6f, _] => {}
        [0x00, 0x00 | 0x01] => return Err(Reason::PuntTunnelHeader),
        _ => return Err(Reason::PayloadNotTeredo),
    }
    if payload_len < ipv6::HEADER_LEN {
        return Err(Reason::InnerTruncated);
    }
    let inner = frame.at::<Ipv6Header>(start).ok_or(ELSEWHERE)?;
    if inner.packet_len() > payload_len {
        return Err(Reason::InnerTruncated);
    }
    Ok(inner)
}

/// Whether the outer source may speak for `source` (R-36 a and b).
#[inline(always)]
fn speaks_for(outer: &Outer, source: KeyWords, peer: &Peer) -> Result<(), Reason> {
    let from = MappedWord(u64::from(outer.ipv4.source) | u64::from(outer.udp.source) << 32);
    if from == peer.mapped {
        return Ok(());
    }
    if from == source.embedded() {
        return Err(Reason::PuntMappingChanged);
    }
    Err(Reason::OuterSourceMismatch)
}

/// Writes the front. Gives the length of the link header.
#[inline(always)]
fn write<const TAGS: usize>(
    frame: &mut Frame,
    start: usize,
    next: &NextHop,
    sent: &Ipv6Header,
) -> Result<usize, Reason> {
    let surplus = start - LinkHeader::<TAGS>::LEN;
    frame.move_head(surplus as i32)?;
    // Cannot fail: the header was there before. The verifier wants to see it.
    let front = frame.at_mut::<Front<TAGS>>(0).ok_or(Reason::NoHeadroom)?;
    front.link = next.link_header(frame::IPV6);
    front.inner.version_class_flow = sent.version_class_flow;
    front.inner.hop_limit = sent.hop_limit;
    Ok(LinkHeader::<TAGS>::LEN)
}

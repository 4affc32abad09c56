//! The server (PROTOCOL 4, S-1 to S-17): solicitations answered, bubbles and small ICMPv6 sent on to clients.
//!
//! What is not settled by looking at it is [`Reason::PassToServer`]: the kernel hands it to the server's sockets.

mod advertise;
mod forward;
mod headers;
mod rates;

use aya_ebpf::maps::lpm_trie::Key;
use relay_common::{KeyWords, MappedWord, Port, Reason};
use teredo::Fate;
use teredo::addr::{self, FLAG_CONE, SERVER_PORT, TeredoAddr};
use teredo::filter;
use teredo::wire::ipv6::{self, Ipv6Header};
use teredo::wire::rs_ra::{self, ALL_ROUTERS};

use crate::frame::{Frame, Link};
use crate::maps::SERVER_OPENED;
use crate::outer::{self, Outer};
use crate::{Carried, config, datagram};

use headers::Headers;

/// Type of a router solicitation, the first of neighbour discovery.
const ROUTER_SOLICITATION: u8 = 133;
/// Type of a redirect, the last of neighbour discovery.
const REDIRECT: u8 = 137;
/// Bytes of the largest ICMPv6 message a server sends on (S-14).
const ICMP6_MAX_LEN: u16 = 88;
/// Stands for the type of a bubble, which is no message.
const BUBBLE: u8 = 0;
/// Bytes of the smallest ICMPv6 message that is looked at here.
const ICMP6_MIN_LEN: u16 = 8;

/// A datagram to the server that was found well-formed.
struct Received<'a> {
    port: &'static Port,
    /// Where the UDP payload begins: behind a link header of 14, 18 or 22 bytes.
    payload: usize,
    /// Who sent it.
    from: MappedWord,
    /// Which address it was sent to, as on the wire.
    to: u32,
    headers: Headers,
    /// Where the inner packet begins.
    start: usize,
    inner: &'a Ipv6Header,
    /// Bytes of the packet and its trailers.
    rest_len: usize,
}

/// Answers the datagram, or sends it on.
///
/// # Errors
/// The reason for which it is passed or dropped. The frame is unmodified.
#[inline(always)]
pub(crate) fn serve(frame: &mut Frame, link: Link, port: &'static Port) -> Result<Carried, Reason> {
    let outer = *frame.at::<Outer>(link.len).ok_or(Reason::NotOurs)?;
    let payload_len = datagram::payload_len(&outer, frame, link)?;
    judge_sender(&outer)?;
    let payload = link.len + outer::LEN;
    let from = socket(outer.ipv4.source, outer.udp.source);
    let headers = Headers::read(frame, payload, payload_len)?;
    let start = payload + headers.len();
    let rest_len = payload_len - headers.len();
    let inner = headers::inner(frame, start, rest_len)?;
    let received = Received {
        port,
        payload,
        from,
        to: outer.ipv4.destination,
        headers,
        start,
        inner,
        rest_len,
    };
    let message = message_type(frame, &received)?;
    if is_addressed_here(inner) {
        let solicitation = message == ROUTER_SOLICITATION
            && inner.destination == ALL_ROUTERS
            && is_link_local(&inner.source);
        if !solicitation {
            return Err(Reason::ServerAddressed);
        }
        let answer = advertise::answer(frame, &received)?;
        return answer.send(frame);
    }
    let leaving = forward::judge(frame, &outer, &received, message)?;
    leaving.send(frame)
}

/// Whether the sender may be answered (S-4, S-8).
#[inline(always)]
fn judge_sender(outer: &Outer) -> Result<(), Reason> {
    let (ip, port) = (outer.ipv4.source, outer.udp.source);
    if port == 0 {
        return Err(Reason::OuterSourcePortZero);
    }
    if !may_be_sent_to(ip) {
        return Err(Reason::OuterSourceNotGlobal);
    }
    if is_own(ip) && port == SERVER_PORT.to_be() {
        return Err(Reason::OuterSourceOwn);
    }
    Ok(())
}

/// Whether the address is one of the server's.
#[inline(always)]
fn is_own(ip: u32) -> bool {
    ip == config::server_primary() || ip == config::server_secondary()
}

/// Address and port, as on the wire, in a word.
#[inline(always)]
fn socket(ip: u32, port: u16) -> MappedWord {
    MappedWord(u64::from(ip) | u64::from(port) << 32)
}

/// Whether the address is global unicast or opened by the operator (S-4, S-15). No operator opens what is no host.
#[inline(always)]
fn may_be_sent_to(ip: u32) -> bool {
    let host = u32::from_be(ip);
    addr::is_global_unicast(host.into())
        || (config::server_opened()
            && host >> 24 != 0
            && host >> 28 != 0xe
            && host != u32::MAX
            && SERVER_OPENED
                .get(Key::new(u32::BITS, ip.to_ne_bytes()))
                .is_some())
}

/// The type of the ICMPv6 message; [`BUBBLE`] for a bubble (S-3).
#[inline(always)]
fn message_type(frame: &Frame, received: &Received<'_>) -> Result<u8, Reason> {
    let inner = received.inner;
    if inner.is_bubble() {
        return Ok(BUBBLE);
    }
    if inner.next_header != ipv6::ICMP6 {
        return Err(Reason::NotBubbleNorIcmp6);
    }
    if inner.payload_len() < ICMP6_MIN_LEN {
        return Err(Reason::PassToServer);
    }
    frame
        .at::<u8>(received.start + ipv6::HEADER_LEN)
        .copied()
        .ok_or(Reason::PassToServer)
}

/// Whether the packet is to all routers or to the server's link-local address (S-9).
#[inline(always)]
fn is_addressed_here(inner: &Ipv6Header) -> bool {
    let destination: [u64; 2] = zerocopy::transmute!(inner.destination);
    let all_routers: [u64; 2] = zerocopy::transmute!(ALL_ROUTERS);
    destination == all_routers || destination == link_local()
}

/// The server's link-local address, in words of memory.
#[inline(always)]
fn link_local() -> [u64; 2] {
    let [a, b, c, d] = config::server_primary().to_ne_bytes();
    zerocopy::transmute!(rs_ra::server_link_local(addr::ServerV4(
        [a, b, c, d].into()
    )))
}

/// fe80::/10.
#[inline(always)]
fn is_link_local(a: &[u8; 16]) -> bool {
    a[0] == 0xfe && a[1] & 0xc0 == 0x80
}

/// Whether the outer source may speak for the inner one (S-6, S-7), and is not where the packet would be sent back to (S-8).
#[inline(always)]
fn accept(received: &Received<'_>) -> Result<(), Reason> {
    let Ipv6Header {
        source,
        destination,
        ..
    } = received.inner;
    let to_client = TeredoAddr::is_teredo(destination);
    if TeredoAddr::is_teredo(source) {
        if mapped(source) != received.from {
            return Err(Reason::OuterSourceMismatch);
        }
    } else if !to_client || server_of(destination) != config::server_primary() {
        return Err(Reason::ClientOfAnotherServer);
    }
    if to_client && mapped(destination) == received.from {
        return Err(Reason::OuterSourceMismatch);
    }
    Ok(())
}

/// The mapped address in a Teredo address, as on the wire.
#[inline(always)]
fn mapped(teredo: &[u8; 16]) -> MappedWord {
    KeyWords::of_address(zerocopy::transmute!(*teredo)).embedded()
}

/// The server in a Teredo address, as on the wire.
#[inline(always)]
fn server_of(teredo: &[u8; 16]) -> u32 {
    let words: [u32; 4] = zerocopy::transmute!(*teredo);
    words[1]
}

/// Whether a destination is one that a client may have (S-13).
#[inline(always)]
fn is_of_client(destination: &[u8; 16]) -> Result<(), Reason> {
    if TeredoAddr::is_teredo(destination) {
        return Ok(());
    }
    match filter::client_destination(destination) {
        Err(fate @ (Fate::DestinationMulticast | Fate::DestinationNotGlobal)) => Err(fate.into()),
        // To native IPv6, or to nowhere.
        Ok(_) | Err(_) => Err(Reason::PassToServer),
    }
}

/// The cone bit of a link-local source.
#[inline(always)]
fn has_cone_bit(source: &[u8; 16]) -> bool {
    u16::from_be_bytes([source[8], source[9]]) & FLAG_CONE != 0
}

//! What the program should say of a frame, from the slow path's own parsers and checks over slices.

use relay_common::Reason;
use teredo::Instant;
use teredo::addr::{Mapped, TeredoAddr};
use teredo::filter::{self, Embedded};
use teredo::server::{self, Local, Server};
use teredo::wire::ipv6::{self, Ipv6Header};
use teredo::wire::{ecn, payload};

use super::frames::sum;
use super::rig::{PORT_MAC, PUNT_FRAME_MAX, SERVICE, TUNNEL_MTU};
use super::server::{PRIMARY, SECONDARY, role};

/// What may become of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This and nothing else.
    Exactly(Reason),
    /// This, or whatever the route to the destination says.
    UnlessTheRouteSays(Reason),
    /// This, or left to the server's sockets, which say so.
    UnlessLeftToTheSockets(Reason),
}

impl Verdict {
    pub(crate) fn allows(&self, reason: Reason) -> bool {
        match self {
            Self::Exactly(expected) => reason == *expected,
            Self::UnlessLeftToTheSockets(expected) => {
                reason == *expected || reason == Reason::PassToServer
            }
            Self::UnlessTheRouteSays(expected) => {
                reason == *expected
                    || matches!(
                        reason,
                        Reason::PuntNoNeighbour
                            | Reason::PuntLocal
                            | Reason::PuntNoRoute
                            | Reason::PuntNextHopMtu
                    )
            }
        }
    }
}

/// Judges a frame received on a listed port, when `peers` are fresh and there are no others. There is a server of
/// [`role`] beside the relay.
pub(crate) fn judge(frame: &[u8], peers: &[(TeredoAddr, Mapped)]) -> Verdict {
    match serve(frame) {
        Ok(reason) => return Verdict::UnlessLeftToTheSockets(reason),
        Err(Reason::NotOurs) => {}
        Err(reason) => return Verdict::Exactly(reason),
    }
    match carry(frame, peers) {
        Ok(reason) => Verdict::UnlessTheRouteSays(reason),
        Err(reason)
            if reason.as_str().starts_with("Punt") && frame.len() > PUNT_FRAME_MAX as usize =>
        {
            Verdict::Exactly(Reason::FrameTooLargeToPunt)
        }
        Err(reason) => Verdict::Exactly(reason),
    }
}

fn carry(frame: &[u8], peers: &[(TeredoAddr, Mapped)]) -> Result<Reason, Reason> {
    let (ethertype, packet) = link(frame).ok_or(Reason::NotOurs)?;
    let is_to_port = frame[..6] == PORT_MAC;
    match ethertype {
        [0x86, 0xdd] => encapsulate(packet, is_to_port, peers),
        [0x08, 0x00] => decapsulate(packet, is_to_port, peers),
        _ => Err(Reason::NotOurs),
    }
}

fn link(frame: &[u8]) -> Option<([u8; 2], &[u8])> {
    let mut rest = frame.get(12..)?;
    for _ in 0..2 {
        if matches!(rest, [0x81, 0x00, ..] | [0x88, 0xa8, ..]) {
            rest = rest.get(4..)?;
        }
    }
    let (ethertype, packet) = rest.split_first_chunk::<2>()?;
    Some((*ethertype, packet))
}

fn encapsulate(
    packet: &[u8],
    is_to_port: bool,
    peers: &[(TeredoAddr, Mapped)],
) -> Result<Reason, Reason> {
    let (header, _) = packet
        .split_first_chunk::<{ ipv6::HEADER_LEN }>()
        .ok_or(Reason::NotOurs)?;
    let destination: [u8; 16] = header[24..].try_into().unwrap();
    if header[0] >> 4 != 6 || filter::native_destination(&destination).is_err() || !is_to_port {
        return Err(Reason::NotOurs);
    }
    let (header, ..) = ipv6::parse(packet)?;
    if filter::native_source(&header.source)? != Embedded::None {
        return Err(Reason::PuntEmbeddedAddress);
    }
    if header.payload_len() == 0 && !header.is_bubble() {
        return Err(Reason::JumbogramForm);
    }
    if header.packet_len() > usize::from(TUNNEL_MTU) {
        return Err(Reason::PuntPacketTooBig);
    }
    if header.hop_limit <= 1 {
        return Err(Reason::PuntHopLimitExceeded);
    }
    find(&header.destination, peers)?;
    Ok(Reason::Encapsulated)
}

/// What the server in user space says of a datagram to one of its sockets.
fn serve(frame: &[u8]) -> Result<Reason, Reason> {
    let Some(([0x08, 0x00], packet)) = link(frame) else {
        return Err(Reason::NotOurs);
    };
    let datagram = datagram(packet, frame[..6] == PORT_MAC, &[PRIMARY, SECONDARY])?;
    let mut server = Server::new(
        server::Config {
            allow_non_global: role().allow_non_global,
            ..server::Config::new(PRIMARY.ip)
        },
        [7; 32],
    );
    let at = if datagram.to == PRIMARY {
        Local::Primary
    } else {
        Local::Secondary
    };
    let now = Instant::from_nanos(0);
    let (fate, _) = server.receive(now, at, datagram.from.into(), datagram.payload);
    Ok(fate.into())
}

/// A datagram whose outer headers are right.
struct Datagram<'a> {
    from: Mapped,
    to: Mapped,
    tos: u8,
    payload: &'a [u8],
}

/// Reads a datagram to one of `sockets`.
fn datagram<'a>(
    packet: &'a [u8],
    is_to_port: bool,
    sockets: &[Mapped],
) -> Result<Datagram<'a>, Reason> {
    let (ipv4, rest) = packet.split_first_chunk::<20>().ok_or(Reason::NotOurs)?;
    let is_here = sockets.iter().any(|to| ipv4[16..] == to.ip.octets());
    if !is_here || ipv4[9] != ipv6::UDP || ipv4[0] >> 4 != 4 || !is_to_port {
        return Err(Reason::NotOurs);
    }
    if ipv4[6] & 0x3f != 0 || ipv4[7] != 0 {
        return Err(Reason::OuterFragment);
    }
    if ipv4[0] != 0x45 {
        return Err(Reason::OuterOptions);
    }
    let (udp, rest) = rest.split_first_chunk::<8>().ok_or(Reason::NotOurs)?;
    let socket = |ip: usize, port: usize| Mapped {
        ip: [ipv4[ip], ipv4[ip + 1], ipv4[ip + 2], ipv4[ip + 3]].into(),
        port: u16::from_be_bytes([udp[port], udp[port + 1]]),
    };
    let (from, to) = (socket(12, 0), socket(16, 2));
    if !sockets.contains(&to) {
        return Err(Reason::NotOurs);
    }
    if sum(&[ipv4]) != 0xffff {
        return Err(Reason::OuterChecksumWrong);
    }
    let total_len = usize::from(u16::from_be_bytes([ipv4[2], ipv4[3]]));
    let udp_len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
    if total_len > packet.len() || udp_len < 8 || udp_len + 20 > total_len {
        return Err(Reason::OuterLengthMismatch);
    }
    Ok(Datagram {
        from,
        to,
        tos: ipv4[1],
        payload: &rest[..udp_len - 8],
    })
}

fn decapsulate(
    packet: &[u8],
    is_to_port: bool,
    peers: &[(TeredoAddr, Mapped)],
) -> Result<Reason, Reason> {
    let Datagram {
        from, tos, payload, ..
    } = datagram(packet, is_to_port, &[SERVICE])?;
    if from.port == 0 {
        return Err(Reason::OuterSourcePortZero);
    }
    if matches!(payload, [0, 0 | 1, ..]) {
        return Err(Reason::PuntTunnelHeader);
    }
    let parsed = payload::parse(payload)?;
    let header = parsed.header;
    let client = TeredoAddr::from_octets(&header.source).ok_or(Reason::SourceNotTeredo)?;
    if header.destination[0] == 0xff {
        return Err(Reason::DestinationMulticast);
    }
    if header.is_bubble() {
        return Err(Reason::PuntBubble);
    }
    if header.payload_len() == 0 {
        return Err(Reason::JumbogramForm);
    }
    if !parsed.tail.is_empty() {
        return Err(Reason::PuntTrailer);
    }
    if find(&header.source, peers)? != from {
        return Err(if from == client.mapped() {
            Reason::PuntMappingChanged
        } else {
            Reason::OuterSourceMismatch
        });
    }
    forward(header, tos)
}

fn forward(header: &Ipv6Header, tos: u8) -> Result<Reason, Reason> {
    if filter::client_destination(&header.destination)? != Embedded::None {
        return Err(Reason::PuntEmbeddedAddress);
    }
    if matches!(header.next_header, 0 | 43 | 60) {
        return Err(Reason::PuntRoutingHeader);
    }
    if header.hop_limit <= 1 {
        return Err(Reason::PuntHopLimitExceeded);
    }
    ecn::decapsulate(tos, header.traffic_class())?;
    Ok(Reason::Decapsulated)
}

fn find(address: &[u8; 16], peers: &[(TeredoAddr, Mapped)]) -> Result<Mapped, Reason> {
    peers
        .iter()
        .find(|(peer, _)| peer.octets() == *address)
        .map(|(_, mapped)| *mapped)
        .ok_or(Reason::PuntPeerUnknown)
}

//! What a capture shows of the packets the relay sends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lab::{Lab, Pcap};

use super::Leg;

const FILE_HEADER_LEN: usize = 24;
const FRAME_HEADER_LEN: usize = 16;
const LINK_HEADER_LEN: usize = 14;
const IPV4_HEADER_LEN: usize = 20;

/// A data packet the relay has sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// Nanoseconds since 1970.
    pub(super) at: u128,
    /// By which cable.
    pub(super) leg: Leg,
    /// MAC address it was sent to.
    pub(super) mac: [u8; 6],
    /// The client's address it was sent to, or sent for.
    pub(super) client: IpAddr,
}

/// Data packets of the relay in the capture of one far end.
pub(super) fn sent(capture: &Pcap, leg: Leg) -> Vec<Sent> {
    let bytes = std::fs::read(&capture.path).unwrap();
    let mut rest = &bytes[FILE_HEADER_LEN..];
    let mut all = Vec::new();
    while let Some((header, after)) = rest.split_at_checked(FRAME_HEADER_LEN) {
        let word = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().unwrap());
        let (frame, next) = after.split_at(word(8) as usize);
        rest = next;
        if let Some(client) = client_of(frame) {
            all.push(Sent {
                at: u128::from(word(0)) * 1_000_000_000 + u128::from(word(4)),
                leg,
                mac: frame[..6].try_into().unwrap(),
                client,
            });
        }
    }
    all
}

/// The client a frame carries data to or from, if it is one of the relay's.
fn client_of(frame: &[u8]) -> Option<IpAddr> {
    let (link, packet) = frame.split_at_checked(LINK_HEADER_LEN)?;
    match link[12..] {
        [0x08, 0x00] => {
            let from = Ipv4Addr::from(*packet.get(12..)?.first_chunk::<4>()?);
            let to = Ipv4Addr::from(*packet.get(16..)?.first_chunk::<4>()?);
            // Data to a client, not a bubble to its server.
            let is_data = from == Lab::RELAY_V4 && to != Lab::SERVER_V4 && packet[9] == 17;
            (is_data && packet.len() > IPV4_HEADER_LEN).then_some(to.into())
        }
        [0x86, 0xdd] => {
            let from = Ipv6Addr::from(*packet.get(8..)?.first_chunk::<16>()?);
            let to = Ipv6Addr::from(*packet.get(24..)?.first_chunk::<16>()?);
            let is_teredo = from.segments()[..2] == [0x2001, 0];
            (is_teredo && to == Lab::HOST).then_some(from.into())
        }
        _ => None,
    }
}

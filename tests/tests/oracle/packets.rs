//! Packets, byte by byte, as a generator makes them.

use crate::random::Random;
use crate::reference::bytes::{ones_sum, upper_sum};
use crate::rig::{CUSTOMER_TAG, GATEWAY_MAC, PORT_MAC, SERVICE_TAG};

/// An IPv6 packet of `next` with the given payload, whose checksum, if it has one, is right.
pub(crate) fn ipv6(
    (source, destination): ([u8; 16], [u8; 16]),
    first: [u8; 4],
    next: u8,
    hop_limit: u8,
    payload: &[u8],
) -> Vec<u8> {
    let len = u16::try_from(payload.len()).expect("a packet");
    let mut packet = [
        &first[..],
        &len.to_be_bytes(),
        &[next, hop_limit],
        &source,
        &destination,
        payload,
    ]
    .concat();
    let field = match next {
        6 => 16,
        17 => 6,
        58 => 2,
        _ => return packet,
    };
    if payload.len() >= field + 2 {
        packet[40 + field..42 + field].fill(0);
        if next == 17 {
            packet[44..46].copy_from_slice(&len.to_be_bytes());
        }
        let sum = match !upper_sum(&packet, next) {
            0 if next == 17 => 0xffff,
            sum => sum,
        };
        packet[40 + field..42 + field].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// An IPv4 and a UDP header around a payload.
pub(crate) fn udp4(from: (u32, u16), to: (u32, u16), tos: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).expect("a datagram");
    let mut packet = [
        &[0x45, tos][..],
        &(20 + len).to_be_bytes(),
        &[0x12, 0x34, 0, 0, 64, 17, 0, 0],
        &from.0.to_be_bytes(),
        &to.0.to_be_bytes(),
        &from.1.to_be_bytes(),
        &to.1.to_be_bytes(),
        &len.to_be_bytes(),
        &[0, 0],
        payload,
    ]
    .concat();
    fix_header(&mut packet);
    fix_udp(&mut packet);
    packet
}

/// Makes the header checksum of an IPv4 packet right.
pub(crate) fn fix_header(packet: &mut [u8]) {
    let len = usize::from(packet[0] & 15) * 4;
    if len >= 20 && packet.len() >= len {
        packet[10..12].fill(0);
        let sum = !ones_sum(&[&packet[..len]]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Makes the UDP checksum of an IPv4 packet without options right, if its lengths allow one.
pub(crate) fn fix_udp(packet: &mut [u8]) {
    if packet.len() < 28 {
        return;
    }
    let len = usize::from(packet[24]) << 8 | usize::from(packet[25]);
    if len < 8 || packet.len() < 20 + len {
        return;
    }
    packet[26..28].fill(0);
    let (header, rest) = packet.split_at_mut(20);
    let sum = !ones_sum(&[&header[12..20], &[0, 17], &rest[4..6], &rest[..len]]);
    let sum = if sum == 0 { 0xffff } else { sum };
    rest[6..8].copy_from_slice(&sum.to_be_bytes());
}

/// A frame to the port around a packet, behind some number of tags. Gives where the packet begins too.
pub(crate) fn frame(random: &mut Random, packet: &[u8]) -> (Vec<u8>, usize) {
    let tags: &[[u8; 4]] = match random.below(8) {
        0 => &[CUSTOMER_TAG],
        1 => &[SERVICE_TAG, CUSTOMER_TAG],
        _ => &[],
    };
    let kind: [u8; 2] = if packet[0] >> 4 == 4 {
        [8, 0]
    } else {
        [0x86, 0xdd]
    };
    let link = [&PORT_MAC[..], &GATEWAY_MAC, &tags.concat(), &kind].concat();
    let at = link.len();
    ([link, packet.to_vec()].concat(), at)
}

/// What stands in front of the packet of a client.
pub(crate) fn headers(random: &mut Random) -> Vec<u8> {
    let mut headers = Vec::new();
    for _ in 0..random.below(16).saturating_sub(13) {
        if random.one_in(2) {
            let lens = [random.below(5), random.below(5)];
            headers.extend(
                [0, 1]
                    .into_iter()
                    .chain(lens.map(|len| len.to_le_bytes()[0])),
            );
            headers.extend(random.bytes(9 + lens[0] + lens[1]));
        } else {
            headers.extend([0, 0]);
            headers.extend(random.bytes(6));
        }
    }
    headers
}

/// What stands behind it.
pub(crate) fn trailers(random: &mut Random) -> Vec<u8> {
    let mut trailers = Vec::new();
    for _ in 0..random.below(12).saturating_sub(8) {
        let kind = random.pick(&[1, 1, 2, 3, 3, 4, 4, 5, 0x42, 0x7f, 0x80, 0]);
        let len = match kind {
            1 | 4 => 4,
            3 => random.pick(&[8, 14, 20, 26, 9, 2, 32]),
            _ => random.below(5),
        };
        let mut value = random.bytes(len);
        if let (4, Some(discovery)) = (kind, value.first_mut()) {
            *discovery = random.pick(&[0, 0, 1, 2]);
        }
        trailers.extend([kind, len.to_le_bytes()[0]]);
        trailers.extend(value);
    }
    if random.one_in(16) {
        trailers.truncate(trailers.len().saturating_sub(1));
    }
    trailers
}

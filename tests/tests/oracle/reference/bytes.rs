//! Numbers and sums in packets, the plain way.

/// A number of two bytes in network order.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from(bytes[at]) << 8 | u16::from(bytes[at + 1])
}

/// A number of four bytes in network order.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) << 16 | u32::from(u16_at(bytes, at + 2))
}

/// An IPv6 address.
pub(crate) fn address_at(bytes: &[u8], at: usize) -> [u8; 16] {
    let mut address = [0; 16];
    address.copy_from_slice(&bytes[at..at + 16]);
    address
}

/// The one's complement sum of the parts put one behind the other (RFC 1071).
pub(crate) fn ones_sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    let mut is_high = true;
    for part in parts {
        for byte in *part {
            sum += u64::from(*byte) << if is_high { 8 } else { 0 };
            is_high = !is_high;
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded")
}

/// Whether the checksum in the header of an IPv4 packet without options is right.
pub(crate) fn ipv4_header_is_right(packet: &[u8]) -> bool {
    ones_sum(&[&packet[..20]]) == 0xffff
}

/// Whether the checksum of the UDP datagram behind an IPv4 header without options is right. `udp` is as
/// long as its length field says.
pub(crate) fn udp4_is_right(packet: &[u8], udp: &[u8]) -> bool {
    let length = [udp[4], udp[5]];
    ones_sum(&[&packet[12..20], &[0, 17], &length, udp]) == 0xffff
}

/// The sum over an IPv6 packet's upper layer and pseudo header, when its upper layer is `next` (RFC 8200 8.1).
/// Right checksums make it ffff.
pub(crate) fn upper_sum(packet: &[u8], next: u8) -> u16 {
    let length = [packet[4], packet[5]];
    ones_sum(&[
        &packet[8..40],
        &[0, 0],
        &length,
        &[0, 0, 0, next],
        &packet[40..],
    ])
}

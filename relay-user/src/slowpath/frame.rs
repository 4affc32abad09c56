//! Reading frames the fast path punted.

use std::net::{Ipv4Addr, SocketAddrV4};

use relay_common::{MAX_TAGS, Reason};
use teredo::wire::checksum::Sum;
use teredo::wire::ipv6;

pub(super) const MACS_LEN: usize = 12;
pub(super) const IPV4_HEADER_MIN: usize = 20;
pub(super) const UDP_HEADER_LEN: usize = 8;
pub(super) const PROTOCOL_UDP: u8 = 17;
pub(super) const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const ETHERTYPES_VLAN: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];

/// What a punted frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// An IPv6 packet from the native side, Ethernet padding left out. It is not judged here:
    /// it may be shorter than its payload length says (R-10 is the relay's).
    Native(&'a [u8]),
    /// A datagram to the service port.
    Client {
        /// Outer source.
        source: SocketAddrV4,
        /// Outer TOS byte: DSCP and ECN.
        tos: u8,
        /// UDP payload.
        payload: &'a [u8],
    },
}

/// Reads a punted frame: Ethernet, up to two VLAN tags, then IPv6 or IPv4 and UDP.
///
/// What the kernel's UDP socket would have checked is checked here: the lengths, the IPv4
/// header checksum, and the UDP checksum unless it is 0.
///
/// A sender on the other end of a veth pair with transmit checksum offload leaves the UDP
/// checksum unfinished. Its datagrams are refused here; such a port needs `ethtool -K PEER tx off`.
///
/// # Errors
/// [`Reason::FrameUnreadable`], [`Reason::OuterLengthMismatch`], [`Reason::OuterChecksumWrong`]
/// and [`Reason::OuterUdpChecksumWrong`].
pub fn read(frame: &[u8]) -> Result<Frame<'_>, Reason> {
    let mut rest = frame.get(MACS_LEN..).ok_or(Reason::FrameUnreadable)?;
    for tags in 0..=MAX_TAGS {
        let (ethertype, behind) = rest.split_first_chunk().ok_or(Reason::FrameUnreadable)?;
        match *ethertype {
            ETHERTYPE_IPV6 => return Ok(Frame::Native(without_padding(behind))),
            ETHERTYPE_IPV4 => return client(behind),
            tag if ETHERTYPES_VLAN.contains(&tag) && tags < MAX_TAGS => {
                rest = behind.get(2..).ok_or(Reason::FrameUnreadable)?;
            }
            _ => break,
        }
    }
    Err(Reason::FrameUnreadable)
}

fn without_padding(packet: &[u8]) -> &[u8] {
    match ipv6::parse(packet) {
        Ok((header, ..)) => &packet[..header.packet_len()],
        Err(_) => packet,
    }
}

fn client(packet: &[u8]) -> Result<Frame<'_>, Reason> {
    let header: &[u8; IPV4_HEADER_MIN] = packet.first_chunk().ok_or(Reason::FrameUnreadable)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    // Fragments and options are the kernel's and never punted.
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
    if header[0] >> 4 != 4 || header_len != IPV4_HEADER_MIN || fragment != 0 {
        return Err(Reason::FrameUnreadable);
    }
    if header[9] != PROTOCOL_UDP {
        return Err(Reason::FrameUnreadable);
    }
    if Sum::new().add_bytes(header).finish() != 0 {
        return Err(Reason::OuterChecksumWrong);
    }
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let received = packet
        .get(header_len..total_len)
        .ok_or(Reason::OuterLengthMismatch)?;

    let udp: &[u8; UDP_HEADER_LEN] = received.first_chunk().ok_or(Reason::OuterLengthMismatch)?;
    let udp_len = u16::from_be_bytes([udp[4], udp[5]]);
    // Like the kernel: the datagram may end before the packet does.
    let datagram = received
        .get(..usize::from(udp_len))
        .filter(|datagram| datagram.len() >= UDP_HEADER_LEN)
        .ok_or(Reason::OuterLengthMismatch)?;
    let addresses = &header[12..20];
    let checked = [udp[6], udp[7]] != [0, 0];
    if checked
        && Sum::new()
            .add_bytes(addresses)
            .add_u16(u16::from(PROTOCOL_UDP))
            .add_u16(udp_len)
            .add_bytes(datagram)
            .finish()
            != 0
    {
        return Err(Reason::OuterUdpChecksumWrong);
    }
    Ok(Frame::Client {
        source: SocketAddrV4::new(
            Ipv4Addr::new(header[12], header[13], header[14], header[15]),
            u16::from_be_bytes([udp[0], udp[1]]),
        ),
        tos: header[1],
        payload: &datagram[UDP_HEADER_LEN..],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAYLOAD: &[u8] = b"a teredo payload";

    fn ethernet(tags: &[[u8; 4]], ethertype: [u8; 2], packet: &[u8]) -> Vec<u8> {
        let mut frame = vec![2; MACS_LEN];
        for tag in tags {
            frame.extend(tag);
        }
        frame.extend(ethertype);
        frame.extend(packet);
        frame
    }

    fn datagram(payload: &[u8]) -> Vec<u8> {
        let udp_len = u16::try_from(UDP_HEADER_LEN + payload.len()).unwrap();
        let total_len = udp_len + 20;
        let mut packet = vec![0x45, 0xb9];
        packet.extend(total_len.to_be_bytes());
        packet.extend([0x12, 0x34, 0, 0, 64, 17, 0, 0]);
        packet.extend([198, 51, 100, 7, 203, 0, 113, 18]);
        let sum = Sum::new().add_bytes(&packet).finish();
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(40_000_u16.to_be_bytes());
        packet.extend(3545_u16.to_be_bytes());
        packet.extend(udp_len.to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(payload);
        let sum = Sum::new()
            .add_bytes(&packet[12..20])
            .add_u16(17)
            .add_u16(udp_len)
            .add_bytes(&packet[20..])
            .finish();
        packet[26..28].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    fn client_frame() -> Frame<'static> {
        Frame::Client {
            source: "198.51.100.7:40000".parse().unwrap(),
            tos: 0xb9,
            payload: PAYLOAD,
        }
    }

    fn native(payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        packet.extend([59, 64]);
        packet.extend([0x20; 32]);
        packet.extend(payload);
        packet
    }

    #[test]
    fn a_datagram_is_read_behind_no_one_and_two_tags() {
        let (q, ad) = ([0x81, 0x00, 0, 9], [0x88, 0xa8, 0, 7]);
        for tags in [&[][..], &[q], &[ad, q]] {
            let mut frame = ethernet(tags, ETHERTYPE_IPV4, &datagram(PAYLOAD));
            assert_eq!(read(&frame), Ok(client_frame()));
            frame.extend([0; 10]);
            assert_eq!(read(&frame), Ok(client_frame()), "Ethernet padding");
        }
        let frame = ethernet(&[ad, q, q], ETHERTYPE_IPV4, &datagram(PAYLOAD));
        assert_eq!(read(&frame), Err(Reason::FrameUnreadable));
    }

    #[test]
    fn ethernet_padding_is_left_out_of_a_native_packet() {
        let packet = native(b"x");
        let mut frame = ethernet(&[], ETHERTYPE_IPV6, &packet);
        frame.extend([0; 5]);
        assert_eq!(read(&frame), Ok(Frame::Native(&packet)));
    }

    #[test]
    fn a_native_packet_cut_short_is_left_to_the_relay_to_refuse() {
        let packet = &native(b"xyz")[..41];
        let frame = ethernet(&[], ETHERTYPE_IPV6, packet);
        assert_eq!(read(&frame), Ok(Frame::Native(packet)));
    }

    #[test]
    fn a_datagram_without_udp_checksum_is_taken_and_a_wrong_one_refused() {
        let mut packet = datagram(PAYLOAD);
        packet[27] ^= 1;
        let frame = ethernet(&[], ETHERTYPE_IPV4, &packet);
        assert_eq!(read(&frame), Err(Reason::OuterUdpChecksumWrong));
        packet[26..28].fill(0);
        let frame = ethernet(&[], ETHERTYPE_IPV4, &packet);
        assert_eq!(read(&frame), Ok(client_frame()));
    }

    #[test]
    fn lengths_that_disagree_are_refused() {
        for (at, wrong) in [(25, 0), (25, 7), (25, 25), (25, 200)] {
            let mut packet = datagram(PAYLOAD);
            packet[at] = wrong;
            let frame = ethernet(&[], ETHERTYPE_IPV4, &packet);
            assert_eq!(read(&frame), Err(Reason::OuterLengthMismatch), "{wrong}");
        }
        let mut frame = ethernet(&[], ETHERTYPE_IPV4, &datagram(PAYLOAD));
        frame.pop();
        assert_eq!(read(&frame), Err(Reason::OuterLengthMismatch));
    }

    #[test]
    fn a_damaged_ipv4_header_is_refused() {
        let mut packet = datagram(PAYLOAD);
        packet[8] ^= 1;
        let frame = ethernet(&[], ETHERTYPE_IPV4, &packet);
        assert_eq!(read(&frame), Err(Reason::OuterChecksumWrong));
    }

    proptest! {
        #[test]
        fn no_input_panics(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&frame);
        }

        #[test]
        fn no_damaged_datagram_panics(at in 0..58_usize, byte: u8, cut in 0..59_usize) {
            let mut frame = ethernet(&[], ETHERTYPE_IPV4, &datagram(PAYLOAD));
            frame[at] = byte;
            let _ = read(&frame[..cut]);
        }
    }
}

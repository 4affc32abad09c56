//! The outer headers: IPv4 and UDP (RFC 4380 2.9; invariants 6 and 7). Numbers in them are as on the wire.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use relay_common::{MappedWord, Reason};
use teredo::wire::checksum::{self, Sum};
use teredo::wire::ipv6;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{config, counters};

/// Bytes of both headers.
pub(crate) const LEN: usize = size_of::<Outer>();

/// More fragments, and the fragment offset.
const FRAGMENT: u16 = 0x3fff_u16.to_be();
/// TTL of what the relay sends.
const TTL: u8 = 64;
/// Version 4, a header of five words.
pub(crate) const PLAIN_HEADER: u8 = 0x45;

/// An IPv4 header without options.
#[repr(C, packed)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
pub(crate) struct Ipv4Header {
    pub(crate) version_ihl: u8,
    pub(crate) tos: u8,
    total_len: u16,
    identification: u16,
    flags_fragment: u16,
    ttl: u8,
    pub(crate) protocol: u8,
    checksum: u16,
    pub(crate) source: u32,
    pub(crate) destination: u32,
}

impl Ipv4Header {
    pub(crate) const LEN: usize = size_of::<Self>();

    #[inline(always)]
    pub(crate) fn is_fragment(&self) -> bool {
        self.flags_fragment & FRAGMENT != 0
    }

    #[inline(always)]
    pub(crate) fn total_len(&self) -> usize {
        usize::from(u16::from_be(self.total_len))
    }

    #[inline(always)]
    pub(crate) fn checksum_is_right(&self) -> bool {
        checksum::ipv4_header(self.as_bytes()) == 0
    }
}

/// A UDP header.
#[repr(C, packed)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
pub(crate) struct UdpHeader {
    pub(crate) source: u16,
    pub(crate) destination: u16,
    pub(crate) len: u16,
    pub(crate) checksum: u16,
}

impl UdpHeader {
    pub(crate) const LEN: usize = size_of::<Self>();

    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        usize::from(u16::from_be(self.len))
    }
}

/// Both headers, as they stand in front of the inner packet.
#[repr(C, packed)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
pub(crate) struct Outer {
    pub(crate) ipv4: Ipv4Header,
    pub(crate) udp: UdpHeader,
}

impl Outer {
    /// The headers in front of a payload of `payload_len` bytes, for a packet that will be counted under `reason`.
    ///
    /// DF is clear and TTL 64. `udp_checksum` is 0 for none.
    #[inline(always)]
    pub(crate) fn new(
        reason: Reason,
        tos: u8,
        payload_len: usize,
        [source, destination]: [MappedWord; 2],
        udp_checksum: u16,
    ) -> Self {
        let udp_len = (payload_len + UdpHeader::LEN) as u16;
        let total_len = udp_len + Ipv4Header::LEN as u16;
        let identification = identification(reason, destination.ip());
        let checksum = Sum::new()
            .add_u16(u16::from_be_bytes([PLAIN_HEADER, tos]))
            .add_u16(total_len)
            .add_u16(identification)
            .add_u16(u16::from_be_bytes([TTL, ipv6::UDP]))
            .add_u32(u32::from_be(source.ip()))
            .add_u32(u32::from_be(destination.ip()))
            .finish();
        Self {
            ipv4: Ipv4Header {
                version_ihl: PLAIN_HEADER,
                tos,
                total_len: total_len.to_be(),
                identification: identification.to_be(),
                flags_fragment: 0,
                ttl: TTL,
                protocol: ipv6::UDP,
                checksum: checksum.to_be(),
                source: source.ip(),
                destination: destination.ip(),
            },
            udp: UdpHeader {
                source: source.port(),
                destination: destination.port(),
                len: udp_len.to_be(),
                checksum: udp_checksum.to_be(),
            },
        }
    }
}

/// The identification of the packet of `reason` that this CPU is about to count, to `destination`.
#[inline(always)]
fn identification(reason: Reason, destination: u32) -> u16 {
    let count = counters::counted(reason) ^ u64::from(reason as u32) << 16;
    // SAFETY: the helper has no precondition.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u32;
    relay_common::identification(config::id_key(), count, destination ^ cpu)
}

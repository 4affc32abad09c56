//! The outer headers: IPv4 and UDP (RFC 4380 2.9; invariants 6 and 7).

use aya_ebpf::helpers::bpf_get_prandom_u32;
use teredo::wire::{checksum, ipv6};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::config;

/// Bytes of both headers.
pub(crate) const LEN: usize = size_of::<Outer>();

/// More fragments, and the fragment offset.
const FRAGMENT: u16 = 0x3fff;
/// TTL of what the relay sends.
const TTL: u8 = 64;

/// An IPv4 header without options.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
pub(crate) struct Ipv4Header {
    pub(crate) version_ihl: u8,
    pub(crate) tos: u8,
    pub(crate) total_len: [u8; 2],
    pub(crate) identification: [u8; 2],
    pub(crate) flags_fragment: [u8; 2],
    pub(crate) ttl: u8,
    pub(crate) protocol: u8,
    pub(crate) checksum: [u8; 2],
    pub(crate) source: [u8; 4],
    pub(crate) destination: [u8; 4],
}

impl Ipv4Header {
    pub(crate) const LEN: usize = size_of::<Self>();

    #[inline(always)]
    pub(crate) fn is_fragment(&self) -> bool {
        u16::from_be_bytes(self.flags_fragment) & FRAGMENT != 0
    }

    #[inline(always)]
    pub(crate) fn total_len(&self) -> usize {
        usize::from(u16::from_be_bytes(self.total_len))
    }

    #[inline(always)]
    pub(crate) fn checksum_is_right(&self) -> bool {
        checksum::ipv4_header(self.as_bytes()) == 0
    }
}

/// A UDP header.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
pub(crate) struct UdpHeader {
    pub(crate) source: [u8; 2],
    pub(crate) destination: [u8; 2],
    pub(crate) len: [u8; 2],
    pub(crate) checksum: [u8; 2],
}

impl UdpHeader {
    pub(crate) const LEN: usize = size_of::<Self>();

    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        usize::from(u16::from_be_bytes(self.len))
    }
}

/// Both headers, as they stand in front of the inner packet.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
pub(crate) struct Outer {
    pub(crate) ipv4: Ipv4Header,
    pub(crate) udp: UdpHeader,
}

impl Outer {
    /// The headers in front of an inner packet of `inner_len` bytes to `destination`.
    ///
    /// DF is clear and TTL 64. `udp_checksum` is 0 for none.
    #[inline(always)]
    pub(crate) fn new(
        tos: u8,
        inner_len: usize,
        destination: [u8; 4],
        destination_port: [u8; 2],
        udp_checksum: u16,
    ) -> Self {
        let udp_len = inner_len + UdpHeader::LEN;
        let mut ipv4 = Ipv4Header {
            version_ihl: 0x45,
            tos,
            total_len: ((udp_len + Ipv4Header::LEN) as u16).to_be_bytes(),
            identification: identification().to_be_bytes(),
            flags_fragment: [0; 2],
            ttl: TTL,
            protocol: ipv6::UDP,
            checksum: [0; 2],
            source: config::service_ipv4(),
            destination,
        };
        ipv4.checksum = checksum::ipv4_header(ipv4.as_bytes()).to_be_bytes();
        Self {
            ipv4,
            udp: UdpHeader {
                source: config::service_port(),
                destination: destination_port,
                len: (udp_len as u16).to_be_bytes(),
                checksum: udp_checksum.to_be_bytes(),
            },
        }
    }
}

/// A random identification that is never 0 (invariant 7).
///
/// The kernel's generator is linear over GF(2): who sees enough of its raw output knows the
/// rest. A multiplication by a secret odd number, of which only the top bits are shown, is not.
#[inline(always)]
fn identification() -> u16 {
    // SAFETY: the helper has no precondition.
    let random = u64::from(unsafe { bpf_get_prandom_u32() });
    let key = config::id_key();
    let mixed = (random ^ (key >> 32)).wrapping_mul(key | 1);
    match (mixed ^ (mixed << 32)).wrapping_mul(key | 1) >> 48 {
        0 => 1,
        id => id as u16,
    }
}

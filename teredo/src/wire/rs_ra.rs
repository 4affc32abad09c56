//! Router solicitations and advertisements of the qualification procedure (RFC 4380 5.2.1,
//! 5.3.2; RFC 4861 4.1, 4.2), and the link-local addresses they travel between.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

use super::checksum::{self, Sum};
#[cfg(feature = "alloc")]
use super::icmp6;
use super::icmp6::{ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION};
use super::ipv6::{self, Ipv6Header};
use crate::addr::{FLAG_CONE, Mapped, SERVER_PORT, ServerV4, TeredoAddr};

const OPTION_PREFIX_INFORMATION: u8 = 3;
const OPTION_MTU: u8 = 5;

/// Hop limit of both messages: proof that no router forwarded them (RFC 4861 6.1).
pub const ND_HOP_LIMIT: u8 = 255;

/// Destination of a router solicitation: all routers, ff02::2.
pub const ALL_ROUTERS: [u8; 16] = [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02];

/// Source of a solicitation with the cone bit clear, fe80::ffff:ffff:ffff: port 0 and IPv4 0.0.0.0, obfuscated.
pub const RESTRICTED_SOURCE: [u8; 16] = link_local(
    0,
    Mapped {
        ip: Ipv4Addr::UNSPECIFIED,
        port: 0,
    },
);

/// Source of a solicitation with the cone bit set, fe80::8000:5445:5245:444f ("TEREDO").
pub const CONE_SOURCE: [u8; 16] = *b"\xfe\x80\0\0\0\0\0\0\x80\0TEREDO";

/// The server's link-local address: fe80::8000:f227 and its primary IPv4 inverted (RFC 4380 5.3.2).
pub const fn server_link_local(primary: ServerV4) -> [u8; 16] {
    link_local(
        FLAG_CONE,
        Mapped {
            ip: primary.0,
            port: SERVER_PORT,
        },
    )
}

/// fe80::/64 with the interface identifier of a Teredo address: flags, inverted port, inverted IPv4 (RFC 4380 4).
const fn link_local(flags: u16, mapped: Mapped) -> [u8; 16] {
    let [f0, f1] = flags.to_be_bytes();
    let [p0, p1] = (!mapped.port).to_be_bytes();
    let [a, b, c, d] = mapped.ip.octets();
    [0xfe, 0x80, 0, 0, 0, 0, 0, 0, f0, f1, p0, p1, !a, !b, !c, !d]
}

/// Why a packet is not the message it was taken for (RFC 4861 6.1.1, 6.1.2; RFC 4380 5.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// Another protocol, type or code, or shorter than the fixed part.
    OtherMessage,
    /// The hop limit is not 255.
    HopLimit,
    /// The source is not link-local.
    Source,
    /// A solicitation to an address other than ff02::2.
    Destination,
    /// The checksum is wrong.
    Checksum,
    /// An option of length 0 or one that exceeds the message.
    Option,
    /// Not exactly one prefix, or its length is not 64.
    Prefix,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherMessage => "not the ICMPv6 message expected",
            Self::HopLimit => "hop limit is not 255",
            Self::Source => "source is not link-local",
            Self::Destination => "destination is not ff02::2",
            Self::Checksum => "ICMPv6 checksum is wrong",
            Self::Option => "an option has length 0 or exceeds the message",
            Self::Prefix => "not exactly one /64 prefix",
        })
    }
}

impl core::error::Error for Invalid {}

/// A router solicitation.
///
/// ```text
/// IPv6 header (40): hop limit 255, to ff02::2
/// type 133 | code 0 | checksum 2 | reserved 4 | options
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterSolicitation {
    /// Link-local source; the advertisement goes there.
    pub source: [u8; 16],
}

impl RouterSolicitation {
    /// The cone bit of the source: the advertisement must leave from the server's other address (S-10).
    pub const fn cone(&self) -> bool {
        u16::from_be_bytes([self.source[8], self.source[9]]) & FLAG_CONE != 0
    }

    /// Reads the packet of `header` and `body` (S-11). Any link-local source is accepted, options are ignored.
    ///
    /// # Errors
    /// [`Invalid`], but not its [`Prefix`](Invalid::Prefix).
    pub fn parse(header: &Ipv6Header, body: &[u8]) -> Result<Self, Invalid> {
        let (_reserved, options) = message::<4>(header, body, ROUTER_SOLICITATION)?;
        if header.destination != ALL_ROUTERS {
            return Err(Invalid::Destination);
        }
        for option in Options(options) {
            option?;
        }
        Ok(Self {
            source: header.source,
        })
    }

    /// The whole IPv6 packet, 48 bytes, without options.
    #[cfg(feature = "alloc")]
    pub fn build(&self) -> Vec<u8> {
        icmp6::build_message(
            self.source,
            ALL_ROUTERS,
            ND_HOP_LIMIT,
            [ROUTER_SOLICITATION, 0],
            &[&[0; 4]],
        )
    }
}

/// A router advertisement.
///
/// ```text
/// IPv6 header (40): hop limit 255
/// type 134 | code 0 | checksum 2 | hop limit 1 | flags 1 | router lifetime 2 | reachable time 4 | retrans timer 4
/// type 3 | length 4 | prefix length 64 | flags 40 | valid 4 | preferred 4 | reserved 4 | prefix 16
/// type 5 | length 1 | reserved 2 | MTU 4
/// ```
///
/// Hop limit, flags, router lifetime and reachable time are written as 0, the retransmission
/// timer as 2000 ms and both lifetimes as infinite, as deployed servers do; clients make
/// nothing of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterAdvertisement {
    /// The server's link-local address, see [`server_link_local`].
    pub source: [u8; 16],
    /// Source of the solicitation.
    pub destination: [u8; 16],
    /// The first 64 bits of the client's address: service prefix and server IPv4.
    pub prefix: [u8; 8],
    /// MTU option, as it stands.
    pub mtu: Option<u32>,
}

impl RouterAdvertisement {
    /// The answer of the server with primary address `primary` to a solicitation (S-2, S-10).
    pub const fn answer(
        solicitation: &RouterSolicitation,
        primary: ServerV4,
        mtu: Option<u32>,
    ) -> Self {
        let [p0, p1, p2, p3] = TeredoAddr::PREFIX;
        let [a, b, c, d] = primary.0.octets();
        Self {
            source: server_link_local(primary),
            destination: solicitation.source,
            prefix: [p0, p1, p2, p3, a, b, c, d],
            mtu,
        }
    }

    /// The server the prefix names; `None` if it is not of 2001::/32.
    pub fn server(&self) -> Option<ServerV4> {
        let [p0, p1, p2, p3, a, b, c, d] = self.prefix;
        ([p0, p1, p2, p3] == TeredoAddr::PREFIX).then_some(ServerV4(Ipv4Addr::new(a, b, c, d)))
    }

    /// Reads the packet of `header` and `body` (RFC 4861 6.1.2, C-13). Unknown options are ignored.
    ///
    /// # Errors
    /// [`Invalid`], but not its [`Destination`](Invalid::Destination).
    pub fn parse(header: &Ipv6Header, body: &[u8]) -> Result<Self, Invalid> {
        let (_timers, options) = message::<12>(header, body, ROUTER_ADVERTISEMENT)?;
        let mut prefix = None;
        let mut mtu = None;
        for option in Options(options) {
            match option? {
                (OPTION_PREFIX_INFORMATION, value) => {
                    let parsed = parse_prefix(value).ok_or(Invalid::Prefix)?;
                    if prefix.replace(parsed).is_some() {
                        return Err(Invalid::Prefix);
                    }
                }
                (OPTION_MTU, &[_, _, a, b, c, d]) => mtu = Some(u32::from_be_bytes([a, b, c, d])),
                _ => {}
            }
        }
        Ok(Self {
            source: header.source,
            destination: header.destination,
            prefix: prefix.ok_or(Invalid::Prefix)?,
            mtu,
        })
    }

    /// The whole IPv6 packet: 88 bytes, 96 with an MTU.
    #[cfg(feature = "alloc")]
    pub fn build(&self) -> Vec<u8> {
        /// A (autonomous address configuration) without L (on-link).
        const PREFIX_FLAGS: u8 = 0x40;
        const RETRANS_TIMER_MS: u32 = 2000;
        const LIFETIME_INFINITE_S: u32 = u32::MAX;
        let mut rest = Vec::with_capacity(52);
        rest.extend_from_slice(&[0; 8]);
        rest.extend_from_slice(&RETRANS_TIMER_MS.to_be_bytes());
        rest.extend_from_slice(&[OPTION_PREFIX_INFORMATION, 4, 64, PREFIX_FLAGS]);
        rest.extend_from_slice(&LIFETIME_INFINITE_S.to_be_bytes());
        rest.extend_from_slice(&LIFETIME_INFINITE_S.to_be_bytes());
        rest.extend_from_slice(&[0; 4]);
        rest.extend_from_slice(&self.prefix);
        rest.extend_from_slice(&[0; 8]);
        if let Some(mtu) = self.mtu {
            rest.extend_from_slice(&[OPTION_MTU, 1, 0, 0]);
            rest.extend_from_slice(&mtu.to_be_bytes());
        }
        icmp6::build_message(
            self.source,
            self.destination,
            ND_HOP_LIMIT,
            [ROUTER_ADVERTISEMENT, 0],
            &[&rest],
        )
    }
}

/// Length in bytes of the advertisement a server sends, IPv6 header included: it has an MTU option.
pub const ADVERTISEMENT_LEN: usize = 96;

/// Offset in bytes of the destination in the packet.
const DESTINATION_OFFSET: usize = 24;

/// Offset in bytes of the checksum in the packet.
const CHECKSUM_OFFSET: usize = ipv6::HEADER_LEN + 2;

/// Every advertisement of one server: they differ in destination and checksum alone.
///
/// The bytes are those of an advertisement to the unspecified address, so that its checksum lacks the destination's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdvertisementTemplate([u8; ADVERTISEMENT_LEN]);

impl AdvertisementTemplate {
    /// That of the server with primary address `primary`.
    #[cfg(feature = "alloc")]
    pub fn new(primary: ServerV4, mtu: u32) -> Self {
        let to_nobody = RouterSolicitation { source: [0; 16] };
        let packet = RouterAdvertisement::answer(&to_nobody, primary, Some(mtu)).build();
        let mut bytes = [0; ADVERTISEMENT_LEN];
        for (to, from) in bytes.iter_mut().zip(packet) {
            *to = from;
        }
        Self(bytes)
    }

    /// A template kept as [`bytes`](Self::bytes).
    #[inline(always)]
    pub const fn from_bytes(bytes: [u8; ADVERTISEMENT_LEN]) -> Self {
        Self(bytes)
    }

    /// The advertisement to the unspecified address.
    #[inline(always)]
    pub const fn bytes(&self) -> &[u8; ADVERTISEMENT_LEN] {
        &self.0
    }

    /// The whole IPv6 packet to `destination`.
    #[inline(always)]
    pub fn to(&self, destination: &[u8; 16]) -> [u8; ADVERTISEMENT_LEN] {
        let mut packet = self.0;
        let without = u16::from_be_bytes([packet[CHECKSUM_OFFSET], packet[CHECKSUM_OFFSET + 1]]);
        let checksum = Sum::new().add_u16(!without).add_bytes(destination).finish();
        packet[DESTINATION_OFFSET..ipv6::HEADER_LEN].copy_from_slice(destination);
        packet[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&checksum.to_be_bytes());
        packet
    }
}

/// Whether a packet is meant to be a solicitation: from a link-local address to all routers (S-5). Whether it is a valid one
/// [`RouterSolicitation::parse`] says.
#[inline(always)]
pub fn is_solicitation(header: &Ipv6Header, body: &[u8]) -> bool {
    header.next_header == ipv6::ICMP6
        && header.destination == ALL_ROUTERS
        && is_link_local(&header.source)
        && body.first() == Some(&ROUTER_SOLICITATION)
}

/// fe80::/10.
#[inline(always)]
const fn is_link_local(a: &[u8; 16]) -> bool {
    a[0] == 0xfe && a[1] & 0xc0 == 0x80
}

/// The `N` bytes behind type, code and checksum, and the options, of a valid message of `kind`.
fn message<'a, const N: usize>(
    header: &Ipv6Header,
    body: &'a [u8],
    kind: u8,
) -> Result<(&'a [u8; N], &'a [u8]), Invalid> {
    let (&[found, code, _, _], rest) = body.split_first_chunk().ok_or(Invalid::OtherMessage)?;
    if header.next_header != ipv6::ICMP6 || found != kind || code != 0 {
        return Err(Invalid::OtherMessage);
    }
    let parts = rest.split_first_chunk().ok_or(Invalid::OtherMessage)?;
    if header.hop_limit != ND_HOP_LIMIT {
        return Err(Invalid::HopLimit);
    }
    if !is_link_local(&header.source) {
        return Err(Invalid::Source);
    }
    if checksum::upper_layer(&header.source, &header.destination, ipv6::ICMP6, body) != 0 {
        return Err(Invalid::Checksum);
    }
    Ok(parts)
}

/// The value of a prefix information option behind type and length: its first 64 bits, if it is a /64.
fn parse_prefix(value: &[u8]) -> Option<[u8; 8]> {
    let (&[prefix_len, ..], rest) = value.split_first_chunk::<14>()?;
    let (&prefix, interface_identifier) = rest.split_first_chunk()?;
    (prefix_len == 64 && interface_identifier.len() == 8).then_some(prefix)
}

/// Options as type and value: type 1, length 1 in units of 8 bytes with both, value.
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = Result<(u8, &'a [u8]), Invalid>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let parsed = split_option(self.0);
        self.0 = parsed.map_or(&[], |(_, _, rest)| rest);
        Some(
            parsed
                .map(|(kind, value, _)| (kind, value))
                .ok_or(Invalid::Option),
        )
    }
}

fn split_option(options: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, len], rest) = options.split_first_chunk()?;
    let value_len = (8 * usize::from(len)).checked_sub(2)?;
    let (value, rest) = rest.split_at_checked(value_len)?;
    Some((kind, value, rest))
}

#[cfg(all(test, feature = "alloc"))]
#[path = "rs_ra_tests.rs"]
mod tests;

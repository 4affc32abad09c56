//! The settings the loader writes into the program's read-only data.
#![allow(
    clippy::cast_ptr_alignment,
    reason = "the alignment of each field is asserted below"
)]

use core::ptr::read_volatile;

use aya_ebpf::helpers::generated::bpf_jiffies64;
use relay_common::{MappedWord, Rate, RelayConfig, TableShape, Ticks, access};
use teredo::addr::Mapped;

/// Overridden by the loader before the program is verified: the verifier knows the values, and
/// branches on them cost nothing.
#[unsafe(no_mangle)]
static CONFIG: RelayConfig = RelayConfig {
    table: TableShape::new(0, [0; 4]),
    id_key: 0,
    route_key: 0,
    jiffy_ns: 0,
    clock_offset_ns: 0,
    fib_ifindex: 0,
    service_ipv4: [0; 4],
    service_port: [0; 2],
    tunnel_mtu: 0,
    punt_frame_max: 0,
    native_access: access::UNRESTRICTED,
    client_access: access::UNRESTRICTED,
    server_access: access::UNRESTRICTED,
    server_requires_credentials: 0,
    server_opened: 0,
    reserved: [0; 3],
    rate_key: 0,
    server_source_rate: Rate {
        interval: 0,
        depth: 0,
    },
    server_target_rate: Rate {
        interval: 0,
        depth: 0,
    },
    server_primary: [0; 4],
    server_secondary: [0; 4],
};

/// Reads one field. Volatile, because the compiler would otherwise fold the zeros above.
macro_rules! field {
    ($($name:ident).+ as $word:ty) => {
        // SAFETY: the field lies in an initialised static, is aligned for the word and as large.
        unsafe { read_volatile((&raw const CONFIG.$($name).+).cast::<$word>()) }
    };
}

/// Where peers stand in the peer table.
#[inline(always)]
pub(crate) fn table() -> TableShape {
    TableShape {
        hash_keys: field!(table.hash_keys as [u64; 4]),
        blocks: field!(table.blocks as u32),
        reserved: 0,
    }
}

/// Key of the IPv4 identification.
#[inline(always)]
pub(crate) fn id_key() -> u64 {
    field!(id_key as u64)
}

/// Key of the cache of routes by destination.
#[inline(always)]
pub(crate) fn route_key() -> u64 {
    field!(route_key as u64)
}

/// Interface whose point of view a route lookup takes.
#[inline(always)]
pub(crate) fn fib_ifindex() -> u32 {
    field!(fib_ifindex as u32)
}

/// The time in nanoseconds, to a jiffy. The helper is a plain read (kernel 5.6, 5576b991e9c1).
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: the helper has no precondition.
    let jiffies = unsafe { bpf_jiffies64() };
    jiffies
        .wrapping_mul(field!(jiffy_ns as u64))
        .wrapping_add(field!(clock_offset_ns as u64))
}

/// The time, to a tick.
#[inline(always)]
pub(crate) fn now() -> Ticks {
    Ticks::from_nanos(now_ns())
}

/// Whether there is a relay.
#[inline(always)]
pub(crate) fn has_relay() -> bool {
    service_port() != 0
}

/// Address of the service socket, its bytes in memory as on the wire.
#[inline(always)]
pub(crate) fn service_ipv4() -> u32 {
    field!(service_ipv4 as u32)
}

/// Port of the service socket, its bytes in memory as on the wire.
#[inline(always)]
pub(crate) fn service_port() -> u16 {
    field!(service_port as u16)
}

/// Address and port of the service socket, as on the wire.
#[inline(always)]
pub(crate) fn service_word() -> MappedWord {
    MappedWord(u64::from(service_ipv4()) | u64::from(service_port()) << 32)
}

/// Address and port of the service socket.
#[inline(always)]
pub(crate) fn service() -> Mapped {
    Mapped {
        ip: u32::from_be(service_ipv4()).into(),
        port: u16::from_be(service_port()),
    }
}

/// Largest inner packet.
#[inline(always)]
pub(crate) fn tunnel_mtu() -> usize {
    usize::from(field!(tunnel_mtu as u16))
}

/// Largest frame an `AF_XDP` socket can take.
#[inline(always)]
pub(crate) fn punt_frame_max() -> usize {
    field!(punt_frame_max as u32) as usize
}

/// How native hosts are judged: one of [`access`].
#[inline(always)]
pub(crate) fn native_access() -> u8 {
    field!(native_access as u8)
}

/// How clients are judged: one of [`access`].
#[inline(always)]
pub(crate) fn client_access() -> u8 {
    field!(client_access as u8)
}

/// How servers are judged: one of [`access`].
#[inline(always)]
pub(crate) fn server_access() -> u8 {
    field!(server_access as u8)
}

/// Whether there is a server.
#[inline(always)]
pub(crate) fn has_server() -> bool {
    server_primary() != 0
}

/// Primary address of the server, its bytes in memory as on the wire.
#[inline(always)]
pub(crate) fn server_primary() -> u32 {
    field!(server_primary as u32)
}

/// Secondary address of the server, its bytes in memory as on the wire.
#[inline(always)]
pub(crate) fn server_secondary() -> u32 {
    field!(server_secondary as u32)
}

/// Whether solicitations need credentials, which the program does not judge.
#[inline(always)]
pub(crate) fn server_requires_credentials() -> bool {
    field!(server_requires_credentials as u8) != 0
}

/// Whether the server sends to prefixes that are not global unicast.
#[inline(always)]
pub(crate) fn server_opened() -> bool {
    field!(server_opened as u8) != 0
}

/// Key of the server's buckets.
#[inline(always)]
pub(crate) fn rate_key() -> u64 {
    field!(rate_key as u64)
}

/// Rate of packets from one source to the server.
#[inline(always)]
pub(crate) fn server_source_rate() -> Rate {
    Rate {
        interval: field!(server_source_rate.interval as u32),
        depth: field!(server_source_rate.depth as u32),
    }
}

/// Rate of packets through the server to one target.
#[inline(always)]
pub(crate) fn server_target_rate() -> Rate {
    Rate {
        interval: field!(server_target_rate.interval as u32),
        depth: field!(server_target_rate.depth as u32),
    }
}

const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(RelayConfig, service_ipv4) % 4 == 0);
    assert!(offset_of!(RelayConfig, service_port) % 2 == 0);
    assert!(offset_of!(RelayConfig, server_primary) % 4 == 0);
    assert!(offset_of!(RelayConfig, server_secondary) % 4 == 0);
};

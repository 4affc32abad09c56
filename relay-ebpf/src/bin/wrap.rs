//! A classifier on the egress of a traffic generator: it makes what the kernel's pktgen sends, UDP over
//! IPv4 with a payload of zeros, into packets of Teredo clients. For measurements on real cards alone.
//!
//! pktgen draws the outer source at random; the inner source is the Teredo address of a client mapped there.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "lengths of frames that pktgen made"
)]
#![allow(
    clippy::needless_pass_by_value,
    reason = "the entry of a program owns its context"
)]

use aya_ebpf::bindings::TC_ACT_OK;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use core::ptr::read_volatile;
use teredo::wire::checksum::{self, Sum};
use teredo::wire::ipv6::{self, Ipv6Header};
use zerocopy::FromBytes;

const IPV4_AT: usize = 14;
const UDP_AT: usize = IPV4_AT + 20;
const PAYLOAD_AT: usize = UDP_AT + 8;
/// What pktgen writes in front of its payload (`PKTGEN_MAGIC`).
const PKTGEN_MAGIC: u32 = 0xbe9b_e955;
const UDP_HEADER_LEN: u16 = 8;

/// What is written, as on the wire.
#[repr(C)]
#[derive(FromBytes)]
struct Inner {
    header: Ipv6Header,
    source_port: [u8; 2],
    destination_port: [u8; 2],
    len: [u8; 2],
    checksum: [u8; 2],
}

/// [`Inner`] with lengths, checksum and the mapped address in the source 0. Set by the loader.
#[unsafe(no_mangle)]
static INNER: [u64; 6] = [0; 6];

/// Writes an IPv6 and a UDP header over the front of the payload, unless the frame is not pktgen's.
#[classifier]
fn wrap(ctx: TcContext) -> i32 {
    // A frame too short to be read is nobody's that we know.
    let _ = write_inner(&ctx);
    TC_ACT_OK
}

fn write_inner(ctx: &TcContext) -> Result<(), core::ffi::c_long> {
    if u32::from_be(ctx.load(PAYLOAD_AT)?) != PKTGEN_MAGIC {
        return Ok(());
    }
    let ip: [u8; 4] = ctx.load(IPV4_AT + 12)?;
    let port: [u8; 2] = ctx.load(UDP_AT)?;
    // SAFETY: an initialised static; volatile, because the compiler would otherwise fold its zeros.
    let words = unsafe { read_volatile(&raw const INNER) };
    let mut inner: Inner = zerocopy::transmute!(words);
    let udp_len = (ctx.len() as usize).saturating_sub(PAYLOAD_AT + ipv6::HEADER_LEN) as u16;
    if udp_len < UDP_HEADER_LEN {
        return Ok(());
    }
    inner.header.payload_len = udp_len.to_be_bytes();
    inner.header.source[10] = !port[0];
    inner.header.source[11] = !port[1];
    inner.header.source[12] = !ip[0];
    inner.header.source[13] = !ip[1];
    inner.header.source[14] = !ip[2];
    inner.header.source[15] = !ip[3];
    inner.len = udp_len.to_be_bytes();
    // The rest of the payload is zeros, which add nothing.
    let sum = Sum::new()
        .add_bytes(&inner.header.source)
        .add_bytes(&inner.header.destination)
        .add_u16(u16::from(ipv6::UDP))
        .add_u16(udp_len)
        .add_bytes(&inner.source_port)
        .add_bytes(&inner.destination_port)
        .add_u16(udp_len)
        .finish();
    inner.checksum = checksum::as_udp_field(sum).to_be_bytes();
    ctx.store(PAYLOAD_AT, &inner, 0)
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

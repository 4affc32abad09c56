//! `bpf_fib_lookup`: the kernel's routes and neighbours.
//!
//! The parameter block is built and read as eight aligned words. The compiler may then use
//! unaligned accesses for packets without ever using one on the stack, which no kernel accepts.

use core::ptr::read_volatile;

use aya_ebpf::bindings::bpf_fib_lookup;
use aya_ebpf::helpers::generated;

use crate::config;
use crate::frame::Frame;

/// `AF_INET` of Linux.
pub(crate) const AF_INET: u8 = 2;
/// `AF_INET6` of Linux.
pub(crate) const AF_INET6: u8 = 10;

const WORDS: usize = size_of::<bpf_fib_lookup>() / 8;

/// What to look up. Addresses and ports as on the wire.
pub(crate) struct Query {
    pub(crate) family: u8,
    pub(crate) protocol: u8,
    pub(crate) source_port: [u8; 2],
    pub(crate) destination_port: [u8; 2],
    /// Bytes of the packet from its IP header on.
    pub(crate) len: usize,
    /// IPv4: the TOS byte, then zeros. IPv6: traffic class and flow label.
    pub(crate) flow: [u8; 4],
    /// IPv4 in the first four bytes.
    pub(crate) source: [u64; 2],
    /// IPv4 in the first four bytes.
    pub(crate) destination: [u64; 2],
}

/// Where the packet goes.
pub(crate) struct Answer {
    /// One of `BPF_FIB_LKUP_RET_*`, or a negative errno as it comes.
    pub(crate) code: u32,
    /// The device the route names.
    pub(crate) ifindex: u32,
    pub(crate) source_mac: [u8; 6],
    pub(crate) destination_mac: [u8; 6],
}

impl Query {
    /// Asks, from the point of view of the relay's TUN device.
    #[inline(always)]
    pub(crate) fn ask(self, frame: &Frame) -> Answer {
        let [s0, s1] = self.source_port;
        let [d0, d1] = self.destination_port;
        let [l0, l1] = (self.len as u16).to_ne_bytes();
        let [i0, i1, i2, i3] = config::fib_ifindex().to_ne_bytes();
        let [f0, f1, f2, f3] = self.flow;
        let mut block: [u64; WORDS] = [
            u64::from_ne_bytes([self.family, self.protocol, s0, s1, d0, d1, l0, l1]),
            u64::from_ne_bytes([i0, i1, i2, i3, f0, f1, f2, f3]),
            self.source[0],
            self.source[1],
            self.destination[0],
            self.destination[1],
            0,
            0,
        ];
        // SAFETY: the context is the one this program was entered with, the block as long as said.
        let code = unsafe {
            generated::bpf_fib_lookup(
                frame.context().ctx.cast(),
                block.as_mut_ptr().cast(),
                size_of_val(&block) as i32,
                0,
            )
        };
        let [i0, i1, i2, i3, ..] = word(&block, 1);
        let [_, _, _, _, s0, s1, s2, s3] = word(&block, 6);
        let [s4, s5, d0, d1, d2, d3, d4, d5] = word(&block, 7);
        Answer {
            code: code as u32,
            ifindex: u32::from_ne_bytes([i0, i1, i2, i3]),
            source_mac: [s0, s1, s2, s3, s4, s5],
            destination_mac: [d0, d1, d2, d3, d4, d5],
        }
    }
}

/// Reads a whole word: volatile, or the compiler would narrow it to an unaligned part.
#[inline(always)]
fn word(block: &[u64; WORDS], index: usize) -> [u8; 8] {
    // SAFETY: a reference to an initialised word.
    unsafe { read_volatile(&raw const block[index]) }.to_ne_bytes()
}

/// Where the words above take the block's fields to be.
const _: () = {
    use core::mem::offset_of;
    assert!(WORDS == 8);
    assert!(offset_of!(bpf_fib_lookup, family) == 0);
    assert!(offset_of!(bpf_fib_lookup, l4_protocol) == 1);
    assert!(offset_of!(bpf_fib_lookup, sport) == 2);
    assert!(offset_of!(bpf_fib_lookup, dport) == 4);
    assert!(offset_of!(bpf_fib_lookup, __bindgen_anon_1) == 6);
    assert!(offset_of!(bpf_fib_lookup, ifindex) == 8);
    assert!(offset_of!(bpf_fib_lookup, __bindgen_anon_2) == 12);
    assert!(offset_of!(bpf_fib_lookup, __bindgen_anon_3) == 16);
    assert!(offset_of!(bpf_fib_lookup, __bindgen_anon_4) == 32);
    assert!(offset_of!(bpf_fib_lookup, smac) == 52);
    assert!(offset_of!(bpf_fib_lookup, dmac) == 58);
};

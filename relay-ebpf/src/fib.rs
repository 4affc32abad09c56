//! `bpf_fib_lookup`: the kernel's routes and neighbours.
//!
//! The parameter block is built and read as eight aligned words. The compiler may then use
//! unaligned accesses for packets without ever using one on the stack, which no kernel accepts.

use core::ptr::read_volatile;

use aya_ebpf::bindings::bpf_fib_lookup;
use aya_ebpf::helpers::generated;

use crate::config;
use crate::frame::{Frame, Macs};

const WORDS: usize = size_of::<bpf_fib_lookup>() / 8;

/// What to look up. Addresses and ports as on the wire.
pub(crate) struct Query {
    pub(crate) family: u8,
    pub(crate) protocol: u8,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    /// Bytes of the packet from its IP header on.
    pub(crate) len: usize,
    /// IPv4: the TOS byte, then zeros. IPv6: traffic class and flow label.
    pub(crate) flow: u32,
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
    /// Largest packet the route takes, where there is one.
    pub(crate) mtu: u16,
    pub(crate) macs: Macs,
}

impl Query {
    /// Asks, from the point of view of the configured device.
    #[inline(always)]
    pub(crate) fn ask(self, frame: &Frame) -> Answer {
        let (ports, len) = ([self.source_port, self.destination_port], self.len as u16);
        let mut block: [u64; WORDS] = [
            u64::from(u16::from_ne_bytes([self.family, self.protocol]))
                | u64::from(ports[0]) << 16
                | u64::from(ports[1]) << 32
                | u64::from(len) << 48,
            u64::from(config::fib_ifindex()) | u64::from(self.flow) << 32,
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
        let (source, both) = (word(&block, 6) >> 32, word(&block, 7));
        Answer {
            code: code as u32,
            ifindex: word(&block, 1) as u32,
            // `mtu_result` takes the place of `tot_len` (kernel 5.12).
            mtu: (word(&block, 0) >> 48) as u16,
            // The block has the source first.
            macs: Macs(
                both >> 16 | source << 48,
                (source >> 16) as u32 | (both as u32) << 16,
            ),
        }
    }
}

/// Reads a whole word: volatile, or the compiler would narrow it to an unaligned part.
#[inline(always)]
fn word(block: &[u64; WORDS], index: usize) -> u64 {
    // SAFETY: a reference to an initialised word.
    unsafe { read_volatile(&raw const block[index]) }
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

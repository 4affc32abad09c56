//! `bpf_fib_lookup`: the kernel's routes and neighbours.
//!
//! The parameter block is built and read as eight aligned words. The compiler may then use
//! unaligned accesses for packets without ever using one on the stack, which no kernel accepts.

use core::mem::MaybeUninit;
use core::ptr::{read_volatile, write_volatile};

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
        let mut block = Block(MaybeUninit::uninit());
        let first = u64::from(u16::from_ne_bytes([self.family, self.protocol]))
            | u64::from(ports[0]) << 16
            | u64::from(ports[1]) << 32
            | u64::from(len) << 48;
        block.set::<0>(first);
        block.set::<1>(u64::from(config::fib_ifindex()) | u64::from(self.flow) << 32);
        block.set::<2>(self.source[0]);
        block.set::<3>(self.source[1]);
        block.set::<4>(self.destination[0]);
        block.set::<5>(self.destination[1]);
        block.set::<6>(0);
        block.set::<7>(0);
        // SAFETY: the context is the one this program was entered with, the block as long as said.
        let code = unsafe {
            generated::bpf_fib_lookup(
                frame.context().ctx.cast(),
                block.0.as_mut_ptr().cast(),
                size_of::<Block>() as i32,
                0,
            )
        };
        let (source, both) = (block.word::<6>() >> 32, block.word::<7>());
        Answer {
            code: code as u32,
            ifindex: block.word::<1>() as u32,
            // `mtu_result` takes the place of `tot_len` (kernel 5.12).
            mtu: (block.word::<0>() >> 48) as u16,
            // The block has the source first.
            macs: Macs(
                both >> 16 | source << 48,
                (source >> 16) as u32 | (both as u32) << 16,
            ),
        }
    }
}

/// `struct bpf_fib_lookup`, each word written by itself: of zeros side by side the compiler makes a call of `memset`, which here
/// goes from byte to byte.
struct Block(MaybeUninit<[u64; WORDS]>);

impl Block {
    /// Writes a whole word: volatile, or it would be joined with its neighbours.
    #[inline(always)]
    fn set<const INDEX: usize>(&mut self, word: u64) {
        const { assert!(INDEX < WORDS) };
        // SAFETY: inside the block.
        unsafe { write_volatile(self.0.as_mut_ptr().cast::<u64>().add(INDEX), word) }
    }

    /// Reads a whole word, which `set` has written: volatile, or the compiler would narrow it to an unaligned part.
    #[inline(always)]
    fn word<const INDEX: usize>(&self) -> u64 {
        const { assert!(INDEX < WORDS) };
        // SAFETY: inside the block, whose words `ask` sets before it reads one.
        unsafe { read_volatile(self.0.as_ptr().cast::<u64>().add(INDEX)) }
    }
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

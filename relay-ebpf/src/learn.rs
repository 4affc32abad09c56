//! Which number an answer of the kernel has among the next hops that may be kept.

use core::ptr::read_volatile;

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use relay_common::{AF_INET, HOP_LIVE, HOP_PROBES, HOPS, HopKey};

use crate::fib::Answer;
use crate::frame::Macs;
use crate::maps::{NEXT_HOPS, REPORTED, ROUTING, WANTED_HOPS};

/// Log2 of the nanoseconds in which a CPU reports one wanted next hop at most: 4 ms.
const REPORT_NS_SHIFT: u32 = 22;

/// Number and version of the next hop `answer` stands for, if there is one and it may be kept. One that is
/// missing is reported.
#[inline(always)]
pub(crate) fn number_of(family: u8, answer: &Answer) -> Option<(u32, u32)> {
    let routing = ROUTING.get_ptr(0)?;
    // SAFETY: map values stay readable for the whole run of the program.
    let (generation, may_keep) = unsafe {
        let may_keep = if family == AF_INET {
            read_volatile(&raw const (*routing).keep_ipv4)
        } else {
            read_volatile(&raw const (*routing).keep_ipv6)
        };
        (read_volatile(&raw const (*routing).generation), may_keep)
    };
    if may_keep == 0 {
        return None;
    }
    let Macs(first, last) = answer.macs;
    let words = [
        u64::from(answer.ifindex) | u64::from(answer.mtu) << 32,
        first,
        u64::from(last) | u64::from(family) << 32,
    ];
    let home = HopKey::home_of(words, generation);
    for probe in 0..HOP_PROBES {
        let number = (home + probe) & (HOPS - 1);
        let hop = NEXT_HOPS.get_ptr(number)?;
        // SAFETY: as above; user space writes nothing in a slot while a program that saw it live may still run.
        unsafe {
            if read_volatile(&raw const (*hop).state) == HOP_LIVE
                && is(&raw const (*hop).key, words)
            {
                return Some((number, (*hop).version));
            }
        }
    }
    report(words);
    None
}

/// # Safety
/// `key` is in a map, at a whole word.
#[inline(always)]
unsafe fn is(key: *const HopKey, words: [u64; 3]) -> bool {
    #[allow(clippy::cast_ptr_alignment, reason = "by the caller's word")]
    let key = key.cast::<[u64; 3]>();
    // SAFETY: by the caller's word.
    let [a, b, c] = unsafe { *key };
    (a ^ words[0]) | (b ^ words[1]) | (c ^ words[2]) == 0
}

/// Tells user space of a next hop it may enter, not too often. A full ring loses the report; it is made again.
#[inline(always)]
fn report(key: [u64; 3]) {
    let Some(reported) = REPORTED.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the helper has no precondition; the element is this CPU's own.
    unsafe {
        let now = bpf_ktime_get_coarse_ns() >> REPORT_NS_SHIFT;
        if *reported == now {
            return;
        }
        *reported = now;
    }
    let _ = WANTED_HOPS.output::<[u64; 3]>(&key, 0);
}

//! Numbers of which the verifier is to know the bounds alone.
//!
//! It follows every way through the program with all it knows of each number, and ways that differ in one never meet again: three
//! link headers by four headers of the payload by everything behind.

use aya_ebpf::helpers::generated::bpf_jiffies64;

/// Zero, which only the machine knows.
#[derive(Clone, Copy)]
pub(super) struct Blur(usize);

impl Blur {
    #[inline(always)]
    pub(super) fn new() -> Self {
        // SAFETY: the helper has no precondition.
        let jiffies = unsafe { bpf_jiffies64() };
        // The sign of a number that stays positive for 10^8 years.
        Self((jiffies as i64 >> 63) as usize)
    }

    /// `number`, which is not above `mask`; all the verifier learns is that.
    #[inline(always)]
    pub(super) fn number(self, number: usize, mask: usize) -> usize {
        pinned((number ^ self.0) & mask)
    }
}

/// `x`, computed here and not where it is used.
#[cfg(target_arch = "bpf")]
#[inline(always)]
fn pinned(mut x: usize) -> usize {
    // SAFETY: copies a register to itself.
    unsafe {
        core::arch::asm!("{0} = {0}", inout(reg) x, options(nomem, nostack, preserves_flags));
    };
    x
}

#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
fn pinned(x: usize) -> usize {
    x
}

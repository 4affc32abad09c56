//! One reason per packet, counted per CPU (invariant 4).

use relay_common::Reason;

use crate::maps::COUNTERS;

/// Counts one packet of `bytes` bytes under `reason`.
#[inline(always)]
pub(crate) fn count(reason: Reason, bytes: usize) {
    if let Some(counter) = COUNTERS.get_ptr_mut(reason as u32) {
        // SAFETY: the element is this CPU's own and XDP programs do not nest on one CPU.
        let counter = unsafe { &mut *counter };
        counter.packets += 1;
        counter.bytes += bytes as u64;
    }
}

/// Packets this CPU has counted under `reason`.
#[inline(always)]
pub(crate) fn counted(reason: Reason) -> u64 {
    match COUNTERS.get_ptr(reason as u32) {
        // SAFETY: as in `count`.
        Some(counter) => unsafe { (*counter).packets },
        None => 0,
    }
}

//! Trusted peers as the fast path sees them: found, read, refreshed, never made or removed (invariant 2).
//!
//! User space may vacate and occupy places meanwhile. What a reader may see then, and why it does no
//! harm, is told in `docs/decisions/0009`.

use core::ptr::{read_volatile, write_volatile};

use relay_common::{
    Found, KeyWords, MappedWord, PEER_FRESH_TICKS, ReadLine, Reason, Tail, Ticks, find,
};

use crate::config;
use crate::maps::{PEERS, PROBES};

/// A line of the table.
#[derive(Clone, Copy)]
struct Line(*mut u64);

impl ReadLine for Line {
    #[inline(always)]
    fn word(self, at: usize) -> u64 {
        // SAFETY: the pointer is to a line in the map, which has eight words.
        unsafe { read_volatile(self.0.add(at)) }
    }
}

/// A trusted peer, heard within the last 30 s.
pub(crate) struct Peer {
    /// The tail of its entry in the table.
    place: *mut u64,
    /// What stood there.
    tail: Tail,
    key: KeyWords,
    /// Where data goes.
    pub(crate) mapped: MappedWord,
    /// When it was looked for.
    pub(crate) now: Ticks,
}

impl Peer {
    /// The peer of that address.
    ///
    /// # Errors
    /// [`Reason::PuntPeerUnknown`], [`Reason::PuntPeerStale`] (R-36, invariant 3).
    #[inline(always)]
    pub(crate) fn fresh(key: KeyWords) -> Result<Self, Reason> {
        let line = |number| PEERS.get_ptr_mut(number).map(|line| Line(line.cast()));
        let found = find(config::table(), key, line).ok_or(Reason::PuntPeerUnknown)?;
        let Found { tail, mapped, .. } = found;
        let now = config::now();
        if tail.age(now) >= PEER_FRESH_TICKS {
            return Err(Reason::PuntPeerStale);
        }
        Ok(Self {
            // SAFETY: a word of the line.
            place: unsafe { found.line.0.add(found.tail_at) },
            tail,
            key,
            mapped,
            now,
        })
    }

    /// Notes a reception. Writes only when the tick has changed, so that a busy peer's cache line is not dirtied per packet.
    #[inline(always)]
    pub(crate) fn heard(&self) {
        /// Bytes from the tail to its tick.
        const TICK_AT: usize = 4;
        let tick = self.now.0 as u16;
        if self.tail.tick() == tick {
            return;
        }
        if self.tail.asked() == 0 {
            // SAFETY: inside the tail, which is in the map; whoever stands there by now was heard as lately.
            unsafe { write_volatile(self.place.byte_add(TICK_AT).cast::<u16>(), tick) };
        } else {
            self.exchange(self.tail.with_tick(self.now));
        }
    }

    /// Number of the next hop kept for it; 0 for none.
    #[inline(always)]
    pub(crate) fn hop(&self) -> u8 {
        self.tail.hop()
    }

    /// Keeps a next hop, unless the entry has changed since it was read.
    #[inline(always)]
    pub(crate) fn keep_hop(&self, hop: u8) {
        self.exchange(self.tail.with_hop(hop));
    }

    /// Asks user space for an early probe when the peer was not heard for 20 s, about every 2 s.
    #[inline(always)]
    pub(crate) fn probe_if_quiet(&mut self) {
        if !self.tail.wants_probe(self.now) {
            return;
        }
        let asked = self.tail.with_probe_asked(self.now);
        if !self.exchange(asked) {
            return;
        }
        self.tail = asked;
        // A full ring loses the request; it is made again 2 s later.
        let KeyWords { head, tail } = self.key;
        let _ = PROBES.output::<[u32; 3]>(&[head as u32, (head >> 32) as u32, tail], 0);
    }

    /// Replaces the tail that was read. Says whether it still stood there.
    #[inline(always)]
    fn exchange(&self, with: Tail) -> bool {
        // SAFETY: an aligned word of the map, which everybody else accesses as a whole or by atomic operations.
        unsafe { compare_exchange(self.place, self.tail.0, with.0) == self.tail.0 }
    }
}

/// Stores `new` in `place` if `old` stands there, in one step. Gives what stood there.
///
/// The compiler holds the target for one without such an instruction; kernels have it since 5.12 (5ffa25502b5a).
///
/// # Safety
/// `place` is an aligned word of a map.
#[inline(always)]
unsafe fn compare_exchange(place: *mut u64, old: u64, new: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut stood = old;
        // SAFETY: by the caller's word.
        unsafe {
            core::arch::asm!(
                "r0 = cmpxchg_64({place} + 0, r0, {new})",
                place = in(reg) place,
                new = in(reg) new,
                inout("r0") stood,
                options(nostack),
            );
        }
        stood
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        let _ = (place, new);
        old
    }
}

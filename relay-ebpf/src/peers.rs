//! Trusted peers as the fast path sees them: found, read, refreshed, never made or removed (invariant 2).

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use relay_common::{PEER_FRESH_TICKS, PROBE_AFTER_TICKS, PeerEntry, PeerKey, Reason, Ticks};
use teredo::addr::Mapped;

use crate::maps::{PEERS, PROBES};

/// Ticks between two requests to probe one peer: 2 s, the bubble interval of R-26.
const PROBE_REPEAT_TICKS: u32 = 8;

/// A key on the stack, where no kernel accepts an unaligned access.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Aligned(PeerKey);

/// A trusted peer, heard within the last 30 s.
pub(crate) struct Peer {
    /// The live entry in the table. User space may replace the entry while this packet is
    /// handled; a tick written to the replaced one is lost, and the next packet writes it again.
    entry: *mut PeerEntry,
    key: Aligned,
    now: Ticks,
}

impl Peer {
    /// The peer of that address.
    ///
    /// # Errors
    /// [`Reason::PuntPeerUnknown`], [`Reason::PuntPeerStale`] (R-36, invariant 3).
    #[inline(always)]
    pub(crate) fn fresh(key: PeerKey) -> Result<Self, Reason> {
        let key = Aligned(key);
        let Aligned(on_stack) = &key;
        let entry = PEERS.get_ptr_mut(on_stack).ok_or(Reason::PuntPeerUnknown)?;
        // SAFETY: the helper has no precondition.
        let now = Ticks::from_nanos(unsafe { bpf_ktime_get_coarse_ns() });
        let peer = Self { entry, key, now };
        if peer.age() >= PEER_FRESH_TICKS {
            return Err(Reason::PuntPeerStale);
        }
        Ok(peer)
    }

    #[inline(always)]
    fn age(&self) -> u32 {
        // SAFETY: map values stay readable for the whole run of the program.
        self.now.since(unsafe { (*self.entry).last_rx })
    }

    /// Where data goes, as on the wire: address and port.
    #[inline(always)]
    pub(crate) fn mapped_octets(&self) -> ([u8; 4], [u8; 2]) {
        // SAFETY: as in `age`.
        unsafe { ((*self.entry).mapped_ipv4, (*self.entry).mapped_port) }
    }

    /// Where data goes.
    #[inline(always)]
    pub(crate) fn mapped(&self) -> Mapped {
        let (ip, port) = self.mapped_octets();
        Mapped {
            ip: ip.into(),
            port: u16::from_be_bytes(port),
        }
    }

    /// Notes a reception. Writes only when the tick has changed, so that a busy peer's cache line is not dirtied per packet.
    #[inline(always)]
    pub(crate) fn heard(&self) {
        // SAFETY: as in `age`; a 32-bit store, and any value another CPU stores at the same time is as good.
        unsafe {
            if (*self.entry).last_rx != self.now {
                (*self.entry).last_rx = self.now;
            }
        }
    }

    /// Asks user space for an early probe when the peer was not heard for 20 s, at most every 2 s.
    #[inline(always)]
    pub(crate) fn probe_if_quiet(&self) {
        if self.age() < PROBE_AFTER_TICKS {
            return;
        }
        // SAFETY: as in `heard`.
        unsafe {
            if self.now.since((*self.entry).probe_asked) < PROBE_REPEAT_TICKS {
                return;
            }
            (*self.entry).probe_asked = self.now;
        }
        // A full ring loses the request; it is made again 2 s later.
        let Aligned(on_stack) = &self.key;
        let _ = PROBES.output::<PeerKey>(on_stack, 0);
    }
}

//! Next hops the program keeps, so that it need not ask for the route of every packet.
//!
//! The program asks the kernel (`bpf_fib_lookup`) and sends the packet accordingly. If user space has entered
//! the answer in the map of next hops, the program keeps its number: for the IPv4 side in the peer's
//! entry, for the IPv6 side in a small cache by destination. What was entered never changes
//! its meaning while somebody may hold its number; it is *retired*, and whoever holds the number asks the kernel again.

/// Slots of the map. Number 0 stands for none.
pub const HOPS: u32 = 256;
/// Slots from the home slot on in which a next hop may stand.
pub const HOP_PROBES: u32 = 4;

/// `AF_INET` of Linux.
pub const AF_INET: u8 = 2;
/// `AF_INET6` of Linux.
pub const AF_INET6: u8 = 10;

/// One answer of the kernel, by which a next hop is known; also what the program reports when it has got one that is
/// in no slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct HopKey {
    /// Device the route names.
    pub ifindex: u32,
    /// Largest packet it takes, IP header included.
    pub mtu: u32,
    /// MAC address of the neighbour.
    pub destination_mac: [u8; 6],
    /// MAC address of the device.
    pub source_mac: [u8; 6],
    /// [`AF_INET`] or [`AF_INET6`]: changed routes of one family retire the next hops of that family alone.
    pub family: u32,
}

const _: () = assert!(size_of::<HopKey>() == 24);

impl HopKey {
    /// The key in words, as it lies in memory: the program compares and reports it so, because no kernel
    /// accepts an unaligned access to the stack.
    #[inline(always)]
    pub const fn words(&self) -> [u64; 3] {
        let [a, b, c, d, e, f] = self.destination_mac;
        let [g, h, i, j, k, l] = self.source_mac;
        let [i0, i1, i2, i3] = self.ifindex.to_ne_bytes();
        let [m0, m1, m2, m3] = self.mtu.to_ne_bytes();
        let [f0, f1, f2, f3] = self.family.to_ne_bytes();
        [
            u64::from_ne_bytes([i0, i1, i2, i3, m0, m1, m2, m3]),
            u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            u64::from_ne_bytes([i, j, k, l, f0, f1, f2, f3]),
        ]
    }

    /// The slot it stands in, or one of the three behind it. Number 0 is left out by whoever enters it.
    #[inline(always)]
    pub const fn home(&self, generation: u32) -> u32 {
        Self::home_of(self.words(), generation)
    }

    /// [`home`](Self::home) of a key in words.
    #[inline(always)]
    pub const fn home_of([device, macs, rest]: [u64; 3], generation: u32) -> u32 {
        let hash = (macs ^ (generation as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .wrapping_mul(0xff51_afd7_ed55_8ccd)
            .wrapping_add(device)
            .wrapping_mul(0xc4ce_b9fe_1a85_ec53)
            .wrapping_add(rest)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash >> 56) as u32
    }
}

/// [`NextHop::state`]: may be used.
pub const HOP_LIVE: u32 = 1;
/// [`NextHop::state`]: never used, or no longer; nothing in it may be relied upon.
pub const HOP_RETIRED: u32 = 0;

/// A next hop. Written by user space: everything else before `state` becomes [`HOP_LIVE`], nothing but `good_until` after it.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct NextHop {
    /// [`HOP_LIVE`] or [`HOP_RETIRED`].
    pub state: u32,
    /// Goes up each time the slot is used anew; the cache by destination compares it.
    pub version: u32,
    /// The answer it stands for.
    pub key: HopKey,
    /// How the frame leaves through `key.ifindex`.
    pub egress: crate::Egress,
    /// Last tick ([`Ticks`](crate::Ticks)) at which it may be used. User space puts it off while it follows the kernel's
    /// changes: of a daemon that is dead or stopped nobody knows whether its next hops are still true.
    pub good_until: crate::Ticks,
    /// Always zero.
    pub reserved: [u32; 3],
}

const _: () = assert!(size_of::<NextHop>() == 64 && core::mem::offset_of!(NextHop, key) == 8);

impl NextHop {
    /// MAC addresses of the frame that leaves: destination, source.
    #[inline(always)]
    pub const fn macs(&self) -> [[u8; 6]; 2] {
        [self.key.destination_mac, self.key.source_mac]
    }
}

/// What user space knows of the routes as a whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Routing {
    /// Part of a next hop's home. Goes up when a next hop finds no place near its home although the map has room: all are
    /// retired then and get new homes.
    pub generation: u32,
    /// 1: the route of an outer packet depends on its addresses and ports alone, so a peer's next hop may be kept.
    /// 0: it may depend on more (rules or routes that look at the TOS byte), the kernel is asked each time.
    pub keep_ipv4: u32,
    /// 1: the route of a native packet depends on its destination alone, so it may be kept.
    /// 0: it may depend on more (rules, multipath or source-specific routes), the kernel is asked each time.
    pub keep_ipv6: u32,
    /// Always zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Routing>() == 16);

/// One kept route of the cache by destination; each CPU has its own.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct KeptRoute {
    /// Destination address, as on the wire, in two words.
    pub destination: [u64; 2],
    /// Number of the next hop; 0 for none.
    pub hop: u32,
    /// Its [`NextHop::version`].
    pub version: u32,
    /// Always zero.
    pub reserved: u64,
}

const _: () = assert!(size_of::<KeptRoute>() == 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_a_slot_and_moves_with_the_generation() {
        let key = HopKey {
            ifindex: 3,
            mtu: 1500,
            destination_mac: [2, 0, 0, 0, 0, 2],
            source_mac: [2, 0, 0, 0, 0, 1],
            family: AF_INET.into(),
        };
        // SAFETY: 24 bytes without padding.
        let bytes: [u64; 3] = unsafe { core::mem::transmute(key) };
        assert_eq!(key.words(), bytes);
        let homes: std::collections::HashSet<u32> = (0..64).map(|g| key.home(g)).collect();
        assert!(homes.iter().all(|home| *home < HOPS));
        assert!(homes.len() > 32, "{homes:?}");
    }
}

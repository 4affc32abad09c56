//! A received frame: bounds, resizing and its Ethernet and VLAN headers.
//!
//! References into the packet borrow the [`Frame`], and whatever moves its ends borrows it
//! mutably: a pointer that `adjust_head` has killed does not compile.

use aya_ebpf::helpers::{
    bpf_xdp_adjust_head, bpf_xdp_adjust_meta, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len,
};
use aya_ebpf::programs::XdpContext;
use relay_common::{MAX_TAGS, Reason};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `EtherType` of IPv4.
pub(crate) const IPV4: u16 = 0x0800_u16.to_be();
/// `EtherType` of IPv6.
pub(crate) const IPV6: u16 = 0x86dd_u16.to_be();
/// TPID of a customer tag (802.1Q).
const CUSTOMER_TAG: u16 = 0x8100_u16.to_be();
/// TPID of a service tag (802.1ad).
const SERVICE_TAG: u16 = 0x88a8_u16.to_be();

/// Destination and source MAC address, as on the wire.
#[repr(C, packed)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
pub(crate) struct Macs(pub(crate) u64, pub(crate) u32);

impl Macs {
    /// Back to where it came from.
    #[inline(always)]
    pub(crate) fn swapped(self) -> Self {
        let (first, last) = (self.0, u64::from(self.1));
        Self(first >> 48 | last << 16 | first << 48, (first >> 16) as u32)
    }
}

/// An Ethernet header with `TAGS` VLAN tags, outermost first. Numbers are as on the wire.
#[repr(C, packed)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
pub(crate) struct LinkHeader<const TAGS: usize> {
    pub(crate) macs: Macs,
    /// TPID and TCI of each.
    pub(crate) tags: [u32; TAGS],
    pub(crate) ethertype: u16,
}

impl<const TAGS: usize> LinkHeader<TAGS> {
    pub(crate) const LEN: usize = 14 + 4 * TAGS;
}

/// What a frame's link layer says.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    /// Bytes in front of the network header: 14, 18 or 22.
    pub(crate) len: usize,
    /// What follows, as on the wire.
    pub(crate) ethertype: u16,
}

/// A number as it stands in a packet, at any alignment.
#[repr(C, packed)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
pub(crate) struct Wire<T>(pub(crate) T);

/// The six bytes of a MAC address in a word.
pub(crate) const MAC: u64 = u64::from_le_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);

/// A received frame.
pub(crate) struct Frame {
    ctx: XdpContext,
}

impl Frame {
    #[inline(always)]
    pub(crate) fn new(ctx: XdpContext) -> Self {
        Self { ctx }
    }

    /// Bytes of the frame as it is now, in all its buffers.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        // SAFETY: the context is the one this program was entered with.
        unsafe { bpf_xdp_get_buff_len(self.ctx.ctx) as usize }
    }

    /// Whether at least `len` bytes follow `offset`, in all buffers. Asks the kernel only where
    /// the first buffer is too short.
    #[inline(always)]
    pub(crate) fn has(&self, offset: usize, len: usize) -> bool {
        offset + len <= self.linear_len() || offset + len <= self.len()
    }

    /// Bytes in the first buffer; in nearly every frame that is all.
    #[inline(always)]
    pub(crate) fn linear_len(&self) -> usize {
        self.ctx.data_end() - self.ctx.data()
    }

    #[inline(always)]
    pub(crate) fn context(&self) -> &XdpContext {
        &self.ctx
    }

    #[inline(always)]
    pub(crate) fn ingress_ifindex(&self) -> u32 {
        self.ctx.ingress_ifindex() as u32
    }

    /// The `T` at `offset`, if all of it lies in the linear part.
    ///
    /// Written with `>`: `==` on packet pointers teaches the verifier nothing.
    #[inline(always)]
    pub(crate) fn at<T: FromBytes + Immutable + Unaligned>(&self, offset: usize) -> Option<&T> {
        let start = self.ctx.data() + offset;
        if start + size_of::<T>() > self.ctx.data_end() {
            return None;
        }
        // SAFETY: the bytes were just found inside the packet, `T` takes any bytes at any
        // alignment, and nothing writes to them while `self` is borrowed.
        Some(unsafe { &*(start as *const T) })
    }

    /// Like [`at`](Self::at), to write.
    #[inline(always)]
    pub(crate) fn at_mut<T: FromBytes + IntoBytes + Unaligned>(
        &mut self,
        offset: usize,
    ) -> Option<&mut T> {
        let start = self.ctx.data() + offset;
        if start + size_of::<T>() > self.ctx.data_end() {
            return None;
        }
        // SAFETY: as in `at`; `self` is borrowed mutably, so there is no other reference.
        Some(unsafe { &mut *(start as *mut T) })
    }

    /// Moves the beginning: a negative `delta` makes room in front.
    #[inline(always)]
    pub(crate) fn move_head(&mut self, delta: i32) -> Result<(), Reason> {
        // SAFETY: the context is the one this program was entered with.
        match unsafe { bpf_xdp_adjust_head(self.ctx.ctx, delta) } {
            0 => Ok(()),
            _ => Err(Reason::NoHeadroom),
        }
    }

    /// Puts `words` in front of the frame, where whoever it is handed to may look for them. A driver that has no room for
    /// metadata hands the frame over without.
    #[inline(always)]
    pub(crate) fn put_in_front(&mut self, words: [u64; 2]) {
        let len = size_of_val(&words);
        // SAFETY: the context is the one this program was entered with.
        if unsafe { bpf_xdp_adjust_meta(self.ctx.ctx, -(len as i32)) } != 0 {
            return;
        }
        let start = self.ctx.metadata();
        if start + len > self.ctx.metadata_end() {
            return;
        }
        // SAFETY: the bytes were just found inside the metadata; `self` is borrowed mutably, so there is no other reference.
        unsafe { (start as *mut [u64; 2]).write_unaligned(words) };
    }

    /// Cuts Ethernet padding off the end, so that `len` bytes are left.
    ///
    /// A driver that will not shrink a frame leaves padding behind the packet, which is what
    /// padding is: the frame is as good.
    #[inline(always)]
    pub(crate) fn trim(&mut self, len: usize) {
        let linear = self.linear_len();
        if linear == len {
            return;
        }
        let excess = self.len() as i32 - len as i32;
        if excess > 0 {
            // SAFETY: the context is the one this program was entered with.
            unsafe { bpf_xdp_adjust_tail(self.ctx.ctx, -excess) };
        }
    }

    /// Reads the link layer. `None`: too short, or more tags than [`MAX_TAGS`].
    #[inline(always)]
    pub(crate) fn link(&self) -> Option<Link> {
        let mut len = LinkHeader::<0>::LEN;
        let mut ethertype = self.at::<LinkHeader<0>>(0)?.ethertype;
        for _ in 0..MAX_TAGS {
            if ethertype != CUSTOMER_TAG && ethertype != SERVICE_TAG {
                break;
            }
            ethertype = self.at::<Wire<u16>>(len + 2)?.0;
            len += 4;
        }
        Some(Link { len, ethertype })
    }

    /// The MAC address the frame is for, in the lower six bytes.
    #[inline(always)]
    pub(crate) fn destination_mac(&self) -> Option<u64> {
        self.at::<Macs>(0).map(|macs| macs.0 & MAC)
    }
}

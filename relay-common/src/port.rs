//! Where frames come in and go out.

/// Most VLAN tags on one frame (802.1Q, or QinQ).
pub const MAX_TAGS: usize = 2;

/// A port the program is attached to.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Port {
    /// The port's own MAC address: frames to another are not ours.
    pub mac: [u8; 6],
    /// Always zero.
    pub reserved: [u8; 2],
    /// Slot of this port's receive queue 0 in the map of AF_XDP sockets.
    pub xsk_base: u32,
    /// Receive queues with a slot; frames of later queues take the kernel's way.
    pub xsk_queues: u32,
}

const _: () = assert!(size_of::<Port>() == 16);

/// One VLAN tag as it stands in a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct VlanTag {
    /// TPID, network order: 0x8100 or 0x88a8.
    pub protocol: [u8; 2],
    /// PCP, DEI and VLAN identifier, network order.
    pub tci: [u8; 2],
}

/// How a frame leaves through a device a route names: VLAN devices cannot be redirect
/// targets, so their port and tags are resolved by user space.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Egress {
    /// The port that sends the frame.
    pub port_ifindex: u32,
    /// Tags in use, outermost first: 0, 1 or 2.
    pub tag_count: u32,
    /// The tags, outermost first.
    pub tags: [VlanTag; MAX_TAGS],
}

const _: () = assert!(size_of::<Egress>() == 16);

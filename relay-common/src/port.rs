//! Where frames come in and go out.

/// Most VLAN tags on one frame (802.1Q, or QinQ).
pub const MAX_TAGS: usize = 2;

/// Slots of the map of ports: a hash table without deletions in between, sixteen times as large as it need be.
pub const PORT_SLOTS: u32 = 1024;
/// Slots from the home slot on in which a port may stand.
pub const PORT_PROBES: u32 = 4;

/// A port the program is attached to.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Port {
    /// Its interface index; 0: an empty slot.
    pub ifindex: u32,
    /// Its number among the ports, which is its slot in the map of devices.
    pub number: u32,
    /// The port's own MAC address: frames to another are not ours.
    pub mac: [u8; 6],
    /// Always zero.
    pub reserved: [u8; 2],
    /// Slot of this port's receive queue 0 in the map of AF_XDP sockets.
    pub xsk_base: u32,
    /// Receive queues with a slot; frames of later queues take the kernel's way.
    pub xsk_queues: u32,
    /// Always zero.
    pub reserved_too: u32,
}

const _: () = assert!(size_of::<Port>() == 32);

/// The slot in which the port `ifindex` stands, or one of the three behind it.
#[inline(always)]
pub const fn port_home(ifindex: u32) -> u32 {
    ifindex.wrapping_mul(0x9e37_79b1) >> 22
}

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
    /// Number of the port that sends the frame ([`Port::number`]).
    pub port: u32,
    /// Tags in use, outermost first: 0, 1 or 2.
    pub tag_count: u32,
    /// The tags, outermost first.
    pub tags: [VlanTag; MAX_TAGS],
}

const _: () = assert!(size_of::<Egress>() == 16);

//! A farm of Teredo clients, numbered: what the benches' generator, their farm and user space
//! must agree on. No part of the relay.

use core::net::Ipv4Addr;

use teredo::addr::{Mapped, ServerV4, TeredoAddr};

/// Server of every client of the farm.
pub const SERVER: ServerV4 = ServerV4(Ipv4Addr::new(203, 0, 113, 130));
/// Mapped addresses of the farm: 198.18.0.0/15, set aside for benchmarks (RFC 2544 appendix C.2.2).
pub const MAPPED_PREFIX: u32 = u32::from_be_bytes([198, 18, 0, 0]);
/// Bits of a peer's number that are in its IPv4 address; the others are in its port.
const HOST_BITS: u32 = 17;
/// Ports a client may be mapped to have this bit set.
const PORT_BIT: u16 = 0x8000;

/// Peers from this number on do not answer: addresses somebody scans, with nobody behind.
pub const SILENT_FROM: u32 = 1 << 31;

/// The mapped address of peer number `peer`.
#[inline(always)]
pub const fn mapped(peer: u32) -> Mapped {
    let host = peer & ((1 << HOST_BITS) - 1);
    #[allow(clippy::cast_possible_truncation, reason = "fifteen bits are left")]
    let port = PORT_BIT | (peer >> HOST_BITS) as u16;
    Mapped {
        ip: Ipv4Addr::from_bits(MAPPED_PREFIX | host),
        port,
    }
}

/// The number of the peer mapped to `mapped`; `None` where no client of the farm is.
#[inline(always)]
pub const fn peer(mapped: Mapped) -> Option<u32> {
    let ip = mapped.ip.to_bits();
    if ip >> HOST_BITS != MAPPED_PREFIX >> HOST_BITS || mapped.port & PORT_BIT == 0 {
        return None;
    }
    let high = (mapped.port & !PORT_BIT) as u32;
    Some(high << HOST_BITS | ip & ((1 << HOST_BITS) - 1))
}

/// The Teredo address of peer number `peer`.
pub fn address(peer: u32) -> TeredoAddr {
    TeredoAddr::new(SERVER, 0, mapped(peer))
}

/// Bytes at the front of a frame that the generator writes anew for every packet: all that any
/// device under test may have changed when the page comes back. A solicitation is one byte shorter.
pub const FRONT_BYTES: usize = 104;

/// What the generator sends: ARRAY of one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The front of the frame, for peer 0.
    pub front: [u64; FRONT_BYTES / 8],
    /// One's complement sum of the inner UDP datagram and its pseudo-header without the mapped address.
    pub udp_sum: u32,
    /// The same of the outer IPv4 header without its checksum and the mapped address.
    pub ipv4_sum: u32,
    /// Number of the first peer.
    pub first: u32,
    /// Peers in use, less one: a power of two less one.
    pub mask: u32,
    /// Not 0: a random peer for every packet; 0: one after the other.
    pub random: u32,
    /// Not 0: note the time of every packet in [`SENT`].
    pub timed: u32,
    /// Packets made so far; written by the generator.
    pub cursor: u32,
    /// Always zero.
    pub reserved: u32,
}

/// ARRAY of one [`Order`].
pub const ORDER: &str = "ORDER";
/// DEVMAP of one: the device frames leave by.
pub const OUT: &str = "OUT";
/// PERCPU_ARRAY of `u64` by [`Tally`].
pub const TALLIES: &str = "TALLIES";
/// PERCPU_ARRAY of `u64`: a histogram of [`BUCKETS`] for each of [`Interval`].
pub const HISTOGRAMS: &str = "HISTOGRAMS";
/// ARRAY of `u64`: when a peer's last packet was sent, in nanoseconds of the monotonic clock; 0 once its bubble came.
pub const SENT: &str = "SENT";
/// ARRAY of `u64`: when a peer answered, likewise; 0 once its data came.
pub const ANSWERED: &str = "ANSWERED";
/// Peers timed at once: entries of [`SENT`] and [`ANSWERED`].
pub const TIMED_PEERS: u32 = 1 << 20;

/// What is counted where frames end.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// Frames with data.
    Delivered,
    /// Bubbles answered.
    Answered,
    /// Bubbles for peers that do not answer.
    Unanswered,
}

impl Tally {
    /// How many there are.
    pub const COUNT: u32 = 3;
}

/// Frames shorter than this carry no data of ours: bubbles, neighbour discovery, listener reports.
pub const DATA_FRAME_MIN_BYTES: usize = 100;

/// What is timed.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// From the generator to the bubble's arrival at the farm.
    FrameToBubble,
    /// From the farm's answer to the arrival of queued data.
    AnswerToQueue,
}

impl Interval {
    /// How many there are.
    pub const COUNT: u32 = 2;
}

/// Steps of the histogram in each factor of two.
const STEPS_BITS: u32 = 5;
/// Steps of a histogram: about 3 % apart, to 2^40 ns (18 minutes).
pub const BUCKETS: u32 = (40 - STEPS_BITS + 1) << STEPS_BITS;

/// The bucket of `ns` nanoseconds.
#[inline(always)]
pub const fn bucket(ns: u64) -> u32 {
    if ns < 1 << STEPS_BITS {
        #[allow(clippy::cast_possible_truncation, reason = "just compared")]
        return ns as u32;
    }
    let octave = ns.ilog2() - STEPS_BITS;
    #[allow(clippy::cast_possible_truncation, reason = "six bits are left")]
    let bucket = (octave << STEPS_BITS) + (ns >> octave) as u32;
    if bucket < BUCKETS {
        bucket
    } else {
        BUCKETS - 1
    }
}

/// Where `bucket` begins, in nanoseconds.
pub const fn bucket_start_ns(bucket: u32) -> u64 {
    let steps = 1 << STEPS_BITS;
    if bucket < 2 * steps {
        return bucket as u64;
    }
    let octave = (bucket >> STEPS_BITS) - 1;
    ((steps | bucket & (steps - 1)) as u64) << octave
}

/// A one's complement sum, folded and complemented: what stands in a checksum field.
#[inline(always)]
pub const fn checksum_field(sum: u32) -> u16 {
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    #[allow(clippy::cast_possible_truncation, reason = "folded twice")]
    let field = !(folded as u16);
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of every size, both borders of every power of two among them.
    fn numbers() -> impl Iterator<Item = u32> {
        (0..32).flat_map(|bit| {
            [
                (1 << bit) - 1,
                1 << bit,
                u32::MAX - (1 << bit),
                0x9e37_79b9 << bit,
            ]
        })
    }

    #[test]
    fn a_number_and_its_mapped_address_convert_both_ways() {
        for number in numbers() {
            assert_eq!(peer(mapped(number)), Some(number), "{number:#x}");
            assert_eq!(peer(address(number).mapped()), Some(number));
        }
    }

    #[test]
    fn addresses_of_others_have_no_number() {
        for (ip, port) in [
            ("198.17.255.255", 40000),
            ("198.20.0.0", 40000),
            ("198.18.0.1", 3544),
        ] {
            let ip = ip.parse().unwrap();
            assert_eq!(peer(Mapped { ip, port }), None, "{ip}:{port}");
        }
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for step in 0..BUCKETS {
            let start = bucket_start_ns(step);
            assert_eq!(bucket(start), step);
            assert_eq!(bucket(bucket_start_ns(step + 1) - 1), step);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_sum_with_its_own_checksum_is_all_ones() {
        for sum in [0, 0x1_2345, 0xffff, 0xffff_0001, u32::MAX - 0xffff] {
            let field = u32::from(checksum_field(sum));
            assert_eq!(
                checksum_field((sum & 0xffff) + (sum >> 16) + field),
                0,
                "{sum:#x}"
            );
        }
    }
}

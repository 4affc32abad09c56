//! The name of everything that can happen to a packet.

use teredo::Fate;

/// What a [`Reason`] means for the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Carried through the tunnel.
    Forwarded,
    /// Consumed by the relay: it was for the relay itself.
    Consumed,
    /// Left to the kernel, untouched.
    Passed,
    /// Handed by the fast path to the slow path, where it gets its final reason.
    Punted,
    /// Dropped.
    Dropped,
}

impl Kind {
    /// Lower-case name for listings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Consumed => "consumed",
            Self::Passed => "passed",
            Self::Punted => "punted",
            Self::Dropped => "dropped",
        }
    }
}

/// Packets and bytes of one reason on one CPU. Bytes are those of the inner IPv6 packet where one was
/// carried, else of the frame or payload.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $kind:ident,)+) => {
        /// What became of one packet: one enumeration for counters, metrics, documentation, CLI and tests.
        ///
        /// Each path gives a packet exactly one reason. A packet punted by the fast path has its `Punt…`
        /// reason there and its final one in the slow path.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// Every reason, in declaration order: `ALL[reason as usize] == reason`.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Number of reasons.
            pub const COUNT: usize = Self::ALL.len();

            /// The name under which it appears everywhere.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What it means for the packet.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)+ }
            }

            /// One sentence for people.
            pub const fn description(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

reasons! {
    // ---- carried or consumed
    /// Data sent to a trusted peer.
    Encapsulated = Forwarded,
    /// Data that waited in a peer's queue and was sent when the peer answered.
    EncapsulatedFromQueue = Forwarded,
    /// Data from a trusted peer handed on to native IPv6.
    Decapsulated = Forwarded,
    /// A bubble from an accepted source, which ends at the relay.
    BubbleAccepted = Consumed,
    /// A router solicitation the server answered with an advertisement.
    Advertised = Consumed,
    /// A bubble or small ICMPv6 message the server sent on to a client.
    ForwardedToClient = Forwarded,
    /// An echo request or reply the server sent on to native IPv6.
    ForwardedToNative = Forwarded,

    // ---- left to the kernel by the fast path
    /// Not Teredo traffic of this relay.
    NotOurs = Passed,
    /// An IPv4 fragment to the relay's address: the kernel reassembles it and the service socket gets the whole.
    OuterFragment = Passed,
    /// To the service port with IPv4 options: the kernel decides on them.
    OuterOptions = Passed,
    /// A frame larger than an AF_XDP buffer: the kernel answers it through the TUN device.
    FrameTooLargeToPunt = Passed,
    /// For the server's socket: credentials, an echo to native IPv6, or another thing that is not settled by looking at it.
    PassToServer = Passed,

    // ---- handed to the slow path
    /// No trusted peer of that address yet.
    PuntPeerUnknown = Punted,
    /// The peer was not heard for 30 s and is probed again.
    PuntPeerStale = Punted,
    /// The outer source is the address in the client's Teredo address but not its learned mapping.
    PuntMappingChanged = Punted,
    /// A bubble.
    PuntBubble = Punted,
    /// An authentication header or origin indication in front of the packet.
    PuntTunnelHeader = Punted,
    /// Bytes after the inner packet that may be trailers.
    PuntTrailer = Punted,
    /// Larger than the tunnel MTU.
    PuntPacketTooBig = Punted,
    /// Hop limit exhausted.
    PuntHopLimitExceeded = Punted,
    /// A 6to4 or ISATAP address, which takes the full list of addresses to judge.
    PuntEmbeddedAddress = Punted,
    /// A routing header, which the slow path looks into.
    PuntRoutingHeader = Punted,
    /// The next hop's link-layer address is not resolved yet.
    PuntNoNeighbour = Punted,
    /// The next hop is this machine, or there is no route: the program's lookup gives one answer to both.
    PuntLocal = Punted,
    /// No usable route: unreachable, prohibited, blackhole, a device that is not a port, or forwarding is off.
    PuntNoRoute = Punted,
    /// The next hop's MTU is smaller than the packet.
    PuntNextHopMtu = Punted,

    // ---- dropped by the fast path alone
    /// Outer length fields disagree with each other or with the frame.
    OuterLengthMismatch = Dropped,
    /// The outer IPv4 header checksum is wrong.
    OuterChecksumWrong = Dropped,
    /// The driver has no room in front of the frame for the outer header.
    NoHeadroom = Dropped,

    // ---- dropped by the slow path's front end
    /// A punted frame that could not be read.
    FrameUnreadable = Dropped,
    /// The outer UDP checksum of a punted packet is wrong.
    OuterUdpChecksumWrong = Dropped,
    /// The kernel refused to send it.
    SendFailed = Dropped,

    // ---- dropped by the protocol
    /// Shorter than an IPv6 header, or than its payload length says.
    InnerTruncated = Dropped,
    /// The inner IP version is not 6.
    InnerVersionNot6 = Dropped,
    /// Multicast inner destination.
    DestinationMulticast = Dropped,
    /// Routed to the relay although outside 2001::/32.
    DestinationNotTeredo = Dropped,
    /// Unspecified, loopback, multicast, link-local or IPv4-mapped source.
    SourceNotGlobal = Dropped,
    /// Teredo to Teredo through a relay, seen from the native side.
    SourceTeredo = Dropped,
    /// A 6to4 or ISATAP source that embeds an IPv4 address of this machine.
    SourceEmbedsOwnAddress = Dropped,
    /// The client's mapped IPv4 address is not global unicast.
    MappedAddressNotGlobal = Dropped,
    /// The client's server IPv4 address is not global unicast.
    ServerAddressNotGlobal = Dropped,
    /// The client's mapped port is 0.
    MappedPortZero = Dropped,
    /// The client's mapped IPv4 address is one of this machine.
    MappedAddressOwn = Dropped,
    /// The client's server IPv4 address is one of this machine.
    ServerAddressOwn = Dropped,
    /// The native host is denied, as source or as destination.
    NativeDenied = Dropped,
    /// The client's IPv4 address is denied.
    ClientDenied = Dropped,
    /// The client's server is denied.
    ServerDenied = Dropped,
    /// Larger than the tunnel MTU; answered with Packet Too Big.
    PacketTooBig = Dropped,
    /// Inner hop limit exhausted; answered with Time Exceeded.
    HopLimitExceeded = Dropped,
    /// No room for another peer that is not trusted yet.
    PeerTableFull = Dropped,
    /// New peers arrive faster than the limit.
    NewPeerRateExceeded = Dropped,
    /// Bubbles to the peer's server, or to its NAT mapping, are due faster than the limit.
    BubbleRateExceeded = Dropped,
    /// The native /64 has too many unanswered peers.
    SourcePrefixLimitExceeded = Dropped,
    /// The peer's queue is full.
    PeerQueueFull = Dropped,
    /// All queues together have reached their cap.
    QueueMemoryFull = Dropped,
    /// The peer did not answer any bubble; the queued packet is given up.
    BubblesUnanswered = Dropped,
    /// The peer is remembered as unreachable; answered with Address Unreachable.
    PeerBlocked = Dropped,
    /// Was queued when the relay shut down.
    ShutDown = Dropped,
    /// Outer source port 0.
    OuterSourcePortZero = Dropped,
    /// Outer source address not global unicast.
    OuterSourceNotGlobal = Dropped,
    /// The outer source is the relay's own service address and port.
    OuterSourceOwn = Dropped,
    /// Not Teredo: too short, or the first bytes are neither a header nor IPv6.
    PayloadNotTeredo = Dropped,
    /// Authentication header cut short.
    AuthenticationTruncated = Dropped,
    /// Origin indication cut short.
    OriginTruncated = Dropped,
    /// A header repeated, or authentication after origin.
    HeaderOutOfOrder = Dropped,
    /// A trailer whose type asks for the packet to be discarded.
    TrailerDiscards = Dropped,
    /// A bubble with a malformed Alternate Address Trailer.
    TrailerMalformed = Dropped,
    /// Inner source outside 2001::/32.
    SourceNotTeredo = Dropped,
    /// Payload length 0 in something that is not a bubble.
    JumbogramForm = Dropped,
    /// Nothing was ever sent to this peer.
    PeerUnknown = Dropped,
    /// The outer source may not speak for the inner source.
    OuterSourceMismatch = Dropped,
    /// Unspecified, loopback, link-local, IPv4-mapped or IPv4-compatible destination.
    DestinationNotGlobal = Dropped,
    /// Teredo to Teredo through a relay, seen from the client side.
    DestinationTeredo = Dropped,
    /// A 6to4 or ISATAP destination that embeds an address of this machine or one that is not global.
    DestinationEmbedsForbiddenAddress = Dropped,
    /// Outside the ranges this relay serves.
    DestinationNotServed = Dropped,
    /// Routing header type 0.
    RoutingHeaderType0 = Dropped,
    /// Congestion marked on the outer header of a packet that is not ECN-capable.
    CongestionMarkedNotEct = Dropped,

    // ---- dropped by the server
    /// Neither a bubble nor ICMPv6: a server carries no data.
    NotBubbleNorIcmp6 = Dropped,
    /// Addressed to the server itself, and no router solicitation.
    ServerAddressed = Dropped,
    /// From a host without a Teredo address to anybody but a client of this server.
    ClientOfAnotherServer = Dropped,
    /// A router solicitation that must not be answered: hop limit, checksum, code or options.
    SolicitationInvalid = Dropped,
    /// A router solicitation without the credentials this server asks for.
    CredentialsMissing = Dropped,
    /// Credentials of a client id this server does not know.
    ClientIdUnknown = Dropped,
    /// Credentials with a wrong authentication value.
    CredentialsWrong = Dropped,
    /// ICMPv6 of more than 88 bytes through the server.
    Icmp6TooLarge = Dropped,
    /// ICMPv6 a server does not carry: neighbour discovery, or to native IPv6 anything but echo.
    Icmp6NotCarried = Dropped,
    /// What one IPv4 address sends on through the server comes faster than the limit.
    OuterSourceRateExceeded = Dropped,
    /// Advertisements and packets to one IPv4 address are due from the server faster than the limit.
    TargetRateExceeded = Dropped,
    /// Echoes through the server to native IPv6 are due faster than the limit.
    NativeRateExceeded = Dropped,
    /// More bytes behind a packet to the server than trailers need.
    TrailersTooLong = Dropped,
}

macro_rules! fate_to_reason {
    ($($name:ident)+) => {
        impl From<Fate> for Reason {
            #[inline(always)]
            fn from(fate: Fate) -> Self {
                match fate { $(Fate::$name => Self::$name,)+ }
            }
        }
    };
}

fate_to_reason! {
    Encapsulated EncapsulatedFromQueue Decapsulated BubbleAccepted
    InnerTruncated InnerVersionNot6 DestinationMulticast DestinationNotTeredo SourceNotGlobal SourceTeredo
    SourceEmbedsOwnAddress MappedAddressNotGlobal ServerAddressNotGlobal MappedPortZero MappedAddressOwn
    ServerAddressOwn NativeDenied ClientDenied ServerDenied PacketTooBig HopLimitExceeded PeerTableFull NewPeerRateExceeded BubbleRateExceeded
    SourcePrefixLimitExceeded PeerQueueFull QueueMemoryFull BubblesUnanswered PeerBlocked ShutDown
    OuterSourcePortZero OuterSourceNotGlobal OuterSourceOwn PayloadNotTeredo AuthenticationTruncated
    OriginTruncated HeaderOutOfOrder TrailerDiscards TrailerMalformed SourceNotTeredo JumbogramForm PeerUnknown
    OuterSourceMismatch DestinationNotGlobal DestinationTeredo DestinationEmbedsForbiddenAddress
    DestinationNotServed RoutingHeaderType0 CongestionMarkedNotEct
    Advertised ForwardedToClient ForwardedToNative
    NotBubbleNorIcmp6 ServerAddressed ClientOfAnotherServer SolicitationInvalid CredentialsMissing ClientIdUnknown
    CredentialsWrong Icmp6TooLarge Icmp6NotCarried OuterSourceRateExceeded TargetRateExceeded NativeRateExceeded
    TrailersTooLong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_its_own_counter_index() {
        for (i, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, i);
        }
    }

    #[test]
    fn every_fate_keeps_its_name_as_a_reason() {
        for fate in Fate::ALL {
            assert_eq!(Reason::from(*fate).as_str(), format!("{fate:?}"));
        }
    }

    #[test]
    fn every_reason_describes_itself_in_one_sentence() {
        for reason in Reason::ALL {
            assert!(reason.description().ends_with('.'), "{reason:?}");
        }
    }
}

//! What became of one packet.

macro_rules! fates {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// The fate of one packet handed to the protocol: carried, consumed, or dropped and why.
        ///
        /// Every packet ends in exactly one fate. `relay-common` maps each to a `Reason`, the
        /// name under which it is counted, shown and documented.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fate {
            $($(#[$doc])+ $name,)+
        }

        impl Fate {
            /// Every fate, in declaration order: `ALL[fate as usize] == fate`.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Number of fates.
            pub const COUNT: usize = Self::ALL.len();
        }
    };
}

fates! {
    // ---- carried or consumed
    /// Data sent to a trusted peer.
    Encapsulated,
    /// Data that waited in a peer's queue and was sent when the peer answered.
    EncapsulatedFromQueue,
    /// Data from a trusted peer handed on to native IPv6.
    Decapsulated,
    /// A bubble from an accepted source, which ends here.
    BubbleAccepted,
    /// A router solicitation a server answered with an advertisement (S-10).
    Advertised,
    /// A bubble or small ICMPv6 message a server sent on to a client (S-15).
    ForwardedToClient,
    /// An echo request or reply a server sent on to native IPv6 (S-14).
    ForwardedToNative,

    // ---- native IPv6 towards a client
    /// Shorter than an IPv6 header, or than its payload length says.
    InnerTruncated,
    /// The IP version is not 6.
    InnerVersionNot6,
    /// Multicast inner destination.
    DestinationMulticast,
    /// Routed to the relay although outside 2001::/32.
    DestinationNotTeredo,
    /// Unspecified, loopback, multicast, link-local or IPv4-mapped source.
    SourceNotGlobal,
    /// Teredo to Teredo through a relay, seen from the native side.
    SourceTeredo,
    /// A 6to4 or ISATAP source that embeds an IPv4 address of this machine.
    SourceEmbedsOwnAddress,
    /// The client's mapped IPv4 address is not global unicast.
    MappedAddressNotGlobal,
    /// The client's server IPv4 address is not global unicast.
    ServerAddressNotGlobal,
    /// The client's mapped port is 0.
    MappedPortZero,
    /// The client's mapped IPv4 address is one of this machine.
    MappedAddressOwn,
    /// The client's server IPv4 address is one of this machine.
    ServerAddressOwn,
    /// The operator does not serve this native host: source of a packet to a client, or destination of one from it.
    NativeDenied,
    /// The operator does not serve clients at this IPv4 address, in the Teredo address or learned.
    ClientDenied,
    /// The operator does not serve clients of this server.
    ServerDenied,
    /// Larger than the tunnel MTU; answered with Packet Too Big.
    PacketTooBig,
    /// Inner hop limit exhausted; answered with Time Exceeded.
    HopLimitExceeded,
    /// No room for another peer that is not trusted yet.
    PeerTableFull,
    /// New peers arrive faster than the limit.
    NewPeerRateExceeded,
    /// Bubbles to the peer's server, or to its NAT mapping, are due faster than the limit.
    BubbleRateExceeded,
    /// The native /64 has too many unanswered peers.
    SourcePrefixLimitExceeded,
    /// The peer's queue is full.
    PeerQueueFull,
    /// All queues together have reached their cap.
    QueueMemoryFull,
    /// The peer did not answer any bubble; the queued packet is given up.
    BubblesUnanswered,
    /// The peer is remembered as unreachable; answered with Address Unreachable (3.8).
    PeerBlocked,
    /// Was queued when the relay shut down.
    ShutDown,

    // ---- client towards native IPv6
    /// Outer source port 0.
    OuterSourcePortZero,
    /// Outer source address not global unicast.
    OuterSourceNotGlobal,
    /// The outer source is the relay's own service address and port, or one of the server's (S-8).
    OuterSourceOwn,
    /// Not Teredo: too short, or the first bytes are neither a header nor IPv6.
    PayloadNotTeredo,
    /// Authentication header cut short.
    AuthenticationTruncated,
    /// Origin indication cut short.
    OriginTruncated,
    /// A header repeated, or authentication after origin.
    HeaderOutOfOrder,
    /// A trailer whose type asks for the packet to be discarded (RFC 6081 4.1).
    TrailerDiscards,
    /// A bubble with a malformed Alternate Address Trailer (RFC 6081 4.3).
    TrailerMalformed,
    /// Inner source outside 2001::/32.
    SourceNotTeredo,
    /// Payload length 0 in something that is not a bubble.
    JumbogramForm,
    /// Nothing was ever sent to this peer.
    PeerUnknown,
    /// The outer source may not speak for the inner source (R-36, S-6), or is where the packet is to go (S-8).
    OuterSourceMismatch,
    /// Unspecified, loopback, link-local, IPv4-mapped or IPv4-compatible destination.
    DestinationNotGlobal,
    /// Teredo to Teredo through a relay, seen from the client side.
    DestinationTeredo,
    /// A 6to4 or ISATAP destination embedding an own, or a 6to4 one embedding a non-global,
    /// IPv4 address.
    DestinationEmbedsForbiddenAddress,
    /// Outside the ranges this relay serves.
    DestinationNotServed,
    /// Routing header type 0 (R-47, RFC 5095).
    RoutingHeaderType0,
    /// Congestion marked on the outer header of a packet that is not ECN-capable (RFC 6040 4.2).
    CongestionMarkedNotEct,

    // ---- to a server
    /// Neither a bubble nor ICMPv6: a server carries no data (S-3, S-16).
    NotBubbleNorIcmp6,
    /// Addressed to the server itself, and no solicitation (S-9).
    ServerAddressed,
    /// From a host without a Teredo address to anybody but a client of this server (S-7).
    ClientOfAnotherServer,
    /// A router solicitation RFC 4861 6.1.1 forbids to answer (S-11).
    SolicitationInvalid,
    /// A router solicitation without the credentials this server asks for (S-5).
    CredentialsMissing,
    /// Credentials of a client id this server does not know (S-21).
    ClientIdUnknown,
    /// Credentials with a wrong authentication value (S-20, S-21).
    CredentialsWrong,
    /// ICMPv6 of more than 88 bytes (S-14, S-16).
    Icmp6TooLarge,
    /// ICMPv6 that is not carried: neighbour discovery, or to native IPv6 anything but echo (S-14).
    Icmp6NotCarried,
    /// Packets from one IPv4 address come faster than the limit (S-17).
    OuterSourceRateExceeded,
    /// Packets to one IPv4 address are due faster than the limit (S-17).
    TargetRateExceeded,
    /// Echoes to native IPv6 are due faster than the limit (S-17).
    NativeRateExceeded,
    /// More bytes behind the packet than trailers need: a server carries no data (S-16, S-18).
    TrailersTooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fate_is_its_own_index() {
        for (i, fate) in Fate::ALL.iter().enumerate() {
            assert_eq!(*fate as usize, i);
        }
    }
}

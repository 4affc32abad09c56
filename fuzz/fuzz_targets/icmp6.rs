//! An invoking packet from anybody: the error about it is well formed, small and never about an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use teredo::wire::icmp6::{ERROR_MAX_LEN, Echo, Icmp6Error, build_error, forbids_error, quote};
use teredo::wire::{checksum, ipv6};

const ERRORS: [Icmp6Error; 3] = [
    Icmp6Error::AddressUnreachable,
    Icmp6Error::PacketTooBig { mtu: 1280 },
    Icmp6Error::HopLimitExceeded,
];

fuzz_target!(|packet: &[u8]| {
    let source = [0x20; 16];
    for error in ERRORS {
        // Decided for every packet; answered whatever the decision.
        let _ = forbids_error(error, packet);
        let destination = packet
            .get(8..24)
            .and_then(|octets| octets.try_into().ok())
            .unwrap_or([0x30; 16]);
        let answer = build_error(source, destination, error, packet);
        assert!(answer.len() <= ERROR_MAX_LEN);
        assert!(answer.ends_with(quote(packet)));
        let (header, body, tail) = ipv6::parse(&answer).expect("we built it");
        assert!(tail.is_empty());
        let sum = checksum::upper_layer(&header.source, &header.destination, ipv6::ICMP6, body);
        assert_eq!(sum, 0, "checksum of {answer:02x?}");
        assert!(forbids_error(error, &answer), "an error about an error");
    }
    if let Ok((header, body, _)) = ipv6::parse(packet)
        && let Some(echo) = Echo::parse(header, body)
    {
        let built = echo
            .build(header.source, header.destination, header.hop_limit)
            .expect("its data fitted once");
        let (header, body, _) = ipv6::parse(&built).expect("we built it");
        assert_eq!(Echo::parse(header, body), Some(echo));
    }
});

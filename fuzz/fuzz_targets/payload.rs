//! A datagram from anybody: what parses is exactly what stands there, and builds the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use teredo::wire::payload;
use teredo::wire::trailer::Trailers;

fuzz_target!(|datagram: &[u8]| {
    let Ok(parsed) = payload::parse(datagram) else {
        return;
    };
    assert_eq!(parsed.packet.len(), parsed.header.packet_len());
    assert!(datagram.ends_with(parsed.tail));
    let headers_and_packet = &datagram[..datagram.len() - parsed.tail.len()];
    let built = payload::build(parsed.auth.as_ref(), parsed.origin.as_ref(), parsed.packet);
    assert_eq!(built, headers_and_packet);

    let Ok(trailers) = Trailers::parse(parsed.tail) else {
        return;
    };
    let mut written = Vec::new();
    trailers.write(&mut written);
    // A malformed trailer is remembered, but never written.
    let expected = Trailers {
        alternate_address_malformed: false,
        ..trailers
    };
    assert_eq!(Trailers::parse(&written), Ok(expected));
});

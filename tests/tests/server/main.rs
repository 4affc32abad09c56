//! Our Teredo server on its machine, with real miredo clients, with scripted ones, and under attack.

mod account;
mod credentials;
mod flood;
mod honest;
mod leg;
mod loops;
mod matrix;
mod open_relay;
mod qualification;
mod reflection;
mod rivals;
mod scripted;
mod solicit;
mod succession;

#[path = "../attackers/block.rs"]
mod block;
#[path = "../behaviour/packet.rs"]
#[allow(dead_code, reason = "shared with the tests of behaviour")]
mod packet;

/// One test with the XDP program and one without.
macro_rules! with_and_without_xdp {
    ($($body:ident: $xdp:ident, $userspace:ident;)+) => {$(
        #[test]
        fn $xdp() {
            $body(lab::shipworm::Datapath::Xdp);
        }

        #[test]
        fn $userspace() {
            $body(lab::shipworm::Datapath::Userspace);
        }
    )+};
}
use with_and_without_xdp;

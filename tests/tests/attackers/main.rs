//! Attacks of PROTOCOL 6, carried out: against the running relay where the network has a part in them, else against its
//! state machine. `docs/security.md` lists which test shows what.

mod access;
mod amplification;
mod attack;
mod block;
mod buckets;
mod document;
mod exhaustion;
mod hijack;
mod loops;
mod machine;
mod reflection;
mod starvation;
mod storm;

#[path = "../behaviour/observed.rs"]
#[allow(dead_code, reason = "shared with the tests of behaviour")]
mod observed;
#[path = "../behaviour/packet.rs"]
#[allow(dead_code, reason = "shared with the tests of behaviour")]
mod packet;
#[path = "../behaviour/scene.rs"]
#[allow(dead_code, reason = "shared with the tests of behaviour")]
mod scene;
#[path = "../behaviour/wire.rs"]
mod wire;

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

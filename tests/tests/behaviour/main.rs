//! How the relay behaves towards both networks, whichever way it carries packets: scripted clients and servers, and
//! frames put on the relay's cables byte by byte.

mod dead_client;
mod drops;
mod errors;
mod many_peers;
mod mixed_run;
mod observed;
mod one_way;
mod packet;
mod scene;
mod wire;

/// One test for each datapath: its name begins with how packets are carried.
macro_rules! for_each_datapath {
    ($($body:ident: $xdp:ident, $generic:ident, $userspace:ident;)+) => {$(
        #[test]
        fn $xdp() {
            $body(lab::shipworm::Datapath::Xdp);
        }

        #[test]
        fn $generic() {
            $body(lab::shipworm::Datapath::XdpGeneric);
        }

        #[test]
        fn $userspace() {
            $body(lab::shipworm::Datapath::Userspace);
        }
    )+};
}
use for_each_datapath;

//! The fast path's loader and the punt socket on real devices.
//!
//! These tests make network namespaces and load BPF programs, which takes root.

mod attach;
mod cable;
mod punt;
mod routing;
mod send;

use std::net::{Ipv4Addr, SocketAddrV4};

use relay_user::datapath::{Datapath, LOOPBACK, Mode, RelayRole, Secrets, Settings};

/// The program, loaded with a relay's usual settings.
fn load(mode: Mode) -> Datapath {
    let settings = Settings {
        mode,
        fib_ifindex: LOOPBACK,
        relay: Some(RelayRole {
            service: SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 18), 3545),
            tunnel_mtu: 1280,
            access: teredo::relay::Access::default(),
            max_peers: 64,
        }),
        server: None,
        secrets: Secrets::draw().unwrap(),
    };
    Datapath::load(&settings).unwrap()
}

//! The server in the program (S-1 to S-17): solicitations, bubbles and small ICMPv6 packet by packet.

mod advertise;
mod alone;
mod forward;
mod limits;
mod reasons;

use std::net::{Ipv4Addr, Ipv6Addr};

use relay_user::datapath::{ServerLimits, ServerRole};
use teredo::addr::Mapped;
use teredo::relay::Ipv4Net;

use super::frames::{ICMP6, Inner, Outer, at};
use super::rig::{Rig, Settings, client, in_topology, ip, mapped};
use super::topology::nat;

/// The server's primary address, that of the vectors.
pub(crate) const PRIMARY: Mapped = Mapped {
    ip: Ipv4Addr::new(192, 0, 2, 1),
    port: 3544,
};
/// The secondary one.
pub(crate) const SECONDARY: Mapped = Mapped {
    ip: Ipv4Addr::new(192, 0, 2, 2),
    port: 3544,
};
/// Source of a solicitation without cone bit.
const RESTRICTED: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xffff, 0xffff, 0xffff);
/// All routers.
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// An authentication header with the nonce of the vectors.
const AUTH: [u8; 13] = [0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0];

/// A server for the documentation ranges.
pub(crate) fn role() -> ServerRole {
    let open = |ip: [u8; 4]| Ipv4Net::new(ip.into(), 24).unwrap();
    ServerRole {
        primary: PRIMARY.ip,
        secondary: SECONDARY.ip,
        require_credentials: false,
        allow_non_global: vec![open([192, 0, 2, 0]), open([198, 51, 100, 0])],
        limits: ServerLimits {
            source_per_s: 1_000_000,
            source_burst: 1_000_000,
            target_per_s: 1_000_000,
            target_burst: 1_000_000,
        },
    }
}

/// The same for a server of that role.
fn in_rig_with(role: ServerRole, test: impl FnOnce(&mut Rig) + Send) {
    in_topology(|| {
        test(&mut Rig::load(&Settings {
            server: Some(role),
            ..Settings::default()
        }));
    });
}

/// Runs `test` with relay and server in one program.
pub(crate) fn in_server(test: impl FnOnce(&mut Rig) + Send) {
    in_rig_with(role(), test);
}

/// A datagram from the NAT of most cases.
fn to(server: Mapped) -> Outer {
    Outer {
        to: server,
        ..Outer::from_client(mapped(nat::PLAIN))
    }
}

/// From the server's primary address, as `like` says what cannot be foreseen.
fn from_primary(target: Mapped, like: &[u8], link_len: usize) -> Outer {
    let id = link_len + 4;
    Outer {
        from: PRIMARY,
        to: target,
        tos: 0,
        identification: u16::from_be_bytes([like[id], like[id + 1]]),
        has_checksum: true,
    }
}

/// A solicitation with any code and reserved bytes, its checksum right.
fn solicitation(source: Ipv6Addr, code: u8) -> Inner {
    icmp6(source, ALL_ROUTERS, &[133, code, 0, 0, 0, 0, 0, 0]).hop_limit(255)
}

/// An ICMPv6 message with its checksum made right.
fn icmp6(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> Inner {
    Inner::transport(source, destination, ICMP6, 2, message.to_vec())
}

fn bubble(source: Ipv6Addr, destination: Ipv6Addr) -> Inner {
    Inner::raw(source, destination, 59, &[]).hop_limit(0)
}

/// The client that sends most packets: its NAT is where they come from.
fn sender() -> Ipv6Addr {
    ip(&client(nat::PLAIN))
}

/// A client of this server whose NAT is reached by a plain route.
fn receiver() -> Ipv6Addr {
    ip(&client(RECEIVER))
}

const RECEIVER: u8 = 9;

/// An origin indication.
fn origin(of: Mapped) -> [u8; 8] {
    let (port, ip) = (!of.port, !of.ip.to_bits());
    let bytes = u64::from(port) << 32 | u64::from(ip);
    bytes.to_be_bytes()
}

/// A client of another server.
fn of_another_server(nat: u8) -> Ipv6Addr {
    let mut octets = client(nat).octets();
    octets[4..8].copy_from_slice(&[198, 51, 100, 50]);
    octets.into()
}

/// A client of this server that says it is mapped to `mapped`.
fn mapped_to(ip: [u8; 4], port: u16) -> Ipv6Addr {
    let mapped = at(ip, port);
    teredo::addr::TeredoAddr::new(teredo::addr::ServerV4(PRIMARY.ip), 0x2093, mapped).into()
}

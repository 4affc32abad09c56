//! What attackers send (PROTOCOL 6).

use std::net::{Ipv4Addr, Ipv6Addr};

use teredo::addr::{Mapped, ServerV4, TeredoAddr};
use teredo::wire::bubble;
use teredo::wire::origin::Origin;
use teredo::wire::payload;
use teredo::wire::trailer::Trailers;

use crate::net::Output;
use crate::packet::{self, Tag};

/// IPv4 addresses nothing may be sent to, and some of the relay's and the server's own.
const TARGETS: [[u8; 4]; 12] = [
    [10, 0, 0, 1],
    [127, 0, 0, 1],
    [169, 254, 1, 1],
    [172, 16, 0, 1],
    [192, 168, 1, 1],
    [100, 64, 0, 1],
    [224, 0, 0, 253],
    [255; 4],
    [0; 4],
    [240, 0, 0, 1],
    [203, 0, 113, 10],
    [192, 0, 2, 1],
];

/// Where attackers are.
const ATTACKER_V4: Mapped = Mapped {
    ip: Ipv4Addr::new(198, 51, 100, 200),
    port: 6666,
};
const ATTACKER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 1);

/// A native packet for a client of `server` nobody has, from one of many networks: what uses up rates and fills tables.
pub fn scan(rng: &mut fastrand::Rng, server: Ipv4Addr, tag: Tag) -> Output {
    let network = rng.u16(..);
    let source = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, network, 0, 0, 0, 1);
    let mapped = Mapped {
        ip: Ipv4Addr::new(198, 51, 100, rng.u8(210..250)),
        port: rng.u16(1..),
    };
    let nobody = TeredoAddr::new(ServerV4(server), 0, mapped);
    Output::V6(packet::build(source.octets(), nobody.octets(), tag))
}

/// One forged packet for the relay at `service`: in the name of one of `victims`, towards `host`, or native towards addresses
/// that aim at others. What carries `tag` must reach nobody.
pub fn forge(
    rng: &mut fastrand::Rng,
    service: Mapped,
    victims: &[TeredoAddr],
    host: Ipv6Addr,
    tag: Tag,
) -> Output {
    let target = Ipv4Addr::from(TARGETS[rng.usize(..TARGETS.len())]);
    let elsewhere = Ipv4Addr::new(198, 51, 100, rng.u8(210..250));
    let port = rng.u16(1..);
    let at = |ip| Mapped { ip, port };
    let aimed = |server: Ipv4Addr, ip| TeredoAddr::new(ServerV4(server), 0, at(ip));
    let nobody = aimed(Ipv4Addr::new(192, 0, 2, 1), elsewhere);
    let victim = victims
        .get(rng.usize(..victims.len().max(1)))
        .copied()
        .unwrap_or(nobody);
    let native = |source: Ipv6Addr, to: TeredoAddr| {
        Output::V6(packet::build(source.octets(), to.octets(), tag))
    };
    let datagram = |payload| Output::V4 {
        from: ATTACKER_V4,
        to: service,
        payload,
    };
    let six_to_four = {
        let [a, b, c, d] = service.ip.octets();
        let word = |x, y| u16::from_be_bytes([x, y]);
        Ipv6Addr::new(0x2002, word(a, b), word(c, d), 0, 0, 0, 0, 1)
    };
    match rng.u8(..11) {
        0 => native(ATTACKER_V6, nobody),
        1 => native(ATTACKER_V6, aimed(Ipv4Addr::new(192, 0, 2, 1), target)),
        2 => native(ATTACKER_V6, aimed(target, elsewhere)),
        3 => native(six_to_four, victim),
        4 => native(Ipv6Addr::from(nobody), victim),
        5 => datagram(packet::build(victim.octets(), host.octets(), tag)),
        6 => datagram(packet::build(victim.octets(), nobody.octets(), tag)),
        7 => datagram(packet::build(victim.octets(), six_to_four.octets(), tag)),
        8 => {
            let cookie = rng.u64(..).to_be_bytes();
            let mut to = [0; 16];
            to[..2].copy_from_slice(&[0xfe, 0x80]);
            to[8..].copy_from_slice(&cookie);
            let trailers = Trailers {
                nonce: Some(rng.u32(..).to_be_bytes()),
                ..Trailers::default()
            };
            datagram(bubble::build(victim.octets(), to, &trailers))
        }
        9 => {
            let origin = Origin { mapped: at(target) };
            let forged = packet::build(victim.octets(), host.octets(), tag);
            datagram(payload::build(None, Some(&origin), &forged))
        }
        _ => datagram((0..rng.usize(..90)).map(|_| rng.u8(..)).collect()),
    }
}

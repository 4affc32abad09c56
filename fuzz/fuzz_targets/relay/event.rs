//! What can happen to a relay, from a few addresses, so that events concern one another.

use std::net::{Ipv4Addr, SocketAddrV4};

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use teredo::addr::{Mapped, ServerV4, TeredoAddr};
use teredo::relay::Hop;
use teredo::wire::ipv6;

/// The directed broadcast address of the relay's own subnet.
pub const BROADCAST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 31);

/// Honest ones first, then those nothing may be sent to.
const IPV4: [Ipv4Addr; 8] = [
    Ipv4Addr::new(203, 0, 113, 66),
    Ipv4Addr::new(203, 0, 113, 67),
    Ipv4Addr::new(8, 1, 2, 3),
    Ipv4Addr::new(203, 0, 113, 18),
    BROADCAST,
    Ipv4Addr::new(10, 1, 2, 3),
    Ipv4Addr::new(224, 0, 0, 1),
    Ipv4Addr::new(0, 0, 0, 0),
];

/// One thing that happens.
#[derive(Arbitrary, Debug)]
pub enum Event {
    /// A packet from the native side.
    Native(Native),
    /// Anything from the native side.
    NativeBytes(Vec<u8>),
    /// A packet in a datagram.
    Client(Client),
    /// Anything in a datagram.
    ClientBytes { client: Client, payload: Vec<u8> },
    /// The last bubble is answered, perhaps from a port of another's.
    Answer { spoofed_port: bool },
    /// Time passes.
    Wait { millis: u16 },
    /// The daemon is told to end.
    ShutDown,
}

/// A peer by choice of its parts.
#[derive(Arbitrary, Debug)]
pub struct Peer {
    server: u8,
    mapped: u8,
    port: u8,
    flags: u16,
}

impl Peer {
    fn mapped(&self) -> Mapped {
        let port = u16::from(self.port & 3);
        Mapped {
            ip: IPV4[usize::from(self.mapped) % IPV4.len()],
            port: if port == 0 { 0 } else { 40_000 + port },
        }
    }

    fn address(&self) -> TeredoAddr {
        let server = ServerV4(IPV4[usize::from(self.server) % IPV4.len()]);
        TeredoAddr::new(server, self.flags & 0x8001, self.mapped())
    }
}

/// A native host.
#[derive(Arbitrary, Debug)]
pub struct Host(u8);

impl Host {
    fn address(&self) -> [u8; 16] {
        let mut address = [0; 16];
        address[..4].copy_from_slice(match self.0 & 0xf {
            // 6to4 with the relay's own address, link-local, multicast, Teredo.
            0 => &[0x20, 0x02, 203, 0],
            1 => &[0xfe, 0x80, 0, 0],
            2 => &[0xff, 0x02, 0, 0],
            3 => &[0x20, 0x01, 0, 0],
            _ => &[0x20, 0x01, 0x0d, 0xb8],
        });
        address[5] = self.0 >> 6;
        address[15] = 1 + (self.0 >> 4 & 3);
        address
    }
}

/// A packet towards a client.
#[derive(Arbitrary, Debug)]
pub struct Native {
    from: Host,
    to: Peer,
    hop_limit: u8,
    next_header: u8,
    len: u16,
    is_forwarded_by_kernel: bool,
}

impl Native {
    pub fn packet(&self) -> Vec<u8> {
        let to = self.to.address().octets();
        packet(
            self.from.address(),
            to,
            self.next_header,
            self.hop_limit,
            self.len,
        )
    }

    pub fn hop(&self) -> Hop {
        if self.is_forwarded_by_kernel {
            Hop::Done
        } else {
            Hop::Pending
        }
    }
}

/// A packet from a client, perhaps not from where it says.
#[derive(Arbitrary, Debug)]
pub struct Client {
    from: Peer,
    to: Host,
    hop_limit: u8,
    next_header: u8,
    len: u16,
    spoofed: bool,
    pub tos: u8,
    tail: Vec<u8>,
}

impl Client {
    pub fn source(&self) -> SocketAddrV4 {
        let Mapped { ip, port } = self.from.mapped();
        SocketAddrV4::new(ip, if self.spoofed { port ^ 1 } else { port })
    }

    pub fn payload(&self) -> Vec<u8> {
        let from = self.from.address().octets();
        let mut payload = packet(
            from,
            self.to.address(),
            self.next_header,
            self.hop_limit,
            self.len,
        );
        payload.extend_from_slice(&self.tail);
        payload
    }
}

fn packet(from: [u8; 16], to: [u8; 16], next_header: u8, hop_limit: u8, len: u16) -> Vec<u8> {
    let len = len % 1500;
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&len.to_be_bytes());
    packet.extend_from_slice(&[next_header, hop_limit]);
    packet.extend_from_slice(&from);
    packet.extend_from_slice(&to);
    packet.resize(ipv6::HEADER_LEN + usize::from(len), 0x5a);
    packet
}

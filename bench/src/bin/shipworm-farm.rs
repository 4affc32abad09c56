//! A Teredo server and all its clients in one process, for measurements on real cards.
//!
//! Runs on the host of the traffic generator. A relay that has a packet for a client asks the client's server to
//! send it a bubble; the farm is that server, and answers as the client, from its mapped address, which is
//! routed to this host and needs no socket of its own. So any number of peers costs nothing here.
//!
//! With `--wrap` it also makes the frames the kernel's pktgen sends on an interface those of its clients:
//! pktgen itself can send UDP over IPv4, but not the IPv6 packet inside.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use aya::programs::tc::{self, SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfLoader};
use clap::Parser;
use relay_user::datapath::WRAP;
use socket2::{Domain, Protocol, Socket, Type};
use teredo::addr::{Mapped, SERVER_PORT, ServerV4, TeredoAddr};
use teredo::wire::ipv6::{self, Ipv6Header};
use teredo::wire::trailer::Trailers;
use teredo::wire::{bubble, checksum, payload};
use tokio::net::UdpSocket;
use tokio::signal::unix::{SignalKind, signal};
use zerocopy::IntoBytes as _;

/// Largest datagram a relay sends to a server: a bubble with every trailer fits many times.
const DATAGRAM_MAX: usize = 2048;
/// Room for bubbles that arrive faster than they are answered; the kernel may give less.
const RECEIVE_BUFFER_BYTES: usize = 64 << 20;
const TTL: u8 = 64;
/// Ports of the packets that travel inside: any, and discard (RFC 863).
const INNER_PORTS: [u16; 2] = [4000, 9];

/// A Teredo server and all its clients, for measurements with a traffic generator. Needs root.
#[derive(Parser)]
#[command(name = "shipworm-farm", version)]
struct Options {
    /// IPv4 address of this host that is the clients' Teredo server.
    #[arg(long, value_name = "IPV4")]
    server: Ipv4Addr,
    /// Makes what pktgen sends on this interface packets of clients.
    #[arg(long, value_name = "NAME", requires = "native")]
    wrap: Option<String>,
    /// Where those packets go: a native IPv6 host.
    #[arg(long, value_name = "IPV6")]
    native: Option<Ipv6Addr>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = Options::parse();
    let _wrapped = match (&options.wrap, options.native) {
        (Some(interface), Some(native)) => Some(Wrapped::new(interface, options.server, native)?),
        _ => None,
    };
    let farm = Farm::new(options.server)?;
    let mut terminate = signal(SignalKind::terminate())?;
    println!("ready");
    tokio::select! {
        result = farm.answer_all() => result,
        result = tokio::signal::ctrl_c() => Ok(result?),
        _ = terminate.recv() => Ok(()),
    }
}

struct Farm {
    server: ServerV4,
    inbox: UdpSocket,
    /// Sends whole IPv4 packets, whatever their source.
    outbox: Socket,
}

impl Farm {
    fn new(server: Ipv4Addr) -> Result<Self> {
        let address = SocketAddrV4::new(server, SERVER_PORT);
        let inbox = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        inbox.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        inbox.set_nonblocking(true)?;
        inbox.bind(&address.into()).with_context(|| {
            format!("--server {server}: cannot listen on {address} (add the address to an interface, stop other servers)")
        })?;
        let outbox = Socket::new(
            Domain::IPV4,
            Type::RAW,
            Some(Protocol::from(libc::IPPROTO_RAW)),
        )
        .context("sending as a client takes CAP_NET_RAW (run it as root)")?;
        Ok(Self {
            server: ServerV4(server),
            inbox: UdpSocket::from_std(inbox.into())?,
            outbox,
        })
    }

    async fn answer_all(&self) -> Result<()> {
        let mut datagram = [0; DATAGRAM_MAX];
        loop {
            let (len, from) = self.inbox.recv_from(&mut datagram).await?;
            let SocketAddr::V4(relay) = from else {
                continue;
            };
            if let Some(packet) = answer(self.server, relay, &datagram[..len]) {
                // Not sent is lost; the relay asks again.
                let _ = self.outbox.send_to(&packet, &relay.into());
            }
        }
    }
}

/// The IPv4 packet in which a client answers, by a direct bubble, the bubble that `relay` sent through its
/// server (RFC 4380 5.2.4, RFC 6081 5.2.4). `None` if the datagram is no such bubble.
fn answer(server: ServerV4, relay: SocketAddrV4, datagram: &[u8]) -> Option<Vec<u8>> {
    let asked = payload::parse(datagram).ok()?;
    let client = TeredoAddr::from_octets(&asked.header.destination)?;
    if !asked.header.is_bubble() || client.server() != server {
        return None;
    }
    let trailers = Trailers {
        nonce: Trailers::parse(asked.tail).ok()?.nonce,
        ..Trailers::default()
    };
    let bubble = bubble::build(client.octets(), asked.header.source, &trailers);
    outer(client.mapped(), relay, &bubble)
}

/// An IPv4 packet with a UDP datagram around `payload`. The kernel writes the header's checksum.
fn outer(from: Mapped, to: SocketAddrV4, payload: &[u8]) -> Option<Vec<u8>> {
    const IPV4_HEADER_LEN: u16 = 20;
    const UDP_HEADER_LEN: u16 = 8;
    let udp_len = UDP_HEADER_LEN.checked_add(u16::try_from(payload.len()).ok()?)?;
    let total_len = IPV4_HEADER_LEN.checked_add(udp_len)?;
    let mut datagram = [from.port, to.port(), udp_len, 0]
        .map(u16::to_be_bytes)
        .concat();
    datagram.extend(payload);
    let sum = checksum::udp_over_ipv4(from.ip, *to.ip(), &datagram);
    datagram[6..8].copy_from_slice(&checksum::as_udp_field(sum).to_be_bytes());

    let [high, low] = total_len.to_be_bytes();
    let mut packet = vec![0x45, 0, high, low, 0, 0, 0, 0, TTL, ipv6::UDP, 0, 0];
    packet.extend(from.ip.octets());
    packet.extend(to.ip().octets());
    packet.extend(datagram);
    Some(packet)
}

/// The classifier on an interface, while this lives.
struct Wrapped {
    interface: String,
    /// We brought the qdisc it hangs on, and take it away again: kernels before 6.6 keep the program there.
    own_qdisc: bool,
    _ebpf: Ebpf,
}

impl Wrapped {
    fn new(interface: &str, server: Ipv4Addr, native: Ipv6Addr) -> Result<Self> {
        let own_qdisc = tc::qdisc_add_clsact(interface).is_ok();
        let mut ebpf = EbpfLoader::new()
            .override_global("INNER", &inner(server, native), true)
            .load(WRAP)?;
        let program: &mut SchedClassifier = ebpf
            .program_mut("wrap")
            .context("the classifier is in the object")?
            .try_into()?;
        program
            .load()
            .context("the kernel refuses the classifier")?;
        program
            .attach(interface, TcAttachType::Egress)
            .with_context(|| {
                format!("--wrap {interface}: cannot attach the classifier (is that an Ethernet interface of this host?)")
            })?;
        Ok(Self {
            interface: interface.to_owned(),
            own_qdisc,
            _ebpf: ebpf,
        })
    }
}

impl Drop for Wrapped {
    fn drop(&mut self) {
        if self.own_qdisc
            && let Err(error) = remove_qdisc(&self.interface)
        {
            eprintln!("{}: {error:#}", self.interface);
        }
    }
}

fn remove_qdisc(interface: &str) -> Result<()> {
    let status = Command::new("tc")
        .args(["qdisc", "del", "dev", interface, "clsact"])
        .status()
        .context("the clsact qdisc stays: starting tc")?;
    if !status.success() {
        bail!("the clsact qdisc stays: tc ended with {status}");
    }
    Ok(())
}

/// The headers of the inner packet, as the classifier wants them: without lengths, checksum and mapped address.
fn inner(server: Ipv4Addr, native: Ipv6Addr) -> [u8; 48] {
    let mut source = TeredoAddr::new(
        ServerV4(server),
        0,
        Mapped {
            ip: Ipv4Addr::UNSPECIFIED,
            port: 0,
        },
    )
    .octets();
    source[10..].fill(0);
    let header = Ipv6Header::new(source, native.octets(), ipv6::UDP, TTL, 0);
    let mut bytes = [0; 48];
    bytes[..ipv6::HEADER_LEN].copy_from_slice(header.as_bytes());
    bytes[ipv6::HEADER_LEN..ipv6::HEADER_LEN + 4]
        .copy_from_slice(&INNER_PORTS.map(u16::to_be_bytes).concat());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: ServerV4 = ServerV4(Ipv4Addr::new(192, 0, 2, 1));
    const RELAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 9), 3545);
    const CLIENT: Mapped = Mapped {
        ip: Ipv4Addr::new(198, 51, 100, 7),
        port: 40_000,
    };

    fn bubble_to(server: ServerV4) -> Vec<u8> {
        let client = TeredoAddr::new(server, 0x2093, CLIENT);
        let trailers = Trailers {
            nonce: Some([1, 2, 3, 4]),
            ..Trailers::default()
        };
        bubble::build([0xfe; 16], client.octets(), &trailers)
    }

    #[test]
    fn a_client_answers_from_its_mapped_address_with_the_nonce() {
        let packet = answer(SERVER, RELAY, &bubble_to(SERVER)).unwrap();
        assert_eq!(packet[12..16], CLIENT.ip.octets());
        assert_eq!(packet[16..20], RELAY.ip().octets());
        assert_eq!(
            usize::from(u16::from_be_bytes([packet[2], packet[3]])),
            packet.len()
        );
        let datagram = &packet[20..];
        assert_eq!(
            datagram[..4],
            [CLIENT.port, RELAY.port()].map(u16::to_be_bytes).concat()
        );
        assert_eq!(checksum::udp_over_ipv4(CLIENT.ip, *RELAY.ip(), datagram), 0);
        let parsed = payload::parse(&datagram[8..]).unwrap();
        assert!(parsed.header.is_bubble());
        assert_eq!(parsed.header.destination, [0xfe; 16]);
        assert_eq!(
            TeredoAddr::from_octets(&parsed.header.source).unwrap(),
            TeredoAddr::new(SERVER, 0x2093, CLIENT)
        );
        assert_eq!(
            Trailers::parse(parsed.tail).unwrap().nonce,
            Some([1, 2, 3, 4])
        );
    }

    #[test]
    fn nothing_else_is_answered() {
        let other = ServerV4(Ipv4Addr::new(192, 0, 2, 2));
        assert_eq!(answer(SERVER, RELAY, &bubble_to(other)), None);
        assert_eq!(answer(SERVER, RELAY, b"not a packet"), None);
    }

    #[test]
    fn the_inner_packet_comes_from_a_client_of_the_server_that_is_yet_to_be_named() {
        let bytes = inner(SERVER.0, Ipv6Addr::LOCALHOST);
        assert_eq!(bytes[8..18], [0x20, 0x01, 0, 0, 192, 0, 2, 1, 0, 0]);
        assert_eq!(bytes[18..24], [0; 6]);
        assert_eq!(bytes[24..40], Ipv6Addr::LOCALHOST.octets());
        assert_eq!(bytes[40..44], [0x0f, 0xa0, 0, 9]);
    }
}

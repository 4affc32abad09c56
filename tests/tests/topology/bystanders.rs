//! Traffic that is not the relay's passes it by, whatever the relay is doing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use lab::shipworm::Datapath;
use lab::{Cabling, Lab, Node, Ping, RELAY_PORT, transfer};
use relay_common::Reason;
use teredo::addr::SERVER_PORT;

use crate::figures::Figures;
use crate::peer::{SOON, is_complete};
use crate::{bare, each_datapath, flow, start_with_peer};

/// Another address of the relay's machine.
const SECOND_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 19);
/// A native network behind the relay's IPv4 leg, which the kernel serves.
const BEHIND_V4_LEG: &str = "2001:db8:5::1";
const EXCHANGES: u16 = 50;
const TCP_BYTES: usize = 1 << 20;

each_datapath! {
    what_is_not_ours_arrives_byte_for_byte = bystanders;
}

fn bystanders(datapath: Datapath) {
    let lab = bare(Cabling::TwoArmed);
    // The kernel routes between two native networks, in through one port and out of the other.
    lab.inet
        .ip(&[
            "addr add 2001:db8:5::1/64 dev lb-rly nodad",
            "-6 route add default via 2001:db8:5::2",
        ])
        .unwrap();
    lab.v6r
        .ip(&["-6 route add 2001:db8:5::/64 via 2001:db8:1::2"])
        .unwrap();
    lab.relay
        .ip(&[
            "addr add 2001:db8:5::2/64 dev lb-v4 nodad",
            &format!("addr add {SECOND_V4}/28 dev lb-v4"),
        ])
        .unwrap();
    let (peer, relay) = start_with_peer(&lab, datapath);
    let before = Figures::of(&relay).fast(Reason::NotOurs);

    let carried = std::thread::scope(|scope| {
        let carried = scope.spawn(|| peer.pinged(&flow(2000)));
        answers_to_ephemeral_ports(&lab);
        for (address, port) in [
            (Lab::RELAY_V4, RELAY_PORT + 1),
            (Lab::RELAY_V4, SERVER_PORT),
            (SECOND_V4, SERVER_PORT),
            (SECOND_V4, RELAY_PORT),
        ] {
            let server = bind(&lab.relay, (address, port).into());
            exchange(&bind(&lab.bench, (Lab::BENCH_V4, 0).into()), &server);
        }
        let behind = BEHIND_V4_LEG.parse().unwrap();
        let server = bind(&lab.inet, SocketAddr::new(behind, SERVER_PORT));
        exchange(&bind(&lab.host, (Lab::HOST, 0).into()), &server);

        transfer::tcp(&lab.host, &lab.relay, Lab::RELAY_V6, TCP_BYTES as u64).unwrap();
        transfer::tcp(&lab.relay, &lab.host, Lab::HOST, TCP_BYTES as u64).unwrap();
        tcp_over_ipv4(&lab);
        neighbours_find_the_relay(&lab);
        carried.join().unwrap()
    });
    assert!(is_complete(&carried), "{carried:?}");

    let figures = Figures::of(&relay);
    assert_eq!(figures.dropped(), []);
    if datapath == Datapath::Userspace {
        assert_eq!(figures.all_fast(), 0);
    } else {
        // Each exchange is one datagram in at least; TCP sends segments of at most an MTU.
        let least = 6 * u64::from(EXCHANGES) + TCP_BYTES as u64 / 1500;
        let passed = figures.fast(Reason::NotOurs) - before;
        println!("{datapath}: {passed} frames passed");
        assert!(passed >= least, "{passed}");
    }
}

fn bind(node: &Node, address: SocketAddr) -> UdpSocket {
    let socket = node.enter(|| UdpSocket::bind(address)).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

/// The relay's machine asks from an ephemeral port, as a resolver does, and is answered.
fn answers_to_ephemeral_ports(lab: &Lab) {
    const DNS: u16 = 53;
    let server = bind(&lab.server, (Lab::SERVER_V4, DNS).into());
    exchange(&bind(&lab.relay, (Lab::RELAY_V4, 0).into()), &server);
}

/// Questions and answers of different content and length, compared on arrival.
fn exchange(client: &UdpSocket, server: &UdpSocket) {
    let (from, to) = (client.local_addr().unwrap(), server.local_addr().unwrap());
    let mut buffer = [0; 2048];
    for n in 0..EXCHANGES {
        // The first bytes are those of a Teredo packet: what is ours is told by the address alone.
        let mut question = vec![0x60, 0, 0, 0];
        question.extend((0..20 * n).map(|byte| byte.to_be_bytes()[1] ^ 0x55));
        client.send_to(&question, to).unwrap();
        let (len, source) = server.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], source), (&question[..], from));
        question.reverse();
        server.send_to(&question, from).unwrap();
        let (len, source) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], source), (&question[..], to));
    }
}

fn tcp_over_ipv4(lab: &Lab) {
    let contents: Vec<u8> = (0..TCP_BYTES)
        .map(|n| u8::try_from(n * n % 251).unwrap())
        .collect();
    let listener = lab
        .relay
        .enter(|| TcpListener::bind((Lab::RELAY_V4, 0)))
        .unwrap();
    let to = listener.local_addr().unwrap();
    let mut sender = lab
        .bench
        .enter(|| TcpStream::connect_timeout(&to, SOON))
        .unwrap();
    let (mut receiver, _) = listener.accept().unwrap();
    receiver.set_read_timeout(Some(SOON)).unwrap();
    let mut received = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sender.write_all(&contents).unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
        });
        receiver.read_to_end(&mut received).unwrap();
    });
    assert!(received == contents, "other bytes arrived");
}

/// ARP, neighbour discovery and echo for the machine's own addresses.
fn neighbours_find_the_relay(lab: &Lab) {
    lab.inet.ip(&["neigh flush dev lb-rly"]).unwrap();
    lab.v6r.ip(&["-6 neigh flush dev lb-rly"]).unwrap();
    let own = Lab::RELAY_V4.to_string();
    lab.bench
        .run(["ping", "-c3", "-i0.01", "-W2", &own])
        .unwrap();
    let ping = Ping {
        count: 3,
        interval: Duration::from_millis(10),
        ..Ping::default()
    };
    for own in [Lab::RELAY_V6, "2001:db8:5::2".parse().unwrap()] {
        assert!(ping.run(&lab.host, own).unwrap().is_perfect());
    }
}

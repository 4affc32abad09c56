//! A Teredo address nobody answers for.

use std::io::Read;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lab::shipworm::Datapath;
use lab::teredo_client::Bubbles;
use lab::{Lab, Node, wait_for};
use socket2::{Domain, Protocol, Socket, Type};
use teredo::addr::SERVER_PORT;
use teredo::wire::payload;

use crate::for_each_datapath;
use crate::observed::Captures;
use crate::packet;
use crate::scene::{Scene, fates, status};

const ADDRESS_UNREACHABLE: (u8, u8) = (1, 3);
/// How far a bubble may be from its time.
const TOLERANCE: Duration = Duration::from_millis(300);
/// Two seconds after the fourth bubble.
const GIVEN_UP: Duration = Duration::from_secs(8);
const WATCHED: Duration = Duration::from_secs(15);
const BURST: usize = 40;
/// ten at once, then ten a second.
const ERRORS_AT_ONCE: usize = 10;

fn four_bubbles_then_address_unreachable(datapath: Datapath) {
    let scene = Scene::new(1, Bubbles::Ignored);
    let relay = scene.relay(datapath);
    let captures = Captures::start(&scene.lab);
    let to = scene.clients.ipv6(0);

    let first = packet::udp(Lab::HOST, to, b"the first");
    let host = icmp6_socket(&scene.lab.host);
    let start = Instant::now();
    scene.v6.send(&first);
    wait_for(
        "the peer to be given up",
        GIVEN_UP + Duration::from_secs(2),
        || receives_unreachable(&host),
    )
    .unwrap();
    let mut later = Vec::new();
    while start.elapsed() < WATCHED {
        let packet = packet::udp(Lab::HOST, to, format!("later {}", later.len()).as_bytes());
        scene.v6.send(&packet);
        later.push(packet);
        sleep(Duration::from_millis(500));
    }
    for _ in 0..BURST {
        scene.v6.send(&packet::udp(Lab::HOST, to, b"too many"));
    }
    let packets = 1 + later.len() + BURST;
    wait_for("all packets to be counted", Duration::from_secs(5), || {
        fates(&status(&relay)).values().sum::<u64>() >= packets as u64
    })
    .unwrap();
    let status = status(&relay);
    relay.stop().unwrap();
    let observed = captures.stop();

    let bubbles = observed.datagrams();
    let errors = observed.errors();
    // The first bubble leaves at once: the clock of the captures starts there.
    let zero = bubbles[0].at;
    let times: Vec<_> = bubbles
        .iter()
        .map(|bubble| bubble.at.saturating_sub(zero))
        .collect();
    println!(
        "{datapath}: bubbles at {times:?}, error at {:?}",
        errors[0].at.saturating_sub(zero)
    );
    assert_eq!(times.len(), 4, "{times:?}");
    for (n, time) in (0..).zip(&times) {
        assert!(
            time.abs_diff(Duration::from_secs(2 * n)) < TOLERANCE,
            "{times:?}"
        );
    }
    for bubble in &bubbles {
        assert_eq!(
            (*bubble.to.ip(), bubble.to.port()),
            (Lab::SERVER_V4, SERVER_PORT)
        );
        let parsed = payload::parse(&bubble.payload).unwrap();
        assert!(parsed.header.is_bubble());
        assert_eq!(parsed.header.destination, to.octets());
    }

    assert!(errors[0].at.saturating_sub(zero).abs_diff(GIVEN_UP) < TOLERANCE);
    assert!(errors.iter().all(|error| {
        error.kind == ADDRESS_UNREACHABLE
            && error.parameter == 0
            && error.source == Lab::RELAY_V6
            && error.to == Lab::HOST
    }));
    let quoted = |packet: &[u8]| {
        errors
            .iter()
            .filter(|e| is_quote_of(&e.quote, packet))
            .count()
    };
    assert_eq!(quoted(&first), 1);
    for packet in &later {
        assert_eq!(quoted(packet), 1, "one for each packet");
    }
    let in_burst = errors.len() - 1 - later.len();
    // At ten a second, what comes back during a burst is one or two.
    assert!(
        (ERRORS_AT_ONCE - 1..ERRORS_AT_ONCE + 5).contains(&in_burst),
        "{in_burst}"
    );
    assert_eq!(status.icmp6.sent, errors.len() as u64);
    assert_eq!(status.icmp6.suppressed, (packets - errors.len()) as u64);

    let fates = fates(&status);
    assert_eq!(fates.get("BubblesUnanswered"), Some(&1), "{fates:?}");
    assert_eq!(
        fates.get("PeerBlocked"),
        Some(&(packets as u64 - 1)),
        "{fates:?}"
    );
    assert_eq!(fates.len(), 2, "{fates:?}");
}

fn icmp6_socket(node: &Node) -> Socket {
    let raw = || Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6));
    let socket = node.enter(raw).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    socket
}

/// Waits a little for the next ICMPv6 message; whether it is the one.
fn receives_unreachable(socket: &Socket) -> bool {
    let mut message = [0; 2048];
    (&mut &*socket)
        .read(&mut message)
        .is_ok_and(|len| len > 1 && (message[0], message[1]) == ADDRESS_UNREACHABLE)
}

/// Whether `quote` is the whole of `packet`; the kernel in front of the TUN device may have taken a hop.
fn is_quote_of(quote: &[u8], packet: &[u8]) -> bool {
    const HOP_LIMIT_AT: usize = 7;
    let hops = packet[HOP_LIMIT_AT].checked_sub(quote[HOP_LIMIT_AT]);
    quote.len() == packet.len()
        && matches!(hops, Some(0 | 1))
        && quote[..HOP_LIMIT_AT] == packet[..HOP_LIMIT_AT]
        && quote[HOP_LIMIT_AT + 1..] == packet[HOP_LIMIT_AT + 1..]
}

for_each_datapath! {
    four_bubbles_then_address_unreachable:
        xdp_asks_four_times_and_then_reports_the_client_unreachable,
        generic_xdp_asks_four_times_and_then_reports_the_client_unreachable,
        user_space_asks_four_times_and_then_reports_the_client_unreachable;
}

//! A stream to a client that only answers bubbles.

use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use lab::Lab;
use lab::shipworm::Datapath;
use lab::teredo_client::Bubbles;
use teredo::addr::SERVER_PORT;

use crate::observed::{Captures, Datagram};
use crate::packet;
use crate::scene::{SOON, Scene, status};

const PACKETS: u32 = 3500;
const INTERVAL: Duration = Duration::from_millis(20);
/// A probe round trip takes a few milliseconds here; the rest is for a machine that does other things too.
const GAP_MAX: Duration = Duration::from_millis(250);
/// The first one, and one early in each 30 s that follow (20 s, 40 s, 60 s).
const BUBBLES: usize = 4;

/// Three labs side by side: the streams need time, not work.
#[test]
fn a_stream_of_seventy_seconds_to_a_silent_client_never_stalls_on_any_datapath() {
    thread::scope(|scope| {
        for datapath in Datapath::ALL {
            scope.spawn(move || a_stream_never_stalls(datapath));
        }
    });
}

fn a_stream_never_stalls(datapath: Datapath) {
    let scene = Scene::new(1, Bubbles::Answered);
    let relay = scene.relay(datapath);
    let captures = Captures::start(&scene.lab);
    let to = scene.clients.ipv6(0);
    let start = Instant::now();
    for n in 0..PACKETS {
        sleep((INTERVAL * n).saturating_sub(start.elapsed()));
        scene.v6.send(&packet::udp(Lab::HOST, to, &n.to_be_bytes()));
    }
    lab::wait_for("the last packet", SOON, || {
        scene.clients.waiting() == PACKETS as usize
    })
    .unwrap_or_else(|e| panic!("{datapath}: {e}: {} arrived", scene.clients.waiting()));
    let status = status(&relay);
    relay.stop().unwrap();

    let (bubbles, data): (Vec<_>, Vec<_>) = captures
        .stop()
        .datagrams()
        .into_iter()
        .partition(|datagram| datagram.to.port() == SERVER_PORT);
    let numbers: Vec<_> = data.iter().map(number).collect();
    assert!(
        numbers.into_iter().eq(0..PACKETS),
        "{datapath}: every packet once and in order"
    );
    let gap = |datagrams: &[Datagram]| -> Vec<_> {
        datagrams
            .windows(2)
            .map(|two| two[1].at.saturating_sub(two[0].at))
            .collect()
    };
    let longest = gap(&data).into_iter().max().unwrap();
    let asked: Vec<_> = bubbles
        .iter()
        .map(|bubble| bubble.at.saturating_sub(bubbles[0].at))
        .collect();
    println!(
        "{datapath}: longest gap {longest:?}, bubbles at {asked:?}, {:?}",
        status.traffic.encapsulated
    );
    assert!(longest < GAP_MAX, "{datapath}: {longest:?}");
    assert_eq!(bubbles.len(), BUBBLES, "{datapath}: {asked:?}");
    assert!(
        gap(&bubbles)
            .iter()
            .all(|gap| *gap >= Duration::from_secs(2)),
        "{datapath}: {asked:?}"
    );
    if datapath != Datapath::Userspace {
        let fast = status.traffic.encapsulated.fast.packets;
        assert!(
            fast * 100 >= u64::from(PACKETS) * 99,
            "{datapath}: {fast} by the fast path"
        );
    }
}

fn number(datagram: &Datagram) -> u32 {
    u32::from_be_bytes(*datagram.payload.last_chunk().unwrap())
}

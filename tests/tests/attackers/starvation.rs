//! A flood for the slow path, as fast as one core sends it: established peers do not notice.

use std::net::{Ipv6Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use lab::shipworm::Datapath;
use lab::teredo_client::Bubbles;
use lab::{Lab, wait_for, wait_for_some};
use relay_common::{Kind, Reason};
use relay_user::status::{PathCounts, Status};

use crate::attack::{Attack, forged_host, naming, victim};
use crate::packet;
use crate::scene::{SERVICE, SOON, Scene};

const EXCHANGES: u32 = 200;
/// Peers the flood asks for, again and again.
const SCANNED: u16 = 2048;
/// A cable that is full may lose a packet before the relay sees it.
const TRY_AGAIN: Duration = Duration::from_millis(200);
const TRIES: u32 = 50;

/// Frames the program has punted, and what has become of such: judged by the slow path, waiting there, or lost
/// on the way because it was busy.
fn punted(status: &Status) -> (u64, u64) {
    let sum = |of: fn(&Reason) -> bool, path: fn(PathCounts) -> u64| -> u64 {
        let reasons = Reason::ALL.iter().filter(|reason| of(reason));
        reasons.map(|reason| path(status.reasons.of(*reason))).sum()
    };
    let out = sum(
        |reason| reason.kind() == Kind::Punted,
        |counts| counts.fast.packets,
    );
    // Besides, the kernel talks to its neighbours on the TUN device.
    let judged = sum(
        |reason| *reason != Reason::NotOurs,
        |counts| counts.slow.packets,
    );
    let lost = status.punt_sockets.ring_full + status.punt_sockets.rx_dropped;
    (out, judged + status.queued.packets + lost)
}

/// Sends until `arrived`, and says how often.
fn insist<T>(send: impl Fn(), mut arrived: impl FnMut() -> Option<T>) -> u64 {
    for tries in 1..=TRIES {
        send();
        if wait_for_some("it to arrive", TRY_AGAIN, &mut arrived).is_ok() {
            return tries.into();
        }
    }
    panic!("sent {TRIES} times in vain");
}

/// Packets of the established client in both directions; how many were sent.
fn exchange(scene: &Scene, host: &UdpSocket) -> u64 {
    let mut sent = 0;
    let mut buffer = [0; 256];
    for n in 0..EXCHANGES {
        let number = n.to_be_bytes();
        let down = packet::udp(Lab::HOST, scene.clients.ipv6(0), &number);
        sent += insist(
            || scene.v6.send(&down),
            || {
                let arrivals = scene.clients.take_arrivals();
                arrivals
                    .iter()
                    .any(|arrival| arrival.payload.ends_with(&number))
                    .then_some(())
            },
        );
        let up = packet::udp(scene.clients.ipv6(0), Lab::HOST, &number);
        sent += insist(
            || scene.clients.send(0, SERVICE, &up).unwrap(),
            || {
                let len = host.recv(&mut buffer).ok()?;
                buffer[..len].ends_with(&number).then_some(())
            },
        );
    }
    sent
}

#[test]
fn a_flood_for_the_slow_path_starves_no_established_peer() {
    let scene = Scene::new(1, Bubbles::Answered);
    let attack = Attack::start(&scene, Datapath::Xdp, &[], 1);
    let host = scene
        .lab
        .host
        .enter(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, packet::TO_PORT)))
        .unwrap();
    host.set_nonblocking(true).unwrap();
    let packets: Vec<_> = (1..=SCANNED)
        .map(|n| {
            let target = naming(victim(), n);
            packet::udp(forged_host(n.into()), target.into(), b"data")
        })
        .collect();
    let before = attack.status();
    let (over, flood) = (AtomicBool::new(false), AtomicU64::new(0));
    let exchanged = thread::scope(|scope| {
        scope.spawn(|| {
            for packet in packets.iter().cycle() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                scene.v6.send(packet);
                flood.fetch_add(1, Ordering::Relaxed);
            }
        });
        let exchanged = exchange(&scene, &host);
        over.store(true, Ordering::Relaxed);
        exchanged
    });
    let flood = flood.into_inner();
    let status = attack.status();
    let fast = |of: fn(&Status) -> u64| of(&status) - of(&before);
    let down = fast(|status| status.traffic.encapsulated.fast.packets);
    let up = fast(|status| status.traffic.decapsulated.fast.packets);
    println!(
        "{exchanged} packets exchanged beside {flood}; {down} and {up} by the program; {:?}",
        status.punt_sockets
    );
    // The first ones may have waited for a neighbour.
    assert!(down + 2 >= EXCHANGES.into() && up + 2 >= EXCHANGES.into());
    assert!(down + up <= exchanged);
    let mut account = (0, 0);
    let outcome = attack.outcome();
    wait_for("an account of every punted frame", SOON, || {
        account = punted(&attack.status());
        account.0 == account.1
    })
    .unwrap_or_else(|e| panic!("{e}: {account:?} {outcome:?}"));
    attack.relay.stop().unwrap();
}

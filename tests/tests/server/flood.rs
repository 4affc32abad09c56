//! Solicitations from more sources than are remembered, and honest clients among them (A-5, S-17).

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use lab::shipworm::{Datapath, Server};
use lab::{Lab, wait_for};
use teredo::wire::checksum;

use crate::account::{Outcome, outcome};
use crate::honest::{Experience, Honest};
use crate::leg::{ETHERNET_LEN, Leg};
use crate::scripted::{Datagram, IPV4_LEN, PRIMARY, STRANGERS, quiet_lab, stranger};
use crate::solicit::SOLICITATION;

const HONEST: u32 = 50;
/// How long an honest client waits for an answer. RFC 4380 gives it 4 s (5.2.1).
const PATIENCE: Duration = Duration::from_secs(1);
/// Longer than what waits in queues takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// Offsets in the frame.
const CHECKSUM: usize = ETHERNET_LEN + 10;
const SOURCE: usize = ETHERNET_LEN + 12;
const UDP_CHECKSUM: usize = ETHERNET_LEN + IPV4_LEN + 6;

/// Sends one solicitation in the name of each of so many strangers, as fast as the cable takes them.
fn flood(leg: &Leg, sources: u32) {
    let mut frame = leg.frame(&Datagram::new(stranger(0), PRIMARY, SOLICITATION));
    // None, which IPv4 allows.
    frame[UDP_CHECKSUM..UDP_CHECKSUM + 2].fill(0);
    for n in 0..sources {
        frame[SOURCE..SOURCE + 4].copy_from_slice(&stranger(n).ip().octets());
        frame[CHECKSUM..CHECKSUM + 2].fill(0);
        let sum = checksum::ipv4_header(&frame[ETHERNET_LEN..ETHERNET_LEN + IPV4_LEN]);
        frame[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
        leg.send_frame(&frame);
    }
}

/// What honest clients experience during the flood. Every datagram that arrives is counted, once.
fn under_flood(datapath: Datapath, sources: u32) -> (Experience, Arrived) {
    let lab = quiet_lab();
    let server = Server::start(&lab, datapath, &["--allow-non-global", STRANGERS]).unwrap();
    let leg = Leg::deaf(&lab.inet, "lb-srv", &lab.server);
    let mut honest = Honest::new(&lab, HONEST, Lab::SERVER_V4, PATIENCE);
    let over = AtomicBool::new(false);
    let start = Instant::now();
    let experience = thread::scope(|scope| {
        let asking = scope.spawn(|| honest.qualify_until(&over));
        flood(&leg, sources);
        over.store(true, Relaxed);
        asking.join().unwrap()
    });
    let per_s = f64::from(sources) / start.elapsed().as_secs_f64();
    println!("{datapath}: {per_s:.0} solicitations a second, {experience:?}");
    let mut outcome = outcome(server.status().unwrap());
    let advertised = outcome.remove("Advertised").unwrap_or(0);
    assert_eq!(outcome, Outcome::new(), "nobody is refused");
    assert!(advertised <= u64::from(sources) + experience.asked);
    wait_for("everybody to qualify when it is over", DEADLINE, || {
        let after = honest.qualify_once();
        after.answered == after.asked
    })
    .unwrap();
    server.stop().unwrap();
    let all = advertised >= u64::from(sources) + experience.answered;
    let arrived = if all { Arrived::All } else { Arrived::NotAll };
    (experience, arrived)
}

/// What came to the server of what was sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrived {
    All,
    /// Some found a full queue in the kernel.
    NotAll,
}

impl Experience {
    fn lost_per_cent(&self) -> f64 {
        let lost = self.asked - self.answered;
        100.0 * f64::from(u32::try_from(lost).unwrap())
            / f64::from(u32::try_from(self.asked).unwrap())
    }
}

#[test]
fn in_xdp_honest_clients_qualify_under_a_flood_of_a_million_sources() {
    let (experience, arrived) = under_flood(Datapath::Xdp, 1_000_000);
    assert!(experience.lost_per_cent() <= 1.0, "{experience:?}");
    assert_eq!(arrived, Arrived::All);
}

/// Here they stand in one queue with the flood, and some are lost there, but not for longer than it lasts.
#[test]
fn in_user_space_honest_clients_qualify_again_when_a_flood_of_200_000_sources_is_over() {
    let (experience, _) = under_flood(Datapath::Userspace, 200_000);
    assert!(experience.answered > 0, "{experience:?}");
}

//! Storms through the relay: bubbles at a server, ICMPv6 errors at whoever is named as the source.

use std::time::Duration;

use lab::Lab;
use lab::shipworm::Datapath;
use lab::teredo_client::Bubbles;
use relay_common::Reason;
use teredo::wire::ipv6;

use crate::attack::{Attack, From, forged_host, naming, victim};
use crate::observed::Captures;
use crate::packet::{self, with_hop_limit};
use crate::scene::Scene;
use crate::with_and_without_xdp;

const FLOOD: usize = 1024;
/// Bubbles to one server: at once, of which a quarter is left to peers heard before, and then a second.
const BURST: f64 = 40.0;
const PER_S: f64 = 5.0;
/// RFC 4443 2.4 (f).
const ERRORS_BURST: f64 = 10.0;
const ERRORS_PER_S: f64 = 10.0;
/// A frame's time is taken after the decision to send it.
const SLACK: f64 = 2.0;

/// The most that a bucket lets through from the first to the last of `times`.
fn bound(times: &[Duration], burst: f64, per_s: f64) -> f64 {
    let span = times.last().unwrap().saturating_sub(times[0]);
    burst + per_s * span.as_secs_f64() + SLACK
}

#[allow(clippy::cast_precision_loss, reason = "a few thousand")]
fn a_server_gets_no_more_bubbles_than_its_share(datapath: Datapath) {
    let scene = Scene::new(1, Bubbles::Answered);
    let (burst, per_s) = (BURST.to_string(), PER_S.to_string());
    let flags = [
        "--server-bubbles-burst",
        &burst,
        "--server-bubbles-per-s",
        &per_s,
    ];
    let mut attack = Attack::start(&scene, datapath, &flags, 1);
    let captures = Captures::start(&scene.lab);
    attack.send(
        From::Native,
        (0..FLOOD).map(|n| {
            let target = naming(victim(), 1024 + u16::try_from(n).unwrap());
            packet::udp(forged_host(n), target.into(), b"data")
        }),
    );
    let refused = attack.outcome()[Reason::BubbleRateExceeded.as_str()];
    assert!(refused > FLOOD as u64 / 2, "{refused}");
    attack.relay.stop().unwrap();
    let observed = captures.stop();
    let times: Vec<_> = observed
        .datagrams()
        .iter()
        .map(|bubble| bubble.at)
        .collect();
    assert!(
        (times.len() as f64) <= bound(&times, BURST, PER_S),
        "{} bubbles",
        times.len()
    );
    assert!(times.len() < FLOOD / 4, "{} bubbles", times.len());
}

/// What the relay answers with an error is sent in the name of victims; and errors, which nobody answers.
#[allow(clippy::cast_precision_loss, reason = "a few thousand")]
fn errors_stay_within_their_rate(datapath: Datapath) {
    let scene = Scene::new(1, Bubbles::Answered);
    let mut attack = Attack::start(&scene, datapath, &[], 1);
    let captures = Captures::start(&scene.lab);
    let to = scene.clients.ipv6(0);
    attack.send(
        From::Native,
        (0..FLOOD).map(|n| match n % 2 {
            0 => packet::udp(forged_host(n), to, &[0; 1400]),
            _ => with_hop_limit(packet::udp(forged_host(n), to, b"data"), 1),
        }),
    );
    let before = attack.status().icmp6;
    assert_eq!(before.sent + before.suppressed, FLOOD as u64);
    // Destination unreachable, as large as an error may not be.
    let mut error = vec![1, 0, 0, 0, 0, 0, 0, 0];
    error.extend([0; 1400]);
    attack.send(
        From::Native,
        (0..64).map(|n| packet::ipv6(ipv6::ICMP6, forged_host(n), to, &error)),
    );
    assert_eq!(attack.status().icmp6, before, "no error about an error");
    let outcome = attack.outcome();
    assert_eq!(
        outcome[Reason::PacketTooBig.as_str()] + outcome[Reason::HopLimitExceeded.as_str()],
        FLOOD as u64 + 64
    );
    attack.relay.stop().unwrap();
    let observed = captures.stop();
    let errors = observed.errors();
    assert_eq!(errors.len() as u64, before.sent);
    assert!(errors.iter().all(|error| error.source == Lab::RELAY_V6));
    let times: Vec<_> = errors.iter().map(|error| error.at).collect();
    assert!(
        (times.len() as f64) <= bound(&times, ERRORS_BURST, ERRORS_PER_S),
        "{} errors",
        times.len()
    );
}

with_and_without_xdp! {
    a_server_gets_no_more_bubbles_than_its_share:
        xdp_keeps_a_storm_of_bubbles_from_a_server,
        user_space_keeps_a_storm_of_bubbles_from_a_server;
}

/// Without XDP the kernel answers before the relay sees anything, at a rate of its own.
#[test]
fn errors_in_the_name_of_victims_stay_within_their_rate() {
    errors_stay_within_their_rate(Datapath::Xdp);
}

//! Rates by source and by target (S-17).

use relay_common::Reason;

use super::super::frames::received;
use super::super::rig::Rig;
use super::*;

/// Few enough to be counted, and nothing flows in while a test runs.
const LIMITS: ServerLimits = ServerLimits {
    source_per_s: 1,
    source_burst: 1000,
    target_per_s: 1,
    target_burst: 1000,
};

/// How long a bucket of that burst must fill is longer than any test: what came in meanwhile.
const FLOWED_IN_MAX: usize = 120;

fn asks(from: [u8; 4]) -> Vec<u8> {
    let outer = Outer {
        from: at(from, 40000),
        ..to(PRIMARY)
    };
    received(&[], &outer.around(&solicitation(RESTRICTED, 0).bytes()))
}

fn bubble_to(nat: u8) -> Vec<u8> {
    let packet = bubble(sender(), ip(&client(nat)));
    received(&[], &to(PRIMARY).around(&packet.bytes()))
}

/// Runs `frame` so often; gives how often it ended in `reason`.
fn counted(rig: &mut Rig, frame: &[u8], times: usize, reason: Reason) -> usize {
    let mut out = Vec::new();
    let before = rig.count_of(reason).packets;
    for _ in 0..times {
        rig.run_into(rig.wan, frame, &mut out);
    }
    usize::try_from(rig.count_of(reason).packets - before).unwrap()
}

fn on_one_cpu(limits: ServerLimits, test: impl FnOnce(&mut Rig) + Send) {
    in_rig_with(ServerRole { limits, ..role() }, |rig| {
        stay_on_this_cpu();
        test(rig);
    });
}

/// Buckets are each CPU's own.
fn stay_on_this_cpu() {
    // SAFETY: a zeroed set is an empty one, and it lives through the call.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let cpu = usize::try_from(libc::sched_getcpu()).unwrap();
        libc::CPU_SET(cpu, &mut set);
        assert_eq!(
            libc::sched_setaffinity(0, size_of_val(&set), &raw const set),
            0
        );
    }
}

/// What is answered goes to where it came from.
#[test]
fn one_client_is_answered_its_burst_and_another_its_own() {
    on_one_cpu(LIMITS, |rig| {
        for source in [[198, 51, 100, 7], [198, 51, 100, 8]] {
            let answered = counted(rig, &asks(source), 2000, Reason::Advertised);
            assert!(
                (1000..1000 + FLOWED_IN_MAX).contains(&answered),
                "{answered}"
            );
            let dropped = counted(rig, &asks(source), 100, Reason::TargetRateExceeded);
            assert!(dropped > 0);
        }
    });
}

#[test]
fn one_source_sends_its_burst_on_whoever_gets_it() {
    let limits = ServerLimits {
        target_per_s: 1_000_000,
        target_burst: 1_000_000,
        ..LIMITS
    };
    on_one_cpu(limits, |rig| {
        let sent = counted(rig, &bubble_to(RECEIVER), 2000, Reason::ForwardedToClient);
        assert!((1000..1000 + FLOWED_IN_MAX).contains(&sent), "{sent}");
        let other = bubble_to(10);
        let dropped = counted(rig, &other, 100, Reason::OuterSourceRateExceeded);
        assert!(dropped > 0);
    });
}

#[test]
fn one_target_gets_its_burst_whoever_sends() {
    let limits = ServerLimits {
        source_per_s: 1_000_000,
        source_burst: 1_000_000,
        ..LIMITS
    };
    on_one_cpu(limits, |rig| {
        for target in [RECEIVER, 10] {
            let sent = counted(rig, &bubble_to(target), 2000, Reason::ForwardedToClient);
            assert!((1000..1000 + FLOWED_IN_MAX).contains(&sent), "{sent}");
            let dropped = counted(rig, &bubble_to(target), 100, Reason::TargetRateExceeded);
            assert!(dropped > 0);
        }
    });
}

/// What the program leaves to the sockets is theirs to limit.
#[test]
fn what_is_passed_takes_from_no_bucket() {
    on_one_cpu(LIMITS, |rig| {
        let away = bubble_to(nat::NO_ROUTE);
        assert_eq!(counted(rig, &away, 3000, Reason::PassToServer), 3000);
        let answered = counted(rig, &asks([198, 51, 100, 7]), 900, Reason::Advertised);
        assert_eq!(answered, 900);
    });
}

#[test]
fn a_rate_of_nothing_answers_nobody() {
    let limits = ServerLimits {
        target_per_s: 0,
        ..LIMITS
    };
    on_one_cpu(limits, |rig| {
        let reason = Reason::TargetRateExceeded;
        assert_eq!(counted(rig, &asks([198, 51, 100, 7]), 10, reason), 10);
    });
}

/// A flood of sources, many times as many as there are buckets: an honest one among them is answered each time, and one that has used
/// its burst up stays limited.
#[test]
fn a_flood_of_sources_harms_nobody_and_frees_nobody() {
    const FLOOD: u32 = 300_000;
    on_one_cpu(LIMITS, |rig| {
        let victim = asks([198, 51, 100, 8]);
        counted(rig, &victim, 2000, Reason::Advertised);
        let honest = asks([198, 51, 100, 9]);
        let mut out = Vec::new();
        let (mut asked, mut served) = (0, 0);
        for packet in 0..FLOOD {
            let [a, b, c, d] =
                (0x0b00_0000 + packet.wrapping_mul(2_654_435_761) % 0x3000_0000).to_be_bytes();
            rig.run_into(rig.wan, &asks([a, b, c, d]), &mut out);
            if packet % 1000 == 0 {
                asked += 1;
                served += counted(rig, &honest, 1, Reason::Advertised);
            }
        }
        assert_eq!(served, asked);
        let freed = counted(rig, &victim, 2000, Reason::Advertised);
        assert!(freed < 2 * FLOWED_IN_MAX, "{freed}");
    });
}

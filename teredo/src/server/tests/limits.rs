//! S-17: how much one address may cause, and get.

use super::*;
use crate::server::{Gauges, Limits};

fn limited(set: impl FnOnce(&mut Limits)) -> Bench {
    Bench::configured(|config| set(&mut config.limits))
}

/// How often of `times` the datagram had `fate`.
fn count(bench: &mut Bench, times: usize, source: Mapped, payload: &[u8], fate: Fate) -> usize {
    (0..times)
        .filter(|_| bench.receive(source, payload).0 == fate)
        .count()
}

fn source(n: u32) -> Mapped {
    Mapped {
        ip: Ipv4Addr::from_bits(0x0900_0000 + n),
        port: 40000,
    }
}

/// S-17: whatever its ports, whatever it sends, a source causes no more; others are not concerned.
#[test]
fn one_source_causes_no_more_than_its_rate() {
    let mut bench = limited(|limits| {
        limits.source_per_s = 10;
        limits.source_burst = 20;
    });
    let bubble = bubble_to(client(OTHER_NAT).octets());
    let fate = Fate::ForwardedToClient;
    assert_eq!(count(&mut bench, 30, RELAY, &bubble, fate), 20);
    let other_port = Mapped { port: 1, ..RELAY };
    let other_client = bubble_to(client(NAT).octets());
    for (from, payload) in [(other_port, &bubble), (RELAY, &other_client)] {
        assert_eq!(bench.refused(from, payload), Fate::OuterSourceRateExceeded);
    }
    assert_eq!(bench.forwarded(source(1), &bubble).0, OTHER_NAT);
    bench.pass(1000);
    assert_eq!(count(&mut bench, 30, RELAY, &bubble, fate), 10);
    assert_eq!(bench.count(Fate::OuterSourceRateExceeded), 10 + 2 + 20);
}

/// S-17, A-19: an address gets no more advertisements, and sends no more echoes to native IPv6, than its rate.
#[test]
fn one_address_gets_no_more_answers_than_its_rate() {
    let mut bench = limited(|limits| {
        limits.target_per_s = 10;
        limits.target_burst = 20;
    });
    let asks = solicitation(RESTRICTED_SOURCE);
    assert_eq!(count(&mut bench, 30, NAT, &asks, Fate::Advertised), 20);
    let other_port = Mapped { port: 1, ..NAT };
    let echo = echo_request(client(NAT).octets(), HOST, 64);
    for (from, payload) in [(other_port, &asks), (NAT, &echo)] {
        assert_eq!(bench.refused(from, payload), Fate::TargetRateExceeded);
    }
    assert_eq!(bench.receive(OTHER_NAT, &asks).0, Fate::Advertised);
    bench.pass(1000);
    assert_eq!(count(&mut bench, 30, NAT, &asks, Fate::Advertised), 10);
}

/// S-17: what is dropped for another reason costs nobody anything.
#[test]
fn only_what_the_server_answers_or_forwards_counts() {
    let mut bench = limited(|limits| {
        limits.source_burst = 1;
        limits.target_burst = 1;
    });
    let invalid = icmp6(133, RESTRICTED_SOURCE, v6("ff02::2"), 8);
    let elsewhere = bubble_to(client_of(ANOTHER_SERVER, NAT).octets());
    for dropped in [invalid, elsewhere] {
        assert_eq!(bench.receive(NAT, &dropped).1, None);
    }
    assert_eq!(bench.server.gauges(), Gauges::default());
    let asks = solicitation(RESTRICTED_SOURCE);
    assert_eq!(bench.receive(NAT, &asks).0, Fate::Advertised);
    assert_eq!(bench.server.gauges().target_buckets, 1);
}

/// S-17: many sources, one victim.
#[test]
fn one_target_gets_no_more_than_its_rate_from_all_together() {
    let mut bench = limited(|limits| {
        limits.target_per_s = 10;
        limits.target_burst = 20;
    });
    let mut hit = |n: u32, ports: u32| {
        let port = 1 + u16::try_from(n % ports).unwrap();
        let victim = client(Mapped { port, ..NAT }).octets();
        bench.receive(source(n), &bubble_to(victim)).0
    };
    let fates: Vec<Fate> = (0..50).map(|n| hit(n, 7)).collect();
    assert_eq!(fates[..20], [Fate::ForwardedToClient; 20]);
    assert_eq!(fates[20..], [Fate::TargetRateExceeded; 30]);
    let other = bubble_to(client(OTHER_NAT).octets());
    assert_eq!(bench.forwarded(RELAY, &other).0, OTHER_NAT);
    bench.pass(100);
    let victim = bubble_to(client(NAT).octets());
    assert_eq!(
        count(&mut bench, 5, RELAY, &victim, Fate::ForwardedToClient),
        1
    );
}

/// S-17.
#[test]
fn echoes_to_native_ipv6_are_limited_together() {
    let mut bench = limited(|limits| {
        limits.native_per_s = 1;
        limits.native_burst = 3;
    });
    let mut echo = |n| {
        let from = source(n);
        let echo = echo_request(client(from).octets(), HOST, 64);
        bench.receive(from, &echo).0
    };
    let fates: Vec<Fate> = (0..5).map(&mut echo).collect();
    assert_eq!(fates[..3], [Fate::ForwardedToNative; 3]);
    assert_eq!(fates[3..], [Fate::NativeRateExceeded; 2]);
    let bubble = bubble_to(client(NAT).octets());
    assert_eq!(bench.forwarded(RELAY, &bubble).0, NAT);
    bench.pass(1000);
    let request = echo_request(client(NAT).octets(), HOST, 64);
    assert_eq!(bench.receive(NAT, &request).0, Fate::ForwardedToNative);
}

#[test]
fn a_rate_of_zero_lets_nothing_through() {
    let bubble = bubble_to(client(NAT).octets());
    let echo = echo_request(client(NAT).octets(), HOST, 64);
    let mut bench = limited(|limits| limits.native_burst = 0);
    assert_eq!(bench.refused(NAT, &echo), Fate::NativeRateExceeded);
    let mut bench = limited(|limits| limits.target_per_s = 0);
    assert_eq!(bench.refused(RELAY, &bubble), Fate::TargetRateExceeded);
    assert_eq!(bench.refused(NAT, &echo), Fate::TargetRateExceeded);
    let mut bench = limited(|limits| limits.source_burst = 0);
    assert_eq!(bench.refused(RELAY, &bubble), Fate::OuterSourceRateExceeded);
}

/// Invariant 9: a million packets a second, each of another source, leave an honest one its answers.
#[test]
fn a_flood_from_a_million_sources_costs_an_honest_client_nothing() {
    const PER_MS: u32 = 1000;
    let mut bench = Bench::new();
    let bound = usize::try_from(Limits::default().tracked_addresses).unwrap();
    let asks = solicitation(RESTRICTED_SOURCE);
    for n in 0..1_000_000 {
        assert_eq!(bench.receive(source(n), &asks).0, Fate::Advertised);
        if n % PER_MS == 0 {
            bench.pass(1);
        }
        if n % (10 * PER_MS) == 0 {
            assert_eq!(bench.receive(NAT, &asks).0, Fate::Advertised);
            assert!(bench.server.gauges().target_buckets <= bound);
        }
    }
}

/// Invariant 9: nor does one source get more by hiding in a crowd of others.
#[test]
fn a_full_table_of_buckets_gives_no_more_than_its_buckets() {
    let mut bench = limited(|limits| {
        limits.tracked_addresses = 4;
        limits.target_per_s = 1;
        limits.target_burst = 10;
    });
    let asks = solicitation(RESTRICTED_SOURCE);
    let flood = |bench: &mut Bench| {
        for n in 0..1000 {
            bench.receive(source(n), &asks);
        }
        assert_eq!(bench.server.gauges().target_buckets, 4);
        bench.count(Fate::Advertised)
    };
    let burst = flood(&mut bench);
    assert!((20..=4 * 10).contains(&burst), "{burst}");
    for _ in 0..10 {
        bench.pass(1000);
        flood(&mut bench);
    }
    let ten_seconds = bench.count(Fate::Advertised) - burst;
    assert!((20..=4 * (10 + 10)).contains(&ten_seconds), "{ten_seconds}");
}

/// Invariant 9: a flood too large for the table takes nobody out for good.
#[test]
fn a_newcomer_to_a_full_table_goes_on_with_a_bucket_of_another() {
    let mut bench = limited(|limits| {
        limits.tracked_addresses = 2;
        limits.target_per_s = 1;
        limits.target_burst = 3;
    });
    let asks = solicitation(RESTRICTED_SOURCE);
    assert_eq!(count(&mut bench, 3, source(1), &asks, Fate::Advertised), 3);
    assert_eq!(count(&mut bench, 1, source(2), &asks, Fate::Advertised), 1);
    // The fuller bucket of the two, in which two are left.
    assert_eq!(count(&mut bench, 5, NAT, &asks, Fate::Advertised), 2);
    assert_eq!(count(&mut bench, 5, source(1), &asks, Fate::Advertised), 0);
    assert_eq!(bench.server.gauges().target_buckets, 2);
    let mut none = limited(|limits| limits.tracked_addresses = 0);
    assert_eq!(none.refused(NAT, &asks), Fate::TargetRateExceeded);
}

#[test]
fn memory_of_a_burst_is_given_back_when_it_is_over() {
    let mut bench = Bench::new();
    let asks = solicitation(RESTRICTED_SOURCE);
    for n in 0..20_000 {
        bench.receive(source(n), &asks);
    }
    assert!(bench.server.gauges().target_buckets > 10_000);
    bench.pass(10_000);
    assert!(bench.server.give_back_memory(bench.now));
    assert_eq!(bench.server.gauges().target_buckets, 0);
    assert!(!bench.server.give_back_memory(bench.now), "once is enough");
    assert_eq!(bench.receive(NAT, &asks).0, Fate::Advertised);
}

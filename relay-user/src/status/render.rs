//! Tables for people. Programs use the JSON.

use std::fmt::{self, Write};

use super::{Count, Interface, NextHops, PathCounts, Peers, Percentiles, Reasons, Server, Status};

/// Kinds of reasons in the order they are shown.
const KINDS: [&str; 5] = ["forwarded", "consumed", "passed", "punted", "dropped"];

/// The tables of `shipworm status`.
pub fn render_status(status: &Status) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_status(&mut out, status);
    out
}

fn write_status(out: &mut String, s: &Status) -> fmt::Result {
    for warning in &s.warnings {
        writeln!(out, "WARNING           {warning}")?;
    }
    let up = duration(s.uptime_s);
    let role = match (s.service_address, s.server) {
        (None, _) => "server",
        (Some(_), None) => "relay",
        (Some(_), Some(_)) => "relay, server",
    };
    writeln!(
        out,
        "{role:<17} {:?}, version {}, pid {}, up {up}",
        s.state, s.version, s.pid
    )?;
    if let Some(address) = s.service_address {
        writeln!(out, "service address   {address}")?;
    }
    if let Some(address) = s.native_address {
        writeln!(out, "native address    {address}")?;
    }
    if let Some(server) = s.server {
        write_server(out, server)?;
    }
    write!(out, "datapath          {}", s.datapath.active)?;
    if s.datapath.requested != s.datapath.active {
        write!(out, " ({} was asked for)", s.datapath.requested)?;
    }
    if let Some(why) = &s.datapath.fell_back {
        write!(out, ", fell back: {why}")?;
    }
    writeln!(out)?;
    for interface in &s.interfaces {
        write_interface(out, interface)?;
    }
    if s.service_address.is_some() {
        write_peers(out, s)?;
    }

    writeln!(
        out,
        "\n{:<22} {:>14} {:>12} {:>14} {:>12}",
        "traffic", "fast packets", "fast bytes", "slow packets", "slow bytes"
    )?;
    write_paths(out, "to clients", s.traffic.encapsulated)?;
    write_paths(out, "from clients", s.traffic.decapsulated)?;
    if s.server.is_some() {
        write_paths(out, "by the server", s.traffic.served)?;
    }
    match s.traffic.fast_share() {
        Some(share) => writeln!(
            out,
            "fast path: {:.2} % of the packets carried",
            100.0 * share
        )?,
        None => writeln!(out, "fast path: nothing carried yet")?,
    }

    write_reasons(out, &s.reasons)?;

    if s.service_address.is_some() {
        write_slow_path(out, s)?;
    }
    write_next_hops(out, s.next_hops)
}

fn write_server(out: &mut String, server: Server) -> fmt::Result {
    let Server {
        primary, secondary, ..
    } = server;
    write!(out, "server addresses  {primary}, {secondary}")?;
    match (server.client_ids, server.requires_credentials) {
        (0, _) => writeln!(out),
        (ids, true) => writeln!(out, "; credentials of {ids} clients, which it asks for"),
        (ids, false) => writeln!(out, "; credentials of {ids} clients"),
    }
}

fn write_peers(out: &mut String, s: &Status) -> fmt::Result {
    let p = s.peers;
    let trusted = p.fresh + p.stale;
    writeln!(
        out,
        "peers             {} fresh, {} stale, {} probing, {} blocked; {trusted} of {} trusted",
        p.fresh, p.stale, p.probing, p.blocked, s.max_peers
    )?;
    writeln!(
        out,
        "queued            {} packets, {}",
        s.queued.packets,
        bytes(s.queued.bytes)
    )?;
    writeln!(
        out,
        "sent              {} bubbles ({} put off), {} ICMPv6 errors ({} held back by the rate limit)",
        s.bubbles_sent, s.repeats_unpaid, s.icmp6.sent, s.icmp6.suppressed
    )
}

fn write_slow_path(out: &mut String, s: &Status) -> fmt::Result {
    writeln!(
        out,
        "\n{:<22} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "slow path, \u{b5}s", "count", "p50", "p90", "p99", "p99.9", "max"
    )?;
    write_percentiles(out, "frame to bubble", s.latency_us.frame_to_bubble)?;
    write_percentiles(out, "answer to queue", s.latency_us.answer_to_queue)?;
    let x = s.punt_sockets;
    writeln!(
        out,
        "\npunt sockets      {} received, {} dropped, {} ring full, {} fill ring empty, {} sent",
        x.received, x.rx_dropped, x.ring_full, x.fill_empty, x.sent
    )
}

fn write_next_hops(out: &mut String, hops: NextHops) -> fmt::Result {
    let kept = |kept| if kept { "kept" } else { "asked for each time" };
    writeln!(
        out,
        "next hops         {} live, {} retired; IPv4 {}, IPv6 {}",
        hops.live,
        hops.retired,
        kept(hops.ipv4),
        kept(hops.ipv6)
    )
}

fn write_interface(out: &mut String, i: &Interface) -> fmt::Result {
    write!(out, "interface         {} (index {})", i.name, i.ifindex)?;
    if i.port != i.name {
        write!(out, " on {}", i.port)?;
    }
    write!(out, ", {}", i.mode)?;
    if !i.driver.is_empty() {
        write!(out, ", driver {}", i.driver)?;
    }
    match i.queues {
        0 => writeln!(out),
        1 => writeln!(out, ", 1 queue"),
        n => writeln!(out, ", {n} queues"),
    }
}

fn write_paths(out: &mut String, name: &str, paths: PathCounts) -> fmt::Result {
    let PathCounts { fast, slow } = paths;
    writeln!(
        out,
        "{name:<22} {:>14} {:>12} {:>14} {:>12}",
        fast.packets,
        bytes(fast.bytes),
        slow.packets,
        bytes(slow.bytes)
    )
}

fn write_reasons(out: &mut String, reasons: &Reasons) -> fmt::Result {
    for kind in KINDS {
        let counted = reasons
            .iter()
            .filter(|(_, c)| c.kind == kind && (c.fast + c.slow) != Count::default());
        let mut heading = true;
        for (name, counts) in counted {
            if heading {
                writeln!(
                    out,
                    "\n{kind:<34} {:>14} {:>14}",
                    "fast packets", "slow packets"
                )?;
                heading = false;
            }
            writeln!(
                out,
                "{name:<34} {:>14} {:>14}",
                counts.fast.packets, counts.slow.packets
            )?;
        }
    }
    Ok(())
}

fn write_percentiles(out: &mut String, name: &str, p: Percentiles) -> fmt::Result {
    writeln!(
        out,
        "{name:<22} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        p.count, p.p50, p.p90, p.p99, p.p999, p.max
    )
}

/// The table of `shipworm peers`.
pub fn render_peers(peers: &Peers) -> String {
    let mut out = format!(
        "{:<39} {:<21} {:<8} {:>8} {:>7} {:>6}\n",
        "address", "mapped", "state", "heard", "bubbles", "queued"
    );
    for peer in &peers.peers {
        let heard = peer
            .last_rx_age_s
            .map_or_else(|| "never".to_owned(), |s| format!("{s} s"));
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{:<39} {:<21} {:<8} {heard:>8} {:>7} {:>6}",
            peer.address.to_string(),
            peer.mapped.to_string(),
            peer.state.as_str(),
            peer.bubbles,
            peer.queued_packets
        );
    }
    let shown = peers.peers.len();
    let _ = if u64::try_from(shown) == Ok(peers.total) {
        writeln!(out, "{shown} peers")
    } else {
        writeln!(out, "{shown} of {} peers (--limit lists more)", peers.total)
    };
    out
}

/// Bytes with a binary unit, at most four digits.
fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = n as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"");
    while value >= 1000.0 {
        let Some(next) = units.next() else { break };
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

fn duration(s: u64) -> String {
    let (days, hours, minutes, seconds) = (s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60);
    if days > 0 {
        format!("{days} d {hours:02}:{minutes:02}:{seconds:02}")
    } else {
        format!("{hours:02}:{minutes:02}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use relay_common::{Kind, Reason};

    use super::*;
    use crate::status::{peers, tests::sample};

    #[test]
    fn the_table_shows_what_an_operator_looks_for_first() {
        let text = render_status(&sample());
        for part in [
            "WARNING           eth0: generic XDP is slow",
            "Running, version 0.1.0, pid 4711, up 1 d 02:03:04",
            "service address   203.0.113.18:3545",
            "xdp-generic (auto was asked for), fell back: eth0: driver e1000 has no XDP",
            "interface         eth0 (index 2), xdp-generic, driver e1000, 1 queue\n",
            "12 fresh, 3 stale, 2 probing, 1 blocked; 15 of 1048576 trusted",
            "fast path: 99.45 % of the packets carried",
            "next hops         2 live, 1 retired; IPv4 kept, IPv6 asked for each time",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn reasons_that_never_happened_are_left_out_and_the_others_stand_under_their_kind() {
        let text = render_status(&sample());
        assert!(!text.contains("PeerBlocked"));
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}\n{text}"));
        assert!(at("\nforwarded") < at("EncapsulatedFromQueue"));
        assert!(at("\npassed") < at("NotOurs"));
        assert!(at("\ndropped") < at("PeerUnknown"));
        assert!(!text.contains("\npunted"));
    }

    #[test]
    fn every_kind_of_reason_is_shown() {
        for reason in Reason::ALL {
            let kind: Kind = reason.kind();
            assert!(KINDS.contains(&kind.as_str()), "{reason:?}");
        }
    }

    #[test]
    fn a_relay_that_carried_nothing_says_so() {
        let mut status = sample();
        status.reasons = Reasons::new(&[], &[]);
        status.traffic = status.reasons.traffic();
        assert!(render_status(&status).contains("fast path: nothing carried yet"));
    }

    #[test]
    fn peers_are_one_line_each_and_counted() {
        let text = render_peers(&peers::tests::sample());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[1].contains("198.51.100.7:40000    fresh         3 s"));
        assert!(lines[2].contains("probing     never       2      5"));
        assert_eq!(lines[3], "2 of 7 peers (--limit lists more)");
    }

    #[test]
    fn bytes_keep_three_digits() {
        for (n, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_023_999, "1000.0 KiB"),
            (1_024_000, "1.0 MiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }
}

//! The table of clients and relay.

use std::fmt::{self, Write};
use std::time::Duration;

use super::status::{Count, Paths, Percentiles, Reason};
use super::{Client, Status};

/// Kinds of reasons in the order they are shown.
const KINDS: [&str; 5] = ["forwarded", "consumed", "passed", "punted", "dropped"];
const WIDTH: usize = 100;
const INDENT: usize = 16;

/// Everything the table shows.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Since traffic began.
    pub elapsed: Duration,
    /// In the order of the lab's sites.
    pub clients: Vec<Client>,
    /// What the relay says; `None` if it does not answer.
    pub status: Option<Status>,
    /// Processor time of the daemon, in percent of one processor.
    pub cpu_percent: Option<f64>,
}

/// The whole table.
pub fn full(moment: &Moment) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_full(&mut out, moment);
    out
}

/// Three lines.
pub fn compact(moment: &Moment) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_compact(&mut out, moment);
    out
}

fn write_full(out: &mut String, moment: &Moment) -> fmt::Result {
    writeln!(
        out,
        "{:<6} {:>9}  {:^17}  {:^22}  {:>8}  {:<37} mapped",
        "client", "qualified", "first reply, ms", "echoes", "TCP", "Teredo address"
    )?;
    writeln!(
        out,
        "{:<6} {:>9}  {:>8} {:>8}  {:>7} {:>7} {:>6}  {:>8}",
        "", "s", "in, cold", "then out", "sent", "back", "lost", "MiB"
    )?;
    for client in &moment.clients {
        write_client(out, client)?;
    }
    writeln!(out)?;
    write_relay(out, moment)
}

fn write_client(out: &mut String, client: &Client) -> fmt::Result {
    let (inward, outward) = (&client.inward, &client.outward);
    writeln!(
        out,
        "{:<6} {:>9.1}  {:>8} {:>8}  {:>7} {:>7} {:>6}  {:>8.1}  {:<37} {}",
        client.nat,
        client.qualified_ms / 1000.0,
        milliseconds(inward.first_reply_ms),
        milliseconds(outward.first_reply_ms),
        inward.sent + outward.sent,
        inward.received + outward.received,
        inward.lost() + outward.lost(),
        mebibytes(inward.transferred + outward.transferred),
        client.address.to_string(),
        client.mapped
    )
}

fn write_relay(out: &mut String, moment: &Moment) -> fmt::Result {
    let Some(s) = &moment.status else {
        return writeln!(out, "relay           does not answer");
    };
    write!(
        out,
        "relay           {}, {}, {} s of traffic",
        s.state,
        s.datapath.active,
        moment.elapsed.as_secs()
    )?;
    if let Some(percent) = moment.cpu_percent {
        write!(out, "; the daemon took {percent:.1} % of a CPU")?;
    }
    let p = s.peers;
    writeln!(
        out,
        "\npeers           {} fresh, {} stale, {} probing, {} blocked; {} bubbles sent",
        p.fresh, p.stale, p.probing, p.blocked, s.bubbles_sent
    )?;
    write_paths(out, "to clients", s.traffic.encapsulated)?;
    write_paths(out, "from clients", s.traffic.decapsulated)?;
    writeln!(
        out,
        "fast path       {} of the packets carried",
        percent(s.traffic.fast_percent())
    )?;
    writeln!(
        out,
        "slow path, \u{b5}s   frame to bubble {}; answer to queue {}",
        percentiles(s.latency_us.frame_to_bubble),
        percentiles(s.latency_us.answer_to_queue)
    )?;
    for kind in KINDS {
        write_reasons(out, kind, s.reasons.iter().filter(|(_, r)| r.kind == kind))?;
    }
    Ok(())
}

fn write_paths(out: &mut String, name: &str, Paths { fast, slow }: Paths) -> fmt::Result {
    writeln!(
        out,
        "{name:<INDENT$}fast {:>8} packets {:>7.1} MiB   slow {:>6} packets {:>7.3} MiB",
        fast.packets,
        mebibytes(fast.bytes),
        slow.packets,
        mebibytes(slow.bytes)
    )
}

/// Reasons that happened, as many as fit a line; fast plus slow path.
fn write_reasons<'a>(
    out: &mut String,
    kind: &str,
    reasons: impl Iterator<Item = (&'a String, &'a Reason)>,
) -> fmt::Result {
    let mut line = format!("{kind:<INDENT$}");
    for (name, reason) in reasons.filter(|(_, r)| r.fast + r.slow != Count::default()) {
        let item = format!("{name} {}+{}", reason.fast.packets, reason.slow.packets);
        let is_first = line.len() == INDENT;
        if !is_first && line.len() + 2 + item.len() > WIDTH {
            writeln!(out, "{line},")?;
            line = format!("{:<INDENT$}{item}", "");
        } else {
            line += if is_first { "" } else { ", " };
            line += &item;
        }
    }
    if line.len() > INDENT {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn write_compact(out: &mut String, moment: &Moment) -> fmt::Result {
    write!(out, "{:>4} s  echoes back/sent:", moment.elapsed.as_secs())?;
    for c in &moment.clients {
        let (back, sent) = (
            c.inward.received + c.outward.received,
            c.inward.sent + c.outward.sent,
        );
        write!(out, "  {} {back}/{sent}", c.nat)?;
    }
    let legs = || moment.clients.iter().flat_map(|c| [&c.inward, &c.outward]);
    write!(
        out,
        "\n        {} transfers, {:.1} MiB; ",
        legs().map(|leg| leg.transfers).sum::<u64>(),
        mebibytes(legs().map(|leg| leg.transferred).sum())
    )?;
    let Some(s) = &moment.status else {
        return writeln!(out, "the relay does not answer");
    };
    writeln!(
        out,
        "peers {} fresh, {} stale, {} probing, {} blocked",
        s.peers.fresh, s.peers.stale, s.peers.probing, s.peers.blocked
    )?;
    let (there, back) = (s.traffic.encapsulated, s.traffic.decapsulated);
    writeln!(
        out,
        "        packets fast+slow: to clients {}+{}, from clients {}+{}; fast path {}",
        there.fast.packets,
        there.slow.packets,
        back.fast.packets,
        back.slow.packets,
        percent(s.traffic.fast_percent())
    )
}

fn milliseconds(time: Option<f64>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{time:.1}"))
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "none".to_owned(), |share| format!("{share:.2} %"))
}

fn percentiles(p: Percentiles) -> String {
    if p.count == 0 {
        "never".to_owned()
    } else {
        format!("p50 {}, p99 {} ({} times)", p.p50, p.p99, p.count)
    }
}

fn mebibytes(bytes: u64) -> f64 {
    const MEBIBYTE: f64 = 1_048_576.0;
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    let bytes = bytes as f64;
    bytes / MEBIBYTE
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::demo::Leg;

    /// One client that has exchanged everything and one that lost an echo.
    pub(in crate::demo) fn clients() -> Vec<Client> {
        let leg = |received| Leg {
            first_reply_ms: Some(1.25),
            sent: 50,
            received,
            transfers: 3,
            transferred: 3 << 20,
            errors: Vec::new(),
        };
        let client = |nat: &str, received| Client {
            nat: nat.to_owned(),
            address: "2001:0:cb00:7102:2ad8:63bf:39cc:9bfd".parse().unwrap(),
            mapped: "198.51.100.2:40000".parse().unwrap(),
            qualified_ms: 4123.0,
            inward: leg(50),
            outward: leg(received),
        };
        vec![client("pub", 50), client("sym", 49)]
    }

    /// A relay with both paths used.
    pub(in crate::demo) fn status() -> Status {
        let count = |packets: u64| json!({"packets": packets, "bytes": 100 * packets});
        let paths = |fast, slow| json!({"fast": count(fast), "slow": count(slow)});
        let reason = |kind: &str, fast, slow| json!({"kind": kind, "fast": count(fast), "slow": count(slow)});
        let none = json!({"count": 0, "p50": 0, "p99": 0});
        Status::read(&json!({
            "state": "running",
            "datapath": {"requested": "xdp", "active": "xdp", "fell_back": null},
            "peers": {"fresh": 2, "stale": 0, "probing": 1, "blocked": 0},
            "traffic": {"encapsulated": paths(980, 12), "decapsulated": paths(1000, 8)},
            "reasons": {
                "Encapsulated": reason("forwarded", 980, 12),
                "NotOurs": reason("passed", 7, 0),
                "PeerBlocked": reason("dropped", 0, 0),
            },
            "bubbles_sent": 9,
            "latency_us": {
                "frame_to_bubble": {"count": 2, "p50": 41, "p99": 88},
                "answer_to_queue": none,
            },
        }))
        .unwrap()
    }

    fn moment() -> Moment {
        Moment {
            elapsed: Duration::from_millis(30_400),
            clients: clients(),
            status: Some(status()),
            cpu_percent: Some(0.84),
        }
    }

    #[test]
    fn the_table_shows_every_client_and_the_relay() {
        let expected = "\
client qualified   first reply, ms           echoes               TCP  Teredo address                        mapped
               s  in, cold then out     sent    back   lost       MiB
pub          4.1       1.2      1.2      100     100      0       6.0  2001:0:cb00:7102:2ad8:63bf:39cc:9bfd  198.51.100.2:40000
sym          4.1       1.2      1.2      100      99      1       6.0  2001:0:cb00:7102:2ad8:63bf:39cc:9bfd  198.51.100.2:40000

relay           running, xdp, 30 s of traffic; the daemon took 0.8 % of a CPU
peers           2 fresh, 0 stale, 1 probing, 0 blocked; 9 bubbles sent
to clients      fast      980 packets     0.1 MiB   slow     12 packets   0.001 MiB
from clients    fast     1000 packets     0.1 MiB   slow      8 packets   0.001 MiB
fast path       99.00 % of the packets carried
slow path, \u{b5}s   frame to bubble p50 41, p99 88 (2 times); answer to queue never
forwarded       Encapsulated 980+12
passed          NotOurs 7+0
";
        assert_eq!(full(&moment()), expected);
    }

    #[test]
    fn a_client_that_heard_nothing_yet_has_dashes() {
        let mut moment = moment();
        moment.clients[0].inward.first_reply_ms = None;
        let text = full(&moment);
        assert!(
            text.contains("pub          4.1         -      1.2"),
            "{text}"
        );
    }

    #[test]
    fn of_a_relay_that_does_not_answer_no_figures_are_shown() {
        let mut moment = moment();
        moment.status = None;
        assert!(full(&moment).ends_with("\n\nrelay           does not answer\n"));
        assert!(compact(&moment).ends_with("MiB; the relay does not answer\n"));
    }

    #[test]
    fn many_reasons_of_a_kind_continue_on_the_next_line() {
        let mut moment = moment();
        let reasons = &mut moment.status.as_mut().unwrap().reasons;
        for n in 10..20 {
            let reason = reasons["NotOurs"].clone();
            reasons.insert(format!("PassedForReason{n}"), reason);
        }
        let text = full(&moment);
        let (_, reasons) = text.split_once("\npassed").unwrap();
        assert!(reasons.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(
            text.contains(",\n                PassedForReason"),
            "{text}"
        );
    }

    #[test]
    fn the_compact_block_sums_up_in_three_lines() {
        let expected = "  30 s  echoes back/sent:  pub 100/100  sym 99/100
        12 transfers, 12.0 MiB; peers 2 fresh, 0 stale, 1 probing, 0 blocked
        packets fast+slow: to clients 980+12, from clients 1000+8; fast path 99.00 %
";
        assert_eq!(compact(&moment()), expected);
    }
}

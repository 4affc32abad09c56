//! How soon a new peer's bubble goes out, and its queue, at a moderate rate: seen from outside, at the farm.

use anyhow::{Context as _, Result, ensure};
use relay_common::farm::{Interval, Tally};

use super::Plan;
use crate::live::bed::{Bed, Cores, Timing};
use crate::live::frame::{Direction, InnerBytes};
use crate::live::generator::{Pace, Peers};
use crate::live::ledger::Ledger;
use crate::live::relay::{Miredo, Relay};
use relay_user::status::Percentiles;

/// 10 k new peers a second, two at a time.
const PACE: Pace = Pace::Rate {
    per_s: 10_000.0,
    burst: 2,
};
/// Peers whose data did not come in the end, in percent: more, and the times are those of another experiment.
const LOST_MAX_PERCENT: f64 = 1.0;
const PEERS_MAX: u32 = 1 << 20;

const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
const INTERVALS: [(&str, Interval); 2] = [
    ("frame-to-bubble", Interval::FrameToBubble),
    ("answer-to-queue", Interval::AnswerToQueue),
];

/// Both daemons, round by round, and what ours says of itself over all rounds.
pub(super) fn measure(ledger: &mut Ledger, cores: Cores, plan: Plan) -> Result<()> {
    let mut relay_bed = Bed::new("relay", cores, Timing::On)?;
    let relay = Relay::start(&relay_bed, PEERS_MAX)?;
    let mut miredo_bed = Bed::new("miredo", cores, Timing::On)?;
    let _miredo = Miredo::start(&miredo_bed)?;

    let mut next = 0;
    for _ in 0..plan.rounds {
        let first = next;
        next = stroll(ledger, &mut relay_bed, "", first, plan).context("relay")?;
        stroll(ledger, &mut miredo_bed, "miredo-", first, plan).context("miredo")?;
    }
    let own = relay.status()?.latency_us;
    for (name, own) in [
        ("frame-to-bubble", own.frame_to_bubble),
        ("answer-to-queue", own.answer_to_queue),
    ] {
        enter_own(ledger, name, own);
    }
    Ok(())
}

/// Makes peers from `first` on, and gives the first that is left.
fn stroll(ledger: &mut Ledger, bed: &mut Bed, prefix: &str, first: u32, plan: Plan) -> Result<u32> {
    let before = bed.tallies().get(Tally::Delivered)?;
    let sent = bed
        .stream(
            Direction::Encap,
            InnerBytes::SMALL,
            Peers::From(first),
            true,
        )?
        .send_for(PACE, plan.stroll)?;
    let delivered = bed
        .tallies()
        .settled(Tally::Delivered, before + sent.packets)?
        - before;
    #[expect(clippy::cast_precision_loss, reason = "peers of some seconds")]
    let lost = 100.0 * sent.packets.saturating_sub(delivered) as f64 / sent.packets as f64;
    if prefix.is_empty() {
        ensure!(
            lost <= LOST_MAX_PERCENT,
            "{lost:.1} % of {} new peers at 10 k/s did not get their packet",
            sent.packets
        );
    }
    for (name, interval) in INTERVALS {
        let times = bed.native_end.take_histogram(interval)?;
        for (quantile_name, quantile) in QUANTILES {
            let time = times
                .quantile_us(quantile)
                .with_context(|| format!("{name}: nothing was timed"))?;
            ledger.add(format!("{prefix}{name}/{quantile_name}"), "us", time);
        }
    }
    ledger.add(format!("{prefix}new-peers-at-10k/s/loss"), "%", lost);
    Ok(first + u32::try_from(sent.packets)?)
}

/// The daemon's own figures are of all rounds together, so there is one sample of each.
fn enter_own(ledger: &mut Ledger, name: &str, own: Percentiles) {
    for (quantile, time) in [("p50", own.p50), ("p99", own.p99), ("p99.9", own.p999)] {
        #[expect(clippy::cast_precision_loss, reason = "microseconds for display")]
        ledger.add(format!("{name}/own/{quantile}"), "us", time as f64);
    }
}

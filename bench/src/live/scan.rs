//! A scan of 2001::/32 beside established peers.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use relay_common::farm::{SILENT_FROM, Tally};

use super::bed;
use super::device::{Device, Kind, POPULATION};
use super::frame::{Direction, InnerBytes};
use super::generator::{Pace, Peers};
use super::ledger::Ledger;

/// Packets a second to established peers meanwhile, in bursts of so many.
const ESTABLISHED: Pace = Pace::Rate {
    per_s: 300_000.0,
    burst: 64,
};

/// Sends a packet to a new address after the other at full rate for `window`, and packets to
/// established peers beside them from the other processor.
pub(crate) fn measure(ledger: &mut Ledger, device: &mut Device, window: Duration) -> Result<()> {
    device.prepare()?;
    let Device {
        bed,
        kind: Kind::Relay { relay, .. },
    } = device
    else {
        anyhow::bail!("only the relay is scanned");
    };
    let far = std::sync::Arc::clone(&bed.far);
    let mut other = bed.another_generator(bed.cores.device)?;
    let established = bed::stream(
        &mut other,
        &far,
        Direction::Encap,
        InnerBytes::SMALL,
        Peers::Random(POPULATION),
        false,
    )?;
    let before = bed.tallies().get(Tally::Delivered)?;
    let scan = bed.stream(
        Direction::Encap,
        InnerBytes::SMALL,
        Peers::From(SILENT_FROM),
        false,
    )?;
    let (scanned, sent) = thread::scope(|scope| {
        let scanning = scope.spawn(|| scan.send_for(Pace::Flood, window));
        let sent = established.send_first(ESTABLISHED, window);
        let scanned = scanning
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        anyhow::Ok((scanned?, sent?))
    })
    .context("scan")?;
    let after = bed
        .tallies()
        .settled(Tally::Delivered, before + sent.packets)?;
    ensure!(
        relay.status()?.peers.fresh > 0,
        "no peer of the relay outlived the scan"
    );
    #[expect(clippy::cast_precision_loss, reason = "packets of one measurement")]
    {
        let lost = (before + sent.packets).saturating_sub(after) as f64;
        ledger.add(
            "scan/established-loss",
            "%",
            100.0 * lost / sent.packets as f64,
        );
        ledger.add(
            "scan/established-rate",
            "Mpps",
            sent.packets as f64 / sent.elapsed.as_secs_f64() / 1e6,
        );
        ledger.add(
            "scan/rate",
            "Mpps",
            scanned.packets as f64 / scanned.elapsed.as_secs_f64() / 1e6,
        );
    }
    Ok(())
}

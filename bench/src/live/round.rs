//! One round: every device once, and what they are to each other.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::bed::Delivery;
use super::cpu::Tasks;
use super::device::Device;
use super::frame::{Direction, InnerBytes};
use super::generator::{Pace, Peers};
use super::ledger::Ledger;

/// Packets of the relay that must go by its fast path, in percent.
const FAST_PERCENT_MIN: f64 = 99.0;
/// A device that loses more than this at full rate is measured again at a rate it can bear, in percent.
const LOSS_MAX_PERCENT: f64 = 1.0;
/// That rate, as a share of the most it delivered.
const BEARABLE: f64 = 0.7;
/// Other rates of sending at which it may deliver more, as shares of what it delivered at full rate: a daemon that is flooded spends its time on what it drops.
const GENTLER: [f64; 4] = [1.1, 1.4, 2.0, 3.0];
/// Packets in one burst then: fewer than the smallest buffer on the way takes.
const BURST: u32 = 32;

/// What is measured of a device.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Index of the device.
    pub(crate) device: usize,
    pub(crate) direction: Direction,
    pub(crate) peers: Peers,
}

/// What a case gave in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Packets delivered a second, at the rate of sending that suits it best.
    pub(crate) per_s: f64,
    /// Percent of packets lost at full rate.
    pub(crate) loss: f64,
    /// Processor time for a delivered packet beyond what the generator takes, in nanoseconds.
    pub(crate) cpu_ns: f64,
}

/// Measures `case`, and the generator alone at the same pace.
pub(crate) fn sample(
    devices: &mut [Device],
    case: &Case,
    inner: InnerBytes,
    window: Duration,
) -> Result<Sample> {
    let full = spend(devices, case, inner, Pace::Flood, window)?;
    let mut per_s = full.delivery.per_s();
    let (pace, spent) = if full.delivery.loss_percent() > LOSS_MAX_PERCENT {
        let at = |share: f64| Pace::Rate {
            per_s: full.delivery.per_s() * share,
            burst: BURST,
        };
        for share in GENTLER {
            let gentler = spend(devices, case, inner, at(share), window)?;
            per_s = per_s.max(gentler.delivery.per_s());
        }
        let pace = Pace::Rate {
            per_s: per_s * BEARABLE,
            burst: BURST,
        };
        (pace, spend(devices, case, inner, pace, window)?)
    } else {
        (Pace::Flood, full)
    };
    let alone = Case {
        name: "generator alone".into(),
        device: 0,
        ..case.clone()
    };
    let generator = spend(devices, &alone, inner, pace, window)?;
    Ok(Sample {
        per_s,
        loss: full.delivery.loss_percent(),
        cpu_ns: spent.cpu_ns() - generator.cpu_ns(),
    })
}

/// A delivery and all the processor time that went into it.
#[derive(Clone, Copy)]
struct Spent {
    delivery: Delivery,
    cpu: Duration,
}

impl Spent {
    #[expect(clippy::cast_precision_loss, reason = "packets of one measurement")]
    fn cpu_ns(self) -> f64 {
        self.cpu.as_secs_f64() * 1e9 / self.delivery.delivered.max(1) as f64
    }
}

fn spend(
    devices: &mut [Device],
    case: &Case,
    inner: InnerBytes,
    pace: Pace,
    window: Duration,
) -> Result<Spent> {
    let device = devices
        .get_mut(case.device)
        .context("a case names its device")?;
    device.prepare()?;
    let fast = device.carried_fast()?;
    let (tasks, interrupts) = (device.tasks(), Tasks::soft_interrupts()?);
    let before = tasks.time()? + interrupts.time()?;
    let delivery = device
        .bed
        .measure(case.direction, inner, case.peers, pace, window)
        .with_context(|| case.name.clone())?;
    let cpu = delivery.sent.cpu + (tasks.time()? + interrupts.time()?).saturating_sub(before);
    ensure!(
        delivery.delivered > 0,
        "{}: of {} packets none arrived",
        case.name,
        delivery.sent.packets
    );
    if let (Some(before), Some(after)) = (fast, device.carried_fast()?) {
        #[expect(clippy::cast_precision_loss, reason = "packets of one measurement")]
        let percent = 100.0 * (after - before) as f64 / delivery.sent.packets as f64;
        ensure!(
            percent >= FAST_PERCENT_MIN,
            "{}: only {percent:.1} % of {} packets went by the fast path",
            case.name,
            delivery.sent.packets
        );
    }
    Ok(Spent { delivery, cpu })
}

/// Which figures are divided by which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    /// Delivered packets a second.
    Rate,
    /// Processor time a packet.
    Cpu,
}

/// The pairs whose ratio is a figure of its own: what is divided, by what.
const RATIOS: [(Compared, &str, &str); 14] = [
    (Compared::Rate, "relay-encap/1", "redirect"),
    (Compared::Rate, "relay-decap/1", "redirect"),
    (Compared::Rate, "relay-encap/1M", "redirect"),
    (Compared::Rate, "relay-decap/1M", "redirect"),
    (Compared::Rate, "relay-encap/1", "kernel-ipv6"),
    (Compared::Rate, "relay-decap/1", "kernel-ipv6"),
    (Compared::Rate, "relay-encap/1", "miredo-encap/1"),
    (Compared::Rate, "relay-decap/1", "miredo-decap/1"),
    (Compared::Cpu, "miredo-encap/1", "relay-encap/1"),
    (Compared::Cpu, "miredo-decap/1", "relay-decap/1"),
    (Compared::Rate, "live-rs-ra", "live-miredo-rs-ra"),
    (Compared::Rate, "live-userspace-rs-ra", "live-miredo-rs-ra"),
    (Compared::Cpu, "live-miredo-rs-ra", "live-rs-ra"),
    (Compared::Cpu, "live-miredo-rs-ra", "live-userspace-rs-ra"),
];

/// Enters what one round gave, and the ratios within it.
pub(crate) fn enter(ledger: &mut Ledger, round: &[(String, Sample)], suffix: &str) {
    for (name, sample) in round {
        ledger.add(format!("{name}{suffix}"), "Mpps", sample.per_s / 1e6);
        ledger.add(format!("{name}{suffix}/loss"), "%", sample.loss);
        ledger.add(format!("{name}{suffix}/cpu"), "ns/packet", sample.cpu_ns);
    }
    for (compared, over, under) in RATIOS {
        if let Some(ratio) = ratio(round, compared, over, under) {
            let what = match compared {
                Compared::Rate => "",
                Compared::Cpu => "cpu ",
            };
            ledger.add(
                format!("ratio {what}{over}{suffix} : {under}{suffix}"),
                "ratio",
                ratio,
            );
        }
    }
}

/// `None` where one of them was not measured, or cost too little to divide by.
fn ratio(round: &[(String, Sample)], compared: Compared, over: &str, under: &str) -> Option<f64> {
    let value = |wanted: &str| {
        let (_, sample) = round.iter().find(|(name, _)| name == wanted)?;
        Some(match compared {
            Compared::Rate => sample.per_s,
            Compared::Cpu => sample.cpu_ns,
        })
    };
    let (over, under) = (value(over)?, value(under)?);
    (under > 0.0).then(|| over / under)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(per_s: f64, cpu_ns: f64) -> Sample {
        Sample {
            per_s,
            loss: 0.0,
            cpu_ns,
        }
    }

    #[test]
    fn a_ratio_is_taken_of_rates_or_of_processor_time() {
        let round = [
            ("relay-encap/1".to_owned(), sample(4e6, 100.0)),
            ("miredo-encap/1".to_owned(), sample(5e5, 2000.0)),
        ];
        let of = |compared, over, under| ratio(&round, compared, over, under);
        assert_eq!(
            of(Compared::Rate, "relay-encap/1", "miredo-encap/1"),
            Some(8.0)
        );
        assert_eq!(
            of(Compared::Cpu, "miredo-encap/1", "relay-encap/1"),
            Some(20.0)
        );
    }

    #[test]
    fn there_is_no_ratio_to_what_was_not_measured_or_cost_nothing() {
        let round = [
            ("a".to_owned(), sample(1.0, 1.0)),
            ("b".to_owned(), sample(1.0, -0.5)),
        ];
        assert_eq!(ratio(&round, Compared::Rate, "a", "redirect"), None);
        assert_eq!(ratio(&round, Compared::Cpu, "a", "b"), None);
    }
}

//! Making peers, the way any client becomes one: a native packet, a bubble, an answer.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use relay_common::farm::Tally;

use super::bed::Bed;
use super::frame::{Direction, InnerBytes};
use super::generator::Peers;
use super::relay::Relay;

/// Peers made between two looks at the clock.
const CHUNK: u32 = 1 << 16;
/// How long after its last packet a peer is refreshed: before the relay would probe it.
const REFRESH: Duration = Duration::from_secs(10);
/// Packets on their way that every relay has room for.
const WINDOW: u64 = 256;
/// After so long without any delivery, what is on its way is lost.
const STALLED: Duration = Duration::from_millis(50);
/// Peers that may be missing at the end, one in so many: their bubbles were lost, and come again after seconds.
const MISSING_MAX: u32 = 1000;
/// Attempts to reach those.
const PASSES: u32 = 8;

/// What became of packets to new peers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Handshakes {
    pub(crate) sent: u64,
    /// Packets that were sent on once their peer had answered.
    pub(crate) delivered: u64,
    pub(crate) elapsed: Duration,
}

/// Sends one packet to each of `count` peers from `first` on, never more than `window` unanswered
/// ones at a time, for at most `limit`.
pub(crate) fn handshakes(
    bed: &mut Bed,
    first: u32,
    count: u32,
    window: u64,
    limit: Duration,
) -> Result<Handshakes> {
    /// Fewer than that are not worth a system call.
    const BURST_MIN: u64 = 16;
    const BURST_MAX: u64 = 256;

    let tallies = bed.native_end.tallies()?;
    let before = tallies.get(Tally::Delivered)?;
    let total = u64::from(count);
    let stream = bed.stream(
        Direction::Encap,
        InnerBytes::SMALL,
        Peers::From(first),
        true,
    )?;
    stream.run(|sender| {
        let start = Instant::now();
        let (mut sent, mut given_up) = (0, 0);
        let mut progress = (0, Instant::now());
        loop {
            let delivered = tallies.get(Tally::Delivered)? - before;
            let elapsed = start.elapsed();
            if delivered != progress.0 {
                progress = (delivered, Instant::now());
            }
            let mut waiting = sent_less(sent, delivered, given_up);
            if waiting > 0 && progress.1.elapsed() > STALLED {
                given_up += waiting;
                waiting = 0;
                progress.1 = Instant::now();
            }
            if (sent == total && waiting == 0) || elapsed >= limit {
                return Ok(Handshakes {
                    sent,
                    delivered,
                    elapsed,
                });
            }
            let room = window.saturating_sub(waiting).min(total - sent);
            if room >= BURST_MIN.min(window) || (room > 0 && room == total - sent) {
                let burst = room.min(BURST_MAX);
                sender.call(u32::try_from(burst)?)?;
                sent += burst;
            } else {
                std::thread::sleep(Duration::from_micros(20));
            }
        }
    })
}

/// What is on its way: late arrivals of what was given up count as well, hence saturating.
const fn sent_less(sent: u64, delivered: u64, given_up: u64) -> u64 {
    sent.saturating_sub(delivered).saturating_sub(given_up)
}

/// Peers that are established, and when all of them were last heard.
pub(crate) struct Population {
    count: u32,
    heard: Instant,
}

impl Population {
    /// Establishes peers 0 to `count`, and keeps them fresh meanwhile.
    pub(crate) fn establish(bed: &mut Bed, relay: &Relay, count: u32) -> Result<Self> {
        const LIMIT: Duration = Duration::from_secs(20);
        let mut population = Self {
            count: 0,
            heard: Instant::now(),
        };
        for first in (0..count).step_by(CHUNK as usize) {
            let chunk = CHUNK.min(count - first);
            handshakes(bed, first, chunk, WINDOW, LIMIT)?;
            population.count = first + chunk;
            population.keep_fresh(bed)?;
        }
        let mut missing = 0;
        for _ in 0..PASSES {
            population.refresh(bed)?;
            missing = population.missing(bed, relay)?;
            if missing <= u64::from(count / MISSING_MAX) {
                return Ok(population);
            }
        }
        let status = relay.status()?;
        anyhow::bail!(
            "after {PASSES} attempts {missing} of {count} peers are not established: {:?}, {:?}",
            status.peers,
            status.punt_sockets
        )
    }

    /// Peers whose packets the fast path does not carry; asking for them probes them once more.
    fn missing(&self, bed: &mut Bed, relay: &Relay) -> Result<u64> {
        let before = relay.carried_fast()?;
        let packets = u64::from(self.count);
        bed.stream(Direction::Encap, InnerBytes::SMALL, Peers::From(0), false)?
            .send(packets)?;
        Ok(packets.saturating_sub(relay.carried_fast()? - before))
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// Lets every peer be heard, unless all were lately.
    pub(crate) fn keep_fresh(&mut self, bed: &mut Bed) -> Result<()> {
        if self.heard.elapsed() < REFRESH {
            return Ok(());
        }
        self.refresh(bed)
    }

    /// Lets every peer be heard, by a packet of its own.
    pub(crate) fn refresh(&mut self, bed: &mut Bed) -> Result<()> {
        self.heard = Instant::now();
        let before = bed.tallies().get(Tally::Delivered)?;
        let packets = u64::from(self.count);
        bed.stream(Direction::Decap, InnerBytes::SMALL, Peers::From(0), false)?
            .send(packets)?;
        let after = bed.tallies().settled(Tally::Delivered, before + packets)?;
        ensure!(
            packets == 0 || after > before,
            "of {packets} packets of established peers none came through"
        );
        Ok(())
    }
}

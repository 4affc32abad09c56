//! Memory for each peer, in the kernel and in user space.

use std::fs;

use anyhow::{Context as _, Result};

use crate::live::bed::{Bed, Cores, Timing};
use crate::live::establish::{Population, handshakes};
use crate::live::ledger::Ledger;
use crate::live::relay::{Miredo, Relay};

/// What a table has room for where peers are not what takes the memory.
const FEW: u32 = 1 << 10;
/// A table of medium size.
const MANY: u32 = 100_000;
/// Unanswered packets at a time that miredo's buffers have room for.
const MIREDO_WINDOW: u64 = 64;

/// Both daemons with [`MANY`] peers, each once: memory does not vary from round to round.
pub(super) fn measure(ledger: &mut Ledger, cores: Cores, base: Memory) -> Result<()> {
    let mut bed = Bed::new("relay with 100k peers", cores, Timing::Off)?;
    let relay = Relay::start(&bed, MANY)?;
    let population = Population::establish(&mut bed, &relay, MANY)?;
    let full = Memory::of(relay.pid())?;
    ledger.add(
        "memory-per-peer/100k",
        "bytes",
        full.beyond(base) / f64::from(population.count()),
    );
    ledger.add("miredo-memory-per-peer/100k", "bytes", miredo(cores, MANY)?);
    Ok(())
}

fn miredo(cores: Cores, peers: u32) -> Result<f64> {
    const LIMIT: std::time::Duration = std::time::Duration::from_secs(30);
    let mut bed = Bed::new("miredo with peers", cores, Timing::Off)?;
    let miredo = Miredo::start(&bed)?;
    let worker = miredo.tasks.worker().context("miredo runs")?;
    let before = anonymous_bytes(worker)?;
    // It makes its entry with the first packet, so an answer that is lost changes nothing here.
    let made = handshakes(&mut bed, 0, peers, MIREDO_WINDOW, LIMIT)?;
    let after = anonymous_bytes(worker)?;
    #[expect(clippy::cast_precision_loss, reason = "bytes for each peer")]
    let per_peer = (after as f64 - before as f64) / made.sent as f64;
    Ok(per_peer)
}

/// What a daemon holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    /// Its own pages, without the BPF maps it may have mapped.
    anonymous: u64,
    /// All its BPF maps, as the kernel accounts for them.
    maps: u64,
}

impl Memory {
    /// Of a relay with a table of [`FEW`] peers and none in it.
    pub(super) fn base(cores: Cores) -> Result<Self> {
        let bed = Bed::new("relay with few peers", cores, Timing::Off)?;
        let relay = Relay::start(&bed, FEW)?;
        Self::of(relay.pid())
    }

    /// Of the process `pid`.
    pub(super) fn of(pid: u32) -> Result<Self> {
        Ok(Self {
            anonymous: anonymous_bytes(pid)?,
            maps: map_bytes(pid)?,
        })
    }

    /// Bytes more than `base`.
    #[expect(clippy::cast_precision_loss, reason = "bytes of one machine")]
    pub(super) fn beyond(self, base: Self) -> f64 {
        let bytes = |memory: Self| (memory.anonymous + memory.maps) as f64;
        bytes(self) - bytes(base)
    }
}

fn anonymous_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    field(&text, "Pss_Anon:")
        .map(|kib| kib << 10)
        .with_context(|| format!("{path} has no line Pss_Anon"))
}

/// A map may be open more than once: it counts by its number.
fn map_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/fdinfo");
    let mut maps = std::collections::BTreeMap::new();
    for entry in fs::read_dir(&path).with_context(|| path.clone())? {
        // A descriptor that was closed meanwhile is no map.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        if let (Some(id), Some(bytes)) = (field(&text, "map_id:"), field(&text, "memlock:")) {
            maps.insert(id, bytes);
        }
    }
    Ok(maps.values().sum())
}

/// The number behind `name` at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name_alone() {
        let text = "Pss:  7 kB\nPss_Anon:         12 kB\nmap_id:\t77\n";
        assert_eq!(field(text, "Pss_Anon:"), Some(12));
        assert_eq!(field(text, "map_id:"), Some(77));
        assert_eq!(field(text, "memlock:"), None);
    }

    #[test]
    fn this_process_holds_memory_and_no_maps() {
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(memory.anonymous > 0);
        assert_eq!(memory.maps, 0);
    }
}

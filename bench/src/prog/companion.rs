//! The programs that stand in front of the one under test, and the system call that runs them.

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, ProgramArray};
use aya::programs::{ProgramFd, TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use relay_user::datapath::RIG;

/// What an XDP program returns.
pub(super) mod action {
    pub(in crate::prog) const PASS: u32 = 2;
    pub(in crate::prog) const TX: u32 = 3;
}

/// Bytes at the front of a frame that can be restored.
const FRONT_LEN: usize = 96;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From native IPv6 to a client.
    Encap,
    /// From a client to native IPv6.
    Decap,
    /// To the server.
    ToServer,
}

/// Which peers the packets of a run are to or from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drawn {
    /// Each one after the other.
    InTurn,
    /// At random, each as likely.
    Uniform,
    /// By the sequence given to [`Companion::load`].
    InSequence,
}

/// How numbers are drawn, as the companion declares it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Draw {
    state: u64,
    multiplier: u64,
    increment: u64,
}

impl Draw {
    /// Knuth's generator (MMIX).
    fn random(seed: u64) -> Self {
        Self {
            state: seed,
            multiplier: 6_364_136_223_846_793_005,
            increment: 1_442_695_040_888_963_407,
        }
    }

    /// The numbers after `last`, one after the other.
    fn counting(last: u64) -> Self {
        Self {
            state: last << 32,
            multiplier: 1,
            increment: 1 << 32,
        }
    }
}

/// What the companion restores, as it declares it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Original {
    front: [u8; FRONT_LEN],
    draw: Draw,
    len: u32,
    mask: u32,
}

// SAFETY: `repr(C)` of integers and byte arrays without padding.
unsafe impl aya::Pod for Original {}

/// By which ports packets come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ports {
    /// In by one, out by another: each is redirected.
    Two,
    /// In and out by the same, as at a relay with one card: each is sent back.
    One,
}

/// Packets of one run.
#[derive(Clone, Copy)]
pub(super) struct Load<'a> {
    pub(super) direction: Direction,
    pub(super) ports: Ports,
    pub(super) frame: &'a [u8],
    /// Peers in use: a power of two.
    pub(super) peers: u32,
    pub(super) drawn: Drawn,
    /// Of the draw. The rig sets another for each run.
    pub(super) seed: u64,
    pub(super) packets: u32,
}

/// The loaded programs.
pub(super) struct Companion {
    ebpf: Ebpf,
    ingress: u32,
    egress: u32,
    lines: u32,
    sequence_len: u32,
}

impl Companion {
    const PROGRAMS: [&str; 9] = [
        "empty",
        "parse_swap_tx",
        "parse_draw_swap_tx",
        "cold_line",
        "restore_native",
        "restore_native_in_sequence",
        "restore_client",
        "restore_client_in_sequence",
        "restore_sender",
    ];

    /// With `lines` cache lines to read at random, and `sequence` to draw peers by; either is as long as a power
    /// of two. Frames come in by the device `ingress` and leave by `egress`.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn load([ingress, egress]: [u32; 2], lines: u32, sequence: &[u32]) -> Result<Self> {
        let sequence_len = u32::try_from(sequence.len())?;
        ensure!(
            lines.is_power_of_two() && sequence_len.is_power_of_two(),
            "{lines} lines and a sequence of {sequence_len}: not powers of two"
        );
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("LINES", lines)
            .map_max_entries("SEQUENCE", sequence_len)
            .load(RIG)?;
        for name in Self::PROGRAMS {
            program(&mut ebpf, name)?.load()?;
        }
        let mut map: Array<_, u32> = Array::try_from(map(&mut ebpf, "SEQUENCE")?)?;
        for (index, peer) in (0..).zip(sequence) {
            map.set(index, peer, 0)?;
        }
        Ok(Self {
            ebpf,
            ingress,
            egress,
            lines,
            sequence_len,
        })
    }

    /// Nanoseconds a packet of the program that only passes.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn run_empty(&mut self, frame: &[u8], packets: u32) -> Result<f64> {
        self.run_alone("empty", frame, packets, action::PASS)
    }

    /// Nanoseconds a packet of the program that swaps the MAC addresses and sends the frame back.
    ///
    /// # Errors
    /// The kernel's refusal, or a frame that is not IPv6.
    pub(super) fn run_parse_swap_tx(&mut self, frame: &[u8], packets: u32) -> Result<f64> {
        self.run_alone("parse_swap_tx", frame, packets, action::TX)
    }

    /// Nanoseconds a packet for drawing a number, looking up and reading a random line, and for drawing the number alone.
    ///
    /// # Errors
    /// The kernel's refusal, or a frame that is not IPv6.
    pub(super) fn run_cold_line(
        &mut self,
        frame: &[u8],
        seed: u64,
        packets: u32,
    ) -> Result<[f64; 2]> {
        self.set_original(frame, Draw::random(seed), self.lines - 1)?;
        let total = self.run_alone("cold_line", frame, packets, action::TX)?;
        self.set_original(frame, Draw::random(seed), self.lines - 1)?;
        let drawing = self.run_alone("parse_draw_swap_tx", frame, packets, action::TX)?;
        Ok([total, drawing])
    }

    /// Nanoseconds a packet of the companion and `next` behind it.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn run_before(&mut self, next: &ProgramFd, load: Load<'_>) -> Result<f64> {
        Ok(self.run_load(next, load)?.0)
    }

    /// Nanoseconds a packet of the companion alone: in front of the program that only passes.
    ///
    /// # Errors
    /// The kernel's refusal, or a frame the companion cannot restore.
    pub(super) fn run_before_nothing(&mut self, load: Load<'_>) -> Result<f64> {
        let nothing = program(&mut self.ebpf, "empty")?.fd()?.try_clone()?;
        let (ns, returned) = self.run_load(&nothing, load)?;
        ensure!(
            returned == action::PASS,
            "the companion ends with {returned}"
        );
        Ok(ns)
    }

    fn run_load(&mut self, next: &ProgramFd, load: Load<'_>) -> Result<(f64, u32)> {
        let (draw, numbers) = match load.drawn {
            Drawn::InTurn => (Draw::counting(0), load.peers),
            Drawn::Uniform => (Draw::random(load.seed), load.peers),
            // Each run goes on somewhere else, or it would find in the cache what the last one left there.
            Drawn::InSequence => {
                let last = load.seed.wrapping_mul(load.packets.into());
                (Draw::counting(last), self.sequence_len)
            }
        };
        self.set_original(load.frame, draw, numbers - 1)?;
        ProgramArray::try_from(map(&mut self.ebpf, "NEXT")?)?.set(0, next, 0)?;
        let name = match (load.direction, load.drawn) {
            (Direction::Encap, Drawn::InSequence) => "restore_native_in_sequence",
            (Direction::Encap, _) => "restore_native",
            (Direction::Decap, Drawn::InSequence) => "restore_client_in_sequence",
            (Direction::Decap, _) => "restore_client",
            (Direction::ToServer, _) => "restore_sender",
        };
        let program = program(&mut self.ebpf, name)?;
        let ingress = match load.ports {
            Ports::Two => self.ingress,
            Ports::One => self.egress,
        };
        test_run(program, ingress, load.frame, load.packets)
    }

    fn run_alone(&mut self, name: &str, frame: &[u8], packets: u32, wanted: u32) -> Result<f64> {
        let program = program(&mut self.ebpf, name)?;
        let (ns, returned) = test_run(program, self.ingress, frame, packets)?;
        ensure!(
            returned == wanted,
            "{name} ends with {returned}, not {wanted}"
        );
        Ok(ns)
    }

    fn set_original(&mut self, frame: &[u8], draw: Draw, mask: u32) -> Result<()> {
        let mut front = [0; FRONT_LEN];
        for (to, from) in front.iter_mut().zip(frame) {
            *to = *from;
        }
        let original = Original {
            front,
            draw,
            len: u32::try_from(frame.len())?,
            mask,
        };
        Array::try_from(map(&mut self.ebpf, "ORIGINAL")?)?.set(0, original, 0)?;
        Ok(())
    }
}

/// The program `name` of an object.
///
/// # Errors
/// There is none.
pub(super) fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name).with_context(|| name.to_owned())?;
    Ok(program.try_into()?)
}

fn map<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut aya::maps::Map> {
    ebpf.map_mut(name).with_context(|| name.to_owned())
}

/// Nanoseconds a packet, of which the kernel gives whole ones, and what the last one returned.
///
/// # Errors
/// The kernel's refusal.
pub(super) fn test_run(
    program: &Xdp,
    ingress: u32,
    frame: &[u8],
    packets: u32,
) -> Result<(f64, u32)> {
    let context = context(frame, ingress)?;
    let result = program.test_run(TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(&context),
        repeat: packets,
        ..TestRunOptions::default()
    })?;
    Ok((result.duration.as_secs_f64() * 1e9, result.return_value))
}

/// `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
fn context(frame: &[u8], ingress: u32) -> Result<Vec<u8>> {
    let len = u32::try_from(frame.len())?;
    let words = [0, len, 0, ingress, 0, 0];
    Ok(words.into_iter().flat_map(u32::to_ne_bytes).collect())
}

/// What one packet becomes.
///
/// # Errors
/// The kernel's refusal.
#[cfg(test)]
pub(super) fn carry_one(program: &Xdp, ingress: u32, frame: &[u8]) -> Result<Vec<u8>> {
    let context = context(frame, ingress)?;
    let mut out = vec![0; 4096];
    let result = program.test_run(TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ctx_in: Some(&context),
        ..TestRunOptions::default()
    })?;
    out.truncate(result.data_size_out as usize);
    Ok(out)
}

//! Runs of the program, and what each gave.

use aya::maps::ProgramArray;
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use relay_common::{Counter, Reason};

use super::{Rig, hex, leaves, program};

/// What one run gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The XDP action.
    pub(crate) action: u32,
    /// The frame afterwards.
    pub(crate) frame: Vec<u8>,
    /// The reason counted.
    pub(crate) reason: Reason,
    /// The bytes counted.
    pub(crate) bytes: usize,
}

impl Rig {
    /// Runs the program on a frame received on `port` and puts the frame that comes out into `out`. Gives the action.
    pub(crate) fn run_into(&mut self, port: u32, frame: &[u8], out: &mut Vec<u8>) -> u32 {
        self.sent += 1;
        test_run_into(program(&mut self.ebpf, "relay"), port, 0, frame, out)
    }

    /// Runs the program on a frame received on `port`.
    ///
    /// # Panics
    /// Unless exactly one reason was counted, once, and a frame that was not carried came out as it went in.
    pub(crate) fn run(&mut self, port: u32, frame: &[u8]) -> Outcome {
        let before = self.counters();
        let (action, after) = test_run(program(&mut self.ebpf, "relay"), port, 0, frame);
        let outcome = self.outcome(&before, action, after);
        if !leaves(outcome.reason) {
            assert_eq!(hex(&outcome.frame), hex(frame), "{:?}", outcome.reason);
        }
        outcome
    }

    /// Like [`run`](Self::run), on receive queue `queue`.
    pub(crate) fn run_on_queue(&mut self, port: u32, queue: u32, frame: &[u8]) -> Outcome {
        let before = self.counters();
        let (action, after) = test_run(program(&mut self.ebpf, "relay"), port, queue, frame);
        self.outcome(&before, action, after)
    }

    /// Like [`run`](Self::run), with a driver that leaves no room in front of the frame.
    pub(crate) fn run_without_headroom(&mut self, port: u32, frame: &[u8]) -> Outcome {
        let before = self.counters();
        let relay = program(&mut self.ebpf, "relay")
            .fd()
            .unwrap()
            .try_clone()
            .unwrap();
        let crowd = program(&mut self.companion, "crowd");
        if crowd.fd().is_err() {
            crowd.load().unwrap();
        }
        let mut next = ProgramArray::try_from(self.companion.map_mut("NEXT").unwrap()).unwrap();
        next.set(0, &relay, 0).unwrap();
        let (action, after) = test_run(program(&mut self.companion, "crowd"), port, 0, frame);
        self.outcome(&before, action, after)
    }

    fn outcome(&mut self, before: &[Counter], action: u32, frame: Vec<u8>) -> Outcome {
        self.sent += 1;
        let after = self.counters();
        let mut counted = Reason::ALL.iter().filter_map(|reason| {
            let (was, is) = (before[*reason as usize], after[*reason as usize]);
            (is != was).then(|| (*reason, is.packets - was.packets, is.bytes - was.bytes))
        });
        let (reason, packets, bytes) = counted.next().expect("a reason was counted");
        assert_eq!(packets, 1, "{reason:?} was counted once");
        assert_eq!(counted.next(), None, "one reason was counted");
        Outcome {
            action,
            frame,
            reason,
            bytes: usize::try_from(bytes).unwrap(),
        }
    }
}

fn test_run(program: &Xdp, port: u32, queue: u32, frame: &[u8]) -> (u32, Vec<u8>) {
    let mut out = Vec::new();
    let action = test_run_into(program, port, queue, frame, &mut out);
    (action, out)
}

fn test_run_into(program: &Xdp, port: u32, queue: u32, frame: &[u8], out: &mut Vec<u8>) -> u32 {
    /// More than any program adds in front of a frame.
    const ROOM: usize = 512;

    let len = u32::try_from(frame.len()).unwrap();
    // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
    let mut context = [0; 24];
    for (field, value) in context.chunks_mut(4).zip([0, len, 0, port, queue, 0]) {
        field.copy_from_slice(&value.to_ne_bytes());
    }
    out.resize(frame.len() + ROOM, 0);
    let result = program
        .test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        })
        .expect("the kernel runs the program");
    out.truncate(result.data_size_out as usize);
    result.return_value
}

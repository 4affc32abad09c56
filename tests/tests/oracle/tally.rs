//! What the generated frames met: an oracle that is not asked about a rule says nothing about it.

use std::collections::BTreeMap;
use std::fmt;

use relay_common::{Kind, Reason};

/// Outcomes, by the name of their reason.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) by_reference: BTreeMap<&'static str, u64>,
    pub(crate) by_fast_path: BTreeMap<&'static str, u64>,
}

/// What no frame of a case ends in: it takes time, other settings or a kernel that refuses.
const ELSEWHERE: [&str; 14] = [
    "EncapsulatedFromQueue",
    "NoHeadroom",
    "FrameUnreadable",
    "SendFailed",
    "DestinationNotTeredo",
    "SourcePrefixLimitExceeded",
    "QueueMemoryFull",
    "BubblesUnanswered",
    "PeerBlocked",
    "ShutDown",
    "FrameTooLargeToPunt",
    "NativeDenied",
    "ClientDenied",
    "ServerDenied",
];

impl Tally {
    pub(crate) fn note(&mut self, reference: &'static str, fast_path: Reason) {
        *self.by_reference.entry(reference).or_default() += 1;
        *self.by_fast_path.entry(fast_path.as_str()).or_default() += 1;
    }

    /// # Panics
    /// If there is a reason no frame ended in, though it could.
    pub(crate) fn assert_nothing_was_missed(&self) {
        let missed: Vec<_> = Reason::ALL
            .iter()
            .filter(|reason| {
                let by = match reason.kind() {
                    Kind::Punted => &self.by_fast_path,
                    _ => &self.by_reference,
                };
                !by.contains_key(reason.as_str()) && !ELSEWHERE.contains(&reason.as_str())
            })
            .collect();
        assert!(missed.is_empty(), "no frame ended in {missed:?}");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (whose, by) in [
            ("reference", &self.by_reference),
            ("fast path", &self.by_fast_path),
        ] {
            writeln!(f, "{whose}: {by:?}")?;
        }
        Ok(())
    }
}

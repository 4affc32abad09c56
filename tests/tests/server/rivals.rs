//! The two servers that are compared.

use lab::shipworm::{Datapath, Server};
use lab::{Lab, Process, miredo};

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Miredo,
    Shipworm(Datapath),
}

/// One that runs.
pub(crate) enum Rival<'lab> {
    Miredo(#[expect(dead_code, reason = "kept alive")] Process),
    Shipworm(Server<'lab>),
}

impl<'lab> Rival<'lab> {
    pub(crate) fn start(lab: &'lab Lab, kind: Kind) -> Self {
        match kind {
            Kind::Miredo => Self::Miredo(miredo::server(lab).unwrap()),
            Kind::Shipworm(datapath) => Self::Shipworm(Server::start(lab, datapath, &[]).unwrap()),
        }
    }

    /// What became of what ours was sent.
    pub(crate) fn reasons(&self) -> String {
        let Self::Shipworm(server) = self else {
            return String::new();
        };
        let status = server.status().unwrap();
        let reasons = status["reasons"].as_object().unwrap();
        let packets = |counts: &serde_json::Value, path: &str| counts[path]["packets"].as_u64();
        let counted = reasons.iter().filter_map(|(reason, counts)| {
            let (fast, slow) = (packets(counts, "fast")?, packets(counts, "slow")?);
            (fast + slow > 0).then(|| format!("{reason} {fast}+{slow}"))
        });
        counted.collect::<Vec<_>>().join(", ")
    }

    /// Ours must leave nothing behind.
    pub(crate) fn stop(self) {
        if let Self::Shipworm(server) = self {
            server.stop().unwrap();
        }
    }
}

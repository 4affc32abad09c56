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

    /// Ours must leave nothing behind.
    pub(crate) fn stop(self) {
        if let Self::Shipworm(server) = self {
            server.stop().unwrap();
        }
    }
}

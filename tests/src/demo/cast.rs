//! Who lives in the small internet.

use std::thread;

use anyhow::{Context, Result};

use crate::miredo::{self, Client};
use crate::shipworm::{Datapath, Relay, Server, Settings};
use crate::{Lab, Site};

/// The daemons of a lab. Dropping them kills them; [`Cast::end`] ends relay and server in order.
#[derive(Debug)]
pub struct Cast<'lab> {
    /// Shipworm as server.
    pub server: Server<'lab>,
    /// A qualified miredo at every site.
    pub clients: Vec<(&'lab Site, Client)>,
    /// Shipworm.
    pub relay: Relay<'lab>,
}

impl<'lab> Cast<'lab> {
    /// Starts everybody; the relay gets ready while the clients qualify.
    ///
    /// # Errors
    /// Somebody does not start; the message holds the log.
    pub fn start(lab: &'lab Lab, settings: &Settings) -> Result<Self> {
        let server =
            Server::start(lab, settings.datapath, &[]).context("the server does not start")?;
        thread::scope(|scope| {
            let relay = scope.spawn(|| Relay::start(lab, settings));
            let clients = miredo::cold_clients(lab);
            let relay = relay
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                .with_context(|| {
                    format!(
                        "the relay does not start with --datapath {} (userspace needs no XDP)",
                        settings.datapath
                    )
                })?;
            Ok(Self {
                server,
                clients: clients?,
                relay,
            })
        })
    }

    /// Ends everybody, relay and server by SIGTERM.
    ///
    /// # Errors
    /// One of them exits with an error or leaves something on its machine.
    pub fn end(self) -> Result<()> {
        self.relay.stop().context("the relay's end")?;
        self.server.stop().context("the server's end")
    }
}

/// The datapath called `name`, for command lines.
///
/// # Errors
/// There is none.
pub fn parse_datapath(name: &str) -> Result<Datapath, String> {
    let names = Datapath::ALL.map(Datapath::as_str);
    Datapath::ALL
        .into_iter()
        .find(|datapath| datapath.as_str() == name)
        .ok_or_else(|| format!("one of {}", names.join(", ")))
}

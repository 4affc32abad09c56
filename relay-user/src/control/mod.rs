//! The control socket: one JSON request a line in, one JSON reply a line out.
//!
//! ```text
//! {"request":"status"}                 ─► Status
//! {"request":"peers","limit":1000}     ─► Peers
//! {"request":"handover"}               ─► the relay's sockets, see [`Successor`]
//! anything else                        ─► {"error":"..."}
//! ```
//!
//! The server holds no data. It puts an [`Ask`] with the way back into a bounded channel, and whoever has the data
//! answers when it can; the relay never waits for a client of this socket.

mod client;
mod server;
mod socket;
mod succession;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

pub use client::{AskError, peers, status};
pub use server::Server;
pub use socket::refuse_if_taken;
pub use succession::{Inheritance, Successor, take_over};

use crate::status::{Peers, Status};

/// Peers listed when no other number is asked for.
pub const DEFAULT_PEER_ROWS: u32 = 1_000;
/// Most peers one reply lists.
pub const MAX_PEER_ROWS: u32 = 100_000;
/// Longest request line in bytes.
const REQUEST_BYTES: usize = 4096;
/// Requests that may wait for the one who answers.
const WAITING_ASKS: usize = 64;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase")]
pub enum Request {
    /// The state of the relay.
    Status,
    /// Its peers.
    Peers {
        /// Most to list; more than [`MAX_PEER_ROWS`] counts as that.
        #[serde(default = "default_peer_rows")]
        limit: u32,
    },
    /// That it stops and hands its sockets over to the one who asks.
    HandOver,
}

fn default_peer_rows() -> u32 {
    DEFAULT_PEER_ROWS
}

/// The reply to what cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Refused {
    error: String,
}

/// A question on its way to whoever has the data. A dropped sender means: no answer, the client is told so.
#[derive(Debug)]
pub enum Ask {
    /// The state of the relay.
    Status(oneshot::Sender<Status>),
    /// At most `limit` peers, and how many there are.
    Peers {
        /// Most to list, at most [`MAX_PEER_ROWS`].
        limit: usize,
        /// Where the answer goes.
        answer: oneshot::Sender<Peers>,
    },
}

/// The channel by which those who want to take over come; more than one at a time cannot.
pub fn successors() -> (mpsc::Sender<Successor>, mpsc::Receiver<Successor>) {
    mpsc::channel(1)
}

/// The channel between the server and whoever answers; from another thread with `blocking_recv`.
pub fn asks() -> (mpsc::Sender<Ask>, mpsc::Receiver<Ask>) {
    mpsc::channel(WAITING_ASKS)
}

#[cfg(test)]
mod tests;

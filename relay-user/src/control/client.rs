//! The asking end of the control socket: `shipworm status` and `shipworm peers`. Blocking.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Refused, Request};
use crate::status::{Peers, Status};

/// How long the daemon may take to answer.
const REPLY_S: u64 = 10;
/// Longest answer that is read: more than [`MAX_PEER_ROWS`](super::MAX_PEER_ROWS) take.
const REPLY_BYTES: u64 = 32 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No socket, or nobody behind it.
    #[error(
        "--socket {path}: nobody listens there (is \"shipworm relay\" running? Name its socket if it was started with another --socket)"
    )]
    Nobody {
        /// The socket asked.
        path: PathBuf,
    },
    /// The socket may not be opened.
    #[error("--socket {path}: no access (ask as root or as a member of the socket's group)")]
    Forbidden {
        /// The socket asked.
        path: PathBuf,
    },
    /// The daemon went away or was silent.
    #[error("--socket {path}: no answer: {cause} (is the daemon stuck? Its log may tell)")]
    Silent {
        /// The socket asked.
        path: PathBuf,
        /// The system's words.
        cause: io::Error,
    },
    /// The daemon refused.
    #[error("--socket {path}: {cause}")]
    Refused {
        /// The socket asked.
        path: PathBuf,
        /// The daemon's words.
        cause: String,
    },
    /// The reply makes no sense.
    #[error(
        "--socket {path}: the answer cannot be read: {cause} (is the daemon of another version?)"
    )]
    Unreadable {
        /// The socket asked.
        path: PathBuf,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
}

/// Asks the daemon at `socket` for its status.
///
/// # Errors
/// See [`AskError`].
pub fn status(socket: &Path) -> Result<Status, AskError> {
    ask(socket, Request::Status)
}

/// Asks the daemon at `socket` for at most `limit` peers.
///
/// # Errors
/// See [`AskError`].
pub fn peers(socket: &Path, limit: u32) -> Result<Peers, AskError> {
    ask(socket, Request::Peers { limit })
}

fn ask<T: DeserializeOwned>(path: &Path, request: Request) -> Result<T, AskError> {
    let reply = exchange(path, request).map_err(|e| trouble(path, e))?;
    let unreadable = |cause| AskError::Unreadable {
        path: path.to_owned(),
        cause,
    };
    if let Ok(Refused { error }) = serde_json::from_str(&reply) {
        return Err(AskError::Refused {
            path: path.to_owned(),
            cause: error,
        });
    }
    serde_json::from_str(&reply).map_err(unreadable)
}

fn exchange(path: &Path, request: Request) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(Duration::from_secs(REPLY_S)))?;
    stream.set_write_timeout(Some(Duration::from_secs(REPLY_S)))?;
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut reply = String::new();
    let mut bounded = BufReader::new(stream).take(REPLY_BYTES);
    if bounded.read_line(&mut reply)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(reply)
}

fn trouble(path: &Path, cause: io::Error) -> AskError {
    let path = path.to_owned();
    match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::Nobody { path },
        io::ErrorKind::PermissionDenied => AskError::Forbidden { path },
        _ => AskError::Silent { path, cause },
    }
}

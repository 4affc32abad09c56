//! The daemon's end of the control socket.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::{Ask, MAX_PEER_ROWS, REQUEST_BYTES, Refused, Request, Successor, socket};
use crate::error::StartError;

/// Clients served at the same time; more wait to be accepted.
const MAX_CLIENTS: usize = 64;
/// How long a client may be silent, or its reply unread.
const CLIENT_S: u64 = 10;
/// How long whoever has the data may take.
const ANSWER_S: u64 = 5;
/// Pause after the kernel refuses a client, so that running out of descriptors does not spin.
const ACCEPT_PAUSE_MS: u64 = 100;

/// A bound control socket. Dropping it removes the file.
#[derive(Debug)]
pub struct Server {
    listener: std::os::unix::net::UnixListener,
    _file: socket::SocketFile,
}

impl Server {
    /// Takes `path` with mode 0660, in a directory made with mode 0755 where there is none. The socket of a daemon that
    /// is gone is replaced.
    ///
    /// # Errors
    /// A live daemon answers there (named by process identifier), another kind of file stands there, or no access.
    pub fn bind(path: &Path) -> Result<Self, StartError> {
        let (listener, file) = socket::listen(path)?;
        Ok(Self {
            listener,
            _file: file,
        })
    }

    /// Answers clients until the future is dropped, putting each question into `asks`, and who wants to take over into
    /// `successors`. Takes a tokio runtime with I/O
    /// and time, of any kind.
    ///
    /// # Errors
    /// Only the registration of the socket with the runtime.
    pub async fn serve(
        &self,
        asks: mpsc::Sender<Ask>,
        successors: mpsc::Sender<Successor>,
    ) -> io::Result<()> {
        let listener = UnixListener::from_std(self.listener.try_clone()?)?;
        let room = Arc::new(Semaphore::new(MAX_CLIENTS));
        // Aborts the clients that are left when this future is dropped.
        let mut clients = tokio::task::JoinSet::new();
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else {
                return Ok(());
            };
            while clients.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (asks, successors) = (asks.clone(), successors.clone());
                    clients.spawn(async move {
                        // A client that went away is its own business.
                        let _ = converse(stream, &asks, &successors).await;
                        drop(place);
                    });
                }
                Err(e) => {
                    tracing::warn!(error = %e, "control socket: no client accepted");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                }
            }
        }
    }
}

/// Answers one client, line by line, until it closes, is silent for too long or says something unreadable.
async fn converse(
    stream: UnixStream,
    asks: &mpsc::Sender<Ask>,
    successors: &mpsc::Sender<Successor>,
) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(REQUEST_BYTES, reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = REQUEST_BYTES as u64 + 1;
        let mut bounded = (&mut reader).take(limit);
        if in_time(bounded.read_until(b'\n', &mut line)).await? == 0 {
            return Ok(());
        }
        let (reply, go_on) = if line.len() > REQUEST_BYTES {
            let text = format!("a request has at most {REQUEST_BYTES} bytes");
            (refused(text), false)
        } else {
            match serde_json::from_slice::<Request>(&line) {
                Ok(Request::HandOver) => {
                    let stream = reader
                        .into_inner()
                        .reunite(writer)
                        .map_err(io::Error::other)?;
                    return hand_over(stream.into_std()?, successors);
                }
                Ok(request) => (answer(request, asks).await, true),
                Err(e) => (refused(format!("not a request: {e}")), false),
            }
        };
        in_time(writer.write_all(&reply)).await?;
        if !go_on {
            return in_time(writer.shutdown()).await;
        }
    }
}

/// Passes the connection on to whoever can stop the relay.
fn hand_over(
    stream: std::os::unix::net::UnixStream,
    successors: &mpsc::Sender<Successor>,
) -> io::Result<()> {
    let successor = Successor::new(stream)?;
    if !successor.may_take_over() {
        successor.refuse("only root and the relay's own user may take over");
        return Ok(());
    }
    if let Err(error) = successors.try_send(successor) {
        let (mpsc::error::TrySendError::Full(successor)
        | mpsc::error::TrySendError::Closed(successor)) = error;
        successor.refuse("the relay is shutting down");
    }
    Ok(())
}

async fn in_time<T>(io: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(Duration::from_secs(CLIENT_S), io)
        .await
        .map_err(|_| io::ErrorKind::TimedOut)?
}

async fn answer(request: Request, asks: &mpsc::Sender<Ask>) -> Vec<u8> {
    match request {
        Request::Status => ask(asks, Ask::Status).await,
        Request::Peers { limit } => {
            let limit = limit.min(MAX_PEER_ROWS) as usize;
            ask(asks, |answer| Ask::Peers { limit, answer }).await
        }
        Request::HandOver => refused("a connection is handed over, not answered".to_owned()),
    }
}

async fn ask<T: Serialize>(
    asks: &mpsc::Sender<Ask>,
    question: impl FnOnce(oneshot::Sender<T>) -> Ask,
) -> Vec<u8> {
    let (answer, answered) = oneshot::channel();
    if asks.try_send(question(answer)).is_err() {
        return refused("the relay is busy or shutting down".to_owned());
    }
    match timeout(Duration::from_secs(ANSWER_S), answered).await {
        Ok(Ok(data)) => line(&data),
        Ok(Err(_)) => refused("the relay is shutting down".to_owned()),
        Err(_) => refused(format!("the relay did not answer within {ANSWER_S} s")),
    }
}

fn refused(error: String) -> Vec<u8> {
    line(&Refused { error })
}

fn line(data: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(data)
        .unwrap_or_else(|e| format!("{{\"error\":{:?}}}", e.to_string()).into_bytes());
    bytes.push(b'\n');
    bytes
}

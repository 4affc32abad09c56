//! The daemon's end: each line of a request is answered by one line of JSON, in order, until one cannot be read.

use std::path::PathBuf;

use relay_user::control::{self, Ask, MAX_PEER_ROWS, Request, Server};
use relay_user::status::Peers;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

/// Longest line that is read as a request, with its end.
const REQUEST_BYTES: usize = 4096;
/// What one that wants to take over is told here.
const NOT_NOW: &str = "not now";

/// The server, and who answers for the relay, on one thread with their client: the same input takes the same way.
struct Daemon {
    runtime: Runtime,
    socket: PathBuf,
    _directory: tempfile::TempDir,
}

thread_local! {
    static DAEMON: Daemon = Daemon::start();
}

impl Daemon {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("relay.sock");
        let server = Server::bind(&socket).expect("bound");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let (asks, mut questions) = control::asks();
        let (successors, mut wanting) = control::successors();
        runtime.spawn(async move { server.serve(asks, successors).await });
        runtime.spawn(async move {
            while let Some(ask) = questions.recv().await {
                // One for the status is dropped: the relay shuts down.
                if let Ask::Peers { limit, answer } = ask {
                    let total = limit as u64;
                    let peers = Vec::new();
                    let _ = answer.send(Peers { total, peers });
                }
            }
        });
        runtime.spawn(async move {
            while let Some(successor) = wanting.recv().await {
                successor.refuse(NOT_NOW);
            }
        });
        Self {
            runtime,
            socket,
            _directory: directory,
        }
    }

    /// All it answers.
    fn answer(&self, said: &[u8]) -> Vec<u8> {
        self.runtime.block_on(async {
            let mut stream = UnixStream::connect(&self.socket).await.expect("it listens");
            // It closes at the first thing it cannot read, which resets what was said after.
            let _ = stream.write_all(said).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            answer
        })
    }
}

pub(crate) fn hears(said: &[u8]) {
    let answer = DAEMON.with(|daemon| daemon.answer(said));
    let answer = str::from_utf8(&answer).expect("text");
    assert!(answer.is_empty() || answer.ends_with('\n'));
    let answers: Vec<Value> = answer
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let expected = expected(said);
    assert_eq!(answers.len(), expected.len(), "{answers:?}");
    for (answer, expected) in answers.iter().zip(expected) {
        match expected {
            Some(expected) => assert_eq!(*answer, expected),
            None => assert!(answer["error"].is_string(), "{answer}"),
        }
    }
}

/// What the answers are; `None`: an error in words that are not said here.
fn expected(said: &[u8]) -> Vec<Option<Value>> {
    let mut answers = Vec::new();
    for line in said.split_inclusive(|byte| *byte == b'\n') {
        let request = (line.len() <= REQUEST_BYTES).then(|| serde_json::from_slice(line));
        match request {
            Some(Ok(Request::Peers { limit })) => {
                let total = limit.min(MAX_PEER_ROWS);
                answers.push(Some(json!({"total": total, "peers": []})));
            }
            Some(Ok(Request::Status)) => answers.push(None),
            Some(Ok(Request::HandOver)) => {
                answers.push(Some(json!({"error": NOT_NOW})));
                break;
            }
            Some(Err(_)) | None => {
                answers.push(None);
                break;
            }
        }
    }
    answers
}

//! Both ends of the control socket against each other.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use super::*;
use crate::status::tests::sample;

/// Longest a test waits for the other end.
const DEADLINE: Duration = Duration::from_secs(20);

/// A daemon in a thread of its own, which answers from another, as the relay does.
struct Daemon {
    directory: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Daemon {
    fn start() -> Self {
        Self::start_with(|ask| match ask {
            Ask::Status(answer) => {
                let _ = answer.send(sample());
            }
            Ask::Peers { limit, answer } => {
                let total = limit as u64;
                let _ = answer.send(Peers {
                    total,
                    peers: Vec::new(),
                });
            }
        })
    }

    fn start_with(answer: impl Fn(Ask) + Send + 'static) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let server = Server::bind(&directory.path().join("run/relay.sock")).expect("bound");
        let (asks, mut questions) = asks();
        let (stop, stopped) = oneshot::channel();
        let answering = std::thread::spawn(move || {
            while let Some(ask) = questions.blocking_recv() {
                answer(ask);
            }
        });
        let serving = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    end = server.serve(asks, super::successors().0) => panic!("{end:?}"),
                    _ = stopped => (),
                }
            });
        });
        Self {
            directory,
            stop: Some(stop),
            threads: vec![serving, answering],
        }
    }

    fn socket(&self) -> std::path::PathBuf {
        self.directory.path().join("run/relay.sock")
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).expect("connected");
        stream.set_read_timeout(Some(DEADLINE)).expect("set");
        stream
    }

    /// Ends both threads and returns the directory.
    fn stop(mut self) -> tempfile::TempDir {
        drop(self.stop.take());
        for thread in self.threads {
            thread.join().expect("a clean end");
        }
        self.directory
    }
}

/// Sends `request` and reads all there is until the daemon closes.
fn last_words(daemon: &Daemon, request: &[u8]) -> String {
    let mut stream = daemon.connect();
    stream.write_all(request).expect("sent");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("closed in time");
    reply
}

#[test]
fn status_and_peers_come_through_the_socket() {
    let daemon = Daemon::start();
    assert_eq!(status(&daemon.socket()).expect("answered"), sample());
    assert_eq!(peers(&daemon.socket(), 5).expect("answered").total, 5);
    daemon.stop();
}

#[test]
fn one_client_may_ask_again_and_again() {
    let daemon = Daemon::start();
    let mut stream = daemon.connect();
    let mut replies = BufReader::new(stream.try_clone().expect("cloned"));
    for _ in 0..3 {
        stream
            .write_all(b"{\"request\":\"peers\"}\n")
            .expect("sent");
        let mut reply = String::new();
        replies.read_line(&mut reply).expect("answered");
        assert_eq!(
            reply,
            format!("{{\"total\":{DEFAULT_PEER_ROWS},\"peers\":[]}}\n")
        );
    }
    daemon.stop();
}

#[test]
fn the_number_of_rows_is_bounded_by_the_server() {
    let daemon = Daemon::start();
    let total = peers(&daemon.socket(), u32::MAX).expect("answered").total;
    assert_eq!(total, u64::from(MAX_PEER_ROWS));
    daemon.stop();
}

#[test]
fn a_silent_client_does_not_hold_up_the_others() {
    let daemon = Daemon::start();
    let mut half = daemon.connect();
    half.write_all(b"{\"requ").expect("sent");
    let _silent: Vec<UnixStream> = (0..32).map(|_| daemon.connect()).collect();
    assert!(status(&daemon.socket()).is_ok());
    daemon.stop();
}

#[test]
fn what_is_not_a_request_is_refused_and_the_client_closed() {
    let daemon = Daemon::start();
    for request in [
        &b"hello\n"[..],
        b"{}\n",
        b"{\"request\":\"reboot\"}\n",
        b"\xff\n",
        b"\n",
    ] {
        let reply = last_words(&daemon, request);
        assert!(reply.starts_with("{\"error\":\"not a request: "), "{reply}");
    }
    daemon.stop();
}

#[test]
fn a_request_without_end_is_cut_off() {
    let daemon = Daemon::start();
    let reply = last_words(&daemon, &[b' '; REQUEST_BYTES + 1]);
    assert_eq!(reply, "{\"error\":\"a request has at most 4096 bytes\"}\n");
    daemon.stop();
}

#[test]
fn a_relay_that_does_not_answer_is_said_to_be_shutting_down() {
    let daemon = Daemon::start_with(drop);
    let error = status(&daemon.socket()).expect_err("no answer").to_string();
    assert!(error.ends_with("the relay is shutting down"), "{error}");
    daemon.stop();
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("relay.sock");
    let listener = UnixListener::bind(&path).expect("bound");
    let talks = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody asks");
        let words = [b' '; 1 << 14];
        // Until nobody listens any more.
        while stream.write_all(&words).is_ok() {}
    });
    let answer = status(&path);
    assert!(
        matches!(answer, Err(AskError::Unreadable { .. })),
        "{answer:?}"
    );
    talks.join().expect("a clean end");
}

#[test]
fn a_full_list_of_the_longest_rows_is_read() {
    let row = crate::status::PeerRow {
        address: "2001:1111:1111:1111:1111:1111:1111:1111"
            .parse()
            .expect("an address"),
        mapped: "255.255.255.255:65535".parse().expect("an address"),
        state: crate::status::PeerState::Probing,
        last_rx_age_s: Some(u64::MAX),
        bubbles: u32::MAX,
        queued_packets: u32::MAX,
    };
    let daemon = Daemon::start_with(move |ask| {
        if let Ask::Peers { limit, answer } = ask {
            let peers = vec![row; limit];
            let _ = answer.send(Peers {
                total: u64::MAX,
                peers,
            });
        }
    });
    let answer = peers(&daemon.socket(), MAX_PEER_ROWS).expect("answered");
    assert_eq!(answer.peers.len(), MAX_PEER_ROWS as usize);
    daemon.stop();
}

#[test]
fn the_socket_has_mode_0660_in_a_directory_of_mode_0755_and_goes_with_its_daemon() {
    let daemon = Daemon::start();
    let mode = |path: &Path| {
        let metadata = std::fs::metadata(path).expect("there");
        metadata.permissions().mode() & 0o777
    };
    let socket = daemon.socket();
    assert_eq!(mode(&socket), 0o660);
    assert_eq!(mode(socket.parent().expect("a directory")), 0o755);
    let _directory = daemon.stop();
    assert!(!socket.exists());
}

#[test]
fn a_live_daemon_keeps_its_socket_and_is_named() {
    let daemon = Daemon::start();
    let error = Server::bind(&daemon.socket())
        .expect_err("taken")
        .to_string();
    let pid = std::process::id();
    assert!(
        error.contains(&format!("another relay answers there (pid {pid})")),
        "{error}"
    );
    assert!(status(&daemon.socket()).is_ok());
    daemon.stop();
}

#[test]
fn the_socket_of_a_dead_daemon_is_replaced() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("relay.sock");
    // Dropping a listener leaves its file, as a killed daemon does.
    drop(UnixListener::bind(&path).expect("bound"));
    assert!(path.exists());
    assert!(matches!(status(&path), Err(AskError::Nobody { .. })));
    assert_eq!(refuse_if_taken(&path), Ok(()));
    assert!(Server::bind(&path).is_ok());
}

#[test]
fn a_file_that_is_not_a_socket_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("relay.sock");
    std::fs::write(&path, "precious").expect("written");
    let error = Server::bind(&path).expect_err("refused").to_string();
    assert!(error.contains("is a file, but not a socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).expect("there"), "precious");
}

#[test]
fn a_daemon_does_not_remove_the_socket_of_its_successor() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("relay.sock");
    let old = Server::bind(&path).expect("bound");
    std::fs::remove_file(&path).expect("removed");
    let new = Server::bind(&path).expect("bound");
    drop(old);
    assert!(path.exists());
    drop(new);
    assert!(!path.exists());
}

#[test]
fn nobody_there_is_said_with_what_to_do() {
    let error = status(Path::new("/nonexistent/relay.sock"))
        .expect_err("nobody")
        .to_string();
    assert_eq!(
        error,
        "--socket /nonexistent/relay.sock: nobody listens there (is \"shipworm relay\" running? \
         Name its socket if it was started with another --socket)"
    );
}

//! The asking ends: whatever answers, they say what is wrong with it, or print it.

use std::fs::File;
use std::io::{BufRead, BufReader, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use relay_user::control::{self, AskError, MAX_PEER_ROWS};
use relay_user::status::{render_peers, render_status};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// Most descriptors that are sent with an answer.
const DESCRIPTORS_MAX: usize = 9;
/// A relay that hands over gives these at least.
const HANDED_OVER: usize = 2;

/// An answer, and how many descriptors come with it.
type Answer = (Vec<u8>, usize);

/// Something that listens and says what it is told to say.
struct Impostor {
    socket: PathBuf,
    answers: SyncSender<Answer>,
    _directory: tempfile::TempDir,
}

thread_local! {
    static IMPOSTOR: Impostor = Impostor::start();
}

impl Impostor {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("relay.sock");
        let listener = UnixListener::bind(&socket).expect("bound");
        let (answers, next) = sync_channel::<Answer>(1);
        thread::spawn(move || {
            for (bytes, descriptors) in next {
                let (stream, _) = listener.accept().expect("somebody asks");
                let mut request = String::new();
                BufReader::new(&stream)
                    .read_line(&mut request)
                    .expect("a request");
                say(&stream, &bytes, descriptors);
            }
        });
        Self {
            socket,
            answers,
            _directory: directory,
        }
    }
}

/// Says `bytes` and closes. One who heard enough may be gone.
fn say(stream: &UnixStream, bytes: &[u8], descriptors: usize) {
    let nothing = File::open("/dev/null").expect("the null device");
    let descriptors = vec![nothing.as_fd(); descriptors];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let _ = sendmsg(
        stream,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    );
}

/// What `ask` makes of an answer.
fn ask<T>(answer: &[u8], descriptors: usize, ask: impl FnOnce(&Path) -> T) -> T {
    IMPOSTOR.with(|impostor| {
        let answer = (answer.to_vec(), descriptors);
        impostor.answers.send(answer).expect("it lives");
        ask(&impostor.socket)
    })
}

pub(crate) fn answers_status(answer: &[u8]) {
    match ask(answer, 0, control::status) {
        Ok(status) => assert!(!render_status(&status).to_string().is_empty()),
        Err(error) => assert_answered(&error),
    }
}

pub(crate) fn answers_peers(answer: &[u8]) {
    match ask(answer, 0, |socket| control::peers(socket, MAX_PEER_ROWS)) {
        Ok(peers) => assert!(!render_peers(&peers).to_string().is_empty()),
        Err(error) => assert_answered(&error),
    }
}

pub(crate) fn hands_over(answer: &[u8], descriptors: usize) {
    match ask(answer, descriptors, control::take_over) {
        Ok(Some(_)) => assert!(descriptors >= HANDED_OVER),
        Ok(None) => panic!("somebody listened"),
        // Words, no trouble of the system's: descriptors that are not kept are closed.
        Err(error) => assert_eq!(error.raw_os_error(), None, "{error}"),
    }
}

/// Somebody was there and was heard.
fn assert_answered(error: &AskError) {
    let heard = match error {
        AskError::Nobody { .. } | AskError::Forbidden { .. } => false,
        AskError::Silent { cause, .. } => cause.raw_os_error().is_none(),
        AskError::Refused { .. } | AskError::Unreadable { .. } => true,
    };
    assert!(heard, "{error}");
}

//! Handing over to another daemon (`shipworm relay --take-over`): the sockets change hands, so that what waits in them is not lost.

use std::io::{self, Read, Write};
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::socket::peer_credentials;
use super::{Refused, Request};

/// How long the daemon before may take to stop.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);
/// What comes with the descriptors: the service socket and the TUN device, and then the two sockets of a server where there
/// is one, in this order.
const HANDED_OVER: &[u8] = b"{\"handed_over\":true}\n";
/// Most descriptors.
const DESCRIPTORS_MAX: usize = 4;
/// Room for the control message that carries them.
const CONTROL_LEN: usize = 64;

/// A connection whose other end wants to take over.
#[derive(Debug)]
pub struct Successor(UnixStream);

impl Successor {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(STOPPED_WITHIN))?;
        Ok(Self(stream))
    }

    /// Whether it runs as this process does, or as root: a group that may ask for the status may not end the relay.
    pub fn may_take_over(&self) -> bool {
        // SAFETY: geteuid cannot fail.
        let own = unsafe { libc::geteuid() };
        peer_credentials(&self.0).is_some_and(|peer| peer.uid == 0 || peer.uid == own)
    }

    /// Tells it why not.
    pub fn refuse(mut self, why: &str) {
        let refused = Refused {
            error: why.to_owned(),
        };
        if let Ok(mut line) = serde_json::to_vec(&refused) {
            line.push(b'\n');
            // One that went away is its own business.
            let _ = self.0.write_all(&line);
        }
    }

    /// Gives it the sockets: service socket and TUN device, then those of a server.
    ///
    /// # Errors
    /// It is gone.
    pub fn give(self, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        let descriptors: Vec<RawFd> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
        send_with(&self.0, &descriptors)
    }
}

/// What the daemon before gave.
#[derive(Debug)]
pub struct Inheritance {
    /// Its service socket.
    pub service: OwnedFd,
    /// Its TUN device.
    pub tun: OwnedFd,
    /// The sockets of the server beside it; none where there was none.
    pub server: Vec<OwnedFd>,
}

/// Asks the daemon at `socket` to stop and to hand over. `None`: nobody listens there.
///
/// # Errors
/// It refuses, with its words, or does not answer.
pub fn take_over(socket: &Path) -> io::Result<Option<Inheritance>> {
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(STOPPED_WITHIN))?;
    let mut line = serde_json::to_vec(&Request::HandOver)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let (answer, descriptors) = receive_with(&stream)?;
    if let Ok(Refused { error }) = serde_json::from_slice(&answer) {
        return Err(io::Error::other(error));
    }
    let mut descriptors = descriptors.into_iter();
    let (Some(service), Some(tun)) = (descriptors.next(), descriptors.next()) else {
        return Err(io::Error::other(
            "the relay that runs did not hand over its sockets",
        ));
    };
    let server = descriptors.collect();
    // It closes the connection with its last breath: ports and queues are free then.
    let mut rest = stream.take(super::REQUEST_BYTES as u64);
    let _ = io::copy(&mut rest, &mut io::sink());
    Ok(Some(Inheritance {
        service,
        tun,
        server,
    }))
}

#[repr(C, align(8))]
struct Control([u8; CONTROL_LEN]);

fn send_with(stream: &UnixStream, descriptors: &[RawFd]) -> io::Result<()> {
    if descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut control = Control([0; CONTROL_LEN]);
    let mut part = libc::iovec {
        iov_base: HANDED_OVER.as_ptr().cast_mut().cast(),
        iov_len: HANDED_OVER.len(),
    };
    // SAFETY: all zero is a valid message header.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    let data_len = libc::c_uint::try_from(size_of_val(descriptors)).map_err(io::Error::other)?;
    // SAFETY: a computation on numbers.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(data_len) } as usize;
    // SAFETY: the control buffer is aligned for a header and has room for one with so many descriptors.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(data_len) as usize;
        let bytes = size_of_val(descriptors);
        std::ptr::copy_nonoverlapping(descriptors.as_ptr().cast(), libc::CMSG_DATA(header), bytes);
    }
    uninterrupted(|| {
        // SAFETY: the header points to buffers that outlive the call. A line this short is sent whole or not at all.
        unsafe { libc::sendmsg(stream.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) }
    })
    .map(drop)
}

/// Calls again what a signal has interrupted; a call with a time limit is not restarted by the kernel.
fn uninterrupted(mut call: impl FnMut() -> libc::ssize_t) -> io::Result<usize> {
    loop {
        if let Ok(len) = usize::try_from(call()) {
            return Ok(len);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// One line, and the descriptors that came with it.
fn receive_with(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut control = Control([0; CONTROL_LEN]);
    let mut buffer = [MaybeUninit::<u8>::uninit(); super::REQUEST_BYTES];
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all zero is a valid message header.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = CONTROL_LEN;
    let len = uninterrupted(|| {
        // SAFETY: the header points to buffers that outlive the call.
        unsafe {
            libc::recvmsg(
                stream.as_fd().as_raw_fd(),
                &raw mut message,
                libc::MSG_CMSG_CLOEXEC,
            )
        }
    })?;
    let mut descriptors = Vec::new();
    // SAFETY: the kernel has filled the header and its control buffer, which still live; descriptors it has put there are new
    // and nobody else's.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(header) = next.as_ref() {
            if (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let bytes = header.cmsg_len - libc::CMSG_LEN(0) as usize;
                let data = std::slice::from_raw_parts(libc::CMSG_DATA(next), bytes);
                let (numbers, _) = data.as_chunks();
                let numbers = numbers.iter().map(|bytes| RawFd::from_ne_bytes(*bytes));
                descriptors.extend(numbers.map(|number| OwnedFd::from_raw_fd(number)));
            }
            next = libc::CMSG_NXTHDR(&raw const message, next);
        }
    }
    if len == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // SAFETY: the kernel has initialised the first `len` bytes.
    let line = buffer[..len]
        .iter()
        .map(|byte| unsafe { byte.assume_init() });
    Ok((line.collect(), descriptors))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn descriptors_arrive_as_what_they_were_in_their_order() {
        let (here, there) = UnixStream::pair().unwrap();
        let names = ["service", "tun", "primary", "secondary"];
        let mut files = names.map(|_| tempfile::tempfile().unwrap());
        for (file, text) in files.iter_mut().zip(names) {
            file.write_all(text.as_bytes()).unwrap();
        }
        let successor = Successor::new(there).unwrap();
        assert!(successor.may_take_over());
        let sockets: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        successor.give(&sockets).unwrap();
        let (line, descriptors) = receive_with(&here).unwrap();
        assert_eq!(line, HANDED_OVER);
        let texts: Vec<String> = descriptors
            .into_iter()
            .map(|descriptor| {
                let mut file = File::from(descriptor);
                let mut text = String::new();
                io::Seek::rewind(&mut file).unwrap();
                file.read_to_string(&mut text).unwrap();
                text
            })
            .collect();
        assert_eq!(texts, names);
    }

    #[test]
    fn a_signal_does_not_end_a_hand_over() {
        extern "C" fn ignore(_: libc::c_int) {}
        // SAFETY: a handler that does nothing, for a signal nothing else here uses.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = ignore as extern "C" fn(libc::c_int) as usize;
            libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut());
        }
        let (here, there) = UnixStream::pair().unwrap();
        here.set_read_timeout(Some(STOPPED_WITHIN)).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let waiting = std::thread::spawn(move || {
            // SAFETY: names the calling thread.
            tell.send(unsafe { libc::pthread_self() }).unwrap();
            receive_with(&here).map(|(line, _)| line)
        });
        let thread = told.recv().unwrap();
        // Whether it waits already or not: one of many meets it waiting.
        for _ in 0..1000 {
            // SAFETY: the thread is there until it is joined: nothing is sent to it yet.
            unsafe { libc::pthread_kill(thread, libc::SIGUSR2) };
            std::thread::yield_now();
        }
        let file = tempfile::tempfile().unwrap();
        Successor::new(there)
            .unwrap()
            .give(&[file.as_fd()])
            .unwrap();
        assert_eq!(waiting.join().unwrap().unwrap(), HANDED_OVER);
    }

    #[test]
    fn where_nobody_listens_nobody_is_asked() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("relay.sock");
        assert!(take_over(&socket).unwrap().is_none());
    }
}

//! The socket file: who has it, taking it over from the dead, never from the living.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::error::StartError;

/// Mode of the socket: its owner and group may ask.
const SOCKET_MODE: u32 = 0o660;
/// Mode of the directory, where it has to be made.
const DIRECTORY_MODE: u32 = 0o755;
/// Clients that may wait to be accepted.
const BACKLOG: i32 = 64;
/// How long a daemon may take to accept the probe.
const PROBE_MS: u64 = 500;

fn error(path: &Path, cause: impl Into<String>, next: impl Into<String>) -> StartError {
    StartError::new("--socket", path.display().to_string(), cause, next)
}

fn system(path: &Path, cause: &io::Error) -> StartError {
    let next = match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room there, or --socket PATH on another file system"
        }
        _ => "run as root, or --socket PATH in a directory of your own",
    };
    error(path, cause.to_string(), next)
}

/// Whose the path is.
#[derive(Debug, PartialEq, Eq)]
enum Holder {
    /// Nobody's.
    Nobody,
    /// A daemon's that is gone.
    Dead,
    /// A daemon's that answers, with its process identifier where the kernel tells.
    Alive(Option<i32>),
    /// Not a socket.
    OtherFile,
}

fn holder(path: &Path) -> io::Result<Holder> {
    match fs::symlink_metadata(path) {
        Ok(m) if !m.file_type().is_socket() => return Ok(Holder::OtherFile),
        Ok(_) => (),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Holder::Nobody),
        Err(e) => return Err(e),
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    match probe.connect_timeout(&SockAddr::unix(path)?, Duration::from_millis(PROBE_MS)) {
        Ok(()) => Ok(Holder::Alive(peer_pid(&probe))),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(Holder::Dead),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Holder::Nobody),
        // Its backlog is full: somebody lives there, though busy.
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ) =>
        {
            Ok(Holder::Alive(None))
        }
        Err(e) => Err(e),
    }
}

/// The process at the other end: whoever called `listen`.
fn peer_pid(socket: &Socket) -> Option<i32> {
    let pid = peer_credentials(socket)?.pid;
    (pid > 0).then_some(pid)
}

/// Who is at the other end (`SO_PEERCRED`).
pub(super) fn peer_credentials(socket: &impl AsRawFd) -> Option<libc::ucred> {
    let mut credentials = libc::ucred {
        pid: 0,
        uid: libc::uid_t::MAX,
        gid: libc::gid_t::MAX,
    };
    let mut len = libc::socklen_t::try_from(size_of::<libc::ucred>()).ok()?;
    // SAFETY: the kernel writes at most `len` bytes, the size of `credentials`, which are plain integers.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut len,
        )
    };
    (result == 0).then_some(credentials)
}

/// Checks that no daemon answers at `path` and that nothing but a socket stands there. Changes nothing.
///
/// # Errors
/// A live daemon, named by process identifier where the kernel tells; another kind of file; no access.
pub fn refuse_if_taken(path: &Path) -> Result<(), StartError> {
    match holder(path).map_err(|e| system(path, &e))? {
        Holder::Nobody | Holder::Dead => Ok(()),
        Holder::Alive(pid) => {
            let who = pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
            Err(error(
                path,
                format!("another relay answers there{who}"),
                "stop it, or give this one its own --socket",
            ))
        }
        Holder::OtherFile => Err(error(
            path,
            "is a file, but not a socket",
            "move it away, or --socket another path",
        )),
    }
}

/// A listening socket file, removed when dropped, unless it is somebody else's by then.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device_and_inode: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.device_and_inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|m| (m.dev(), m.ino()))
}

/// Takes `path`: makes its directory, replaces the socket of a dead daemon, binds and listens.
pub(super) fn listen(path: &Path) -> Result<(UnixListener, SocketFile), StartError> {
    refuse_if_taken(path)?;
    take(path).map_err(|e| system(path, &e))
}

fn take(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(directory)?;
    }
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => (),
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The file gets the mode of the unbound socket less the umask: there is no moment at which others may connect.
    File::from(OwnedFd::from(socket.try_clone()?))
        .set_permissions(Permissions::from_mode(SOCKET_MODE))?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    let file = SocketFile {
        path: path.to_owned(),
        device_and_inode: identity(path)?,
    };
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok((UnixListener::from(OwnedFd::from(socket)), file))
}

//! Waiting for one descriptor.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// How long a thread of the slow path sleeps at most before it looks whether it should stop.
pub const STOP_CHECK: Duration = Duration::from_millis(100);

/// Waits until `fd` is readable or `timeout` is over. Says whether it is readable.
///
/// # Errors
/// Those of `poll`, except an interruption, which counts as a time-out.
pub fn wait_readable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    wait_any_readable([fd], timeout)
}

/// Waits until one of `fds` is readable or `timeout` is over. Says whether one is.
///
/// # Errors
/// Those of `poll`, except an interruption, which counts as a time-out.
pub fn wait_any_readable<'a>(
    fds: impl IntoIterator<Item = BorrowedFd<'a>>,
    timeout: Duration,
) -> io::Result<bool> {
    let mut entries: Vec<libc::pollfd> = fds
        .into_iter()
        .map(|fd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let count = libc::nfds_t::try_from(entries.len()).unwrap_or(libc::nfds_t::MAX);
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the pointer is to as many entries as the count says.
    match unsafe { libc::poll(entries.as_mut_ptr(), count, timeout_ms) } {
        0 => Ok(false),
        n if n > 0 => Ok(true),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            error => Err(error),
        },
    }
}

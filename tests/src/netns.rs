//! Network namespaces held by a file descriptor alone.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::panic::resume_unwind;
use std::process;
use std::thread;

/// A network namespace without a name.
///
/// Nothing in the file system refers to it: it ends with its last process, thread or
/// descriptor, so a test that is killed leaves nothing behind, and any number of labs can
/// run side by side.
#[derive(Debug)]
pub struct Netns(File);

impl Netns {
    /// Makes an empty namespace.
    ///
    /// # Errors
    /// The kernel refuses; it takes `CAP_SYS_ADMIN`.
    pub fn new() -> io::Result<Self> {
        // `unshare` moves the calling thread, so the namespace is made by one that ends.
        in_new_thread(|| {
            // SAFETY: no pointers; moves this thread alone.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return Err(io::Error::last_os_error());
            }
            File::open("/proc/thread-self/ns/net").map(Self)
        })
    }

    /// Runs `f` in a thread inside the namespace. Sockets made there stay in it.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> io::Result<T> {
        in_new_thread(|| {
            set_netns(self.0.as_fd())?;
            Ok(f())
        })
    }

    /// A path by which other programs reach the namespace while this process lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd())
    }

    /// The inode number: the namespace's identity.
    ///
    /// # Errors
    /// The descriptor cannot be examined.
    pub fn inode(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.ino())
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Moves the calling thread into a network namespace. Safe to call between fork and exec.
pub(crate) fn set_netns(ns: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open; the call moves this thread alone.
    if unsafe { libc::setns(ns.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn in_new_thread<T: Send>(f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        scope
            .spawn(f)
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic))
    })
}

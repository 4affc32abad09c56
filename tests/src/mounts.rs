//! A BPF file system of the lab's own: what daemons pin there ends with the lab's last process.

use std::cell::Cell;
use std::ffi::CStr;
use std::io;
use std::ptr::null;

thread_local! {
    static ISOLATED: Cell<bool> = const { Cell::new(false) };
}

/// Gives the calling thread, and all threads and processes it starts from now on, a mount namespace with an empty BPF
/// file system.
///
/// # Errors
/// The kernel refuses; it takes `CAP_SYS_ADMIN`.
pub(crate) fn isolate() -> io::Result<()> {
    if ISOLATED.get() {
        return Ok(());
    }
    // SAFETY: no pointers; moves this thread alone.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    mount(c"none", c"/", None, libc::MS_REC | libc::MS_PRIVATE)?;
    mount(c"bpf", c"/sys/fs/bpf", Some(c"bpf"), 0)?;
    ISOLATED.set(true);
    Ok(())
}

fn mount(what: &CStr, at: &CStr, kind: Option<&CStr>, flags: libc::c_ulong) -> io::Result<()> {
    let kind = kind.map_or(null(), CStr::as_ptr);
    // SAFETY: all strings end in zero and outlive the call; no data is passed.
    let done = unsafe { libc::mount(what.as_ptr(), at.as_ptr(), kind, flags, null()) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

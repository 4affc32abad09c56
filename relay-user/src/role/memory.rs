//! Memory that is there before the first packet needs it.
//!
//! A page fault costs about as much as the handling of a packet, and a handshake would meet dozens of them: code that never ran,
//! buffers that were never written, an allocator that makes an arena for each thread.

use std::io;

use tracing::debug;

/// Makes all threads allocate from one arena: they allocate under one lock anyway. To be called before the first thread starts.
pub(super) fn share_arena() {
    // SAFETY: the call takes plain numbers; a refusal changes nothing.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Brings everything mapped so far into memory and keeps it there. Without `CAP_IPC_LOCK` or a limit that allows it, the
/// first packets pay instead.
pub(super) fn settle() {
    // SAFETY: the call takes a plain number and moves nothing.
    if unsafe { libc::mlockall(libc::MCL_CURRENT) } != 0 {
        debug!(error = %io::Error::last_os_error(), "memory stays pageable");
    }
}

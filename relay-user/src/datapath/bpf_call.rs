//! The system call `bpf`, where aya does not make the call that is wanted.

use std::io;

/// Runs `command` (`enum bpf_cmd`) with its block of attributes.
///
/// # Safety
/// Pointers in `attributes` must be good for what the command does with them.
pub(super) unsafe fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: the block is as long as said; for what it points to the caller vouches.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    match libc::c_int::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}

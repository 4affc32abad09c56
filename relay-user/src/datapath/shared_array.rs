//! A BPF array as memory of this process.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::ptr::NonNull;

use aya::maps::MapData;

/// The elements of an mmap-able BPF array (`BPF_F_MMAPABLE`, kernel 5.5), shared with the program.
///
/// The mapping keeps the map alive; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct SharedArray<T> {
    start: NonNull<T>,
    len: usize,
    bytes: usize,
}

// SAFETY: a region of shared memory belongs to no thread; `T` says how it may be accessed.
unsafe impl<T: Send> Send for SharedArray<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for SharedArray<T> {}

impl<T> SharedArray<T> {
    /// Maps all elements of `map`.
    ///
    /// # Safety
    /// `map` is an mmap-able array whose elements are `T`s as long as `T` is, for which all bytes the
    /// program may write are valid; and `T` is accessed by atomic or volatile operations alone.
    ///
    /// # Errors
    /// Those of `mmap`: `ENOMEM`, `EPERM`, or `ENOTSUPP` for a map of another kind.
    pub(super) unsafe fn new(map: &MapData) -> io::Result<Self> {
        let info = map.info().map_err(io::Error::other)?;
        let len = info.max_entries() as usize;
        if info.value_size() as usize != size_of::<T>() {
            return Err(io::Error::other(format!(
                "elements of {} bytes where {} are expected",
                info.value_size(),
                size_of::<T>()
            )));
        }
        let bytes = len * size_of::<T>();
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that is there.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { start, len, bytes })
    }

    /// The elements.
    pub(super) fn elements(&self) -> &[T] {
        // SAFETY: the mapping has as many elements and lives as long as `self`; `new`'s caller vouches for the rest.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for SharedArray<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, to which no reference outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

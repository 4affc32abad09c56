//! The peer table's system calls, one by one and in batches.

use std::ffi::c_long;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use relay_common::{PeerEntry, PeerKey};

const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
const BPF_MAP_DELETE_BATCH: libc::c_int = 27;

/// What an update does about an entry that is there already.
#[derive(Clone, Copy, Debug)]
pub(super) enum Update {
    /// `BPF_NOEXIST`: `EEXIST`.
    New = 1,
    /// `BPF_EXIST`: replaces it, `ENOENT` if there is none.
    Existing = 2,
}

/// The `BPF_MAP_*_ELEM` arm of `union bpf_attr`.
#[repr(C)]
struct ElementAttr {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The `BPF_MAP_*_BATCH` arm of `union bpf_attr` (kernel 5.6).
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Where the walk over a hash map goes on: an opaque bucket number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor(u32);

/// A BPF hash map from [`PeerKey`] to [`PeerEntry`] by its descriptor.
#[derive(Debug)]
pub(super) struct PeerMap(OwnedFd);

impl PeerMap {
    /// # Safety
    /// `fd` must be a hash map whose keys are [`PeerKey`]s and whose values are
    /// [`PeerEntry`]s: the kernel copies as many bytes as the map says, not as we say.
    pub(super) unsafe fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    pub(super) fn get(&self, key: PeerKey) -> io::Result<Option<PeerEntry>> {
        let mut entry = PeerEntry::default();
        match self.element(BPF_MAP_LOOKUP_ELEM, &key, &raw mut entry, 0) {
            Ok(()) => Ok(Some(entry)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn update(&self, key: PeerKey, mut entry: PeerEntry, how: Update) -> io::Result<()> {
        self.element(BPF_MAP_UPDATE_ELEM, &key, &raw mut entry, how as u64)
    }

    /// Says whether there was such an entry.
    pub(super) fn delete(&self, key: PeerKey) -> io::Result<bool> {
        match self.element(BPF_MAP_DELETE_ELEM, &key, std::ptr::null_mut(), 0) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads up to `keys.len()` entries from `from` on (`None`: the beginning) and says how
    /// many there were and where to go on (`None`: that was the end).
    ///
    /// The kernel hands out whole buckets, so every entry that stays in the map is met exactly once.
    pub(super) fn lookup_batch(
        &self,
        from: Option<Cursor>,
        keys: &mut [PeerKey],
        entries: &mut [PeerEntry],
    ) -> io::Result<(usize, Option<Cursor>)> {
        let start = from.unwrap_or(Cursor(0)).0;
        let mut end = 0_u32;
        let mut attr = BatchAttr {
            in_batch: from.map_or(0, |_| address(&raw const start)),
            out_batch: address(&raw mut end),
            keys: address(keys.as_mut_ptr()),
            values: address(entries.as_mut_ptr()),
            count: keys.len().min(entries.len()).try_into().unwrap_or(u32::MAX),
            map_fd: self.fd(),
            ..BatchAttr::default()
        };
        // SAFETY: keys and values have room for `count` elements of the map's own sizes (see
        // `new`), the cursors for one u32, and all of them outlive the call.
        let result = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &raw mut attr) };
        let next = match result {
            Ok(()) => Some(Cursor(end)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => None,
            Err(error) => return Err(error),
        };
        Ok((attr.count as usize, next))
    }

    /// Deletes `keys` as far as they are there, and says how many were.
    pub(super) fn delete_batch(&self, keys: &[PeerKey]) -> io::Result<usize> {
        let mut deleted = 0;
        let mut rest = keys;
        while !rest.is_empty() {
            let mut attr = BatchAttr {
                keys: address(rest.as_ptr()),
                count: rest.len().try_into().unwrap_or(u32::MAX),
                map_fd: self.fd(),
                ..BatchAttr::default()
            };
            // SAFETY: `keys` holds `count` keys of the map's own size (see `new`) and outlives the call.
            let result = unsafe { bpf(BPF_MAP_DELETE_BATCH, &raw mut attr) };
            let done = attr.count as usize;
            deleted += done;
            match result {
                Ok(()) => break,
                // The kernel stops at the first key that is not there; the others still want to go.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                    rest = rest.get(done + 1..).unwrap_or_default();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(deleted)
    }

    /// Bytes the map takes, from the `memlock` line of its descriptor.
    pub(super) fn memory_bytes(&self) -> Option<u64> {
        let path = format!("/proc/self/fdinfo/{}", self.0.as_raw_fd());
        let info = fs::read_to_string(path).ok()?;
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("memlock:"))?;
        line.trim().parse().ok()
    }

    fn fd(&self) -> u32 {
        self.0.as_raw_fd().cast_unsigned()
    }

    fn element(
        &self,
        command: libc::c_int,
        key: &PeerKey,
        entry: *mut PeerEntry,
        flags: u64,
    ) -> io::Result<()> {
        let mut attr = ElementAttr {
            map_fd: self.fd(),
            padding: 0,
            key: address(std::ptr::from_ref(key)),
            value: address(entry),
            flags,
        };
        // SAFETY: the key, and the value where the command has one, are of the map's own sizes
        // (see `new`) and outlive the call.
        unsafe { bpf(command, &raw mut attr) }
    }
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

/// # Safety
/// `attr` must be the arm of `union bpf_attr` that `command` takes, with every pointer in it valid.
unsafe fn bpf<T>(command: libc::c_int, attr: *mut T) -> io::Result<()> {
    // SAFETY: passed on to the caller; the size is that of what the pointer points to.
    let result: c_long = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

const _: () = assert!(size_of::<ElementAttr>() == 32 && size_of::<BatchAttr>() == 56);

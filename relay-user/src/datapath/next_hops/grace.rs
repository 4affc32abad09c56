//! Waiting until no run of the XDP program is left that began before.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use crate::datapath::bpf_call::bpf;

/// Commands and types of linux/bpf.h.
const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_MAP_TYPE_ARRAY_OF_MAPS: u32 = 12;
/// Bytes of keys, and of values that are descriptors.
const WORD_LEN: u32 = 4;

/// The kernel's promise that programs have ended.
///
/// Whoever replaces a map inside a map is kept waiting until every program that could still be using the old one has ended
/// (`maybe_wait_bpf_programs` in kernel/bpf/syscall.c, `synchronize_rcu`). `membarrier` would do as well, were it not refused on
/// machines with `nohz_full`, which routers are fond of.
#[derive(Debug)]
pub(super) struct GracePeriod {
    outer: OwnedFd,
    inner: OwnedFd,
}

/// The part of `union bpf_attr` that makes a map.
#[repr(C)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
}

/// The part of `union bpf_attr` that writes an element.
#[repr(C)]
struct Update {
    map_fd: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl GracePeriod {
    /// # Errors
    /// The kernel's refusal to make the maps.
    pub(super) fn new() -> io::Result<Self> {
        let inner = create(BPF_MAP_TYPE_ARRAY, 0)?;
        let outer = create(BPF_MAP_TYPE_ARRAY_OF_MAPS, number(&inner))?;
        Ok(Self { outer, inner })
    }

    /// Returns when every run of an XDP program that had begun before the call has ended: some milliseconds, asleep.
    ///
    /// # Errors
    /// The kernel's refusal; nothing is promised then.
    pub(super) fn wait(&self) -> io::Result<()> {
        let (key, value) = (0_u32, number(&self.inner));
        let update = Update {
            map_fd: number(&self.outer),
            reserved: 0,
            key: (&raw const key) as u64,
            value: (&raw const value) as u64,
            flags: 0,
        };
        // SAFETY: key and value are as long as the map says and outlive the call.
        unsafe { bpf(BPF_MAP_UPDATE_ELEM, &update) }.map(drop)
    }
}

fn create(map_type: u32, inner_map_fd: u32) -> io::Result<OwnedFd> {
    let create = Create {
        map_type,
        key_size: WORD_LEN,
        value_size: WORD_LEN,
        max_entries: 1,
        map_flags: 0,
        inner_map_fd,
    };
    // SAFETY: no pointer in it.
    let fd = unsafe { bpf(BPF_MAP_CREATE, &create) }?;
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn number(fd: &OwnedFd) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

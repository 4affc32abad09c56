//! What outlives the daemon: links and maps as files of a BPF file system (invariant 11).
//!
//! ```text
//! /sys/fs/bpf/shipworm/            --pin-dir
//! └─ netns-4026531833/             one relay for each network namespace
//!    ├─ PEERS, COUNTERS            maps a successor goes on with
//!    ├─ SUCCESSION                 whether it can
//!    └─ link-2, link-3             the program on the port of that index
//! ```
//!
//! All other maps belong to a program, and live as long as one of its links does.

use std::ffi::CString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use aya::maps::{Array, Map, MapData};
use relay_common::{LAYOUT, Succession, maps};
use tracing::{debug, info, warn};

use super::bpf_call::bpf;
use super::pod::Pod;

/// Where relays keep their pins when nothing else is asked for.
pub const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/shipworm";

/// `BPF_FS_MAGIC` of linux/magic.h.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
/// Nobody but the relay's user may open what is pinned.
const DIRECTORY_MODE: u32 = 0o700;
const RELAY: &str = "netns-";
const LINK: &str = "link-";
/// Maps a successor goes on with.
const MAPS: [&str; 3] = [maps::PEERS, maps::COUNTERS, maps::SUCCESSION];

/// The directory of this network namespace's relay. Dropped before it is decided that things are to stay, it takes away
/// what is there.
#[derive(Debug)]
pub struct Pins {
    directory: PathBuf,
    /// The links there. When it is time to remove them the directory can no longer be read.
    links: Vec<Pinned>,
    temporary: bool,
}

/// A pinned link.
#[derive(Debug)]
struct Pinned {
    ifindex: u32,
    handle: OwnedFd,
}

impl Pinned {
    /// Takes the program off the port now. Without that it stays there for a moment after the last file and descriptor are gone.
    fn detach(&self) {
        const BPF_LINK_DETACH: libc::c_long = 34;
        let link = self.handle.as_raw_fd();
        // SAFETY: the attribute is a descriptor.
        if let Err(error) = unsafe { bpf(BPF_LINK_DETACH, &link) } {
            debug!(ifindex = self.ifindex, %error, "the port is gone");
        }
    }
}

impl Pins {
    /// Makes the directory below `base`, and removes those of namespaces that are gone.
    ///
    /// # Errors
    /// `base` cannot be made, or is on another kind of file system.
    pub fn open(base: &Path) -> io::Result<Self> {
        let is_new = !base.exists();
        make_directory(base)?;
        if !is_bpf_file_system(base)? {
            if is_new {
                let _ = fs::remove_dir(base);
            }
            return Err(io::Error::other(
                "not on a BPF file system, see mount -t bpf",
            ));
        }
        let directory = directory_here(base)?;
        remove_dead_siblings(base, &directory);
        make_directory(&directory)?;
        Ok(Self {
            links: links_in(&directory)
                .filter_map(|(path, ifindex)| {
                    let handle = open(&path).ok()?;
                    Some(Pinned { ifindex, handle })
                })
                .collect(),
            directory,
            temporary: true,
        })
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Leaves everything where it is.
    pub(super) fn keep(&mut self) {
        self.temporary = false;
    }

    /// Leaves nothing, whoever has put it there.
    pub(super) fn give_up(&mut self) {
        self.temporary = true;
    }

    /// What a daemon before has left, if this one can go on with it: maps of the same form, for as many peers.
    pub(super) fn inherited(&self, max_peers: u32) -> Option<Succession> {
        let map = MapData::from_pin(self.map(maps::SUCCESSION)).ok()?;
        let map: Array<_, Pod<Succession>> = Array::try_from(Map::Array(map)).ok()?;
        let left = map.get(&0, 0).ok()?.0;
        let complete = MAPS.iter().all(|name| self.map(name).exists());
        (complete && left.layout == LAYOUT && left.max_peers == max_peers).then_some(left)
    }

    /// Maps that outlive the daemon, by name and file.
    pub(super) fn maps(&self) -> [(&'static str, PathBuf); 3] {
        MAPS.map(|name| (name, self.map(name)))
    }

    /// The file of map `name`.
    fn map(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The file of the link on the port of that index.
    pub(super) fn link(&self, ifindex: u32) -> PathBuf {
        self.directory.join(format!("{LINK}{ifindex}"))
    }

    /// There is a link on that port now.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn note_link(&mut self, ifindex: u32) -> io::Result<()> {
        let handle = open(&self.link(ifindex))?;
        self.links.retain(|link| link.ifindex != ifindex);
        self.links.push(Pinned { ifindex, handle });
        Ok(())
    }

    /// Whether the program of a daemon before is still on the port of that index.
    pub(super) fn has_link(&self, ifindex: u32) -> bool {
        is_on(&self.link(ifindex), ifindex)
    }

    /// Whether any program of a daemon before is on a port.
    pub(super) fn has_links(&self) -> bool {
        self.links.iter().any(|link| self.has_link(link.ifindex))
    }

    /// Removes the files of the maps. Programs that run keep the maps themselves.
    pub(super) fn forget_maps(&self) {
        for name in MAPS {
            remove(&self.map(name));
        }
    }

    /// Takes the program off every port but those of which the indexes are `kept`.
    pub(super) fn forget_links_but(&mut self, kept: &[u32]) {
        for gone in self
            .links
            .extract_if(.., |link| !kept.contains(&link.ifindex))
        {
            gone.detach();
            remove(&self.directory.join(format!("{LINK}{}", gone.ifindex)));
        }
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if self.temporary {
            self.forget_links_but(&[]);
            self.forget_maps();
            remove_directories(&self.directory);
        }
    }
}

/// Whether the program on the port of that index is that of a relay which is gone: its successor replaces it.
pub(super) fn is_left_over(base: &Path, ifindex: u32) -> bool {
    directory_here(base)
        .is_ok_and(|directory| is_on(&directory.join(format!("{LINK}{ifindex}")), ifindex))
}

/// The directory of the relay in the calling thread's network namespace.
fn directory_here(base: &Path) -> io::Result<PathBuf> {
    let namespace = fs::metadata("/proc/thread-self/ns/net")?.ino();
    Ok(base.join(format!("{RELAY}{namespace}")))
}

/// A relay of which all links have lost their ports can never be taken over from.
fn remove_dead_siblings(base: &Path, own: &Path) {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    let relays = entries
        .map(|entry| entry.path())
        .filter(|path| path != own && name_of(path).starts_with(RELAY));
    for relay in relays {
        let mut links = links_in(&relay).peekable();
        // Without a link it is one that starts at this moment, or nothing worth keeping that does no harm.
        if links.peek().is_some()
            && links.all(|(path, _)| port_of(&path).is_ok_and(|port| port == 0))
        {
            info!(path = %relay.display(), "removing the pins of a relay whose ports are gone");
            remove_all(&relay);
        }
    }
}

fn links_in(directory: &Path) -> impl Iterator<Item = (PathBuf, u32)> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let path = entry.path();
        let ifindex = name_of(&path).strip_prefix(LINK)?.parse().ok()?;
        Some((path, ifindex))
    })
}

fn name_of(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
}

fn remove_all(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        remove(&entry.path());
    }
    remove_directories(directory);
}

/// The directory of a relay, and the one around it unless others have their relays there.
fn remove_directories(directory: &Path) {
    let _ = fs::remove_dir(directory);
    if let Some(base) = directory.parent() {
        let _ = fs::remove_dir(base);
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!(path = %path.display(), %error, "a pin cannot be removed");
        }
        _ => {}
    }
}

fn is_bpf_file_system(path: &Path) -> io::Result<bool> {
    let path = c_string(path)?;
    let mut about = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path ends in zero; statfs fills the structure unless it fails.
    let about = unsafe {
        if libc::statfs(path.as_ptr(), about.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        about.assume_init()
    };
    Ok(about.f_type == BPF_FS_MAGIC)
}

/// Index of the port a pinned link is on; 0 when the port is gone (`bpf_xdp_link_show_fdinfo` in net/core/dev.c).
fn port_of(link: &Path) -> io::Result<u32> {
    let link = open(link)?;
    let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", link.as_raw_fd()))?;
    told.lines()
        .find_map(|line| line.strip_prefix("ifindex:")?.trim().parse().ok())
        .ok_or_else(|| io::Error::other("not a link of an XDP program"))
}

/// Whether a link is pinned at `link` and its program still on that port.
fn is_on(link: &Path, ifindex: u32) -> bool {
    port_of(link).is_ok_and(|port| port == ifindex)
}

/// Opens what is pinned at `path`.
fn open(path: &Path) -> io::Result<OwnedFd> {
    const BPF_OBJ_GET: libc::c_long = 7;
    /// The first members of `union bpf_attr` for that command.
    #[repr(C)]
    struct Get {
        path: u64,
        fd: u32,
        flags: u32,
    }
    let path = c_string(path)?;
    let get = Get {
        path: path.as_ptr() as u64,
        fd: 0,
        flags: 0,
    };
    // SAFETY: the path ends in zero and outlives the call.
    let fd = unsafe { bpf(BPF_OBJ_GET, &get) }?;
    // SAFETY: a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn c_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_on_another_file_system_is_refused_by_name_of_the_right_one() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().join("shipworm");
        let error = Pins::open(&base).unwrap_err().to_string();
        assert!(error.contains("mount -t bpf"), "{error}");
        assert!(!base.exists(), "nothing is left of it");
    }

    #[test]
    fn links_are_known_by_the_index_in_their_names() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["link-7", "link-x", "PEERS"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let links: Vec<u32> = links_in(directory.path()).map(|(_, index)| index).collect();
        assert_eq!(links, [7]);
    }
}

//! A TAP device: an Ethernet interface whose frames a program reads and writes.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Makes a device of the calling thread's namespace; it goes away with this value.
#[derive(Debug)]
pub(crate) struct Tap(File);

impl Tap {
    /// Makes the device `name`, not up yet.
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .open("/dev/net/tun")?;
        // SAFETY: all zero is a valid request.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        let c_name = CString::new(name)?;
        let bytes = c_name.as_bytes();
        if bytes.len() >= request.ifr_name.len() {
            return Err(io::Error::other(format!("{name} is too long")));
        }
        for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags =
            libc::c_short::try_from(libc::IFF_TAP | libc::IFF_NO_PI).map_err(io::Error::other)?;
        // SAFETY: the request is valid, and the call keeps no pointer to it.
        if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(file))
    }

    /// The next frame the kernel sends through the device; none `within` the given time.
    pub(crate) fn read(&self, buffer: &mut [u8], within: Duration) -> io::Result<Option<usize>> {
        let mut polled = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let timeout_ms = libc::c_int::try_from(within.as_millis()).map_err(io::Error::other)?;
        // SAFETY: the pointer is valid for one entry.
        if unsafe { libc::poll(&raw mut polled, 1, timeout_ms) } <= 0 {
            return Ok(None);
        }
        (&self.0).read(buffer).map(Some)
    }

    /// Gives the kernel a frame as if the device had received it.
    pub(crate) fn write(&self, frame: &[u8]) -> io::Result<()> {
        (&self.0).write_all(frame)
    }
}

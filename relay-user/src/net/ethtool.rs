//! What the driver says about a network device, by the ethtool ioctl.
//!
//! The ioctl follows the calling thread's network namespace; `/sys` shows the namespace it
//! was mounted in.

use std::ffi::c_char;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

const SIOCETHTOOL: libc::Ioctl = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    cmd: u32,
    driver: [u8; 32],
    version: [u8; 32],
    fw_version: [u8; 32],
    bus_info: [u8; 32],
    erom_version: [u8; 32],
    reserved: [u8; 12],
    counts: [u32; 5],
}

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct Channels {
    cmd: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx_count: u32,
    tx_count: u32,
    other_count: u32,
    combined_count: u32,
}

/// Receive queues of the device `name` now; 1 where the driver does not say.
pub fn rx_queues(name: &str) -> u32 {
    let mut channels = Channels {
        cmd: ETHTOOL_GCHANNELS,
        ..Channels::default()
    };
    match ethtool(name, &mut channels) {
        Ok(()) => (channels.rx_count + channels.combined_count).max(1),
        Err(_) => 1,
    }
}

/// Name of the driver of the device `name`, as `ethtool -i` shows it.
///
/// # Errors
/// No such device, or a driver that gives no information.
pub fn driver(name: &str) -> io::Result<String> {
    let mut info = DriverInfo {
        cmd: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        version: [0; 32],
        fw_version: [0; 32],
        bus_info: [0; 32],
        erom_version: [0; 32],
        reserved: [0; 12],
        counts: [0; 5],
    };
    ethtool(name, &mut info)?;
    let end = info.driver.iter().position(|b| *b == 0);
    let driver = &info.driver[..end.unwrap_or(info.driver.len())];
    Ok(String::from_utf8_lossy(driver).into_owned())
}

/// Runs the command at the beginning of `request`, which the kernel overwrites with its answer.
fn ethtool<T>(name: &str, request: &mut T) -> io::Result<()> {
    // SAFETY: plain system call without pointers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just opened and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };

    let mut ifr_name = [0; libc::IFNAMSIZ];
    if name.len() >= ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in ifr_name.iter_mut().zip(name.bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
    let mut ifreq = libc::ifreq {
        ifr_name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: std::ptr::from_mut(request).cast(),
        },
    };
    // SAFETY: `ifreq` points to `request`, which is the structure the command in its first
    // field asks for, and both outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut ifreq) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

const _: () = assert!(size_of::<DriverInfo>() == 196);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_does_not_exist_has_no_driver_and_one_queue() {
        let error = driver("no-such-if0").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        assert_eq!(rx_queues("no-such-if0"), 1);
    }

    #[test]
    fn a_name_longer_than_a_device_may_have_is_no_device() {
        assert!(driver("a-name-of-more-than-fifteen-bytes").is_err());
    }
}

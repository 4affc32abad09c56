//! The TUN device: the kernel's way into the relay and out of it.
//!
//! Native packets the fast path leaves to the kernel are routed into it (2001::/32), and what the
//! slow path decapsulates is written to it, so that the kernel decrements the hop limit, routes
//! and resolves neighbours. It is also the interface from whose point of view the fast path
//! looks routes up.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use teredo::addr::TeredoAddr;

use super::poll::wait_readable;
use crate::error::StartError;
use crate::net::Snapshot;

/// Name of the device.
pub const TUN_NAME: &str = "shipworm0";

/// The device's link-local address, as miredo's relay has it.
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xffff, 0xffff, 0xffff);

/// Metric of the route to 2001::/32, the kernel's own default for routes of users.
const ROUTE_METRIC: u32 = 1024;

/// Packets read before they are handled.
pub const BATCH: usize = 64;

/// Longest packet read whole. The kernel routes none longer than the device's MTU into it.
const PACKET_MAX: usize = 2048;

/// `RTF_UP` of linux/route.h.
const RTF_UP: u32 = 1;

/// `struct in6_rtmsg` of linux/ipv6_route.h: libc keeps the fields of its own to itself.
#[repr(C)]
#[derive(Default)]
struct RouteMessage {
    destination: [u8; 16],
    source: [u8; 16],
    gateway: [u8; 16],
    kind: u32,
    destination_len: u16,
    source_len: u16,
    metric: u32,
    info: libc::c_ulong,
    flags: u32,
    ifindex: libc::c_int,
}

const _: () = assert!(size_of::<RouteMessage>() == size_of::<libc::in6_rtmsg>());

/// A TUN device that exists as long as this value does, or [outlives it](Tun::persist).
#[derive(Debug)]
pub struct Tun {
    file: File,
    ifindex: u32,
    control: Socket,
}

impl Tun {
    /// Creates the device, or takes the one a relay before has left, sets it up and brings it up, without the route.
    ///
    /// # Errors
    /// Those of the system calls; `EBUSY` when another process holds the name, `EPERM` without `CAP_NET_ADMIN`.
    pub fn create(mtu: u16) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")?;
        let mut request = request();
        request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI).unwrap_or(0);
        ioctl(&file, libc::TUNSETIFF, &raw mut request)?;
        let tun = Self::over(file)?;
        tun.configure(mtu)?;
        Ok(tun)
    }

    /// The device behind `file`, which another process has set up and handed over; packets that wait in it are not lost.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn handed_over(file: OwnedFd) -> io::Result<Self> {
        Self::over(File::from(file))
    }

    fn over(file: File) -> io::Result<Self> {
        let control = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
        let mut request = self::request();
        ioctl(&control, libc::SIOCGIFINDEX, &raw mut request)?;
        // SAFETY: SIOCGIFINDEX has filled this member.
        let ifindex = unsafe { request.ifr_ifru.ifru_ifindex };
        Ok(Self {
            file,
            ifindex: ifindex.unsigned_abs(),
            control,
        })
    }

    /// Whether the device, its addresses and routes outlive this process: the program asks for routes from its point of view.
    ///
    /// # Errors
    /// Those of `TUNSETPERSIST`.
    pub fn persist(&self, outlives: bool) -> io::Result<()> {
        // SAFETY: the call takes a plain number.
        let done = unsafe {
            libc::ioctl(
                self.file.as_raw_fd(),
                libc::TUNSETPERSIST,
                libc::c_int::from(outlives),
            )
        };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Index of the device.
    pub const fn ifindex(&self) -> u32 {
        self.ifindex
    }

    fn configure(&self, mtu: u16) -> io::Result<()> {
        // The kernel must not invent addresses, listen to anybody or send redirects here (R-5, pitfall 15).
        for (key, value) in [
            ("ipv6/conf/shipworm0/addr_gen_mode", "1"),
            ("ipv6/conf/shipworm0/accept_ra", "0"),
            ("ipv6/conf/shipworm0/accept_redirects", "0"),
            ("ipv6/conf/shipworm0/accept_dad", "0"),
            ("ipv6/conf/shipworm0/forwarding", "1"),
            ("ipv4/conf/shipworm0/forwarding", "1"),
            ("ipv4/conf/shipworm0/rp_filter", "0"),
            ("ipv4/conf/shipworm0/send_redirects", "0"),
        ] {
            set_sysctl(key, value)?;
        }
        let mut request = request();
        request.ifr_ifru.ifru_mtu = i32::from(mtu);
        ioctl(&self.control, libc::SIOCSIFMTU, &raw mut request)?;

        let mut request = self::request();
        ioctl(&self.control, libc::SIOCGIFFLAGS, &raw mut request)?;
        // SAFETY: SIOCGIFFLAGS has filled this member.
        let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
        let flags = (flags | libc::IFF_UP) & !libc::IFF_MULTICAST;
        request.ifr_ifru.ifru_flags = i16::try_from(flags).unwrap_or(0);
        ioctl(&self.control, libc::SIOCSIFFLAGS, &raw mut request)?;

        let mut address = libc::in6_ifreq {
            ifr6_addr: libc::in6_addr {
                s6_addr: LINK_LOCAL.octets(),
            },
            ifr6_prefixlen: 64,
            ifr6_ifindex: self.index_for_ioctl(),
        };
        unless_there(ioctl(&self.control, libc::SIOCSIFADDR, &raw mut address))
    }

    /// Routes 2001::/32 into the device, if it is not so already.
    ///
    /// # Errors
    /// Those of `SIOCADDRT`.
    pub fn add_route(&self) -> io::Result<()> {
        let mut route = self.route();
        unless_there(ioctl(&self.control, libc::SIOCADDRT, &raw mut route))
    }

    /// Takes the route away again: the first step of a shutdown.
    ///
    /// # Errors
    /// `ESRCH` if it is gone, others of `SIOCDELRT`.
    pub fn remove_route(&self) -> io::Result<()> {
        let mut route = self.route();
        ioctl(&self.control, libc::SIOCDELRT, &raw mut route)
    }

    fn route(&self) -> RouteMessage {
        let mut destination = [0; 16];
        destination[..4].copy_from_slice(&TeredoAddr::PREFIX);
        RouteMessage {
            destination,
            destination_len: 32,
            metric: ROUTE_METRIC,
            flags: RTF_UP,
            ifindex: self.index_for_ioctl(),
            ..RouteMessage::default()
        }
    }

    fn index_for_ioctl(&self) -> i32 {
        i32::try_from(self.ifindex).unwrap_or(0)
    }

    /// Waits up to `timeout` for packets and reads what is there, at most [`BATCH`].
    ///
    /// # Errors
    /// Those of `read`.
    pub fn receive(&self, batch: &mut TunBatch, timeout: Duration) -> io::Result<usize> {
        batch.received = 0;
        if !wait_readable(self.file.as_fd(), timeout)? {
            return Ok(0);
        }
        while batch.received < BATCH {
            match (&self.file).read(&mut batch.buffers[batch.received]) {
                Ok(len) => {
                    batch.lengths[batch.received] = len;
                    batch.received += 1;
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(batch.received)
    }

    /// Hands an IPv6 packet to the kernel, which forwards it.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        (&self.file).write(packet).map(|_| ())
    }
}

/// Buffers for [`Tun::receive`].
#[derive(Debug)]
pub struct TunBatch {
    buffers: Vec<[u8; PACKET_MAX]>,
    lengths: [usize; BATCH],
    received: usize,
}

impl Default for TunBatch {
    fn default() -> Self {
        Self {
            buffers: vec![[0; PACKET_MAX]; BATCH],
            lengths: [0; BATCH],
            received: 0,
        }
    }
}

impl TunBatch {
    /// The packets of the last call.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let packets = self.buffers.iter().zip(self.lengths);
        packets
            .take(self.received)
            .map(|(buffer, len)| &buffer[..len])
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Why the device cannot be created, with what to do about it.
pub fn refused(error: &io::Error) -> StartError {
    let next = match error.raw_os_error() {
        Some(libc::EBUSY) => "another relay runs in this network namespace: shipworm status",
        Some(libc::ENOENT) => "the kernel has no TUN driver: modprobe tun",
        Some(libc::EPERM) => "run as root or with CAP_NET_ADMIN",
        _ => "",
    };
    StartError::new("TUN device", TUN_NAME, error.to_string(), next)
}

/// Refuses a machine on which a live relay holds the device. One that a relay has left has no carrier.
///
/// # Errors
/// What [`Tun::create`] would be refused with.
pub fn foresee(machine: &Snapshot) -> Result<(), StartError> {
    match machine.by_name(TUN_NAME) {
        Some(_) if is_held() => Err(refused(&io::Error::from_raw_os_error(libc::EBUSY))),
        _ => Ok(()),
    }
}

/// Whether a process holds the device.
fn is_held() -> bool {
    let Ok(socket) = Socket::new(Domain::IPV6, Type::DGRAM, None) else {
        return true;
    };
    let mut request = request();
    let told = ioctl(&socket, libc::SIOCGIFFLAGS, &raw mut request);
    // SAFETY: SIOCGIFFLAGS has filled this member, or left the zeros it was made with.
    let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
    told.is_err() || flags & libc::IFF_RUNNING != 0
}

/// What a relay before has left need not be made again.
fn unless_there(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        done => done,
    }
}

fn set_sysctl(key: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/net/{key}");
    fs::write(&path, value).map_err(|e| io::Error::new(e.kind(), format!("{path} = {value}: {e}")))
}

fn request() -> libc::ifreq {
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(TUN_NAME.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_metric: 0 },
    }
}

fn ioctl<T>(fd: &impl AsRawFd, number: libc::c_ulong, argument: *mut T) -> io::Result<()> {
    // SAFETY: each caller passes the number together with a pointer to the structure it takes.
    match unsafe { libc::ioctl(fd.as_raw_fd(), number, argument) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

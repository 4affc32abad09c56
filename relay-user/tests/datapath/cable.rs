//! A network namespace with a cable in it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use relay_user::net::{Link, Snapshot};

/// MAC address of `port0`, the end the program is attached to.
pub(crate) const PORT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
/// MAC address of `far0`, the other end.
pub(crate) const FAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

/// How long anything may take that takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `test` in a network namespace of its own, which ends with it.
pub(crate) fn in_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    let thread = || {
        // SAFETY: plain system call; it moves this new thread alone.
        let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(result, 0, "unshare: {}", io::Error::last_os_error());
        test()
    };
    std::thread::scope(|scope| match scope.spawn(thread).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Runs `ip` with these words.
pub(crate) fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status();
    assert!(status.expect("ip runs").success(), "ip {words}");
}

/// Lays a cable from `port0` to `far0`.
pub(crate) fn lay_cable() {
    ip(
        "link add port0 address 02:00:00:00:00:0a type veth peer name far0 address 02:00:00:00:00:0b",
    );
    for end in ["port0", "far0"] {
        ip(&format!("link set {end} addrgenmode none up"));
    }
}

/// `port0` as it is now.
pub(crate) fn port() -> Link {
    link("port0")
}

/// The link `name` as it is now.
pub(crate) fn link(name: &str) -> Link {
    let snapshot = Snapshot::take().unwrap();
    snapshot.by_name(name).expect("the link is there").clone()
}

/// Asks `condition` until it has an answer.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

/// A raw socket on one interface.
pub(crate) struct Wire(OwnedFd);

impl Wire {
    /// Everything that goes over `name`.
    pub(crate) fn on(name: &str) -> Self {
        let all = libc::ETH_P_ALL.to_be() >> 16;
        // SAFETY: plain system call without pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, all) };
        assert!(fd >= 0, "packet socket: {}", io::Error::last_os_error());
        // SAFETY: `fd` was just opened and belongs to nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let name = CString::new(name).unwrap();
        // SAFETY: every bit pattern is a sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET.try_into().unwrap();
        address.sll_protocol = all.try_into().unwrap();
        // SAFETY: `name` is a string with its zero.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        address.sll_ifindex = index.try_into().unwrap();
        let length = size_of_val(&address).try_into().unwrap();
        // SAFETY: the pointer is to a whole sockaddr_ll of that length.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
        assert_eq!(bound, 0, "bind: {}", io::Error::last_os_error());
        Self(socket)
    }

    /// Sends a whole frame.
    pub(crate) fn send(&self, frame: &[u8]) {
        // SAFETY: pointer and length are of one slice.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(
            sent.cast_unsigned(),
            frame.len(),
            "{}",
            io::Error::last_os_error()
        );
    }

    /// Whether `frame` is among what was received since the last call.
    pub(crate) fn has_received(&self, frame: &[u8]) -> bool {
        std::iter::from_fn(|| self.next()).any(|received| received == frame)
    }

    /// The next frame that was received.
    pub(crate) fn next(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 4096];
        // SAFETY: pointer and length are of one buffer.
        let received = unsafe {
            libc::recv(
                self.0.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_DONTWAIT,
            )
        };
        buffer.truncate(usize::try_from(received).ok()?);
        Some(buffer)
    }
}

/// A frame from the far end with an IPv6 packet from a native host to a Teredo client. `mark` tells frames apart.
pub(crate) fn native_frame(to: [u8; 6], mark: u8, payload_len: u16) -> Vec<u8> {
    let mut frame = Vec::from(to);
    frame.extend(FAR_MAC);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend(payload_len.to_be_bytes());
    frame.extend([59, 64]);
    let source: std::net::Ipv6Addr = "2001:db8:2::2".parse().unwrap();
    // Server 203.0.113.2, client 198.51.100.2 port 40001.
    let destination: std::net::Ipv6Addr = "2001:0:cb00:7102:0:63be:39cc:9bfd".parse().unwrap();
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.resize(frame.len() + usize::from(payload_len), mark);
    frame
}

//! The links, routes and neighbours of the namespace the programs run in.

use std::ffi::CString;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// Frames come in by this port.
pub(super) const IN: &str = "in";
/// Everything leaves by this one.
pub(super) const OUT: &str = "out";
/// From whose point of view the relay looks up routes.
pub(super) const TUN: &str = "tun";

const TOPOLOGY: &str = "
link set lo up
tuntap add name tun mode tun
link set tun up
link add name in address 02:00:00:00:00:01 type veth peer name in-far
link add name out address 02:00:00:00:00:01 type veth peer name out-far
link set in addrgenmode none up
link set in-far addrgenmode none up
link set out addrgenmode none up
link set out-far addrgenmode none up
addr add 203.0.113.9/28 dev out
addr add 2001:db8:ffff::2/64 dev out nodad
neigh add 203.0.113.1 lladdr 02:00:00:00:00:02 dev out nud permanent
neigh add 2001:db8:ffff::1 lladdr 02:00:00:00:00:02 dev out nud permanent
route add default via 203.0.113.1
route add ::/0 via 2001:db8:ffff::1
";

/// Lays it out in the calling thread's namespace.
///
/// # Errors
/// There is no `ip`, or the kernel refuses.
pub(super) fn lay_out() -> Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .context("starting ip: iproute2 is needed")?;
    child
        .stdin
        .take()
        .context("a pipe")?
        .write_all(TOPOLOGY.as_bytes())?;
    ensure!(child.wait()?.success(), "ip refuses the topology");
    for family in ["ipv4", "ipv6"] {
        for device in [TUN, IN] {
            let path = format!("/proc/sys/net/{family}/conf/{device}/forwarding");
            fs::write(&path, "1").context(path)?;
        }
    }
    Ok(())
}

/// The index of a device of this namespace.
///
/// # Errors
/// There is none of that name.
pub(super) fn ifindex(name: &str) -> Result<u32> {
    let text = CString::new(name)?;
    // SAFETY: a terminated string that lives through the call.
    let index = unsafe { libc::if_nametoindex(text.as_ptr()) };
    ensure!(index != 0, "no device {name}");
    Ok(index)
}

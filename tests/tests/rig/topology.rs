//! Devices, addresses, routes and neighbours of a test's namespace.

use std::ffi::CString;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// IPv4 routes by last byte of 198.51.100.x: where a client's NAT is decides what the lookup answers.
pub(crate) mod nat {
    pub(crate) const PLAIN: u8 = 7;
    pub(crate) const ONE_TAG: u8 = 65;
    pub(crate) const TWO_TAGS: u8 = 97;
    pub(crate) const BLACKHOLE: u8 = 129;
    pub(crate) const UNREACHABLE: u8 = 145;
    pub(crate) const PROHIBITED: u8 = 161;
    pub(crate) const NO_NEIGHBOUR: u8 = 177;
    pub(crate) const SMALL_MTU: u8 = 193;
    pub(crate) const FOREIGN_DEVICE: u8 = 209;
    pub(crate) const UNLISTED_PORT: u8 = 225;
    pub(crate) const NO_ROUTE: u8 = 241;
}

/// IPv6 destinations, by what the lookup answers.
pub(crate) mod native {
    use std::net::Ipv6Addr;

    const fn host(subnet: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, subnet, 0, 0, 0, 0, 0x80)
    }
    pub(crate) const PLAIN: Ipv6Addr = host(0);
    pub(crate) const ONE_TAG: Ipv6Addr = host(0x10);
    pub(crate) const TWO_TAGS: Ipv6Addr = host(0x20);
    pub(crate) const BLACKHOLE: Ipv6Addr = host(0x30);
    pub(crate) const UNREACHABLE: Ipv6Addr = host(0x31);
    pub(crate) const PROHIBITED: Ipv6Addr = host(0x32);
    pub(crate) const NO_NEIGHBOUR: Ipv6Addr = host(0x33);
    pub(crate) const SMALL_MTU: Ipv6Addr = host(0x34);
    pub(crate) const FOREIGN_DEVICE: Ipv6Addr = host(0x35);
    pub(crate) const UNLISTED_PORT: Ipv6Addr = host(0x36);
    pub(crate) const BEHIND_WAN: Ipv6Addr = host(0x37);
    pub(crate) const LOCAL: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
}

/// Devices are veth pairs. What a route names is a port, or stands for a VLAN device on one: the
/// program knows such a device by its index and its entry in EGRESS alone.
const DEVICES: [&str; 8] = [
    "wan", "lan", "wan-tag", "lan-tag", "wan-tags", "lan-tags", "foreign", "unlisted",
];

const TOPOLOGY: &str = "
link set lo up
tuntap add name tun mode tun
link set lan-far mtu 9000
link set lan mtu 9000
link set tun up
addr add 203.0.113.9/28 dev wan
addr add 203.0.113.18/28 dev wan-tag
addr add 203.0.113.34/28 dev wan-tags
addr add 203.0.113.50/28 dev foreign
addr add 203.0.113.66/28 dev unlisted
neigh add 203.0.113.1 lladdr 02:00:00:00:00:02 dev wan nud permanent
neigh add 203.0.113.17 lladdr 02:00:00:00:00:02 dev wan-tag nud permanent
neigh add 203.0.113.33 lladdr 02:00:00:00:00:02 dev wan-tags nud permanent
neigh add 203.0.113.49 lladdr 02:00:00:00:00:02 dev foreign nud permanent
neigh add 203.0.113.65 lladdr 02:00:00:00:00:02 dev unlisted nud permanent
route add 198.51.100.0/26 via 203.0.113.1
route add 198.51.100.64/27 via 203.0.113.17
route add 198.51.100.96/27 via 203.0.113.33
route add blackhole 198.51.100.128/28
route add unreachable 198.51.100.144/28
route add prohibit 198.51.100.160/28
route add 198.51.100.176/28 via 203.0.113.14
route add 198.51.100.192/28 via 203.0.113.1 mtu lock 1000
route add 198.51.100.208/28 via 203.0.113.49
route add 198.51.100.224/28 via 203.0.113.65
addr add 2001:db8:1::2/64 dev lan nodad
addr add 2001:db8:2::2/64 dev lan-tag nodad
addr add 2001:db8:3::2/64 dev lan-tags nodad
addr add 2001:db8:4::2/64 dev foreign nodad
addr add 2001:db8:5::2/64 dev unlisted nodad
addr add 2001:db8:6::2/64 dev wan nodad
neigh add 2001:db8:1::1 lladdr 02:00:00:00:00:02 dev lan nud permanent
neigh add 2001:db8:2::1 lladdr 02:00:00:00:00:02 dev lan-tag nud permanent
neigh add 2001:db8:3::1 lladdr 02:00:00:00:00:02 dev lan-tags nud permanent
neigh add 2001:db8:4::1 lladdr 02:00:00:00:00:02 dev foreign nud permanent
neigh add 2001:db8:5::1 lladdr 02:00:00:00:00:02 dev unlisted nud permanent
neigh add 2001:db8:6::1 lladdr 02:00:00:00:00:02 dev wan nud permanent
route add 2001:db8::/48 via 2001:db8:1::1
route add 2001:db8:10::/48 via 2001:db8:2::1
route add 2001:db8:20::/48 via 2001:db8:3::1
route add blackhole 2001:db8:30::/48
route add unreachable 2001:db8:31::/48
route add prohibit 2001:db8:32::/48
route add 2001:db8:33::/48 via 2001:db8:1::bad
route add 2001:db8:34::/48 via 2001:db8:1::1 mtu lock 1280
route add 2001:db8:35::/48 via 2001:db8:4::1
route add 2001:db8:36::/48 via 2001:db8:5::1
route add 2001:db8:37::/48 via 2001:db8:6::1
";

/// Makes all of it in the calling thread's namespace.
pub(crate) fn lay_out() {
    let links = DEVICES.map(|device| {
        format!(
            "link add name {device} numrxqueues 2 numtxqueues 2 address 02:00:00:00:00:01 \
             type veth peer name {device}-far\n\
             link set {device} up\nlink set {device}-far up\n"
        )
    });
    let commands = [&links.concat(), TOPOLOGY].concat();
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("iproute2 is installed");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(commands.as_bytes()).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success(), "ip refuses the topology");
    // The ports themselves do not forward: the program looks from the TUN device.
    for family in ["ipv4", "ipv6"] {
        fs::write(format!("/proc/sys/net/{family}/conf/tun/forwarding"), "1").unwrap();
    }
}

/// The index of a device.
pub(crate) fn ifindex(name: &str) -> u32 {
    let name = CString::new(name).unwrap();
    // SAFETY: a terminated string that lives through the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    assert_ne!(index, 0, "{name:?}");
    index
}

//! Frames on the relay's cables: what no honest host or router would send.

use std::mem::MaybeUninit;

use lab::{Lab, Node};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use crate::scene::SOON;

/// The far end of one of the relay's cables.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Socket,
    /// Ethernet header of everything sent here.
    header: [u8; 14],
}

impl Wire {
    /// The cable from the IPv4 internet.
    pub(crate) fn ipv4(lab: &Lab) -> Self {
        Self::open(&lab.inet, &lab.relay.mac("lb-v4").unwrap(), [0x08, 0x00])
    }

    /// The cable from native IPv6.
    pub(crate) fn ipv6(lab: &Lab) -> Self {
        Self::open(&lab.v6r, &lab.relay.mac("lb-v6").unwrap(), [0x86, 0xdd])
    }

    fn open(router: &Node, relay: &str, ethertype: [u8; 2]) -> Self {
        const FAR_END: &str = "lb-rly";
        let ifindex = router.ifindex(FAR_END).unwrap();
        // Protocol 0: this socket receives nothing.
        let socket = router
            .enter(|| Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0))))
            .unwrap();
        socket.bind(&link_address(ifindex)).unwrap();
        let mut header = [0; 14];
        header[..6].copy_from_slice(&mac(relay));
        header[6..12].copy_from_slice(&mac(&router.mac(FAR_END).unwrap()));
        header[12..].copy_from_slice(&ethertype);
        Self { socket, header }
    }

    /// Sends a frame with `packet` to the relay, when there is room on the cable.
    pub(crate) fn send(&self, packet: &[u8]) {
        let frame = [&self.header, packet].concat();
        lab::wait_for("room on the cable", SOON, || {
            match self.socket.send(&frame) {
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => false,
                sent => sent.unwrap() > 0,
            }
        })
        .unwrap();
    }
}

/// Six bytes of what `ip` prints as `02:00:5e:10:00:00`.
pub(crate) fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    bytes.try_into().unwrap()
}

fn link_address(ifindex: u32) -> SockAddr {
    // SAFETY: all zero is a valid address.
    let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
    address.sll_ifindex = ifindex.cast_signed();
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is large and aligned enough for every kind of address.
    unsafe { *storage.view_as() = address };
    let len = libc::socklen_t::try_from(size_of_val(&address)).unwrap();
    // SAFETY: the storage holds an address of that length.
    unsafe { SockAddr::new(storage, len) }
}

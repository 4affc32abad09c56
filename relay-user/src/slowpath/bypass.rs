//! Past the kernel: what waited for a client leaves by the next hop that the fast path noted on the client's answer, through
//! the `AF_XDP` socket of its port.
//!
//! The kernel's UDP and IP layers cost a datagram more than everything else about a new peer. They are spared where the fast
//! path spares them as well: by a next hop that is kept (`docs/decisions/0010`) and live at this moment. Everything else takes
//! the service socket, as before.

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use relay_common::{Egress, HopKey, MappedWord, Ticks, WayBack, identification};
use teredo::addr::Mapped;

use super::outer::Datagram;
use super::xsk_out::FramesOut;
use crate::datapath::NextHops;

/// The ways out past the kernel.
#[derive(Debug)]
pub struct Bypass {
    service: SocketAddrV4,
    hops: NextHops,
    /// By port number, those of its queues.
    ports: HashMap<u32, Vec<FramesOut>>,
    /// Under which identifications are drawn; not the fast path's, so that its numbers and these have nothing to do with each other.
    id_key: u64,
    /// Identifications drawn.
    drawn: AtomicU64,
}

impl Bypass {
    /// For datagrams from `service`; `ports` are the sockets to send through, by the port's number, `id_key` is random.
    #[must_use]
    pub fn new(
        service: SocketAddrV4,
        hops: NextHops,
        ports: HashMap<u32, Vec<FramesOut>>,
        id_key: u64,
    ) -> Self {
        Self {
            service,
            hops,
            ports,
            id_key,
            drawn: AtomicU64::new(0),
        }
    }

    /// Writes `payload` for `to`, to leave with [`flush`](Self::flush), now that it is `now`. `lane` spreads callers over a port's
    /// sockets: what one caller sends to one client stays in order. Says whether it will leave: not if the note is about
    /// somebody else, its next hop is no longer live or takes no packet so long, or the socket has no room.
    pub fn send(
        &self,
        now: Ticks,
        way: &WayBack,
        lane: usize,
        to: Mapped,
        tos: u8,
        payload: &[u8],
    ) -> bool {
        let count = self.drawn.fetch_add(1, Relaxed);
        let datagram = Datagram {
            from: self.service,
            to,
            tos,
            identification: identification(self.id_key, count, to.ip.to_bits()),
            payload,
        };
        let Some((hop, egress)) = self.next_hop(now, way, &datagram) else {
            return false;
        };
        let Some(sockets) = self.ports.get(&egress.port).filter(|all| !all.is_empty()) else {
            return false;
        };
        sockets[lane % sockets.len()].write(datagram.frame_len(&egress), |frame| {
            datagram.write(&hop, &egress, frame)
        })
    }

    /// The next hop of `way` if it is one for `datagram`.
    fn next_hop(
        &self,
        now: Ticks,
        way: &WayBack,
        datagram: &Datagram<'_>,
    ) -> Option<(HopKey, Egress)> {
        let Mapped { ip, port } = datagram.to;
        if way.to != MappedWord::new(ip.octets(), port.to_be_bytes()) {
            return None;
        }
        let (hop, egress) = self.hops.live(way.hop, way.version, now)?;
        let takes = usize::try_from(hop.mtu).ok()?;
        (datagram.packet_len() <= takes).then_some((hop, egress))
    }

    /// Gives what was written to the kernel. Says whether the kernel has taken all of it, so that what is sent by other ways from
    /// now on comes later.
    pub fn flush(&self) -> bool {
        let sockets = self.ports.values().flatten();
        let behind = sockets.filter(|socket| !socket.flush()).count();
        behind == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOP: HopKey = HopKey {
        ifindex: 3,
        mtu: 1400,
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 0, 2],
        family: 2,
    };
    const EGRESS: Egress = Egress {
        port: 5,
        tag_count: 0,
        tags: [relay_common::VlanTag {
            protocol: [0; 2],
            tci: [0; 2],
        }; 2],
    };
    const NOW: Ticks = Ticks(4);

    fn client(port: u16) -> Mapped {
        Mapped {
            ip: [198, 51, 100, 7].into(),
            port,
        }
    }

    /// One live next hop, and the note that leads to client 4000 by it.
    fn one_way() -> (Bypass, WayBack) {
        let (hops, hop, version) = NextHops::with_one(HOP, EGRESS, NOW);
        let way = WayBack {
            to: MappedWord::new([198, 51, 100, 7], 4000_u16.to_be_bytes()),
            hop,
            version,
        };
        let service = "203.0.113.18:3545".parse().unwrap();
        (Bypass::new(service, hops, HashMap::new(), 7), way)
    }

    fn way_of(
        bypass: &Bypass,
        now: Ticks,
        way: WayBack,
        to: Mapped,
        len: usize,
    ) -> Option<(HopKey, Egress)> {
        let datagram = Datagram {
            from: bypass.service,
            to,
            tos: 0,
            identification: 1,
            payload: &vec![0; len],
        };
        bypass.next_hop(now, &way, &datagram)
    }

    #[test]
    fn a_note_leads_by_the_next_hop_it_names() {
        let (bypass, way) = one_way();
        let found = way_of(&bypass, NOW, way, client(4000), 100);
        assert_eq!(found, Some((HOP, EGRESS)));
    }

    #[test]
    fn a_note_about_somebody_else_leads_nowhere() {
        let (bypass, way) = one_way();
        assert_eq!(way_of(&bypass, NOW, way, client(4001), 100), None);
        let nothing = WayBack::from_bytes(&[0; WayBack::LEN]);
        assert_eq!(way_of(&bypass, NOW, nothing, client(4000), 100), None);
    }

    #[test]
    fn a_note_of_a_next_hop_that_is_not_what_it_was_leads_nowhere() {
        let (bypass, way) = one_way();
        for (hop, version) in [
            (way.hop, way.version + 1),
            (way.hop + 1, way.version),
            (u32::MAX, way.version),
        ] {
            let way = WayBack {
                hop,
                version,
                ..way
            };
            assert_eq!(way_of(&bypass, NOW, way, client(4000), 100), None);
        }
        let stale = Ticks(NOW.0 + 100);
        assert_eq!(way_of(&bypass, stale, way, client(4000), 100), None);
    }

    /// The kernel fragments it.
    #[test]
    fn a_datagram_longer_than_the_next_hop_takes_is_not_for_it() {
        let (bypass, way) = one_way();
        assert!(way_of(&bypass, NOW, way, client(4000), 1400 - 28).is_some());
        assert_eq!(way_of(&bypass, NOW, way, client(4000), 1400 - 27), None);
    }

    #[test]
    fn without_a_socket_on_its_port_nothing_is_sent() {
        let (bypass, way) = one_way();
        assert!(!bypass.send(NOW, &way, 0, client(4000), 0, b"data"));
        assert!(bypass.flush(), "nothing waits");
    }
}

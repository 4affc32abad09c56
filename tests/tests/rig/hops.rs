//! What the program knows of routes, and the next hops it keeps.

use aya::maps::{Array, RingBuf};
use relay_common::{
    AF_INET, AF_INET6, Egress, HOP_LIVE, HOPS, HopKey, NextHop, Routing, Ticks, maps,
};

use super::topology::ifindex;
use super::{GATEWAY_MAC, PORT_MAC, Pod, Rig};

impl Rig {
    /// Says what user space knows of the routes.
    pub(crate) fn set_routing(&mut self, routing: Routing) {
        let mut map: Array<_, Pod<Routing>> = Array::try_from(self.map(maps::ROUTING)).unwrap();
        map.set(0, Pod(routing), 0).unwrap();
    }

    /// Enters a next hop that may be kept, at its home, and gives its number.
    pub(crate) fn enter_hop(&mut self, key: HopKey, egress: Egress, version: u32) -> u32 {
        let number = key.home(0).max(1);
        self.set_hop(
            number,
            NextHop {
                state: HOP_LIVE,
                version,
                key,
                egress,
                good_until: Ticks(u32::MAX),
                ..NextHop::default()
            },
        );
        number
    }

    /// A slot of the map of next hops.
    pub(crate) fn hop(&mut self, number: u32) -> NextHop {
        let map: Array<_, Pod<NextHop>> = Array::try_from(self.map(maps::NEXT_HOPS)).unwrap();
        map.get(&number, 0).unwrap().0
    }

    /// Writes a slot of the map of next hops.
    pub(crate) fn set_hop(&mut self, number: u32, hop: NextHop) {
        assert!(number < HOPS);
        let mut map: Array<_, Pod<NextHop>> = Array::try_from(self.map(maps::NEXT_HOPS)).unwrap();
        map.set(number, Pod(hop), 0).unwrap();
    }

    /// Next hops the program has reported since the last call.
    pub(crate) fn wanted_hops(&mut self) -> Vec<[u64; 3]> {
        let mut ring = RingBuf::try_from(self.map(maps::WANTED_HOPS)).unwrap();
        let mut keys = Vec::new();
        while let Some(item) = ring.next() {
            let (words, _) = item.as_chunks();
            keys.push([0, 1, 2].map(|i| u64::from_ne_bytes(words[i])));
        }
        keys
    }

    /// Lets the program keep the next hops of untagged routes.
    pub(crate) fn keep_plain_hops(&mut self) {
        self.set_routing(Routing {
            keep_ipv4: 1,
            keep_ipv6: 1,
            ..Routing::default()
        });
        for (device, mtu, family) in [("wan", 1500, AF_INET), ("lan", 9000, AF_INET6)] {
            let key = HopKey {
                ifindex: ifindex(device),
                mtu,
                destination_mac: GATEWAY_MAC,
                source_mac: PORT_MAC,
                family: family.into(),
            };
            let egress = Egress {
                port: self.number_of(ifindex(device)),
                ..Egress::default()
            };
            self.enter_hop(key, egress, 1);
        }
    }
}

//! Everything at once: what arrives is what was sent, and every frame of it has right checksums (invariants 5, 6).

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use lab::shipworm::Datapath;
use lab::teredo_client::Bubbles;
use lab::{Lab, wait_for};

use crate::for_each_datapath;
use crate::observed::Captures;
use crate::packet::{self, HOP_LIMIT, Outer, with_hop_limit};
use crate::scene::{SERVICE, SOON, Scene, fates, status};

const CLIENTS: usize = 8;
/// Sizes of what is inside the transport header: nothing, odd, even, and the largest that fits behind TCP.
const SIZES: [usize; 8] = [0, 1, 2, 3, 64, 511, 1024, 1220];
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
const NO_NEXT_HEADER: u8 = 59;

/// Packets of every kind from `source` to `destination`.
fn assorted(source: Ipv6Addr, destination: Ipv6Addr) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for size in SIZES {
        let data: Vec<u8> = (0..size).map(|i| (i * 7 + size).to_le_bytes()[0]).collect();
        packets.push(packet::udp(source, destination, &data));
        packets.push(packet::tcp(source, destination, &data));
        packets.push(packet::echo(source, destination, &data));
    }
    // An ECN-capable packet with a flow label and a class.
    let mut marked = packet::udp(source, destination, b"marked");
    marked[..4].copy_from_slice(&[0x6b, 0xa1, 0x23, 0x45]);
    packets.push(marked);
    // Headers behind which the fast path does not look for a checksum.
    let behind_options = packet::udp(source, destination, b"behind options");
    let mut options = vec![behind_options[6], 0, 1, 4, 0, 0, 0, 0];
    options.extend(&behind_options[40..]);
    packets.push(packet::ipv6(
        DESTINATION_OPTIONS,
        source,
        destination,
        &options,
    ));
    let mut fragment = vec![behind_options[6], 0, 0, 0x29, 0, 0, 0, 7];
    fragment.extend([0x5a; 37]);
    packets.push(packet::ipv6(FRAGMENT, source, destination, &fragment));
    packets.push(packet::ipv6(
        NO_NEXT_HEADER,
        source,
        destination,
        b"nothing",
    ));
    packets.push(packet::ipv6(132, source, destination, &[0x11; 99]));
    packets
}

fn one_hop_further(packet: &[u8]) -> Vec<u8> {
    with_hop_limit(packet.to_vec(), HOP_LIMIT - 1)
}

/// How often each packet is there.
fn counted(packets: impl IntoIterator<Item = Vec<u8>>) -> BTreeMap<Vec<u8>, usize> {
    let mut counts = BTreeMap::new();
    for packet in packets {
        *counts.entry(packet).or_default() += 1;
    }
    counts
}

fn all_arrive_with_right_checksums(datapath: Datapath) {
    let scene = Scene::new(CLIENTS + 1, Bubbles::Answered);
    let relay = scene.relay(datapath);
    let captures = Captures::start(&scene.lab);
    let down: Vec<_> = (0..CLIENTS)
        .map(|i| assorted(Lab::HOST, scene.clients.ipv6(i)))
        .collect();
    let up: Vec<_> = (0..CLIENTS)
        .map(|i| assorted(scene.clients.ipv6(i), Lab::HOST))
        .collect();

    // Cold: the first packet of each waits for its answer. Twelve stay below the queue's limits.
    for packet in down.iter().flat_map(|packets| &packets[..12]) {
        scene.v6.send(packet);
    }
    let mut arrivals = scene.arrivals(12 * CLIENTS);
    for packets in &down {
        packets[12..]
            .iter()
            .for_each(|packet| scene.v6.send(packet));
    }
    let rest: usize = down.iter().map(|packets| packets.len() - 12).sum();
    arrivals.extend(scene.arrivals(rest));
    for (i, packets) in up.iter().enumerate() {
        for packet in packets {
            scene.clients.send(i, SERVICE, packet).unwrap();
        }
        // With the class of a hurry and congestion on the way, which only the marked packet can tell.
        let marked = packets.iter().find(|packet| packet[1] & 0x30 != 0).unwrap();
        let source = scene.clients.mapped(i);
        scene.v4.send(&Outer { source, tos: 0xbb }.around(marked));
        // What the fast path leaves to the kernel.
        let plain = Outer::from(source).around(&packets[0]);
        for fragment in packet::in_two_fragments(&plain, 40) {
            scene.v4.send(&fragment);
        }
        scene.v4.send(&packet::with_options(&plain));
    }
    // And what is answered with errors.
    let stranger = scene.clients.ipv6(CLIENTS);
    scene.v6.send(&packet::udp(Lab::HOST, stranger, &[1; 1400]));
    scene.v6.send(&with_hop_limit(
        packet::udp(Lab::HOST, stranger, b"the last hop"),
        1,
    ));

    let sent_up: usize = up.iter().map(|packets| packets.len() + 3).sum();
    wait_for("all packets of the clients", SOON, || {
        fates(&status(&relay))
            .get("Decapsulated")
            .is_some_and(|n| *n == sent_up as u64)
    })
    .unwrap_or_else(|e| panic!("{e}: {:?}", fates(&status(&relay))));
    let status = status(&relay);
    let punts: Vec<_> = status
        .reasons
        .iter()
        .filter(|(name, counts)| name.starts_with("Punt") && counts.fast.packets > 0)
        .map(|(name, counts)| format!("{name} {}", counts.fast.packets))
        .collect();
    println!("{datapath}: {:?}, {}", status.traffic, punts.join(", "));
    relay.stop().unwrap();
    let observed = captures.stop();

    let expected_down = counted(down.iter().flatten().map(|packet| one_hop_further(packet)));
    assert_eq!(
        counted(arrivals.into_iter().map(|arrival| arrival.payload)),
        expected_down
    );
    let congested = up
        .iter()
        .flatten()
        .filter(|packet| packet[1] & 0x30 != 0)
        .map(|packet| {
            let mut packet = one_hop_further(packet);
            packet[1] |= 0x30;
            packet
        });
    let expected_up =
        counted(
            up.iter()
                .flatten()
                .map(|packet| one_hop_further(packet))
                .chain(congested)
                .chain(up.iter().flat_map(|packets| {
                    [one_hop_further(&packets[0]), one_hop_further(&packets[0])]
                })),
        );
    let errors = observed.errors();
    assert_eq!(errors.len(), 2, "{errors:?}");
    let native = observed.native().into_iter().map(|frame| frame.bytes);
    let data = native.filter(|packet| packet[8..24] != Lab::RELAY_V6.octets());
    assert_eq!(counted(data), expected_up);
    for pcap in [&observed.v4, &observed.v6] {
        println!("{datapath}: {:?}", pcap.assert_checksums_right().unwrap());
    }
}

for_each_datapath! {
    all_arrive_with_right_checksums:
        xdp_carries_packets_of_every_kind_unchanged_with_right_checksums,
        generic_xdp_carries_packets_of_every_kind_unchanged_with_right_checksums,
        user_space_carries_packets_of_every_kind_unchanged_with_right_checksums;
}

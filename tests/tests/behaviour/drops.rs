//! What is dropped: each packet under its own reason, and nothing leaves because of it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use lab::shipworm::{Datapath, Relay};
use lab::teredo_client::Bubbles;
use lab::{Lab, wait_for};
use relay_common::{Kind, Reason};
use teredo::addr::{Mapped, ServerV4, TeredoAddr};
use teredo::wire::ipv6;

use crate::for_each_datapath;
use crate::observed::Captures;
use crate::packet::{self, Outer};
use crate::scene::{SOON, Scene, added, fates, status};

/// Packets sent for each case.
const COPIES: u64 = 3;
/// The client the relay trusts, and the one it has never heard of.
const TRUSTED: usize = 0;
const STRANGER: usize = 1;
const ULA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const MULTICAST: Ipv6Addr = Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0, 1);
const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 64, 1, 2);

/// From which side a packet comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// An IPv4 packet to the service port.
    Client,
    /// An IPv6 packet to be routed.
    Native,
}

/// A packet that must end at the relay.
#[derive(Debug)]
struct Case {
    from: From,
    packet: Vec<u8>,
    /// `None`: the kernel's, and of no use to it.
    reason: Option<Reason>,
    /// Without XDP the kernel drops it before the relay sees it.
    kernel_drops: bool,
}

struct Cases<'a> {
    scene: &'a Scene,
    list: Vec<Case>,
}

impl Cases<'_> {
    fn add(&mut self, from: From, reason: Reason, packet: Vec<u8>) {
        self.list.push(Case {
            from,
            packet,
            reason: Some(reason),
            kernel_drops: false,
        });
    }

    /// A packet that a kernel without XDP program drops itself.
    fn add_broken(&mut self, from: From, reason: Reason, packet: Vec<u8>) {
        self.add(from, reason, packet);
        self.list.last_mut().unwrap().kernel_drops = true;
    }

    /// A payload from the trusted client's own mapping.
    fn payload(&mut self, reason: Reason, payload: &[u8]) {
        self.add(
            From::Client,
            reason,
            Outer::from(self.scene.clients.mapped(TRUSTED)).around(payload),
        );
    }

    /// Data of the trusted client from its own mapping.
    fn data_to(&mut self, reason: Reason, destination: Ipv6Addr) {
        self.payload(
            reason,
            &packet::udp(self.scene.clients.ipv6(TRUSTED), destination, b"data"),
        );
    }

    fn native(&mut self, reason: Reason, source: Ipv6Addr, destination: Ipv6Addr) {
        self.add(
            From::Native,
            reason,
            packet::udp(source, destination, b"data"),
        );
    }

    fn wrong_outer_sources(&mut self) {
        let clients = &self.scene.clients;
        let data = |i: usize| packet::udp(clients.ipv6(i), Lab::HOST, b"data");
        let (trusted, stranger) = (clients.mapped(TRUSTED), clients.mapped(STRANGER));
        let next_port = Mapped {
            port: trusted.port + 1,
            ..trusted
        };
        let private = Mapped {
            ip: PRIVATE,
            port: 40_000,
        };
        for source in [stranger, next_port] {
            self.add(
                From::Client,
                Reason::OuterSourceMismatch,
                Outer::from(source).around(&data(TRUSTED)),
            );
        }
        self.add(
            From::Client,
            Reason::PeerUnknown,
            Outer::from(stranger).around(&data(STRANGER)),
        );
        self.add(
            From::Client,
            Reason::OuterSourceNotGlobal,
            Outer::from(private).around(&data(STRANGER)),
        );
        let own = Mapped {
            ip: Lab::RELAY_V4,
            port: lab::RELAY_PORT,
        };
        self.add_broken(
            From::Client,
            Reason::OuterSourceOwn,
            Outer::from(own).around(&data(STRANGER)),
        );
        let portless = Mapped { port: 0, ..trusted };
        self.add(
            From::Client,
            Reason::OuterSourcePortZero,
            Outer::from(portless).around(&data(TRUSTED)),
        );
        let native = packet::udp(Lab::HOST, Lab::SERVER_V6, b"data");
        self.payload(Reason::SourceNotTeredo, &native);
    }

    fn forbidden_destinations(&mut self) {
        self.data_to(Reason::DestinationMulticast, MULTICAST);
        self.data_to(Reason::DestinationTeredo, self.scene.clients.ipv6(STRANGER));
        self.data_to(Reason::DestinationNotServed, ULA);
        for destination in [
            LINK_LOCAL,
            Ipv6Addr::LOCALHOST,
            Ipv6Addr::UNSPECIFIED,
            Lab::SERVER_V4.to_ipv6_mapped(),
        ] {
            self.data_to(Reason::DestinationNotGlobal, destination);
        }
        let [a, b, c, d] = PRIVATE.octets().map(u16::from);
        let six_to_four = Ipv6Addr::new(0x2002, a << 8 | b, c << 8 | d, 0, 0, 0, 0, 1);
        self.data_to(Reason::DestinationEmbedsForbiddenAddress, six_to_four);
        let [a, b, c, d] = Lab::RELAY_V4.octets().map(u16::from);
        let isatap = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0x5efe, a << 8 | b, c << 8 | d);
        self.data_to(Reason::DestinationEmbedsForbiddenAddress, isatap);
    }

    fn malformed_payloads(&mut self) {
        let source = self.scene.clients.ipv6(TRUSTED);
        let data = packet::udp(source, Lab::HOST, b"data");
        for payload in [&b""[..], b"\x60", b"\x45\0\0\0", b"\0\x02rest"] {
            self.payload(Reason::PayloadNotTeredo, payload);
        }
        for len in [2, 39, 40, data.len() - 1] {
            self.payload(Reason::InnerTruncated, &data[..len]);
        }
        let mut jumbogram = data.clone();
        jumbogram[4..6].fill(0);
        self.payload(Reason::JumbogramForm, &jumbogram);
        self.payload(Reason::AuthenticationTruncated, &[0, 1, 0, 0, 1, 2]);
        self.payload(Reason::OriginTruncated, &[0, 0, 1, 2]);
        let origin = [0, 0, 0x63, 0xbf, 0x39, 0xcc, 0x9b, 0xf8];
        self.payload(
            Reason::HeaderOutOfOrder,
            &[&origin, &origin, &data[..]].concat(),
        );
        self.payload(Reason::TrailerDiscards, &[&data[..], &[0x42, 0]].concat());
        let routed = [[ipv6::UDP, 0, 0, 0, 0, 0, 0, 0].as_slice(), &data[40..]].concat();
        self.payload(
            Reason::RoutingHeaderType0,
            &packet::ipv6(ipv6::ROUTING, source, Lab::HOST, &routed),
        );
        let trusted = self.scene.clients.mapped(TRUSTED);
        let congested = Outer {
            source: trusted,
            tos: 3,
        };
        self.add(
            From::Client,
            Reason::CongestionMarkedNotEct,
            congested.around(&data),
        );
    }

    fn malformed_outer_headers(&mut self) {
        let outer = Outer::from(self.scene.clients.mapped(TRUSTED));
        let source = self.scene.clients.ipv6(TRUSTED);
        let good = outer.around(&packet::udp(source, Lab::HOST, b"data"));
        let mut damaged = good.clone();
        damaged[8] ^= 1;
        self.add_broken(From::Client, Reason::OuterChecksumWrong, damaged);
        let cut = good[..good.len() - 1].to_vec();
        self.add_broken(From::Client, Reason::OuterLengthMismatch, cut);
        let mut longer = good;
        longer[25] += 1;
        self.add_broken(From::Client, Reason::OuterLengthMismatch, longer);
        // Seen where the payload is read: in the slow path.
        let mut bubble = outer.around(&packet::ipv6(ipv6::NO_NEXT_HEADER, source, LINK_LOCAL, b""));
        bubble[27] ^= 1;
        self.add_broken(From::Client, Reason::OuterUdpChecksumWrong, bubble);
    }

    fn native_side(&mut self) {
        let stranger = self.scene.clients.mapped(STRANGER);
        let trusted = self.scene.clients.ipv6(TRUSTED);
        self.native(
            Reason::SourceTeredo,
            self.scene.clients.ipv6(STRANGER),
            trusted,
        );
        for source in [
            LINK_LOCAL,
            Ipv6Addr::UNSPECIFIED,
            Ipv6Addr::LOCALHOST,
            MULTICAST,
        ] {
            let packet = packet::udp(source, trusted, b"data");
            self.add_broken(From::Native, Reason::SourceNotGlobal, packet);
        }
        let [a, b, c, d] = Lab::RELAY_V4.octets().map(u16::from);
        let six_to_four = Ipv6Addr::new(0x2002, a << 8 | b, c << 8 | d, 0, 0, 0, 0, 1);
        self.native(Reason::SourceEmbedsOwnAddress, six_to_four, trusted);

        let at = |ip, port| Mapped { ip, port };
        let server = Lab::SERVER_V4;
        for (reason, server, mapped) in [
            (Reason::MappedAddressNotGlobal, server, at(PRIVATE, 4000)),
            (
                Reason::MappedAddressNotGlobal,
                server,
                at(Ipv4Addr::BROADCAST, 4000),
            ),
            (
                Reason::MappedAddressNotGlobal,
                server,
                at(Ipv4Addr::LOCALHOST, 4000),
            ),
            // The directed broadcast of the relay's own subnet.
            (
                Reason::MappedAddressNotGlobal,
                server,
                at(Ipv4Addr::new(203, 0, 113, 31), 4000),
            ),
            (Reason::ServerAddressNotGlobal, PRIVATE, stranger),
            (
                Reason::ServerAddressNotGlobal,
                Ipv4Addr::new(224, 0, 0, 253),
                stranger,
            ),
            (Reason::MappedPortZero, server, at(stranger.ip, 0)),
            (Reason::MappedAddressOwn, server, at(Lab::RELAY_V4, 4000)),
            (Reason::ServerAddressOwn, Lab::RELAY_V4, stranger),
        ] {
            let destination = TeredoAddr::new(ServerV4(server), 0, mapped);
            self.native(reason, Lab::HOST, destination.into());
        }

        let data = packet::udp(Lab::HOST, trusted, b"data");
        self.add_broken(
            From::Native,
            Reason::InnerTruncated,
            data[..data.len() - 1].to_vec(),
        );
        let mut jumbogram = data;
        jumbogram[4..6].fill(0);
        self.add(From::Native, Reason::JumbogramForm, jumbogram);
        self.list.push(Case {
            from: From::Native,
            packet: packet::udp(Lab::HOST, MULTICAST, b"data"),
            reason: None,
            kernel_drops: true,
        });
    }
}

fn cases(scene: &Scene) -> Vec<Case> {
    let mut cases = Cases {
        scene,
        list: Vec::new(),
    };
    cases.wrong_outer_sources();
    cases.forbidden_destinations();
    cases.malformed_payloads();
    cases.malformed_outer_headers();
    cases.native_side();
    cases.list
}

/// Sends the copies of `case` and waits until they are counted; says what else was.
fn run(scene: &Scene, relay: &Relay<'_>, case: &Case) -> BTreeMap<&'static str, u64> {
    let before = fates(&status(relay));
    for _ in 0..COPIES {
        match case.from {
            From::Client => scene.v4.send(&case.packet),
            From::Native => scene.v6.send(&case.packet),
        }
    }
    let mut counted = BTreeMap::new();
    // The error is what was counted instead.
    let _ = wait_for("the packets to be counted", SOON, || {
        counted = added(&before, &fates(&status(relay)));
        counted.values().sum::<u64>() >= COPIES
    });
    counted
}

fn every_drop_has_its_reason_and_no_answer(datapath: Datapath) {
    let scene = Scene::new(2, Bubbles::Answered);
    let relay = scene.relay(datapath);
    scene.establish(1);
    let captures = Captures::start(&scene.lab);
    let before = status(&relay);
    let mut sent = 0;
    let mut wrong = Vec::new();
    for case in cases(&scene) {
        if datapath == Datapath::Userspace && case.kernel_drops {
            continue;
        }
        let Some(reason) = case.reason else {
            for _ in 0..COPIES {
                scene.v6.send(&case.packet);
            }
            continue;
        };
        sent += COPIES;
        let counted = run(&scene, &relay, &case);
        if counted != BTreeMap::from([(reason.as_str(), COPIES)]) {
            wrong.push(format!("{reason:?} from {:?}: {counted:?}", case.from));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    let after = status(&relay);
    let counted = added(&fates(&before), &fates(&after));
    assert_eq!(
        counted.values().sum::<u64>(),
        sent,
        "each packet once: {counted:?}"
    );
    if datapath != Datapath::Userspace {
        let seen = |status: &relay_user::status::Status| -> u64 {
            let ours = status
                .reasons
                .iter()
                .filter(|(name, _)| *name != Reason::NotOurs.as_str());
            ours.map(|(_, counts)| counts.fast.packets).sum()
        };
        assert_eq!(
            seen(&after) - seen(&before),
            sent,
            "the fast path counts each frame once"
        );
        let dropped: u64 = counted.values().sum();
        println!(
            "{datapath}: {dropped} packets dropped for {} reasons",
            counted.len()
        );
    }
    let kinds = Reason::ALL
        .iter()
        .filter(|reason| counted.contains_key(reason.as_str()));
    assert!(
        kinds
            .into_iter()
            .all(|reason| reason.kind() == Kind::Dropped)
    );
    assert_eq!(
        (after.bubbles_sent, after.icmp6),
        (before.bubbles_sent, before.icmp6)
    );
    assert_eq!(scene.clients.waiting(), 0);
    relay.stop().unwrap();
    let answers = captures.stop().sent_by_relay();
    assert!(answers.is_empty(), "{answers:x?}");
}

for_each_datapath! {
    every_drop_has_its_reason_and_no_answer:
        xdp_drops_each_forbidden_packet_under_its_reason_without_an_answer,
        generic_xdp_drops_each_forbidden_packet_under_its_reason_without_an_answer,
        user_space_drops_each_forbidden_packet_under_its_reason_without_an_answer;
}

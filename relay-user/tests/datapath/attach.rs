//! Attaching to real devices, being refused by them, and leaving nothing behind.

use std::net::Ipv4Addr;
use std::time::Duration;

use relay_user::datapath::Mode;
use relay_user::net::{self, LinkKind, Snapshot};
use relay_user::slowpath::xsk::PuntSocket;
use tokio::sync::mpsc;

use crate::cable::{PORT_MAC, in_namespace, ip, lay_cable, link, port};
use crate::load;

#[test]
fn a_port_carries_the_program_as_long_as_the_datapath_lives() {
    for mode in [Mode::Xdp, Mode::XdpGeneric] {
        in_namespace(|| {
            lay_cable();
            let mut datapath = load(mode);
            let attached = datapath.attach(&port(), 1).unwrap();
            assert_eq!((attached.driver.as_str(), attached.mode), ("veth", mode));
            assert_eq!((attached.queues, attached.xsk_base), (1, 0));
            assert!(port().xdp_prog_id.is_some());
            assert_eq!(datapath.attached(), [attached]);
            datapath.detach();
            assert_eq!(port().xdp_prog_id, None);
        });
    }
}

#[test]
fn every_port_has_its_own_socket_slots() {
    in_namespace(|| {
        lay_cable();
        let mut datapath = load(Mode::Xdp);
        let bases = ["port0", "far0"].map(|name| datapath.attach(&link(name), 4).unwrap().xsk_base);
        assert_eq!(bases, [0, 4]);
    });
}

#[test]
fn a_port_named_twice_is_attached_once() {
    in_namespace(|| {
        lay_cable();
        let mut datapath = load(Mode::Xdp);
        let first = datapath.attach(&port(), 1).unwrap();
        assert_eq!(datapath.attach(&port(), 1).unwrap(), first);
        assert_eq!(datapath.attached(), [first]);
    });
}

#[test]
fn a_program_that_is_there_already_is_named() {
    in_namespace(|| {
        lay_cable();
        let mut first = load(Mode::Xdp);
        // The link is older than the program on it, as it may be at a start.
        let link = port();
        first.attach(&link, 1).unwrap();
        let id = port().xdp_prog_id.unwrap();
        let mut second = load(Mode::Xdp);
        let error = second.attach(&link, 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "relay: --iface port0: another XDP program is attached: \"relay\", id {id} \
                 (take it off, see ip link show port0)"
            )
        );
        assert_eq!((second.attached().len(), port().xdp_prog_id), (0, Some(id)));
    });
}

#[test]
fn a_driver_without_native_xdp_is_named_and_generic_mode_takes_it() {
    in_namespace(|| {
        ip("link add bridge0 type bridge");
        let bridge = link("bridge0");
        let error = load(Mode::Xdp).attach(&bridge, 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "relay: --iface bridge0: driver bridge has no native XDP (use --datapath xdp-generic, or auto)"
        );
        assert!(load(Mode::XdpGeneric).attach(&bridge, 1).is_ok());
    });
}

#[test]
fn the_loopback_device_is_refused() {
    in_namespace(|| {
        let error = load(Mode::XdpGeneric).attach(&link("lo"), 1).unwrap_err();
        assert_eq!(error.key, "--iface");
        assert!(error.cause.contains("loopback"), "{error}");
    });
}

#[test]
fn a_port_that_vanishes_is_forgotten() {
    in_namespace(|| {
        lay_cable();
        let mut datapath = load(Mode::Xdp);
        datapath.attach(&port(), 1).unwrap();
        ip("link delete port0");
        datapath.reconcile(&Snapshot::take().unwrap());
        assert_eq!(datapath.attached(), []);
    });
}

#[test]
fn a_socket_on_a_queue_that_does_not_exist_is_refused_with_the_system_s_number() {
    in_namespace(|| {
        lay_cable();
        let error = PuntSocket::open("port0", 999, false, false).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    });
}

#[test]
fn a_snapshot_shows_links_addresses_and_queues() {
    in_namespace(|| {
        lay_cable();
        ip("address add 203.0.113.18/28 dev port0");
        ip("address add 2001:db8:1::2/64 dev port0 nodad");
        let snapshot = Snapshot::take().unwrap();
        let port = snapshot.by_name("port0").unwrap();
        assert_eq!((port.mac, port.mtu, port.up), (PORT_MAC, 1500, true));
        assert_eq!(port.kind, LinkKind::Veth);
        assert_eq!(port.ipv4, [(Ipv4Addr::new(203, 0, 113, 18), 28)]);
        let [address] = port.ipv6[..] else {
            panic!("{:?}", port.ipv6);
        };
        assert_eq!(address.addr.to_string(), "2001:db8:1::2");
        assert!(address.global && !address.tentative && address.prefix_len == 64);
        let lo = snapshot.by_name("lo").unwrap();
        assert_eq!(lo.kind, LinkKind::Other("loopback".into()));
        let broadcasts: Vec<_> = snapshot.directed_broadcasts().collect();
        assert_eq!(broadcasts, [Ipv4Addr::new(203, 0, 113, 31)]);
        assert_eq!(net::rx_queues("port0"), 1);
        assert_eq!(net::driver("port0").unwrap(), "veth");
    });
}

#[test]
fn a_change_of_links_or_addresses_is_reported() {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (sender, mut changed) = mpsc::channel(1);
            let watch = tokio::spawn(net::watch(sender));
            let patience = Duration::from_secs(10);
            // The watch subscribes when it first runs; until then a change may go unseen.
            let mut toggle = ["up", "down"].into_iter().cycle();
            loop {
                ip(&format!("link set lo {}", toggle.next().unwrap()));
                let report = tokio::time::timeout(Duration::from_secs(1), changed.recv());
                if report.await.is_ok() {
                    break;
                }
            }
            lay_cable();
            ip("address add 203.0.113.18/28 dev port0");
            tokio::time::timeout(patience, changed.recv())
                .await
                .expect("the change is reported");
            assert!(
                Snapshot::take_async()
                    .await
                    .unwrap()
                    .by_name("port0")
                    .is_some()
            );
            drop(changed);
            tokio::time::timeout(patience, watch)
                .await
                .expect("the watch ends with its receiver")
                .unwrap()
                .unwrap();
        });
    });
}

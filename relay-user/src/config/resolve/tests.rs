//! Which interfaces and addresses a machine offers.

use super::*;
use crate::cli::RelayFlags;
use crate::config::settings;

fn interface(ifindex: u32, name: &str, ipv4: &[&str], ipv6: &[&str]) -> InterfaceInfo {
    InterfaceInfo {
        ifindex,
        name: name.to_owned(),
        ipv4: ipv4.iter().map(|ip| ip.parse().expect("IPv4")).collect(),
        ipv6: ipv6.iter().map(|ip| ip.parse().expect("IPv6")).collect(),
        vlan_parent: None,
    }
}

fn machine() -> Vec<InterfaceInfo> {
    let mut vlan = interface(4, "eth0.100", &["9.9.9.9"], &["2001:db8:100::1"]);
    vlan.vlan_parent = Some(2);
    let mut qinq = interface(5, "eth0.100.7", &["9.9.9.7"], &[]);
    qinq.vlan_parent = Some(4);
    vec![
        interface(1, "lo", &["127.0.0.1", "8.8.4.4"], &["::1"]),
        interface(2, "eth0", &["192.168.1.2"], &["fe80::2"]),
        interface(
            3,
            "eth1",
            &["203.0.113.18", "8.8.8.8"],
            &["2001:0:1::1", "2001:db8::18"],
        ),
        vlan,
        qinq,
    ]
}

fn asked(change: impl FnOnce(&mut RelayFlags), ifaces: &[&str]) -> RelaySettings {
    let mut flags = RelayFlags {
        iface: ifaces.iter().map(ToString::to_string).collect(),
        ..RelayFlags::default()
    };
    change(&mut flags);
    settings(&flags).expect("sound settings")
}

fn refused(settings: &RelaySettings) -> String {
    resolve(settings, &machine())
        .expect_err("refused")
        .to_string()
}

#[test]
fn the_first_global_addresses_in_order_of_the_interfaces_are_taken() {
    let resolved = resolve(&asked(|_| (), &["eth1", "eth0"]), &machine()).expect("resolved");
    assert_eq!(resolved.service.to_string(), "8.8.8.8:3545");
    assert_eq!(resolved.native_address.to_string(), "2001:db8::18");
    let ports: Vec<(u32, &str)> = resolved
        .ports
        .iter()
        .map(|p| (p.ifindex, p.name.as_str()))
        .collect();
    assert_eq!(ports, [(3, "eth1"), (2, "eth0")]);
}

#[test]
fn vlan_devices_follow_their_port_and_precede_the_next_port() {
    let resolved = resolve(&asked(|_| (), &["eth0", "eth1"]), &machine()).expect("resolved");
    assert_eq!(resolved.service.to_string(), "9.9.9.9:3545");
    assert_eq!(resolved.service_on, "eth0.100");
    assert_eq!(resolved.native_on, "eth0.100");
}

#[test]
fn an_opened_range_counts_as_global() {
    let settings = asked(
        |f| f.allow_non_global = vec!["203.0.113.0/24".to_owned()],
        &["eth1"],
    );
    let resolved = resolve(&settings, &machine()).expect("resolved");
    assert_eq!(resolved.service.to_string(), "203.0.113.18:3545");
}

#[test]
fn an_address_that_is_not_global_is_named_with_what_to_do() {
    let mut machine = machine();
    machine[2].ipv4.pop();
    let text = resolve(&asked(|_| (), &["eth1"]), &machine)
        .expect_err("refused")
        .to_string();
    assert_eq!(
        text,
        "relay: --iface eth1: has 203.0.113.18, which is not global, and no IPv4 address that is \
         (--allow-non-global 203.0.113.0/24 for a laboratory, or --bind another address of this machine)"
    );
}

#[test]
fn no_address_at_all_is_named_with_those_of_the_machine() {
    let mut machine = machine();
    machine[2].ipv4.clear();
    let text = resolve(&asked(|_| (), &["eth1"]), &machine)
        .expect_err("refused")
        .to_string();
    assert!(
        text.contains("--iface eth1: no IPv4 address there") && text.contains("eth0 192.168.1.2"),
        "{text}"
    );

    let mut machine = super::tests::machine();
    machine[2].ipv6.clear();
    let text = resolve(&asked(|_| (), &["eth1"]), &machine)
        .expect_err("refused")
        .to_string();
    assert!(
        text.contains("--iface eth1: no IPv6 address there")
            && text.contains("eth0.100 2001:db8:100::1"),
        "{text}"
    );
}

#[test]
fn an_unknown_interface_is_answered_with_the_list() {
    assert_eq!(
        refused(&asked(|_| (), &["eth9"])),
        "relay: --iface eth9: no such interface (interfaces here: lo, eth0, eth1, eth0.100, eth0.100.7)"
    );
}

#[test]
fn a_service_address_may_stand_on_any_interface_but_must_be_here() {
    let settings = asked(|f| f.bind = Some("8.8.4.4:4000".to_owned()), &["eth1"]);
    let resolved = resolve(&settings, &machine()).expect("resolved");
    assert_eq!(
        (resolved.service.to_string(), resolved.service_on),
        ("8.8.4.4:4000".to_owned(), "lo".to_owned())
    );

    let settings = asked(|f| f.bind = Some("1.1.1.1".to_owned()), &["eth1"]);
    let text = refused(&settings);
    assert!(
        text.starts_with("relay: --bind 1.1.1.1:3545: not an address of this machine ("),
        "{text}"
    );
}

#[test]
fn a_native_address_must_be_here() {
    let settings = asked(
        |f| f.native_address = Some("2001:db8::99".to_owned()),
        &["eth1"],
    );
    assert!(
        refused(&settings)
            .contains("--native-address 2001:db8::99: not an address of this machine")
    );
}

#[test]
fn a_vlan_device_may_be_named_itself() {
    let resolved = resolve(&asked(|_| (), &["eth0.100"]), &machine()).expect("resolved");
    assert_eq!(resolved.ports[0].ifindex, 4);
    assert_eq!(resolved.service.to_string(), "9.9.9.9:3545");
}

#[test]
fn what_a_named_vlan_device_lacks_is_taken_from_the_port_below_it() {
    let mut machine = machine();
    machine[1].ipv4 = vec!["8.8.8.1".parse().expect("IPv4")];
    machine[1].ipv6.push("2001:db8:2::1".parse().expect("IPv6"));
    let settings = asked(|_| (), &["eth0.100.7"]);
    let resolved = resolve(&settings, &machine).expect("resolved");
    assert_eq!(
        (&*resolved.service_on, &*resolved.native_on),
        ("eth0.100.7", "eth0.100")
    );
    for vlan in &mut machine[3..] {
        vlan.ipv4.clear();
        vlan.ipv6.clear();
    }
    let resolved = resolve(&settings, &machine).expect("resolved");
    assert_eq!(
        (&*resolved.service_on, &*resolved.native_on),
        ("eth0", "eth0")
    );
}

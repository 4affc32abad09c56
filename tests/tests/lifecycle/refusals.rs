//! What keeps the relay from starting: the exact words, the exit code, and nothing left behind.

use std::net::UdpSocket;

use lab::{Lab, Options, RELAY_PORT, XdpPass};

use crate::bare;
use crate::daemon::{Said, assert_nothing_left, flags, run};

const CONFIGURATION: i32 = 2;
const CANNOT_START: i32 = 3;

/// `check` and `relay` say the same and leave nothing.
fn assert_refused(lab: &Lab, words: &[String], code: i32, text: &str) {
    assert_refused_under(lab, &[], words, code, text);
}

fn assert_refused_under(lab: &Lab, wrapper: &[&str], words: &[String], code: i32, text: &str) {
    for command in ["check", "relay"] {
        let said = run(lab, wrapper, &[&[command.to_owned()], words].concat());
        let text = format!("{text}\n");
        assert_eq!(said, Said { code, text }, "{command}");
        assert_nothing_left(lab);
    }
}

/// Flags that work, with others instead of those of the same name or besides them.
fn with(lab: &Lab, replaced: &str, others: &[&str]) -> Vec<String> {
    let mut words = flags(lab, "xdp");
    while let Some(at) = words.iter().position(|word| word == replaced) {
        words.drain(at..at + 2);
    }
    words.extend(others.iter().map(ToString::to_string));
    words
}

#[test]
fn a_good_check_prints_the_plan_and_changes_nothing() {
    let lab = bare();
    let said = run(
        &lab,
        &[],
        &[&["check".to_owned()], &*flags(&lab, "xdp")].concat(),
    );
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.text
            .contains("203.0.113.18:3545 on lb-v4, can be bound"),
        "{said:?}"
    );
    assert!(!said.text.contains("warning"), "{said:?}");
    assert_nothing_left(&lab);
}

#[test]
fn an_interface_that_does_not_exist_is_answered_with_those_that_do() {
    let lab = bare();
    assert_refused(
        &lab,
        &with(&lab, "--iface", &["--iface", "lb-nope"]),
        CANNOT_START,
        "relay: --iface lb-nope: no such interface (interfaces here: lo, lb-v4, lb-v6)",
    );
}

#[test]
fn missing_capabilities_are_named() {
    let lab = bare();
    let next = "(run it as root, or by the systemd unit, which grants them)";
    for (kept, datapath, missing) in [
        (
            "-all",
            "xdp",
            "CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON",
        ),
        ("-all", "userspace", "CAP_NET_ADMIN, CAP_NET_RAW"),
        ("-net_raw", "xdp", "CAP_NET_RAW"),
        ("-sys_admin,-bpf,-perfmon", "xdp", "CAP_BPF, CAP_PERFMON"),
    ] {
        assert_refused_under(
            &lab,
            &["setpriv", "--bounding-set", kept, "--inh-caps", "-all"],
            &with(&lab, "--datapath", &["--datapath", datapath]),
            CANNOT_START,
            &format!("relay: privileges: this process lacks {missing} {next}"),
        );
    }
}

#[test]
fn a_taken_port_names_who_has_it() {
    let lab = bare();
    let other = lab
        .relay
        .enter(|| UdpSocket::bind((Lab::RELAY_V4, RELAY_PORT)))
        .unwrap();
    let name = std::fs::read_to_string("/proc/self/comm").unwrap();
    for command in ["check", "relay"] {
        let said = run(
            &lab,
            &[],
            &[&[command.to_owned()], &*flags(&lab, "xdp")].concat(),
        );
        let text = format!(
            "relay: --bind 203.0.113.18:3545: UDP port taken by {} (pid {}) (stop that, or --bind 203.0.113.18:PORT; \
             `ss -lunp sport = :3545` lists who listens)\n",
            name.trim(),
            std::process::id()
        );
        let code = CANNOT_START;
        assert_eq!(said, Said { code, text }, "{command}");
    }
    drop(other);
    assert_nothing_left(&lab);
}

#[test]
fn a_missing_address_of_either_family_is_named_with_those_elsewhere() {
    let lab = bare();
    lab.relay
        .ip(&["-6 addr flush dev lb-v6", "-6 addr flush dev lb-v4"])
        .unwrap();
    lab.relay
        .ip(&["addr add 2001:db8:9::1/64 dev lo nodad"])
        .unwrap();
    assert_refused(
        &lab,
        &flags(&lab, "xdp"),
        CANNOT_START,
        "relay: --iface lb-v4, lb-v6: no IPv6 address there (the relay needs one to send ICMPv6 errors from: add it, or \
         --native-address another of this machine: lo 2001:db8:9::1, lo ::1)",
    );
    lab.relay.ip(&["addr flush dev lb-v4"]).unwrap();
    assert_refused(
        &lab,
        &flags(&lab, "xdp"),
        CANNOT_START,
        "relay: --iface lb-v4, lb-v6: no IPv4 address there (add one, or --bind another of this machine: lo 127.0.0.1)",
    );
}

#[test]
fn an_address_that_is_not_global_needs_to_be_allowed() {
    let lab = bare();
    assert_refused(
        &lab,
        &with(&lab, "--allow-non-global", &[]),
        CANNOT_START,
        "relay: --iface lb-v4: has 203.0.113.18, which is not global, and no IPv4 address that is (--allow-non-global \
         203.0.113.0/24 for a laboratory, or --bind another address of this machine)",
    );
}

#[test]
fn loopback_is_no_port() {
    let lab = bare();
    assert_refused(
        &lab,
        // The log would tell of the ports that were attached and let go again.
        &with(&lab, "--none", &["--iface", "lo", "--log", "warn"]),
        CANNOT_START,
        "relay: --iface lo: the loopback device has no neighbours to relay for (name an Ethernet interface)",
    );
}

#[test]
fn a_device_without_native_xdp_is_named_with_its_driver() {
    let lab = bare();
    lab.relay
        .run(["ip", "link", "add", "lb-br", "type", "bridge"])
        .unwrap();
    lab.relay.ip(&["link set lb-br up"]).unwrap();
    let words = with(&lab, "--none", &["--iface", "lb-br", "--log", "warn"]);
    // `check` cannot know it without trying.
    let said = run(&lab, &[], &[&["relay".to_owned()], &*words].concat());
    let text = "relay: --iface lb-br: driver bridge has no native XDP (use --datapath xdp-generic, or auto)\n";
    assert_eq!((said.code, said.text.as_str()), (CANNOT_START, text));
    assert_nothing_left(&lab);
}

#[test]
fn another_xdp_program_is_named_and_stays() {
    // The far ends of the lab have the program to be named; here the relay's own port has it too.
    let lab = Lab::new(&Options {
        nats: Vec::new(),
        ..Options::default()
    })
    .unwrap();
    let program = XdpPass::attach(&lab.relay, "lb-v4").unwrap();
    let link = lab
        .relay
        .run(["ip", "-j", "link", "show", "dev", "lb-v4"])
        .unwrap();
    let link: serde_json::Value = serde_json::from_str(&link).unwrap();
    let id = &link[0]["xdp"]["prog"]["id"];
    for command in ["check", "relay"] {
        let said = run(
            &lab,
            &[],
            &[&[command.to_owned()], &*flags(&lab, "xdp")].concat(),
        );
        let text = format!(
            "relay: --iface lb-v4: another XDP program is attached: \"lab_pass\", id {id} (take it off, see ip link show \
             lb-v4)\n"
        );
        let code = CANNOT_START;
        assert_eq!(said, Said { code, text }, "{command}");
    }
    drop(program);
    assert_nothing_left(&lab);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest() {
    let lab = bare();
    let file = lab.dir().join("relay.toml");
    std::fs::write(&file, "iface = [\"lb-v4\"]\n\nmax-pears = 7\n").unwrap();
    let path = file.display().to_string();
    assert_refused(
        &lab,
        &with(&lab, "--none", &["--config", &path]),
        CONFIGURATION,
        &format!(
            "relay: --config {path}: line 3: unknown key \"max-pears\" (did you mean \"max-peers\"?)"
        ),
    );
}

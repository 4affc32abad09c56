//! The documented exit codes, asked of the real binary.

use std::process::{Command, Output};

fn shipworm(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shipworm"))
        .args(args)
        .output()
        .expect("the binary runs")
}

#[track_caller]
fn assert_ends(args: &[&str], code: i32, said: &str) {
    let output = shipworm(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(stderr.contains(said), "{args:?}: {stderr}");
}

#[test]
fn help_and_version_are_well() {
    assert_ends(&["--help"], 0, "");
    assert_ends(&["relay", "--help"], 0, "");
    assert_ends(&["--version"], 0, "");
}

#[test]
fn no_answer_from_a_daemon_is_a_failure() {
    let nowhere = ["--socket", "/nonexistent/relay.sock"];
    assert_ends(
        &["status", nowhere[0], nowhere[1]],
        1,
        "status: --socket /nonexistent/relay.sock: nobody listens there (is \"shipworm relay\" running?",
    );
    assert_ends(
        &["peers", "--json", nowhere[0], nowhere[1]],
        1,
        "peers: --socket",
    );
}

#[test]
fn a_wrong_command_line_or_configuration_is_a_usage_error() {
    assert_ends(&["relay", "--ifaces", "eth0"], 2, "--iface");
    assert_ends(
        &["relay"],
        2,
        "relay: --iface: at least one interface is needed",
    );
    assert_ends(
        &["check", "--iface", "eth0", "--bind", "203.0.113.18:3544"],
        2,
        "relay: --bind 203.0.113.18:3544: port 3544 belongs to Teredo servers",
    );
    assert_ends(
        &["check", "--config", "/nonexistent/relay.toml"],
        2,
        "relay: --config /nonexistent/relay.toml: ",
    );
}

#[test]
fn a_machine_that_cannot_start_it_is_told_apart() {
    // Without privileges it is those that are missing, with them the interface; both are the machine's.
    assert_ends(&["check", "--iface", "no-such-iface0"], 3, "relay: ");
}

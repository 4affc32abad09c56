//! The laboratory itself: it comes up, judges rightly and leaves nothing behind.

use std::net::{SocketAddrV4, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use lab::teredo_client::{Bubbles, Clients};
use lab::{
    Cabling, Capture, Lab, Nat, Options, Ping, RELAY_PORT, Traces, miredo, teredo_server, wait_for,
};
use teredo::addr::SERVER_PORT;
use teredo::wire::bubble;
use teredo::wire::trailer::Trailers;

const GONE_DEADLINE: Duration = Duration::from_secs(5);

fn small() -> Options {
    Options {
        nats: vec![Nat::Port],
        ..Options::default()
    }
}

#[test]
fn a_lab_that_is_dropped_leaves_no_process_and_no_namespace() {
    let lab = Lab::new(&small()).unwrap();
    let server = miredo::server(&lab).unwrap();
    let client = miredo::Client::start(&lab, Nat::Port).unwrap();
    let traces = Traces::of(&lab).unwrap();
    assert!(!traces.holders().unwrap().is_empty(), "the lab lives");
    let dir = lab.dir().to_owned();
    drop((client, server, lab));
    wait_for("the namespaces to be free", GONE_DEADLINE, || {
        traces.holders().unwrap().is_empty()
    })
    .unwrap_or_else(|e| panic!("{e}: {:?}", traces.holders()));
    assert!(!dir.exists());
}

/// Run as a child of [`a_lab_that_is_killed_leaves_nothing_behind`].
const HOSTAGE: &str = "LAB_SELFTEST_HOSTAGE";

#[test]
fn a_lab_that_is_killed_leaves_nothing_behind() {
    if std::env::var_os(HOSTAGE).is_some() {
        let lab = Lab::new(&small()).unwrap();
        let _server = miredo::server(&lab).unwrap();
        let _client = miredo::Client::start(&lab, Nat::Port).unwrap();
        println!("up: {}", Traces::of(&lab).unwrap());
        loop {
            std::thread::park();
        }
    }
    let mut hostage = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_lab_that_is_killed_leaves_nothing_behind"])
        .arg("--nocapture")
        .env(HOSTAGE, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let traces: Traces =
        std::io::BufRead::lines(std::io::BufReader::new(hostage.stdout.take().unwrap()))
            .find_map(|line| line.unwrap().strip_prefix("up: ")?.parse().ok())
            .expect("the lab came up");
    assert!(!traces.holders().unwrap().is_empty(), "the lab lives");
    hostage.kill().unwrap();
    hostage.wait().unwrap();
    wait_for("the namespaces to be free", GONE_DEADLINE, || {
        traces.holders().unwrap().is_empty()
    })
    .unwrap_or_else(|e| panic!("{e}: {:?}", traces.holders()));
}

#[test]
fn two_labs_run_side_by_side() {
    let labs = [Lab::new(&small()).unwrap(), Lab::new(&small()).unwrap()];
    for lab in &labs {
        let report = Ping::times(2).run(&lab.host, Lab::RELAY_V6).unwrap();
        assert!(report.is_perfect(), "{report:?}");
    }
}

#[test]
fn a_one_armed_relay_reaches_both_internets_through_one_interface() {
    let lab = Lab::new(&Options {
        nats: Vec::new(),
        cabling: Cabling::OneArmed,
        ..Options::default()
    })
    .unwrap();
    let report = Ping::times(2).run(&lab.relay, Lab::HOST).unwrap();
    assert!(report.is_perfect(), "{report:?}");
    let server = Lab::SERVER_V4.to_string();
    lab.relay.run(["ping", "-c1", "-W2", &server]).unwrap();
}

/// Whether the relay reaches a native host and the server, and both legs carry `tags` alone.
fn assert_tagged_legs_work(cabling: Cabling, ipv4: &[u16], ipv6: &[u16]) {
    let lab = Lab::new(&Options {
        nats: Vec::new(),
        cabling,
        ipv4_vlan: ipv4.to_vec(),
        ipv6_vlan: ipv6.to_vec(),
    })
    .unwrap();
    let captures = Capture::of_relay(&lab).unwrap();
    let report = Ping::times(2).run(&lab.relay, Lab::HOST).unwrap();
    assert!(report.is_perfect(), "{report:?}");
    let server = Lab::SERVER_V4.to_string();
    lab.relay.run(["ping", "-c1", "-W2", &server]).unwrap();
    let mut echoes = 0;
    for capture in captures {
        let pcap = capture.stop().unwrap();
        for (ids, filter) in [(ipv4, "icmp"), (ipv6, "icmpv6.type==128")] {
            let expected = match ids {
                [] => "\t".to_owned(),
                [only] => format!("\t{only}"),
                [outer, inner] => format!("{outer}\t{inner}"),
                more => panic!("too many tags: {more:?}"),
            };
            for line in pcap.fields(filter, &["ieee8021ad.id", "vlan.id"]).unwrap() {
                assert_eq!(line, expected, "{filter}");
                echoes += 1;
            }
        }
    }
    assert_eq!(echoes, 4, "two of each family at least once");
}

#[test]
fn either_leg_may_be_tagged_once_or_twice() {
    assert_tagged_legs_work(Cabling::TwoArmed, &[100], &[]);
    assert_tagged_legs_work(Cabling::TwoArmed, &[], &[200]);
    assert_tagged_legs_work(Cabling::TwoArmed, &[7, 100], &[200]);
}

#[test]
fn one_cable_carries_both_legs_in_two_vlans() {
    assert_tagged_legs_work(Cabling::OneArmed, &[100], &[200]);
}

#[test]
fn a_failing_command_is_reported_with_machine_command_and_cause() {
    let lab = Lab::new(&Options {
        nats: Vec::new(),
        ..Options::default()
    })
    .unwrap();
    let error = lab
        .host
        .ip(&["link set nosuch up"])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("host: \"ip\" \"link\" \"set\" \"nosuch\""),
        "{error}"
    );
    assert!(error.contains("Cannot find device"), "{error}");
}

#[test]
fn a_capture_holds_every_frame_and_its_checksums_are_right() {
    let lab = Lab::new(&small()).unwrap();
    let captures = Capture::of_relay(&lab).unwrap();
    let _server = miredo::server(&lab).unwrap();
    let _relay = miredo::relay(&lab).unwrap();
    let client = miredo::Client::start(&lab, Nat::Port).unwrap();
    let ping = Ping {
        count: 50,
        interval: Duration::from_millis(1),
        ..Ping::default()
    };
    let report = ping.run(&lab.host, client.ipv6()).unwrap();
    assert_eq!(report.received, ping.count, "{report:?}");
    let [v4, v6] = captures
        .into_iter()
        .map(|capture| capture.stop().unwrap().assert_checksums_right().unwrap())
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    println!("{v4:?} {v6:?}");
    // Listener reports of the leg itself are ICMPv6 too; what is Teredo and no echo is a bubble.
    assert!(v4.icmp6 >= 100 && v4.teredo >= 102, "{v4:?}");
    assert!(v6.icmp6 >= 100 && v6.teredo == 0, "{v6:?}");
}

/// The relay is played by one socket: its bubble goes to the server, comes back from the
/// client with source and destination exchanged and the nonce repeated (C-33).
#[test]
fn ten_thousand_scripted_clients_answer_the_bubbles_their_server_forwards() {
    const CLIENTS: usize = 10_000;
    let lab = Lab::new(&Options {
        nats: Vec::new(),
        ..Options::default()
    })
    .unwrap();
    let server = teredo_server::Server::start(&lab.server, Lab::SERVER_V4).unwrap();
    let clients = Clients::start(&lab, Lab::SERVER_V4, CLIENTS, Bubbles::Answered).unwrap();
    let relay = lab
        .relay
        .enter(|| UdpSocket::bind((Lab::RELAY_V4, RELAY_PORT)))
        .unwrap();
    relay.set_read_timeout(Some(GONE_DEADLINE)).unwrap();
    let cookie = [0xfe; 16];
    for i in 0..CLIENTS {
        let nonce = u32::try_from(i).unwrap().to_be_bytes();
        let trailers = Trailers {
            nonce: Some(nonce),
            ..Trailers::default()
        };
        let indirect = bubble::build(cookie, clients.address(i).octets(), &trailers);
        relay
            .send_to(&indirect, SocketAddrV4::new(Lab::SERVER_V4, SERVER_PORT))
            .unwrap();
        let mut answer = [0; 100];
        let (len, from) = relay.recv_from(&mut answer).unwrap();
        let expected = bubble::build(clients.address(i).octets(), cookie, &trailers);
        assert_eq!(
            (&answer[..len], from),
            (&expected[..], SocketAddrV4::from(clients.mapped(i)).into())
        );
    }
    assert_eq!(server.forwarded(), CLIENTS);
    assert_eq!(clients.waiting(), 0);
}

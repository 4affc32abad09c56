//! From READY to the last signal.

use lab::Lab;
use lab::shipworm::Datapath;

use crate::daemon::{Daemon, assert_nothing_left, flags, run, socket};
use crate::peer::{Peer, is_complete};
use crate::{bare, flow};

fn for_each_datapath(test: impl Fn(&Lab, &[String])) {
    for datapath in Datapath::ALL {
        let lab = bare();
        test(&lab, &flags(&lab, datapath.as_str()));
    }
}

#[test]
fn a_ping_sent_at_ready_is_answered() {
    for_each_datapath(|lab, flags| {
        let peer = Peer::start(lab);
        let daemon = Daemon::start(lab, flags);
        let report = peer.pinged(&flow(1));
        assert!(is_complete(&report), "{flags:?}\n{}", daemon.log());
        println!("{}: first reply in {:?}", flags[1], report.first_reply);
    });
}

#[test]
fn a_start_waits_for_addresses_that_are_still_tentative() {
    for_each_datapath(|lab, flags| {
        let relay = &lab.relay;
        relay.sysctl("net/ipv6/conf/lb-v6/accept_dad", "1").unwrap();
        let address = format!("{}/64", Lab::RELAY_V6);
        relay
            .run(["ip", "-6", "addr", "del", &address, "dev", "lb-v6"])
            .unwrap();
        relay
            .run(["ip", "-6", "addr", "add", &address, "dev", "lb-v6"])
            .unwrap();
        let shown = relay
            .run(["ip", "-6", "addr", "show", "dev", "lb-v6", "tentative"])
            .unwrap();
        assert!(shown.contains(&Lab::RELAY_V6.to_string()), "{shown}");
        Daemon::start(lab, flags).end_by(libc::SIGTERM);
    });
}

#[test]
fn either_signal_ends_it_with_exit_code_0_and_nothing_left() {
    for_each_datapath(|lab, flags| {
        for signal in [libc::SIGTERM, libc::SIGINT] {
            let peer = Peer::start(lab);
            let mut daemon = Daemon::start(lab, flags);
            assert!(socket(lab).exists());
            assert!(is_complete(&peer.pinged(&flow(10))));
            let status = daemon.end_by(signal);
            assert_eq!(status.code(), Some(0), "{}", daemon.log());
            assert_nothing_left(lab);
        }
    });
}

#[test]
fn after_kill_9_a_new_daemon_starts_and_serves_without_cleaning() {
    for_each_datapath(|lab, flags| {
        let peer = Peer::start(lab);
        let mut daemon = Daemon::start(lab, flags);
        assert!(is_complete(&peer.pinged(&flow(10))));
        daemon.end_by(libc::SIGKILL);
        assert!(socket(lab).exists(), "nobody could remove it");
        let mut daemon = Daemon::start(lab, flags);
        let report = peer.pinged(&flow(10));
        assert!(is_complete(&report), "{report:?}\n{}", daemon.log());
        assert_eq!(daemon.end_by(libc::SIGTERM).code(), Some(0));
        assert_nothing_left(lab);
    });
}

#[test]
fn a_second_daemon_is_refused_and_the_first_does_not_notice() {
    for_each_datapath(|lab, flags| {
        let peer = Peer::start(lab);
        let daemon = Daemon::start(lab, flags);
        assert!(is_complete(&peer.pinged(&flow(1))));
        let report = std::thread::scope(|scope| {
            let load = scope.spawn(|| peer.pinged(&flow(1000)));
            assert_second_is_refused(lab, flags, daemon.pid());
            load.join().unwrap()
        });
        assert!(is_complete(&report), "{report:?}\n{}", daemon.log());
        assert!(daemon.ask(&["status"]).contains("Running"));
    });
}

fn assert_second_is_refused(lab: &Lab, flags: &[String], first: u32) {
    let taken = format!(
        "relay: --bind 203.0.113.18:3545: UDP port taken by shipworm (pid {first}) (stop that, or --bind \
         203.0.113.18:PORT; `ss -lunp sport = :3545` lists who listens)\n"
    );
    let answers = format!(
        "relay: --socket {}: another relay answers there (pid {first}) (stop it, or give this one its own --socket)\n",
        socket(lab).display()
    );
    let device = "relay: TUN device shipworm0: Device or resource busy (os error 16) (another relay runs in this \
                  network namespace: shipworm status)\n";
    let other_port = ["--bind", "203.0.113.18:3546"].map(str::to_owned);
    let mut other_socket = flags.to_vec();
    *other_socket.last_mut().unwrap() = format!("{}2", socket(lab).display());
    for (words, expected) in [
        (flags.to_vec(), taken.as_str()),
        ([flags, &other_port].concat(), &answers),
        ([&*other_socket, &other_port].concat(), device),
    ] {
        for command in ["relay", "check"] {
            let said = run(lab, &[], &[&[command.to_owned()], &*words].concat());
            assert_eq!((said.code, said.text.as_str()), (3, expected), "{command}");
        }
    }
}

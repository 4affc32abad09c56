//! What a running daemon may do, as the kernel tells it of each of its threads.

use std::collections::HashMap;
use std::fs;

use relay_user::sandbox::kept_capabilities;

use crate::bare;
use crate::daemon::{Daemon, flags, socket};

/// The fields of `/proc/PID/task/TID/status` of every thread.
fn threads(pid: u32) -> Vec<HashMap<String, String>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .map(|task| {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let fields = status.lines().filter_map(|line| line.split_once(":\t"));
            fields.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
        })
        .collect()
}

/// Capabilities as the kernel prints a set of them.
fn mask(capabilities: impl Iterator<Item = u8>) -> String {
    format!(
        "{:016x}",
        capabilities.fold(0_u64, |mask, bit| mask | 1 << bit)
    )
}

#[test]
fn no_thread_of_a_running_daemon_keeps_more_than_it_uses() {
    let kept = mask(kept_capabilities().map(|capability| capability.index()));
    let none = mask(std::iter::empty());
    for datapath in ["xdp", "xdp-generic", "userspace"] {
        let lab = bare();
        let mut daemon = Daemon::start(&lab, &flags(&lab, datapath));
        let threads = threads(daemon.pid());
        // The control thread, the desk, and those of the slow path.
        assert!(threads.len() >= 5, "{datapath}: {} threads", threads.len());
        for thread in threads {
            for (field, value) in [
                ("CapEff", &*kept),
                ("CapPrm", &kept),
                ("CapBnd", &none),
                ("CapInh", &none),
                ("CapAmb", &none),
                ("NoNewPrivs", "1"),
                ("Seccomp", "2"),
            ] {
                let name = &thread["Name"];
                assert_eq!(thread[field], value, "{field} of {name} with {datapath}");
            }
        }
        let status = daemon.end_by(libc::SIGTERM);
        assert_eq!(status.code(), Some(0), "{}", daemon.log());
        assert!(!socket(&lab).exists(), "the control socket is left");
    }
}

#[test]
fn a_daemon_told_so_keeps_all_it_may_do_and_warns() {
    let lab = bare();
    let mut flags = flags(&lab, "userspace");
    flags.push("--sandbox=false".to_owned());
    let daemon = Daemon::start(&lab, &flags);
    for thread in threads(daemon.pid()) {
        assert_eq!((&*thread["Seccomp"], &*thread["NoNewPrivs"]), ("0", "0"));
        assert_eq!(thread["CapBnd"], threads(std::process::id())[0]["CapBnd"]);
    }
    assert!(
        daemon.log().contains("the sandbox is off"),
        "{}",
        daemon.log()
    );
}

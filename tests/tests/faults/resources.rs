//! No memory, no room on a disk.

use std::io;

use lab::shipworm::{Relay, Settings};

use crate::daemon::{Said, assert_nothing_left, flags, run, socket};
use crate::scene::{SOON, status};
use crate::stopped::daemon;
use crate::traffic::{PEERS, World, pinned};

const PACKETS: usize = 1000;
/// Exit code: this machine cannot start it.
const CANNOT_START: i32 = 3;

/// A command that runs `script` and becomes the daemon, which is `"$@"` there.
fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script, "sh"].map(str::to_owned).to_vec()
}

/// Gives a process no more address space than it has.
fn deny_memory(pid: i32) {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the kernel reads one structure that lives, and writes none.
    let set = unsafe { libc::prlimit(pid, libc::RLIMIT_AS, &raw const none, std::ptr::null_mut()) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

#[test]
fn a_peer_table_beyond_the_memory_limit_is_refused_by_its_key() {
    let world = World::new();
    let lab = &world.scene.lab;
    let mut words = flags(lab, "xdp");
    let at = words.iter().position(|word| word == "--max-peers").unwrap();
    // 101 MiB, and a daemon around it that takes more than 27.
    words[at + 1] = "2097152".to_owned();
    words.insert(0, "relay".to_owned());
    let said = run(lab, &["prlimit", "--as=134217728"], &words);
    let text = "relay: --max-peers 2097152: not enough memory for the peer table (ask for fewer peers, \
        or raise the memory limit of this process (ulimit -v, its control group))\n";
    let code = CANNOT_START;
    assert_eq!(
        said,
        Said {
            code,
            text: text.to_owned()
        }
    );
    assert_nothing_left(lab);
}

#[test]
fn a_daemon_that_gets_no_more_memory_leaves_established_peers_flowing_and_the_next_one_goes_on() {
    const NEW_PEERS: u16 = 20_000;
    let world = World::new();
    let mut relay = world.relay(&pinned());
    deny_memory(daemon(relay.process().pid()));
    let (ended, counted) = world.exchange_while(|| {
        lab::wait_for("memory to be wanted", SOON * 4, || {
            world.ask_for_new_peers(NEW_PEERS);
            !relay.is_running()
        })
        .map(|_| ())
    });
    ended.unwrap();
    assert_eq!(counted.lost(), (0, 0), "{counted:?}");
    assert!(relay.log().contains("memory allocation"), "{}", relay.log());

    let relay = Relay::start(&world.scene.lab, &pinned()).unwrap();
    assert_eq!(status(&relay).peers.fresh, PEERS as u64);
    let counted = world.exchange(PACKETS);
    assert_eq!(counted.lost(), (0, 0), "{counted:?}");
    relay.stop().unwrap();
}

#[test]
fn a_log_on_a_full_disk_is_lost_and_nothing_else() {
    let world = World::new();
    let settings = Settings {
        under: shell("exec \"$@\" 2>/dev/full"),
        ..pinned()
    };
    let relay = world.relay(&settings);
    // Something to be told, while it runs.
    let machine = &world.scene.lab.relay;
    machine.ip(&["link set lb-v6 mtu 1400"]).unwrap();
    let counted = world.exchange(PACKETS);
    assert_eq!(counted.lost(), (0, 0), "{counted:?}");
    assert_eq!(status(&relay).peers.fresh, PEERS as u64);
    assert_eq!(relay.log(), "");
    relay.stop().unwrap();
}

#[test]
fn a_control_socket_on_a_full_disk_is_refused_with_what_to_do() {
    let world = World::new();
    let lab = &world.scene.lab;
    let full = lab.dir().join("full");
    std::fs::create_dir(&full).unwrap();
    let mut words = flags(lab, "xdp");
    *words.last_mut().unwrap() = full.join("relay.sock").display().to_string();
    words.insert(0, "relay".to_owned());
    // Its own directory is the only file it has room for, and only the daemon sees it.
    let script = format!(
        "mount -t tmpfs -o nr_inodes=1 none {} && exec \"$@\"",
        full.display()
    );
    let shell = shell(&script);
    let mut wrapper = vec!["unshare", "--mount"];
    wrapper.extend(shell.iter().map(String::as_str));
    let said = run(lab, &wrapper, &words);
    let text = format!(
        "relay: --socket {}: No space left on device (os error 28) \
         (make room there, or --socket PATH on another file system)\n",
        full.join("relay.sock").display()
    );
    let code = CANNOT_START;
    assert_eq!(said, Said { code, text });
    assert!(!socket(lab).exists());
    assert_nothing_left(lab);
}

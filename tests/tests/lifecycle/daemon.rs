//! The daemon as its operator starts it: every flag given, nothing taken care of.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use lab::shipworm::{INTERFACE, binary, has_xdp_program};
use lab::{Lab, Pids, Process, wait_for};

/// How long anything between the lab's machines may take.
pub(crate) const SOON: Duration = Duration::from_secs(5);
const READY_DEADLINE: Duration = Duration::from_secs(20);

/// Flags of a relay that works in `lab`.
pub(crate) fn flags(lab: &Lab, datapath: &str) -> Vec<String> {
    let mut flags = vec!["--datapath".to_owned(), datapath.to_owned()];
    for interface in lab.relay_interfaces() {
        flags.extend(["--iface".to_owned(), (*interface).to_owned()]);
    }
    for range in ["198.51.100.0/24", "203.0.113.0/24"] {
        flags.extend(["--allow-non-global".to_owned(), range.to_owned()]);
    }
    flags.extend(["--max-peers", "1024", "--socket"].map(str::to_owned));
    flags.push(socket(lab).display().to_string());
    flags
}

/// The control socket of those flags.
pub(crate) fn socket(lab: &Lab) -> PathBuf {
    lab.dir().join("relay.sock")
}

/// A running daemon. Dropping it kills it.
pub(crate) struct Daemon<'lab> {
    lab: &'lab Lab,
    process: Process,
}

impl<'lab> Daemon<'lab> {
    /// Starts it and waits for nothing but its READY.
    pub(crate) fn start(lab: &'lab Lab, flags: &[String]) -> Self {
        let notify_path = lab.dir().join("notify.sock");
        // One of a daemon before.
        let _ = std::fs::remove_file(&notify_path);
        let notify = UnixDatagram::bind(&notify_path).unwrap();
        notify.set_nonblocking(true).unwrap();
        let mut command = Command::new(binary().unwrap());
        command.arg("relay").args(flags);
        command.env("NOTIFY_SOCKET", &notify_path);
        let mut process = lab.relay.spawn_command(Pids::Shared, command).unwrap();
        let mut said = [0; 4096];
        process
            .wait_until("READY", READY_DEADLINE, || {
                notify
                    .recv(&mut said)
                    .is_ok_and(|len| said[..len].starts_with(b"READY=1"))
            })
            .unwrap();
        Self { lab, process }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn log(&self) -> String {
        self.process.output()
    }

    /// Sends `signal` and waits for the end.
    pub(crate) fn end_by(&mut self, signal: libc::c_int) -> ExitStatus {
        self.process.signal(signal).unwrap();
        self.process.wait(SOON).unwrap()
    }

    /// `shipworm status` or `peers`, with more flags.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        let socket = socket(self.lab);
        let mut argv = vec![binary().unwrap().into_os_string()];
        argv.extend(words.iter().map(Into::into));
        argv.extend(["--socket".into(), socket.into_os_string()]);
        self.lab.relay.run(argv).unwrap()
    }
}

/// What a command that does not stay has to say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) text: String,
}

/// Runs `shipworm` with these words on the relay's machine, under `wrapper` if there is one.
pub(crate) fn run(lab: &Lab, wrapper: &[&str], words: &[String]) -> Said {
    let binary = binary().unwrap();
    let mut argv: Vec<&std::ffi::OsStr> = wrapper.iter().map(std::ffi::OsStr::new).collect();
    argv.push(binary.as_os_str());
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).args(words);
    let mut process = lab.relay.spawn_command(Pids::Shared, command).unwrap();
    let status = process.wait(READY_DEADLINE).unwrap();
    Said {
        code: status.code().unwrap(),
        text: process.output(),
    }
}

/// No device, route, program or socket of a daemon.
pub(crate) fn assert_nothing_left(lab: &Lab) {
    let prefix = "2001::".parse().unwrap();
    let interfaces = lab.relay.interfaces().unwrap();
    assert!(
        !interfaces.iter().any(|name| name == INTERFACE),
        "a TUN device is left"
    );
    assert!(
        !lab.relay.has_ipv6_route(prefix, 32, INTERFACE).unwrap(),
        "a route is left"
    );
    for interface in lab.relay_interfaces() {
        wait_for("the program to be gone", SOON, || {
            !has_xdp_program(lab, interface).unwrap()
        })
        .unwrap();
    }
    assert_no_file(&socket(lab));
    assert!(
        !lab.relay.has_udp_socket(lab::RELAY_PORT).unwrap(),
        "the service socket is left"
    );
}

fn assert_no_file(path: &Path) {
    assert!(!path.exists(), "{} is left", path.display());
}

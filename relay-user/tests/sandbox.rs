//! What a process in the sandbox can still do. Each attempt is made by a child process, for there is no way back: this
//! very test, run again with the name of the attempt in its environment.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, exit};

use caps::{CapSet, CapsHashSet};
use relay_user::sandbox::{Sandbox, kept_capabilities};
use tempfile::TempDir;

/// Names the attempt of a child process.
const ATTEMPT: &str = "SANDBOX_ATTEMPT";
/// The directory whose entries it may remove; beside it stands another.
const DIRECTORY: &str = "SANDBOX_DIRECTORY";

/// Whether the filter of system calls is there too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    Entered,
    Sealed,
}
use Depth::{Entered, Sealed};

/// What becomes of an attempt.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Done,
    Refused(i32),
    Killed(i32),
}
use End::{Done, Killed, Refused};

type Attempt = (&'static str, Depth, fn(&Path) -> io::Result<()>, End);

fn call(result: libc::c_long) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<()> {
    // SAFETY: plain numbers; the socket is left to the end of the process.
    call(unsafe { libc::socket(family, kind, protocol) }.into())
}

fn map(protection: i32) -> io::Result<()> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, at a place of the kernel's choice.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    call(if at == libc::MAP_FAILED { -1 } else { 0 })
}

fn execute() -> io::Result<()> {
    let program = CString::new("/bin/true")?;
    let arguments = [program.as_ptr(), std::ptr::null()];
    // SAFETY: the path and the array end with nul and null.
    call(unsafe { libc::execv(program.as_ptr(), arguments.as_ptr()) }.into())
}

fn trace() -> io::Result<()> {
    // SAFETY: plain numbers; it is this process that is to be traced, by its parent.
    call(unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) })
}

fn signal_parent() -> io::Result<()> {
    // SAFETY: plain numbers; signal 0 is none.
    call(unsafe { libc::kill(libc::getppid(), 0) }.into())
}

/// `BPF_PROG_LOAD` (5) of nothing.
fn load_program() -> io::Result<()> {
    // SAFETY: an empty block, as long as said.
    call(unsafe { libc::syscall(libc::SYS_bpf, 5, std::ptr::null::<u8>(), 0) })
}

fn beside(directory: &Path) -> PathBuf {
    directory.with_file_name("other")
}

const ATTEMPTS: &[Attempt] = &[
    // What the daemon does.
    (
        "removes its own file",
        Sealed,
        |d| fs::remove_file(d.join("file")),
        Done,
    ),
    (
        "removes its own directory's directory",
        Sealed,
        |d| fs::remove_dir(d.join("dir")),
        Done,
    ),
    (
        "opens a unix socket",
        Sealed,
        |_| socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0),
        Done,
    ),
    (
        "asks the kernel for routes",
        Sealed,
        |_| socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE),
        Done,
    ),
    (
        "takes memory",
        Sealed,
        |_| map(libc::PROT_READ | libc::PROT_WRITE),
        Done,
    ),
    // What Landlock and the capabilities keep it from.
    (
        "reads a file",
        Entered,
        |_| File::open("/etc/passwd").map(drop),
        Refused(libc::EACCES),
    ),
    (
        "writes a file",
        Entered,
        |d| File::create(d.join("new")).map(drop),
        Refused(libc::EACCES),
    ),
    (
        "removes another's file",
        Entered,
        |d| fs::remove_file(beside(d).join("file")),
        Refused(libc::EACCES),
    ),
    (
        "executes a program",
        Entered,
        |_| execute(),
        Refused(libc::EACCES),
    ),
    (
        "signals its parent",
        Entered,
        |_| signal_parent(),
        Refused(libc::EPERM),
    ),
    (
        "opens a raw socket",
        Entered,
        |_| socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        Refused(libc::EPERM),
    ),
    // What the filter keeps it from, whatever the kernel's Landlock knows.
    (
        "reads a file",
        Sealed,
        |_| File::open("/etc/passwd").map(drop),
        Refused(libc::EPERM),
    ),
    (
        "writes a file",
        Sealed,
        |d| File::create(d.join("new")).map(drop),
        Refused(libc::EPERM),
    ),
    (
        "removes another's file",
        Sealed,
        |d| fs::remove_file(beside(d).join("file")),
        Refused(libc::EACCES),
    ),
    (
        "renames a file",
        Sealed,
        |d| fs::rename(d.join("file"), d.join("new")),
        Refused(libc::EPERM),
    ),
    (
        "executes a program",
        Sealed,
        |_| execute(),
        Killed(libc::SIGSYS),
    ),
    ("is traced", Sealed, |_| trace(), Killed(libc::SIGSYS)),
    (
        "starts a process",
        Sealed,
        |_| Command::new("/bin/true").status().map(drop),
        Refused(libc::EPERM),
    ),
    (
        "signals its parent",
        Sealed,
        |_| signal_parent(),
        Refused(libc::EPERM),
    ),
    (
        "opens a TCP socket",
        Sealed,
        |_| socket(libc::AF_INET, libc::SOCK_STREAM, 0),
        Refused(libc::EPERM),
    ),
    (
        "loads a BPF program",
        Sealed,
        |_| load_program(),
        Refused(libc::EPERM),
    ),
    (
        "takes memory to execute",
        Sealed,
        |_| map(libc::PROT_READ | libc::PROT_EXEC),
        Refused(libc::EPERM),
    ),
];

#[test]
fn the_sandbox_lets_nothing_be_opened_executed_or_traced() {
    if let Ok(number) = std::env::var(ATTEMPT) {
        attempt(&ATTEMPTS[number.parse::<usize>().unwrap()]);
    }
    for (number, (what, depth, _, end)) in ATTEMPTS.iter().enumerate() {
        let place = TempDir::new().unwrap();
        for directory in ["own", "other"] {
            fs::create_dir_all(place.path().join(directory).join("dir")).unwrap();
            fs::write(place.path().join(directory).join("file"), "").unwrap();
        }
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "the_sandbox_lets_nothing_be_opened_executed_or_traced",
            ])
            .env(ATTEMPT, number.to_string())
            .env(DIRECTORY, place.path().join("own"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(end_of(output.status), *end, "{what}, {depth:?}: {said}");
    }
}

/// Exit status of a refused attempt: this and the error's number.
const REFUSED: i32 = 100;

fn attempt((_, depth, attempt, _): &Attempt) -> ! {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    let sandbox = Sandbox::enter(&[&directory], &[&directory]).expect("the kernel has Landlock");
    assert_eq!(sandbox.weakness, None, "the kernel has Landlock");
    if *depth == Sealed {
        sandbox.seal().expect("the kernel has seccomp");
    }
    exit(match attempt(&directory) {
        Ok(()) => 0,
        Err(error) => REFUSED + error.raw_os_error().expect("the kernel's refusal"),
    })
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(0), _) => Done,
        (Some(code), _) => Refused(code - REFUSED),
        (None, signal) => Killed(signal.unwrap()),
    }
}

#[test]
fn what_is_kept_is_all_that_is_left_in_any_set_of_capabilities() {
    // In a thread of its own: the others keep theirs.
    let sets = std::thread::spawn(|| {
        let _entered = Sandbox::enter(&[], &[]).unwrap();
        let sets = [
            CapSet::Effective,
            CapSet::Permitted,
            CapSet::Inheritable,
            CapSet::Ambient,
            CapSet::Bounding,
        ];
        sets.map(|set| caps::read(None, set).unwrap())
    });
    let [effective, permitted, rest @ ..] = sets.join().unwrap();
    let kept: CapsHashSet = kept_capabilities().collect();
    assert_eq!(effective, kept);
    assert_eq!(permitted, kept);
    assert!(rest.iter().all(CapsHashSet::is_empty), "{rest:?}");
}

//! Processes that cannot outlive the lab.
//!
//! Three things see to that. A guard ends and reaps its process when dropped. The kernel
//! kills the process when the lab's own process dies, even by SIGKILL
//! (`PR_SET_PDEATHSIG`). Daemons that fork or change their user get a PID namespace, whose
//! end takes along whatever lives in it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

use crate::init::become_init_of_child;
use crate::netns::{Netns, set_netns};
use crate::wait_for;

const END_DEADLINE: Duration = Duration::from_secs(10);

/// Where the PIDs of a process and its children live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pids {
    /// Beside everyone else's.
    Shared,
    /// In a namespace of their own; the PID known outside is that of its init.
    Own,
}

/// A running process. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: NamedTempFile,
}

impl Process {
    /// Starts `command` in `netns`; its output goes to a temporary file.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn(name: &str, netns: &Netns, pids: Pids, mut command: Command) -> Result<Self> {
        let log = NamedTempFile::new()?;
        let out = File::options().append(true).open(log.path())?;
        command.stdin(Stdio::null());
        command.stdout(out.try_clone()?).stderr(out);
        let child =
            spawn_in(netns, pids, command).with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// The process's PID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file both its streams go to, which ends with the guard.
    pub fn log_path(&self) -> &Path {
        self.log.path()
    }

    /// What it has written so far, both streams.
    pub fn output(&self) -> String {
        std::fs::read(self.log.path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// The process has ended.
    pub fn signal(&self, signal: libc::c_int) -> Result<()> {
        let pid = libc::pid_t::try_from(self.child.id())?;
        // SAFETY: no pointers. The PID cannot have been reused: the child is not reaped yet.
        if unsafe { libc::kill(pid, signal) } != 0 {
            return Err(io::Error::last_os_error()).context(self.name.clone());
        }
        Ok(())
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// It still runs after `within`; the message holds its output.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let mut status = None;
        wait_for(&format!("end of {}", self.name), within, || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        })
        .with_context(|| self.output())?;
        status.context("the process has ended")
    }

    /// Ends it by SIGTERM.
    ///
    /// # Errors
    /// It does not end in time; the message holds its output.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(libc::SIGTERM)?;
        self.wait(END_DEADLINE)
    }

    /// Ends it by SIGKILL, and with it its PID namespace.
    ///
    /// # Errors
    /// It cannot be reaped.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for `condition`, but not longer than the process lives.
    ///
    /// # Errors
    /// The process ends or the deadline passes first; the message holds its output.
    pub fn wait_until(
        &mut self,
        what: &str,
        within: Duration,
        mut condition: impl FnMut() -> bool,
    ) -> Result<Duration> {
        let mut ended = false;
        let name = self.name.clone();
        let waited = wait_for(&format!("{name}: {what}"), within, || {
            ended = !self.is_running();
            ended || condition()
        });
        if ended {
            bail!("{name} ended before: {what}\n{}", self.output());
        }
        waited.with_context(|| format!("output of {name}:\n{}", self.output()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            // A drop can report nothing; the kernel's death signal stands behind it.
            let _ = self.kill();
        }
        if thread::panicking() {
            eprintln!("---- {} said:\n{}", self.name, self.output());
        }
    }
}

/// Runs `command` in `netns` to its end.
///
/// # Errors
/// It cannot be started or exits with an error; the message holds what it wrote.
pub(crate) fn run_in(netns: &Netns, node: &str, mut command: Command) -> Result<Output> {
    let line = format!("{command:?}");
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = spawn_in(netns, Pids::Shared, command)
        .and_then(Child::wait_with_output)
        .with_context(|| format!("{node}: cannot run {line}"))?;
    if !output.status.success() {
        let how = match output.status.signal() {
            Some(signal) => format!("signal {signal}"),
            None => format!("exit code {}", output.status.code().unwrap_or(-1)),
        };
        bail!(
            "{node}: {line}: {how}\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output)
}

/// One request to the thread that starts all processes.
struct Request {
    command: Command,
    pids: Pids,
    reply: Sender<io::Result<Child>>,
}

fn spawn_in(netns: &Netns, pids: Pids, mut command: Command) -> io::Result<Child> {
    let ns: OwnedFd = netns.as_fd().try_clone_to_owned()?;
    let prepare = move || {
        set_netns(ns.as_fd())?;
        // SAFETY: no pointers.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
            return Err(io::Error::last_os_error());
        }
        match pids {
            Pids::Shared => Ok(()),
            Pids::Own => become_init_of_child(),
        }
    };
    // Ctrl-C at a terminal goes to a whole process group; ours ends its processes in order.
    command.process_group(0);
    // SAFETY: the closure only makes system calls, which are safe between fork and exec.
    unsafe { command.pre_exec(prepare) };
    let (reply, answer) = channel();
    let request = Request {
        command,
        pids,
        reply,
    };
    let gone = || io::Error::other("the starting thread is gone");
    starter().send(request).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

/// All processes are started by one thread that lives as long as the program: the death
/// signal follows the *thread* that forked, and test threads come and go.
fn starter() -> &'static Sender<Request> {
    static STARTER: OnceLock<Sender<Request>> = OnceLock::new();
    STARTER.get_or_init(|| {
        let (sender, requests) = channel::<Request>();
        thread::Builder::new()
            .name("starter".into())
            .spawn(move || {
                for mut request in requests {
                    let child = match request.pids {
                        Pids::Shared => request.command.spawn(),
                        Pids::Own => spawn_as_init(&mut request.command),
                    };
                    // The asker waits for it; if it is gone, the child is of no use.
                    if let Err(unheard) = request.reply.send(child)
                        && let Ok(mut child) = unheard.0
                    {
                        let _ = child.kill();
                    }
                }
            })
            .expect("a thread for starting processes");
        sender
    })
}

/// Starts `command` as the init of a new PID namespace.
fn spawn_as_init(command: &mut Command) -> io::Result<Child> {
    let ours = File::open("/proc/thread-self/ns/pid")?;
    // SAFETY: no pointers; decides where this thread's next children live.
    if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let child = command.spawn();
    // SAFETY: the descriptor is open; back to where this thread's children lived before.
    if unsafe { libc::setns(ours.as_raw_fd(), libc::CLONE_NEWPID) } != 0 {
        return Err(io::Error::last_os_error());
    }
    child
}

//! The init of a daemon's PID namespace.
//!
//! A daemon that changes its user loses its death signal, so it cannot be the init itself:
//! this one keeps root and the signal, and takes the whole namespace with it when it dies.
//! It is the forked image of the lab's own program and makes system calls only.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Forks in the first process of a PID namespace. The child returns, to become the daemon;
/// the parent stays as init, hands on SIGTERM and ends as the daemon ends.
pub(crate) fn become_init_of_child() -> io::Result<()> {
    let signals = signal_set(&[libc::SIGTERM, libc::SIGCHLD]);
    // Blocked signals wait; others without a handler would not reach an init at all.
    mask(libc::SIG_BLOCK, &signals)?;
    // SAFETY: no pointers; both sides make system calls only until they exec or exit.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => mask(libc::SIG_UNBLOCK, &signals),
        daemon => supervise(daemon, &signals),
    }
}

fn supervise(daemon: libc::pid_t, signals: &libc::sigset_t) -> ! {
    // Whoever started us waits for the end of a pipe that we hold too.
    // SAFETY: no pointers; nothing here uses a descriptor any more.
    unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
    loop {
        // SAFETY: the set is valid; no information is asked for.
        let signal = unsafe { libc::sigwaitinfo(signals, ptr::null_mut()) };
        if signal == libc::SIGTERM {
            // SAFETY: no pointers; the daemon is our child and not reaped yet.
            unsafe { libc::kill(daemon, libc::SIGTERM) };
        }
        reap(daemon);
    }
}

/// Reaps whatever has ended, and ends as the daemon did once that has.
fn reap(daemon: libc::pid_t) {
    loop {
        let mut status = 0;
        // SAFETY: the status is valid.
        let ended = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        if ended <= 0 {
            return;
        }
        if ended == daemon {
            let code = if libc::WIFEXITED(status) {
                libc::WEXITSTATUS(status)
            } else {
                128 + libc::WTERMSIG(status)
            };
            // SAFETY: no pointers; nothing of the program's own exit handling may run here.
            unsafe { libc::_exit(code) };
        }
    }
}

pub(crate) fn signal_set(signals: &[libc::c_int]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the pointer is valid; the call initialises the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for signal in signals {
        // SAFETY: the set is initialised.
        unsafe { libc::sigaddset(set.as_mut_ptr(), *signal) };
    }
    // SAFETY: initialised above.
    unsafe { set.assume_init() }
}

pub(crate) fn mask(how: libc::c_int, signals: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: the set is valid; the old mask is not asked for.
    if unsafe { libc::sigprocmask(how, signals, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

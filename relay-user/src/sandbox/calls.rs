//! Giving up system calls, by two filters of seccomp: one lists what is allowed, one what ends the process. The kernel
//! obeys the stricter of the two.

use std::collections::BTreeMap;
use std::process;

use libc::{c_int, c_long, c_ulong};
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, apply_filter_all_threads,
};

/// Allowed whatever their arguments are.
const ALLOWED: &[c_long] = &[
    // Packets, and questions of the control socket, through descriptors there are.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_fcntl,
    libc::SYS_close,
    // Waiting.
    libc::SYS_ppoll,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_futex,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    // Clocks, where the vDSO does not read them, and random numbers.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // Memory; more of it that can be executed is not among them.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    // Signals, and the beginning and end of threads that are there.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_getpid,
    libc::SYS_geteuid,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // What is removed at the end, where Landlock lets it be.
    libc::SYS_statx,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_unlinkat,
];

/// The same under names that newer machines do not have.
#[cfg(target_arch = "x86_64")]
const ALLOWED_BY_OLD_NAMES: &[c_long] = &[
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_lstat,
    libc::SYS_unlink,
    libc::SYS_rmdir,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_BY_OLD_NAMES: &[c_long] = &[];

/// Nobody but an intruder makes these, and he shall be heard of.
const DEADLY: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
    libc::SYS_mount,
    libc::SYS_unshare,
    libc::SYS_setns,
];

/// Families of sockets that may be opened: questions to rtnetlink, the words to the service manager and of signals.
const FAMILIES: [c_int; 2] = [libc::AF_UNIX, libc::AF_NETLINK];

/// `FIONBIO`, the routes of the TUN device, and whether it outlives the daemon.
const IOCTLS: [c_ulong; 4] = [
    libc::FIONBIO,
    libc::SIOCADDRT,
    libc::SIOCDELRT,
    libc::TUNSETPERSIST,
];

/// Commands of `bpf` (`enum bpf_cmd`) on maps there are: look up, update, delete, next key, and batches of these; and on
/// links: detach.
const BPF_COMMANDS: [u64; 9] = [1, 2, 3, 4, 24, 25, 26, 27, 34];

/// Applies both filters to all threads of the process.
///
/// # Errors
/// The kernel's refusal.
pub(super) fn give_up() -> Result<(), Error> {
    // The first must still allow the second.
    apply_filter_all_threads(&filter(
        DEADLY.iter().map(|call| (*call, Vec::new())).collect(),
        SeccompAction::Allow,
        SeccompAction::KillProcess,
    )?)?;
    apply_filter_all_threads(&filter(
        allowed()?,
        SeccompAction::Errno(libc::EPERM.unsigned_abs()),
        SeccompAction::Allow,
    )?)
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

fn filter(
    rules: Rules,
    others: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let machine = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, others, listed, machine)?.try_into()
}

fn allowed() -> Result<Rules, BackendError> {
    let whatever = ALLOWED.iter().chain(ALLOWED_BY_OLD_NAMES);
    let mut rules: Rules = whatever.map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_socket, one_of(0, FAMILIES.map(number))?);
    rules.insert(libc::SYS_socketpair, one_of(0, [number(libc::AF_UNIX)])?);
    rules.insert(libc::SYS_ioctl, one_of(1, IOCTLS)?);
    rules.insert(libc::SYS_bpf, one_of(0, BPF_COMMANDS)?);
    rules.insert(libc::SYS_prctl, one_of(0, [number(libc::PR_SET_NAME)])?);
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![not_executable()?]);
    }
    // To raise a signal in itself is how a program aborts.
    rules.insert(libc::SYS_tgkill, one_of(0, [process::id().into()])?);
    Ok(rules)
}

fn number(constant: c_int) -> u64 {
    constant.unsigned_abs().into()
}

/// A rule for each value the argument may have. The kernel reads the lower half of all these arguments alone.
fn one_of<const N: usize>(
    argument: u8,
    values: [u64; N],
) -> Result<Vec<SeccompRule>, BackendError> {
    let rule = |value| {
        let equal = SeccompCmpOp::Eq;
        SeccompRule::new(vec![SeccompCondition::new(
            argument,
            SeccompCmpArgLen::Dword,
            equal,
            value,
        )?])
    };
    values.into_iter().map(rule).collect()
}

/// `PROT_EXEC` is not in the third argument.
fn not_executable() -> Result<SeccompRule, BackendError> {
    let masked = SeccompCmpOp::MaskedEq(number(libc::PROT_EXEC));
    SeccompRule::new(vec![SeccompCondition::new(
        2,
        SeccompCmpArgLen::Dword,
        masked,
        0,
    )?])
}

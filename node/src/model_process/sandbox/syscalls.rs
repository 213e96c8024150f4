//! The system calls that are left: memory, threads, time, and the descriptors that are open.
//!
//! Everything else fails as on a kernel that does not have it, which the C library and Rust's know how to bear: a
//! thread is then started by `clone`, whose flags can be looked at, and not by `clone3`.

use std::collections::BTreeMap;
use std::os::fd::RawFd;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::Descriptors;

/// The filter could not be made or set.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// Made.
    #[error("making the filter of system calls: {0}")]
    Made(#[from] BackendError),
    /// Set.
    #[error("setting the filter of system calls: {0}")]
    Set(#[from] seccompiler::Error),
}

/// What neither takes a descriptor nor names a thing outside of the process.
const PLAIN: [i64; 24] = [
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Leaves this thread, and all that it starts from now on, nothing else.
pub fn restrict(descriptors: &Descriptors) -> Result<(), FilterError> {
    let arch = std::env::consts::ARCH.try_into()?;
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let filter = SeccompFilter::new(rules(descriptors)?, missing, SeccompAction::Allow, arch)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(seccompiler::apply_filter(&program)?)
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn rules(descriptors: &Descriptors) -> Result<Rules, BackendError> {
    let mut rules: Rules = PLAIN.into_iter().map(|call| (call, Vec::new())).collect();
    let uses = [
        (&[libc::SYS_read, libc::SYS_readv][..], &descriptors.read),
        (&[libc::SYS_pread64][..], &descriptors.read_at),
        (&[libc::SYS_write, libc::SYS_writev][..], &descriptors.write),
    ];
    for (calls, descriptors) in uses {
        let each = descriptors.iter().map(|descriptor| only(0, is_descriptor(*descriptor)));
        let each = each.collect::<Result<Vec<_>, _>>()?;
        // A call without a rule would be allowed for every descriptor.
        if !each.is_empty() {
            rules.extend(calls.iter().map(|call| (*call, each.clone())));
        }
    }
    let (executable, thread) = (libc::PROT_EXEC as u64, libc::CLONE_THREAD as u64);
    let not_executable = || only(2, (SeccompCmpOp::MaskedEq(executable), 0));
    rules.insert(libc::SYS_mmap, vec![not_executable()?]);
    rules.insert(libc::SYS_mprotect, vec![not_executable()?]);
    rules.insert(libc::SYS_clone, vec![only(0, (SeccompCmpOp::MaskedEq(thread), thread))?]);
    rules.insert(libc::SYS_prctl, vec![only(0, (SeccompCmpOp::Eq, libc::PR_SET_NAME as u64))?]);
    // By which a process ends itself in an error.
    rules.insert(libc::SYS_tgkill, vec![only(0, (SeccompCmpOp::Eq, u64::from(std::process::id())))?]);
    Ok(rules)
}

fn is_descriptor(descriptor: RawFd) -> (SeccompCmpOp, u64) {
    (SeccompCmpOp::Eq, u64::from(descriptor.unsigned_abs()))
}

fn only(argument: u8, (operator, value): (SeccompCmpOp, u64)) -> Result<SeccompRule, BackendError> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?;
    SeccompRule::new(vec![condition])
}

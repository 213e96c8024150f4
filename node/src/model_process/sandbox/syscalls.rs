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
    Ok(seccompiler::apply_filter(&program(descriptors)?)?)
}

fn program(descriptors: &Descriptors) -> Result<BpfProgram, BackendError> {
    let arch = std::env::consts::ARCH.try_into()?;
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    SeccompFilter::new(rules(descriptors)?, missing, SeccompAction::Allow, arch)?.try_into()
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
    let anonymous = libc::MAP_ANONYMOUS as u64;
    // Of no descriptor: one that was left open in the node would be read so, and written.
    let anonymous = condition(3, (SeccompCmpOp::MaskedEq(anonymous), anonymous))?;
    let mapped = SeccompRule::new(vec![condition(2, (SeccompCmpOp::MaskedEq(executable), 0))?, anonymous])?;
    rules.insert(libc::SYS_mmap, vec![mapped]);
    rules.insert(libc::SYS_mprotect, vec![only(2, (SeccompCmpOp::MaskedEq(executable), 0))?]);
    rules.insert(libc::SYS_clone, vec![only(0, (SeccompCmpOp::MaskedEq(thread), thread))?]);
    rules.insert(libc::SYS_prctl, vec![only(0, (SeccompCmpOp::Eq, libc::PR_SET_NAME as u64))?]);
    // By which a process ends itself in an error.
    rules.insert(libc::SYS_tgkill, vec![only(0, (SeccompCmpOp::Eq, u64::from(std::process::id())))?]);
    Ok(rules)
}

fn is_descriptor(descriptor: RawFd) -> (SeccompCmpOp, u64) {
    (SeccompCmpOp::Eq, u64::from(descriptor.unsigned_abs()))
}

fn only(argument: u8, is: (SeccompCmpOp, u64)) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![condition(argument, is)?])
}

fn condition(argument: u8, (operator, value): (SeccompCmpOp, u64)) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel answers to a call by this filter: the few instructions that such filters are made of, over what
    /// `struct seccomp_data` holds.
    fn answer(program: &BpfProgram, call: i64, arguments: [u64; 6]) -> u32 {
        let arch = match std::env::consts::ARCH {
            "x86_64" => 0xc000_003e_u32,
            "aarch64" => 0xc000_00b7,
            "riscv64" => 0xc000_00f3,
            other => panic!("no number of {other} is known here"),
        };
        let mut data = u32::try_from(call).unwrap().to_le_bytes().to_vec();
        data.extend(arch.to_le_bytes());
        data.extend(0_u64.to_le_bytes());
        data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
        let (mut at, mut value) = (0, 0_u32);
        loop {
            let instruction = &program[at];
            let jump = |taken: bool| usize::from(if taken { instruction.jt } else { instruction.jf });
            let k = instruction.k;
            at += 1;
            match instruction.code {
                0x20 => {
                    let word = k as usize..k as usize + 4;
                    value = u32::from_le_bytes(data[word].try_into().unwrap());
                }
                0x54 => value &= k,
                0x05 => at += k as usize,
                0x15 => at += jump(value == k),
                0x25 => at += jump(value > k),
                0x35 => at += jump(value >= k),
                0x06 => return k,
                other => panic!("an instruction that is not known here: {other:#x}"),
            }
        }
    }

    #[test]
    fn only_memory_of_no_file_is_mapped_and_none_that_is_executed() {
        let program = program(&Descriptors { read: vec![0], read_at: vec![1], write: vec![0, 2] }).unwrap();
        let allowed = |call, arguments| answer(&program, call, arguments) == u32::from(SeccompAction::Allow);
        let (read, write, execute) = (libc::PROT_READ, libc::PROT_WRITE, libc::PROT_EXEC);
        let (private, anonymous) = (libc::MAP_PRIVATE, libc::MAP_ANONYMOUS);
        let map = |protection: i32, flags: i32, descriptor: i64| {
            let [protection, flags] = [protection, flags].map(|bits| u64::from(bits.unsigned_abs()));
            allowed(libc::SYS_mmap, [0, 4096, protection, flags, descriptor.cast_unsigned(), 0])
        };
        assert!(map(read | write, private | anonymous, -1));
        assert!(map(0, private | anonymous | libc::MAP_NORESERVE | libc::MAP_STACK, -1), "a thread's stack");
        assert!(!map(read, private, 7), "a file that was left open");
        assert!(!map(read | write, libc::MAP_SHARED, 7), "to be written");
        assert!(!map(read | execute, private | anonymous, -1));
        assert!(allowed(libc::SYS_read, [0; 6]) && !allowed(libc::SYS_read, [7, 0, 0, 0, 0, 0]));
        assert!(!allowed(libc::SYS_openat, [0; 6]));
    }
}

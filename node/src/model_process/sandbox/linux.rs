//! The order in which a process confines itself.

use std::io;

use rustix::process::{DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal};
use rustix::thread::set_no_new_privs;
use tracing::warn;

use super::{Confinement, Descriptors, Landlock, Layers, SandboxError, landlock, limits};

/// Of 1000, how much sooner than others of its size the system ends this process when memory is short.
const OOM_SCORE: &str = "500";

/// Has the system end this process rather than the node when memory runs out.
///
/// # Errors
/// What the system says; nothing depends on it.
pub fn give_up_early() -> io::Result<()> {
    std::fs::write("/proc/self/oom_score_adj", OOM_SCORE)
}

/// Ties the process to the thread that started it, and keeps its memory from others of the same user.
///
/// # Errors
/// [`SandboxError::Process`].
pub fn prepare() -> Result<(), SandboxError> {
    let process = |what| move |error: rustix::io::Errno| SandboxError::Process { what, cause: error.into() };
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(process("tying it to the node"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(process("hiding its memory"))
}

/// Confines the process as far as this kernel can. It must have one thread.
///
/// # Errors
/// [`SandboxError`] when it has more, or a limit cannot be set. What the kernel lacks is no error, but is missing in
/// what is returned.
pub fn apply(
    layers: Layers,
    memory_bytes_max: Option<u64>,
    descriptors: &Descriptors,
) -> Result<Confinement, SandboxError> {
    let process = |what| move |cause: io::Error| SandboxError::Process { what, cause };
    let threads = std::fs::read_dir("/proc/self/task").map_err(process("counting its threads"))?.count();
    if threads != 1 {
        return Err(SandboxError::Threads(threads));
    }
    set_no_new_privs(true).map_err(|error| process("giving privileges up")(error.into()))?;
    let mut confinement = Confinement::NONE;
    if layers != Layers::SystemCalls {
        confinement.landlock = landlock::restrict().unwrap_or_else(|error| {
            warn!(%error, "Landlock confines nothing");
            Landlock::None
        });
    }
    if layers == Layers::All {
        limits::set(memory_bytes_max)?;
        confinement.limits = true;
    }
    if layers != Layers::Landlock {
        confinement.system_calls = filter(descriptors);
    }
    Ok(confinement)
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
fn filter(descriptors: &Descriptors) -> bool {
    let filtered = super::syscalls::restrict(descriptors);
    if let Err(error) = &filtered {
        warn!(%error, "system calls are not filtered");
    }
    filtered.is_ok()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
fn filter(_: &Descriptors) -> bool {
    false
}

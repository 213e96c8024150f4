//! What a model process takes from itself before it looks at the model.
//!
//! Whoever controls the process by a flaw in what reads or runs the model finds no file, no network, no other process
//! and little memory. Landlock denies what is reached by a name or an address, whatever system call is used; a filter
//! denies every system call that computing and answering does not need, and so what Landlock does not know: sockets
//! of other kinds, new programs, new processes. Limits bound memory and let no descriptor be opened. Each holds without
//! the others; which of them hold, the process tells.

#[cfg(target_os = "linux")]
mod landlock;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod syscalls;

use std::os::fd::RawFd;

use assay_engine::Settings;
use codec::{Decode, Encode};
use serde::{Deserialize, Serialize};

#[cfg(target_os = "linux")]
pub use linux::{apply, give_up_early, prepare};

/// How much of what Landlock can deny this kernel denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Landlock {
    /// Nothing: the kernel does not have it, or does not let it be used.
    None,
    /// Files and directories, and what else the kernel's version knows.
    Some,
    /// Everything that this program knows to ask for.
    All,
}

/// How a model process is confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Confinement {
    /// What Landlock denies.
    pub landlock: Landlock,
    /// Whether system calls are filtered.
    pub system_calls: bool,
    /// Whether memory and descriptors are limited.
    pub limits: bool,
}

impl Confinement {
    /// Of a system that has none of it.
    pub const NONE: Self = Self { landlock: Landlock::None, system_calls: false, limits: false };

    /// Whether everything holds that this program relies on.
    pub fn is_whole(&self) -> bool {
        self.landlock != Landlock::None && self.system_calls && self.limits
    }
}

impl std::fmt::Display for Confinement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let landlock = match self.landlock {
            Landlock::None => "no Landlock",
            Landlock::Some | Landlock::All => "Landlock",
        };
        let filter = if self.system_calls { "filtered system calls" } else { "all system calls" };
        let limits = if self.limits { "limited memory" } else { "unlimited memory" };
        write!(f, "{landlock}, {filter}, {limits}")
    }
}

/// The layers to apply; less than all only to see that each holds alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Layers {
    /// All.
    All,
    /// Landlock alone.
    Landlock,
    /// The filter of system calls alone.
    SystemCalls,
}

/// The descriptors that the process goes on using.
#[derive(Clone, Debug)]
pub struct Descriptors {
    /// Read in sequence.
    pub read: Vec<RawFd>,
    /// Read at any place.
    pub read_at: Vec<RawFd>,
    /// Written.
    pub write: Vec<RawFd>,
}

/// A process could not be confined as far as this system can.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Threads that run already would not be confined.
    #[error("confining a model process: it has {0} threads already")]
    Threads(usize),
    /// A limit.
    #[error("confining a model process: limiting {what}: {cause}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// What the system says.
        cause: std::io::Error,
    },
    /// Another property of the process.
    #[error("confining a model process: {what}: {cause}")]
    Process {
        /// Which.
        what: &'static str,
        /// What the system says.
        cause: std::io::Error,
    },
}

/// Bytes beside weights, keys and values: the program, its threads' stacks, the tokenizer, what a pass works with.
const OTHER_BYTES: u64 = 2 << 30;

/// What packed weights may take, as a multiple of the file: they are as narrow as there, but rows come in sixteens.
const PACKED_PER_FILE: u64 = 2;

/// The most memory that a model process may take for itself, in bytes; none where the settings bound no cache.
pub fn memory_bytes_max(model_bytes: u64, settings: &Settings) -> Option<u64> {
    let unlimited = settings.cache_bytes_max == usize::MAX;
    let cache = settings.cache_bytes_max.saturating_add(settings.prefix_bytes_max) as u64;
    let weights = model_bytes.saturating_mul(PACKED_PER_FILE);
    (!unlimited).then(|| weights.saturating_add(cache).saturating_add(OTHER_BYTES))
}

/// Elsewhere than on Linux nothing is taken.
#[cfg(not(target_os = "linux"))]
pub fn apply(_: Layers, _: Option<u64>, _: &Descriptors) -> Result<Confinement, SandboxError> {
    Ok(Confinement::NONE)
}

/// Elsewhere than on Linux there is nothing to prepare.
#[cfg(not(target_os = "linux"))]
pub fn prepare() -> Result<(), SandboxError> {
    Ok(())
}

/// Elsewhere than on Linux the system is told nothing.
#[cfg(not(target_os = "linux"))]
pub fn give_up_early() -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_by_file_and_cache_unless_the_cache_is_not() {
        let settings = Settings::for_this_machine();
        assert_eq!(memory_bytes_max(1, &settings), None);
        let bounded = Settings { cache_bytes_max: 1 << 30, prefix_bytes_max: 0, ..settings };
        assert_eq!(memory_bytes_max(1 << 30, &bounded), Some(5 << 30));
        assert_eq!(memory_bytes_max(u64::MAX, &bounded), Some(u64::MAX));
    }

    #[test]
    fn a_confinement_is_whole_only_with_all_of_its_layers() {
        let whole = Confinement { landlock: Landlock::Some, system_calls: true, limits: true };
        assert!(whole.is_whole() && !Confinement::NONE.is_whole());
        let lacking = [
            Confinement { landlock: Landlock::None, ..whole },
            Confinement { system_calls: false, ..whole },
            Confinement { limits: false, ..whole },
        ];
        assert!(lacking.iter().all(|confinement| !confinement.is_whole()));
    }
}

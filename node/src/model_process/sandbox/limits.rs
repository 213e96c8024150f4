//! Limits of memory and descriptors.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::SandboxError;

/// Address space beyond the memory: the program and its libraries, and what the allocator reserves for each thread
/// without using it.
const RESERVED_BYTES: u64 = 64 << 30;

/// Sets the limits; they can only ever be lowered from then on.
///
/// No time is limited: executions take as long as they take.
pub fn set(memory_bytes_max: Option<u64>) -> Result<(), SandboxError> {
    lower("the size of a core dump", Resource::Core, 0)?;
    lower("descriptors", Resource::Nofile, 0)?;
    if let Some(bytes) = memory_bytes_max {
        lower("memory", Resource::Data, bytes)?;
        lower("address space", Resource::As, bytes.saturating_add(RESERVED_BYTES))?;
    }
    Ok(())
}

fn lower(what: &'static str, resource: Resource, limit: u64) -> Result<(), SandboxError> {
    let limit = getrlimit(resource).maximum.map_or(limit, |maximum| maximum.min(limit));
    let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
    setrlimit(resource, limit).map_err(|error| SandboxError::Limit { what, cause: error.into() })
}

//! What happened: a line an event, and a digest of all of them.
//!
//! Lines name blocks by the order in which they were first seen, not by their hashes: the proof of a beacon's evaluation
//! draws randomness of its own, so the hashes of two runs of one seed differ, and nothing else does.

use std::collections::{HashMap, VecDeque};
use std::fmt;

/// Lines that are kept: some hundred blocks.
const KEPT_MAX: usize = 200_000;

/// The log of one run.
#[derive(Default)]
pub struct Log {
    lines: VecDeque<String>,
    digest: blake3::Hasher,
    names: HashMap<[u8; 32], usize>,
}

impl Log {
    /// Writes a line.
    pub fn note(&mut self, now_ms: u64, line: fmt::Arguments<'_>) {
        let line = format!("{:>7}.{:03} {line}", now_ms / 1_000, now_ms % 1_000);
        self.digest.update(line.as_bytes()).update(b"\n");
        if self.lines.len() == KEPT_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The name of a block.
    pub fn name(&mut self, hash: [u8; 32]) -> Name {
        let next = self.names.len();
        Name(*self.names.entry(hash).or_insert(next))
    }

    /// What tells two runs apart.
    pub fn digest(&self) -> String {
        self.digest.finalize().to_hex().to_string()
    }

    /// The last lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

/// How a block is called.
pub struct Name(usize);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

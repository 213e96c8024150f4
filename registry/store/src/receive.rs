//! Receiving a range of a download: what is verified is written, then claimed, then told of.

use crate::arrival::{Arrival, Then, Verified};
use crate::error::StoreError;
use crate::partial::{CLAIM_BYTES, Partial};
use crate::ranges::check_range;
use crate::tree::{Pair, Subtree};
use assay_manifest::Digest32;
use bao_tree::io::sync::WriteAt;
use rustix::io::{Errno, pwritev};
use std::fs::File;
use std::io::{self, BufRead, IoSlice};
use std::ops::{ControlFlow, Range};

/// How receiving a range ended, when nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// All of it arrived.
    Whole,
    /// Whoever watched it had enough.
    Stopped,
}

/// A range did not arrive. What was verified of it before counts.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The bytes are not those of the blob.
    #[error("receiving blob {blob}: what came for byte {at} is not of this blob")]
    Corrupt {
        /// The blob.
        blob: Digest32,
        /// Where in the blob, in bytes.
        at: u64,
    },
    /// The bytes ended, or could not be read.
    #[error("receiving blob {blob}: {source}")]
    Source {
        /// The blob.
        blob: Digest32,
        /// What went wrong.
        source: io::Error,
    },
    /// They could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was kept of a range.
struct Kept<'a> {
    partial: &'a Partial,
    data: File,
    pairs: File,
    /// Verified, written, and not claimed yet; up to the end of what is kept.
    unclaimed: Range<u64>,
    /// How many syncs had failed before any of it was written.
    failed_syncs: u64,
}

impl Partial {
    /// Reads a range with its hashes, as [`crate::BlobReader::encode`] gives it, and keeps what is verified.
    /// `watch` hears of each group where it ends, and may stop there. What `encoded` has buffered is verified together,
    /// and before more is waited for.
    ///
    /// # Errors
    /// When something is not of this blob, `encoded` ends or fails, or the file system does. What was verified before
    /// counts.
    pub fn receive(
        &self,
        range: Range<u64>,
        mut encoded: impl BufRead,
        mut watch: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Received, ReceiveError> {
        check_range(self.blake3(), self.size_bytes(), &range)?;
        let mut kept = Kept::new(self, range.start)?;
        let mut arrival = Arrival::new(Subtree::root(self.blake3(), self.size_bytes()), &range);
        let mut watch = |end| if end < range.end { watch(end) } else { ControlFlow::Continue(()) };
        let failed = |source| ReceiveError::Source { blob: *self.blake3(), source };
        let ended = loop {
            let came = match encoded.fill_buf() {
                Ok([]) => break Err(failed(io::ErrorKind::UnexpectedEof.into())),
                Ok(came) => came,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => break Err(failed(error)),
            };
            let verified = arrival.take(came);
            let (taken, then) = (verified.taken, verified.then);
            let goes_on = kept.keep(&verified, &mut watch);
            encoded.consume(taken);
            match goes_on {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => break Ok(Received::Stopped),
                Err(error) => break Err(error.into()),
            }
            match then {
                Then::More => {}
                Then::End => break Ok(Received::Whole),
                Then::Corrupt(at) => break Err(ReceiveError::Corrupt { blob: *self.blake3(), at }),
            }
        };
        kept.claim()?;
        ended
    }
}

impl<'a> Kept<'a> {
    fn new(partial: &'a Partial, start: u64) -> Result<Self, StoreError> {
        let (data, pairs) = partial.files()?;
        Ok(Self { partial, data, pairs, unclaimed: start..start, failed_syncs: partial.failed_syncs() })
    }

    /// Writes what was verified, and tells of it group by group.
    fn keep(
        &mut self,
        verified: &Verified<'_>,
        mut watch: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        self.write(verified).map_err(|error| self.partial.failed("writing", error))?;
        for group in &verified.groups {
            self.unclaimed.end += group.len() as u64;
            if self.unclaimed.end - self.unclaimed.start >= CLAIM_BYTES {
                self.claim()?;
            }
            if watch(self.unclaimed.end).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn write(&mut self, Verified { start, groups, pairs, .. }: &Verified<'_>) -> io::Result<()> {
        for neighbours in pairs.chunk_by(|(at, pair), (next, _)| at + pair.len() as u64 == *next) {
            let bytes: Vec<Pair> = neighbours.iter().map(|(_, pair)| *pair).collect();
            let at = neighbours.first().map_or(0, |(at, _)| *at);
            self.pairs.write_all_at(at, bytes.as_flattened())?;
        }
        write_at(&self.data, *start, groups)
    }

    fn claim(&mut self) -> Result<(), StoreError> {
        self.partial.claim(&self.unclaimed, self.failed_syncs)?;
        self.unclaimed.start = self.unclaimed.end;
        Ok(())
    }
}

/// Writes neighbours, as many as possible at once.
fn write_at(file: &File, mut at: u64, parts: &[&[u8]]) -> io::Result<()> {
    let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut left = slices.as_mut_slice();
    while !left.is_empty() {
        match pwritev(file, left, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

//! Receiving a range of a download: what is verified is written, then claimed, then told of.

use crate::arrival::{Arrival, Arrived, Then};
use crate::error::StoreError;
use crate::partial::{CLAIM_BYTES, Partial};
use crate::ranges::{CHUNK_GROUPS, check_range};
use crate::tree::{Pair, Subtree};
use assay_manifest::Digest32;
use rustix::io::{Errno, pwritev};
use std::fs::File;
use std::io::{self, BufRead, IoSlice};
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tracing::warn;

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

/// A range on its way in.
#[derive(Debug)]
pub struct Receiving {
    arrival: Arrival,
    kept: Kept,
    /// Where the range ends.
    end: u64,
}

/// What was verified of what came, and is to be kept.
#[derive(Debug)]
#[must_use]
pub struct Verified<'a> {
    arrived: Arrived<'a>,
    kept: &'a mut Kept,
    /// Where the range ends.
    end: u64,
}

/// What was kept of a range. What is not claimed yet is when this is dropped.
#[derive(Debug)]
struct Kept {
    partial: Arc<Partial>,
    /// Pairs that were verified and are not written yet, with their places in bytes.
    pairs: Vec<(u64, Pair)>,
    /// Verified, written, and not claimed yet; up to the end of what is kept.
    unclaimed: Range<u64>,
    /// How many syncs had failed before any of it was written.
    failed_syncs: u64,
}

impl Partial {
    /// Begins to receive a range with its hashes, as [`crate::BlobReader::encode`] gives it.
    ///
    /// # Errors
    /// When the range does not begin and end with groups.
    pub fn begin(self: &Arc<Self>, range: Range<u64>) -> Result<Receiving, StoreError> {
        check_range(self.blake3(), self.size_bytes(), &range)?;
        let arrival = Arrival::new(Subtree::root(self.blake3(), self.size_bytes()), &range);
        let (partial, unclaimed) = (Arc::clone(self), range.start..range.start);
        let (pairs, failed_syncs) = (Vec::new(), self.failed_syncs());
        let kept = Kept { partial, pairs, unclaimed, failed_syncs };
        Ok(Receiving { arrival, kept, end: range.end })
    }

    /// Receives a range from who is waited for. What `encoded` has buffered is verified together, and before more is
    /// waited for. `watch` is that of [`Verified::keep`].
    ///
    /// # Errors
    /// As of [`Self::begin`] and [`Verified::keep`], and when `encoded` ends or fails.
    pub fn receive(
        self: &Arc<Self>,
        range: Range<u64>,
        mut encoded: impl BufRead,
        mut watch: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Received, ReceiveError> {
        let mut receiving = self.begin(range)?;
        let failed = |source| ReceiveError::Source { blob: *self.blake3(), source };
        loop {
            let came = match encoded.fill_buf() {
                Ok([]) => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
                Ok(came) => came,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            let mut rest = came;
            let received = receiving.verify(&mut rest).keep(&mut watch);
            let taken = came.len() - rest.len();
            encoded.consume(taken);
            if let Some(received) = received? {
                return Ok(received);
            }
        }
    }
}

impl Receiving {
    /// The blob that it is of.
    pub const fn partial(&self) -> &Arc<Partial> {
        &self.kept.partial
    }

    /// In how many bytes the next 128 KiB are still to come, or what is left of the range, with their hashes.
    pub fn chunk_bytes(&self) -> usize {
        self.arrival.encoded_bytes(CHUNK_GROUPS)
    }

    /// Verifies some of what came, which is taken away from `came`. What stands behind the range is left there.
    pub fn verify<'a, 'b: 'a>(&'a mut self, came: &mut &'b [u8]) -> Verified<'a> {
        let arrived = self.arrival.take(came);
        *came = came.get(arrived.taken..).unwrap_or_default();
        Verified { arrived, kept: &mut self.kept, end: self.end }
    }
}

impl Verified<'_> {
    /// Keeps it. `watch` hears of each group where it ends, unless that is the end of the range, and may stop there.
    /// Nothing comes of it while there is more to come. May wait for the disk.
    ///
    /// # Errors
    /// When what came behind it is not of this blob or the file system fails; then no more may be taken. What was verified
    /// before counts.
    pub fn keep(
        self,
        mut watch: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Option<Received>, ReceiveError> {
        let Self { arrived, kept, end } = self;
        let watch = |at| if at < end { watch(at) } else { ControlFlow::Continue(()) };
        let ended = match (kept.keep(&arrived, watch), arrived.then) {
            (Ok(ControlFlow::Continue(())), Then::More) => return Ok(None),
            (Ok(ControlFlow::Continue(())), Then::End) => Ok(Some(Received::Whole)),
            (Ok(ControlFlow::Continue(())), Then::Corrupt(at)) => {
                Err(ReceiveError::Corrupt { blob: *kept.partial.blake3(), at })
            }
            (Ok(ControlFlow::Break(())), _) => Ok(Some(Received::Stopped)),
            (Err(error), _) => Err(error.into()),
        };
        kept.claim()?;
        ended
    }
}

impl Kept {
    /// Writes groups, and tells of each.
    fn keep(
        &mut self,
        arrived: &Arrived<'_>,
        mut watch: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        self.pairs.extend_from_slice(arrived.pairs);
        let (data, _) = self.partial.files();
        write_at(data, arrived.start, &arrived.groups)
            .map_err(|error| self.partial.failed("writing", error))?;
        for group in &arrived.groups {
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

    /// Writes the pairs of all groups that were written, and claims them.
    fn claim(&mut self) -> Result<(), StoreError> {
        self.write_pairs().map_err(|error| self.partial.failed("writing", error))?;
        self.partial.claim(&self.unclaimed, self.failed_syncs)?;
        self.unclaimed.start = self.unclaimed.end;
        Ok(())
    }

    fn write_pairs(&mut self) -> io::Result<()> {
        let (_, hashes) = self.partial.files();
        self.pairs.sort_unstable_by_key(|(at, _)| *at);
        for neighbours in self.pairs.chunk_by(|(at, pair), (next, _)| at + pair.len() as u64 == *next) {
            let bytes: Vec<Pair> = neighbours.iter().map(|(_, pair)| *pair).collect();
            let at = neighbours.first().map_or(0, |(at, _)| *at);
            hashes.write_all_at(bytes.as_flattened(), at)?;
        }
        self.pairs.clear();
        Ok(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Err(error) = self.claim() {
            warn!(%error, "what came of a range is fetched again");
        }
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

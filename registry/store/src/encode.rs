//! From a blob's file to a range of it with its hashes, verified before it is passed on.
//!
//! Many groups are read and hashed at once; which of them is damaged is looked for when they are.

use crate::tree::{PAIR_BYTES, Pair, Subtree, Walk};
use assay_manifest::Digest32;
use bao_tree::io::sync::ReadAt;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;

/// Groups that are read and hashed at once: enough for the widest instructions, and no more than stays in a processor's
/// own cache while it is read, hashed and passed on.
const BATCH_GROUPS: u64 = 16;

/// The files of a blob.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) blake3: &'a Digest32,
    pub(crate) size_bytes: u64,
    pub(crate) data: &'a File,
    /// Pairs in post-order; a blob of one group has none.
    pub(crate) pairs: Option<&'a File>,
}

/// A range could not be encoded.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The group that begins at this byte is not of the blob.
    Group(u64),
    /// A pair is not.
    Pair,
    /// The content could not be read.
    Data(io::Error),
    /// The pairs could not be read.
    Pairs(io::Error),
    /// What was encoded could not be passed on.
    Output(io::Error),
}

/// Neighbours that were read together.
#[derive(Debug, Default)]
struct Batch {
    bytes: Range<u64>,
    data: Vec<u8>,
    /// Where `pairs` begin in their file.
    pairs_at: u64,
    pairs: Vec<u8>,
    content: Content,
}

/// What is known of the bytes of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Content {
    /// They have their hash.
    Sound,
    /// They do not, so each group is hashed alone to find which is damaged.
    #[default]
    Damaged,
}

impl Source<'_> {
    /// Writes `range`, which begins and ends with groups: the pairs and groups in pre-order, each verified before.
    pub(crate) fn encode(&self, range: &Range<u64>, mut out: impl Write) -> Result<(), Refusal> {
        let mut walk = Walk::new(Subtree::root(self.blake3, self.size_bytes), range);
        let mut batch = Batch::default();
        while let Some(subtree) = walk.next() {
            if !batch.has(&subtree) && walk.covers(&subtree) && subtree.groups() <= BATCH_GROUPS {
                batch.read(self, &subtree)?;
            }
            if subtree.is_group() {
                out.write_all(batch.group(&subtree)?).map_err(Refusal::Output)?;
                continue;
            }
            let pair = match batch.pair(&subtree) {
                Some(pair) => *pair,
                None => self.pair(&subtree)?,
            };
            walk.enter(subtree.split(&pair).ok_or(Refusal::Pair)?);
            out.write_all(&pair).map_err(Refusal::Output)?;
        }
        Ok(())
    }

    fn pair(&self, subtree: &Subtree) -> Result<Pair, Refusal> {
        let mut pair = [0; PAIR_BYTES as usize];
        self.read_pairs(subtree.pair_at(), &mut pair)?;
        Ok(pair)
    }

    fn read_pairs(&self, at: u64, into: &mut [u8]) -> Result<(), Refusal> {
        match self.pairs {
            Some(file) => read_pairs(file, at, into).map_err(Refusal::Pairs),
            None => Ok(()),
        }
    }
}

impl Batch {
    fn read(&mut self, source: &Source<'_>, subtree: &Subtree) -> Result<(), Refusal> {
        (self.bytes, self.pairs_at) = (subtree.bytes(), subtree.pairs().start);
        self.data.resize(length(&self.bytes), 0);
        self.pairs.resize(length(&subtree.pairs()), 0);
        source.data.read_exact_at(self.bytes.start, &mut self.data).map_err(Refusal::Data)?;
        source.read_pairs(self.pairs_at, &mut self.pairs)?;
        let is_sound = subtree.is_made_of(&self.data);
        self.content = if is_sound { Content::Sound } else { Content::Damaged };
        Ok(())
    }

    fn has(&self, subtree: &Subtree) -> bool {
        let Range { start, end } = subtree.bytes();
        self.bytes.start <= start && end <= self.bytes.end
    }

    /// The bytes of a group, which is one of the batch.
    fn group(&self, group: &Subtree) -> Result<&[u8], Refusal> {
        let start = group.bytes().start;
        let bytes = part(&self.data, start.wrapping_sub(self.bytes.start), length(&group.bytes()));
        bytes
            .filter(|bytes| self.content == Content::Sound || group.is_made_of(bytes))
            .ok_or(Refusal::Group(start))
    }

    fn pair(&self, subtree: &Subtree) -> Option<&Pair> {
        if !self.has(subtree) {
            return None;
        }
        let at = subtree.pair_at().checked_sub(self.pairs_at)?;
        part(&self.pairs, at, PAIR_BYTES as usize)?.first_chunk()
    }
}

fn length(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).unwrap_or(usize::MAX)
}

fn part(of: &[u8], at: u64, length: usize) -> Option<&[u8]> {
    of.get(usize::try_from(at).ok()?..)?.get(..length)
}

/// Reads pairs. Those that a file is too short for are damaged: zeros are no hashes of anything.
fn read_pairs(file: &File, at: u64, into: &mut [u8]) -> io::Result<()> {
    match file.read_exact_at(at, into) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            into.fill(0);
            Ok(())
        }
        read => read,
    }
}

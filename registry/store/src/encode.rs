//! From a blob's file to a range of it with its hashes: each group is read into its place between them, and verified there.

use crate::tree::{PAIR_BYTES, Pair, Subtree, Walk};
use assay_manifest::Digest32;
use bao_tree::io::sync::ReadAt;
use std::fs::File;
use std::io;
use std::ops::Range;

/// Groups of a chunk at most: few enough to stay in a processor's own cache until they are passed on.
const CHUNK_GROUPS: usize = 8;
/// Groups of a subtree of which all pairs are read at once: a page of them.
const NEIGHBOURS_GROUPS: u64 = 64;

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
}

/// A range on its way out.
#[derive(Debug)]
pub(crate) struct Encoder<'a> {
    source: Source<'a>,
    walk: Walk,
    /// Pairs that were read together, and where they begin in their file.
    pairs: Vec<u8>,
    pairs_at: u64,
}

impl<'a> Source<'a> {
    /// Encodes `range`, which begins and ends with groups.
    pub(crate) fn encode(self, range: &Range<u64>) -> Encoder<'a> {
        let walk = Walk::new(Subtree::root(self.blake3, self.size_bytes), range);
        Encoder { source: self, walk, pairs: Vec::new(), pairs_at: 0 }
    }

    /// Reads `range`, and passes nothing on.
    pub(crate) fn verify(self, range: &Range<u64>) -> Result<(), Refusal> {
        let (mut encoder, mut chunk) = (self.encode(range), Vec::new());
        while let Some(next) = encoder.next_chunk(chunk)? {
            chunk = next;
        }
        Ok(())
    }
}

impl Encoder<'_> {
    /// The next pairs and groups in pre-order, each verified, in place of what `chunk` had; nothing behind the last, and
    /// nothing after an error, for what comes later would stand in the wrong place.
    pub(crate) fn next_chunk(&mut self, chunk: Vec<u8>) -> Result<Option<Vec<u8>>, Refusal> {
        let next = self.fill(chunk);
        if next.is_err() {
            self.walk.end();
        }
        next
    }

    fn fill(&mut self, mut chunk: Vec<u8>) -> Result<Option<Vec<u8>>, Refusal> {
        let (mut filled, mut groups) = (0, 0);
        while groups < CHUNK_GROUPS
            && let Some(subtree) = self.walk.next()
        {
            let end = filled + subtree.encoded_bytes();
            if chunk.len() < end {
                chunk.resize(end, 0);
            }
            let place = chunk.get_mut(filled..end).unwrap_or_default();
            if subtree.is_group() {
                let start = subtree.bytes().start;
                self.source.data.read_exact_at(start, place).map_err(Refusal::Data)?;
                if !subtree.is_made_of(place) {
                    return Err(Refusal::Group(start));
                }
                groups += 1;
            } else {
                let pair = self.pair(&subtree)?;
                self.walk.enter(subtree.split(&pair).ok_or(Refusal::Pair)?);
                place.copy_from_slice(&pair);
            }
            filled = end;
        }
        chunk.truncate(filled);
        Ok((filled > 0).then_some(chunk))
    }

    /// The pair of a subtree. With that of a small one come all below it, which are asked for next.
    fn pair(&mut self, subtree: &Subtree) -> Result<Pair, Refusal> {
        let at = subtree.pair_at();
        if let Some(pair) = self.read_pair(at) {
            return Ok(pair);
        }
        let own = at..at + PAIR_BYTES;
        let read = if subtree.groups() <= NEIGHBOURS_GROUPS { subtree.pairs() } else { own };
        self.pairs_at = read.start;
        self.pairs.resize(usize::try_from(read.end - read.start).unwrap_or(usize::MAX), 0);
        if let Some(file) = self.source.pairs {
            read_pairs(file, read.start, &mut self.pairs).map_err(Refusal::Pairs)?;
        }
        self.read_pair(at).ok_or(Refusal::Pair)
    }

    /// A pair that was read.
    fn read_pair(&self, at: u64) -> Option<Pair> {
        let before = usize::try_from(at.checked_sub(self.pairs_at)?).ok()?;
        self.pairs.get(before..)?.first_chunk().copied()
    }
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

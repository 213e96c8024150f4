//! From a blob's file to a range of it with its hashes: groups are read into their places between them, and verified there.

use crate::ranges::CHUNK_GROUPS;
use crate::tree::{PAIR_BYTES, Pair, Subtree, Walk};
use assay_manifest::Digest32;
use bao_tree::io::sync::ReadAt;
use rustix::io::{Errno, preadv};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;

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

/// Pairs that were verified, and groups that were only read.
#[derive(Debug)]
pub struct Unverified {
    chunk: Vec<u8>,
    /// Each with its place in the chunk.
    groups: Vec<(Subtree, Range<usize>)>,
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
        while let Some(next) = encoder.read(chunk)? {
            chunk = next.verify()?;
        }
        Ok(())
    }
}

impl Encoder<'_> {
    /// The next pairs and groups in pre-order, in place of what `chunk` had, without the groups being verified; nothing
    /// behind the last.
    pub(crate) fn read(&mut self, mut chunk: Vec<u8>) -> Result<Option<Unverified>, Refusal> {
        let (mut filled, mut groups) = (0, Vec::with_capacity(CHUNK_GROUPS));
        while groups.len() < CHUNK_GROUPS
            && let Some(subtree) = self.walk.next()
        {
            let place = filled..filled + subtree.encoded_bytes();
            filled = place.end;
            if chunk.len() < filled {
                chunk.resize(filled, 0);
            }
            if subtree.is_group() {
                groups.push((subtree, place));
                continue;
            }
            let pair = self.pair(&subtree)?;
            self.walk.enter(subtree.split(&pair).ok_or(Refusal::Pair)?);
            chunk.get_mut(place).unwrap_or_default().copy_from_slice(&pair);
        }
        chunk.truncate(filled);
        let places = groups.iter().map(|(_, place)| place.clone());
        let start = groups.first().map_or(0, |(group, _)| group.bytes().start);
        read_into(self.source.data, start, places, &mut chunk).map_err(Refusal::Data)?;
        Ok((filled > 0).then_some(Unverified { chunk, groups }))
    }

    /// Reads nothing more: what comes behind an error would stand in the wrong place.
    pub(crate) fn end(&mut self) {
        self.walk.end();
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

impl Unverified {
    /// All of it, if the groups are of the blob.
    pub(crate) fn verify(self) -> Result<Vec<u8>, Refusal> {
        let Self { chunk, groups } = self;
        let is_sound = |(group, place): &(Subtree, Range<usize>)| {
            chunk.get(place.clone()).is_some_and(|bytes| group.is_made_of(bytes))
        };
        match groups.iter().find(|group| !is_sound(group)) {
            Some((group, _)) => Err(Refusal::Group(group.bytes().start)),
            None => Ok(chunk),
        }
    }
}

/// Reads neighbours to their places in a chunk, as many as possible at once.
fn read_into(
    file: &File,
    mut at: u64,
    places: impl Iterator<Item = Range<usize>>,
    mut chunk: &mut [u8],
) -> io::Result<()> {
    let (mut parts, mut passed) = (Vec::with_capacity(CHUNK_GROUPS), 0);
    for place in places {
        let _between = chunk.split_off_mut(..place.start - passed);
        parts.push(IoSliceMut::new(chunk.split_off_mut(..place.len()).unwrap_or_default()));
        passed = place.end;
    }
    let mut left = parts.as_mut_slice();
    while !left.is_empty() {
        match preadv(file, left, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                at += read as u64;
                IoSliceMut::advance_slices(&mut left, read);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
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

//! A range with its hashes as it comes in: gathered, and verified many groups at once.
//!
//! Pairs are verified one by one as they come, and so are the hashes in them. Groups are hashed when the source has no
//! more at the time, in the largest subtrees that have come whole: which of their groups is damaged is looked for when
//! one is. So what comes slowly is kept as soon as it is there, and what comes quickly is hashed and written in few steps.

use crate::ranges::GROUP_BYTES;
use crate::tree::{PAIR_BYTES, Pair, Subtree, Walk};
use std::io::{self, BufRead};
use std::ops::Range;

/// Bytes that are gathered at the most, up to the next multiple of them in the blob: enough for the widest instructions,
/// and little enough to stay in a processor's own cache from being read to being written.
const WINDOW_BYTES: u64 = 32 * GROUP_BYTES;

/// What comes in of a range.
pub(crate) struct Arrival<R> {
    source: R,
    walk: Walk,
    /// What is read now, and how many bytes of it were.
    reading: Option<Subtree>,
    read_bytes: usize,
    pair: Pair,
    window: Window,
    /// What was met and not taken, in pre-order.
    met: Vec<Subtree>,
    /// Pairs that were verified since then, with their places in bytes.
    pairs: Vec<(u64, Pair)>,
    taken_pairs: Vec<(u64, Pair)>,
}

/// Why no more is gathered now.
#[derive(Debug)]
pub(crate) enum Pause {
    /// What has come should be taken first.
    Take,
    /// All has come.
    End,
    /// A pair is not of the blob, of which the halves meet at this byte.
    Corrupt(u64),
    /// The source has ended too early, or failed.
    Failed(io::Error),
}

/// Neighbouring groups that were verified, and pairs.
#[derive(Debug)]
pub(crate) struct Verified<'a> {
    /// Where the groups begin in the blob.
    pub(crate) start: u64,
    pub(crate) data: &'a [u8],
    /// In post-order, with their places in bytes.
    pub(crate) pairs: &'a [(u64, Pair)],
    /// Where the first group begins that has come and is not of the blob.
    pub(crate) corrupt: Option<u64>,
}

/// A part of the blob, as far as it has come.
struct Window {
    data: Vec<u8>,
    /// Where it begins in the blob.
    start: u64,
    /// Up to where its groups were taken, in bytes of the blob.
    taken: u64,
    /// Up to where its groups have come.
    came: u64,
}

/// What the source has behind what was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    More,
    Waits,
}

impl<R: BufRead> Arrival<R> {
    /// Of `range`, which begins and ends with groups.
    pub(crate) fn new(root: Subtree, range: &Range<u64>, source: R) -> Self {
        Self {
            source,
            walk: Walk::new(root, range),
            reading: None,
            read_bytes: 0,
            pair: [0; PAIR_BYTES as usize],
            window: Window::new(range),
            met: Vec::new(),
            pairs: Vec::new(),
            taken_pairs: Vec::new(),
        }
    }

    /// Gathers groups, some of which may have to be taken before more are.
    pub(crate) fn gather(&mut self) -> Pause {
        while let Some(next) = self.reading.take().or_else(|| self.begin()) {
            let source = match self.read(&next) {
                Ok(source) => source,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Source::More,
                Err(error) => return Pause::Failed(error),
            };
            if self.read_bytes < read_length(&next) {
                self.reading = Some(next);
            } else if let Err(middle) = self.arrived(&next) {
                return Pause::Corrupt(middle);
            }
            if self.window.is_full() || (source == Source::Waits && !self.window.is_empty()) {
                return Pause::Take;
            }
        }
        Pause::End
    }

    /// Verifies the groups that have come. After one that is not of the blob, nothing more may be gathered.
    pub(crate) fn take(&mut self) -> Verified<'_> {
        self.taken_pairs.clear();
        std::mem::swap(&mut self.pairs, &mut self.taken_pairs);
        self.taken_pairs.sort_unstable_by_key(|(at, _)| *at);
        let (start, came) = (self.window.taken, self.window.came);
        let mut sound = start;
        for subtree in &self.met {
            let bytes = subtree.bytes();
            // Halves stand behind their whole: they have their turn when it has not come, or is not sound.
            if bytes.start == sound && bytes.end <= came && subtree.is_made_of(self.window.part(&bytes)) {
                sound = bytes.end;
            }
        }
        // What has not come yet, whole or in part, is still to be verified.
        self.met.retain(|subtree| subtree.bytes().start >= came);
        self.window.taken = came;
        Verified {
            start,
            data: self.window.part(&(start..sound)),
            pairs: &self.taken_pairs,
            corrupt: (sound < came).then_some(sound),
        }
    }

    fn begin(&mut self) -> Option<Subtree> {
        let next = self.walk.next()?;
        self.read_bytes = 0;
        if next.is_group() {
            self.window.make_room(&next);
        }
        self.met.push(next.clone());
        Some(next)
    }

    /// Reads what the source has of a pair or group.
    fn read(&mut self, next: &Subtree) -> io::Result<Source> {
        let into = if next.is_group() { self.window.part_mut(&next.bytes()) } else { &mut self.pair[..] };
        let into = into.get_mut(self.read_bytes..).unwrap_or_default();
        let from = self.source.fill_buf()?;
        let length = from.len().min(into.len());
        let (Some(into), Some((from, behind))) = (into.get_mut(..length), from.split_at_checked(length))
        else {
            return Ok(Source::More);
        };
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        into.copy_from_slice(from);
        let source = if behind.is_empty() { Source::Waits } else { Source::More };
        self.source.consume(length);
        self.read_bytes += length;
        Ok(source)
    }

    /// Goes on behind what was read; an error is where the halves of a wrong pair meet.
    fn arrived(&mut self, subtree: &Subtree) -> Result<(), u64> {
        if subtree.is_group() {
            self.window.came = subtree.bytes().end;
            return Ok(());
        }
        let halves = subtree.split(&self.pair).ok_or(subtree.middle_byte())?;
        self.pairs.push((subtree.pair_at(), self.pair));
        self.walk.enter(halves);
        Ok(())
    }
}

impl Window {
    fn new(range: &Range<u64>) -> Self {
        let Range { start, end } = *range;
        Self {
            data: vec![0; length(&(start..end.min(start + WINDOW_BYTES)))],
            start,
            taken: start,
            came: start,
        }
    }

    /// Begins anew where a group is the first of a window; all before it was taken.
    fn make_room(&mut self, group: &Subtree) {
        let at = group.bytes().start;
        if at.is_multiple_of(WINDOW_BYTES) {
            self.start = at;
        }
    }

    /// Whether nothing has come that was not taken.
    const fn is_empty(&self) -> bool {
        self.taken == self.came
    }

    const fn is_full(&self) -> bool {
        self.came.is_multiple_of(WINDOW_BYTES) && !self.is_empty()
    }

    fn part(&self, bytes: &Range<u64>) -> &[u8] {
        self.data.get(self.place(bytes)).unwrap_or_default()
    }

    fn part_mut(&mut self, bytes: &Range<u64>) -> &mut [u8] {
        let place = self.place(bytes);
        self.data.get_mut(place).unwrap_or_default()
    }

    fn place(&self, bytes: &Range<u64>) -> Range<usize> {
        let place = length(&(self.start..bytes.start));
        place..place + length(bytes)
    }
}

/// Bytes that a subtree has in the range: those of a group, or else its pair.
fn read_length(of: &Subtree) -> usize {
    if of.is_group() { length(&of.bytes()) } else { PAIR_BYTES as usize }
}

fn length(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).unwrap_or(usize::MAX)
}

//! A range with its hashes as it comes in, verified where it lies.
//!
//! A pair is verified by the one above it, and a group by its hash, as soon as it is there whole. Groups are lent from
//! where they came to, so that nothing is copied between a stream and the disk but pairs, and what has come in two parts.

use crate::tree::{Pair, Subtree, Walk};
use std::ops::Range;

/// Groups that are taken at once: enough to be written in few steps, and few enough to stay in a processor's own cache
/// from being read to being written.
const GROUPS_MAX: usize = 32;

/// What comes in of a range.
#[derive(Debug)]
pub(crate) struct Arrival {
    walk: Walk,
    /// What comes next, and the beginning of it, if it came without its end.
    next: Option<Subtree>,
    begun: Vec<u8>,
    /// The pair or group of which the beginning had come before.
    completed: Vec<u8>,
    /// Up to where groups have come, in bytes of the blob.
    came: u64,
    /// Pairs that were verified, with their places in bytes.
    pairs: Vec<(u64, Pair)>,
}

/// Neighbouring groups that were verified, and pairs.
#[derive(Debug)]
pub(crate) struct Arrived<'a> {
    /// Where the groups begin in the blob.
    pub(crate) start: u64,
    pub(crate) groups: Vec<&'a [u8]>,
    /// With their places in bytes.
    pub(crate) pairs: &'a [(u64, Pair)],
    /// Bytes that were taken of what came.
    pub(crate) taken: usize,
    pub(crate) then: Then,
}

/// What is behind something that was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// More of the range.
    More,
    /// Nothing: it is whole.
    End,
    /// What is not of the blob, at this byte: a group begins there, or the halves of a pair meet.
    Corrupt(u64),
}

impl Arrival {
    /// Of `range`, which begins and ends with groups.
    pub(crate) fn new(root: Subtree, range: &Range<u64>) -> Self {
        let mut walk = Walk::new(root, range);
        let next = walk.next();
        let (begun, completed) = (Vec::new(), Vec::new());
        Self { walk, next, begun, completed, came: range.start, pairs: Vec::new() }
    }

    /// Bytes that are still to come for so many groups, or for all there are.
    pub(crate) fn encoded_bytes(&self, groups: usize) -> usize {
        self.walk.clone().encoded_bytes(self.next.clone(), groups).saturating_sub(self.begun.len())
    }

    /// Verifies some of what came, behind all that was taken before. What has come of the last pair or group without its
    /// end is kept. After [`Then::Corrupt`], nothing more may be taken.
    pub(crate) fn take<'a>(&'a mut self, came: &'a [u8]) -> Arrived<'a> {
        let Self { walk, next, begun, completed, pairs, .. } = self;
        let (start, mut rest, mut groups) = (self.came, came, Vec::new());
        let mut first = next.as_ref().and_then(|next| complete(next, begun, completed, &mut rest));
        let mut then = Then::End;
        pairs.clear();
        while let Some(subtree) = next {
            then = Then::More;
            if groups.len() == GROUPS_MAX {
                break;
            }
            let whole = first.take().or_else(|| rest.split_off(..subtree.encoded_bytes()));
            let Some(whole) = whole else {
                begun.extend_from_slice(rest);
                rest = &[];
                break;
            };
            if !subtree.is_group() {
                let halves = whole.first_chunk().and_then(|pair| Some((pair, subtree.split(pair)?)));
                let Some((pair, halves)) = halves else {
                    then = Then::Corrupt(subtree.middle_byte());
                    break;
                };
                pairs.push((subtree.pair_at(), *pair));
                walk.enter(halves);
            } else if subtree.is_made_of(whole) {
                self.came = subtree.bytes().end;
                groups.push(whole);
            } else {
                then = Then::Corrupt(subtree.bytes().start);
                break;
            }
            *next = walk.next();
            then = Then::End;
        }
        Arrived { start, groups, pairs, taken: came.len() - rest.len(), then }
    }
}

/// What had begun to come, if its end has come now; it is taken from `rest`.
fn complete<'a>(
    next: &Subtree,
    begun: &mut Vec<u8>,
    completed: &'a mut Vec<u8>,
    rest: &mut &[u8],
) -> Option<&'a [u8]> {
    if begun.is_empty() {
        return None;
    }
    begun.extend_from_slice(rest.split_off(..next.encoded_bytes() - begun.len())?);
    std::mem::swap(begun, completed);
    begun.clear();
    Some(completed)
}

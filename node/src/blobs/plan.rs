//! Who fetches which range: a queue, what is under way, and how the last ranges are shared.
//!
//! Nothing here waits or touches anything; [`super::fetch`] holds the one plan of a fetch behind a lock.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use assay_store::GROUP_BYTES;
use libp2p::PeerId;

/// A part of what is left of a range under way is taken over only when the range has at least twice as much to come.
const TAKE_OVER_BYTES_MIN: u64 = 256 << 10;

/// A range of a blob, by its place in the list of blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub blob: usize,
    pub range: Range<u64>,
}

/// A piece under way. What it says of its progress is shared with whoever receives it.
#[derive(Clone, Debug)]
pub struct Flight {
    id: u64,
    /// What was asked for.
    pub piece: Piece,
    /// Up to where it has arrived.
    pub reached: Arc<AtomicU64>,
    /// Up to where it is wanted: less than was asked for when others have taken the rest over.
    pub end: Arc<AtomicU64>,
}

/// What a holder that has time gets.
#[derive(Clone, Debug)]
pub enum Take {
    /// This piece.
    Piece(Flight),
    /// Nothing now; something may be given back by others.
    Wait,
    /// Nothing ever: it lacks all that is left.
    Useless,
    /// Nothing: all has arrived.
    Done,
}

#[derive(Debug)]
pub struct Plan {
    queue: VecDeque<Piece>,
    queued_bytes: u64,
    flights: BTreeMap<u64, (PeerId, Flight)>,
    next_id: u64,
    /// Blobs that a holder has said it does not have.
    lacking: HashSet<(PeerId, usize)>,
}

impl Flight {
    /// What is wanted of it.
    pub fn wanted(&self) -> Range<u64> {
        self.piece.range.start..self.end.load(Ordering::Relaxed)
    }

    fn left(&self) -> Range<u64> {
        let end = self.end.load(Ordering::Relaxed);
        self.reached.load(Ordering::Relaxed).min(end)..end
    }
}

impl Plan {
    /// A plan for these ranges, cut into pieces of `piece_bytes`, which is a multiple of a group.
    pub fn new(missing: impl IntoIterator<Item = Piece>, piece_bytes: u64) -> Self {
        let cut = |Piece { blob, range }: Piece| {
            let starts = (0..(range.end - range.start).div_ceil(piece_bytes))
                .map(move |i| range.start + i * piece_bytes);
            starts.map(move |start| Piece { blob, range: start..range.end.min(start + piece_bytes) })
        };
        let queue: VecDeque<_> = missing.into_iter().flat_map(cut).collect();
        let queued_bytes = queue.iter().map(|piece| piece.range.end - piece.range.start).sum();
        Self { queue, queued_bytes, flights: BTreeMap::new(), next_id: 0, lacking: HashSet::new() }
    }

    /// Bytes that are still to come.
    pub fn left_bytes(&self) -> u64 {
        let flying = self.flights.values().map(|(_, flight)| flight.left());
        self.queued_bytes + flying.map(|left| left.end - left.start).sum::<u64>()
    }

    /// Blobs of which something is still to come.
    pub fn left_blobs(&self) -> HashSet<usize> {
        let flying = self.flights.values().map(|(_, flight)| flight.piece.blob);
        self.queue.iter().map(|piece| piece.blob).chain(flying).collect()
    }

    pub fn is_done(&self) -> bool {
        self.queue.is_empty() && self.flights.is_empty()
    }

    /// The next piece for a holder: of the queue, or, when that has none for it, a part of what is under way from
    /// another.
    pub fn take(&mut self, holder: PeerId) -> Take {
        if self.is_done() {
            return Take::Done;
        }
        let has = |blob: usize| !self.lacking.contains(&(holder, blob));
        if let Some(at) = self.queue.iter().position(|piece| has(piece.blob))
            && let Some(piece) = self.queue.remove(at)
        {
            self.queued_bytes -= piece.range.end - piece.range.start;
            return Take::Piece(self.fly(holder, piece));
        }
        let others = self.flights.values().filter(|(by, flight)| *by != holder && has(flight.piece.blob));
        let most =
            others.map(|(_, flight)| flight).max_by_key(|flight| flight.left().end - flight.left().start);
        let Some(most) = most else {
            let mine = self.flights.values().any(|(by, _)| *by == holder);
            return if mine { Take::Wait } else { Take::Useless };
        };
        let left = most.left();
        let middle = (left.start + (left.end - left.start) / 2).next_multiple_of(GROUP_BYTES);
        if middle >= left.end || left.end - middle < TAKE_OVER_BYTES_MIN {
            return Take::Wait;
        }
        most.end.store(middle, Ordering::Relaxed);
        let piece = Piece { blob: most.piece.blob, range: middle..left.end };
        Take::Piece(self.fly(holder, piece))
    }

    fn fly(&mut self, holder: PeerId, piece: Piece) -> Flight {
        let id = self.next_id;
        self.next_id += 1;
        let Range { start, end } = piece.range;
        let (reached, end) = (Arc::new(AtomicU64::new(start)), Arc::new(AtomicU64::new(end)));
        let flight = Flight { id, piece, reached, end };
        self.flights.insert(id, (holder, flight.clone()));
        flight
    }

    /// All that is wanted of a flight has arrived.
    pub fn landed(&mut self, flight: &Flight) {
        self.flights.remove(&flight.id);
    }

    /// A flight ended, and this is missing of it.
    pub fn give_back(&mut self, flight: &Flight, missing: impl IntoIterator<Item = Range<u64>>) {
        self.flights.remove(&flight.id);
        for range in missing {
            self.queued_bytes += range.end - range.start;
            self.queue.push_front(Piece { blob: flight.piece.blob, range });
        }
    }

    /// A holder does not have a blob.
    pub fn lacks(&mut self, holder: PeerId, blob: usize) {
        self.lacking.insert((holder, blob));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn piece(blob: usize, range: Range<u64>) -> Piece {
        Piece { blob, range }
    }

    fn holder() -> PeerId {
        PeerId::random()
    }

    fn taken(plan: &mut Plan, holder: PeerId) -> Flight {
        match plan.take(holder) {
            Take::Piece(flight) => flight,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_missing_is_cut_and_handed_out_once() {
        let mut plan = Plan::new([piece(0, 0..20 * MIB), piece(1, 3 * MIB..4 * MIB)], 8 * MIB);
        let (a, b) = (holder(), holder());
        assert_eq!(plan.left_bytes(), 21 * MIB);
        let flights: Vec<_> = [a, b, a, b].map(|holder| taken(&mut plan, holder)).into();
        let pieces: Vec<_> = flights.iter().map(|flight| flight.piece.clone()).collect();
        let expected = [0..8 * MIB, 8 * MIB..16 * MIB, 16 * MIB..20 * MIB].map(|range| piece(0, range));
        assert_eq!(pieces[..3], expected);
        assert_eq!(pieces[3], piece(1, 3 * MIB..4 * MIB));
        flights.iter().for_each(|flight| plan.landed(flight));
        assert!(plan.is_done() && matches!(plan.take(a), Take::Done));
        assert_eq!(plan.left_bytes(), 0);
    }

    #[test]
    fn who_has_time_takes_over_half_of_what_has_most_to_come() {
        let mut plan = Plan::new([piece(0, 0..8 * MIB), piece(0, 8 * MIB..16 * MIB)], 8 * MIB);
        let (a, b) = (holder(), holder());
        let (first, second) = (taken(&mut plan, a), taken(&mut plan, a));
        assert!(matches!(plan.take(a), Take::Wait), "nobody takes over from itself");
        first.reached.store(6 * MIB, Ordering::Relaxed);
        let over = taken(&mut plan, b);
        assert_eq!((over.piece.range.clone(), second.wanted()), (12 * MIB..16 * MIB, 8 * MIB..12 * MIB));
        assert_eq!(plan.left_bytes(), 10 * MIB);
        second.reached.store(12 * MIB - 300 * 1024, Ordering::Relaxed);
        first.reached.store(8 * MIB - 300 * 1024, Ordering::Relaxed);
        assert!(matches!(plan.take(b), Take::Wait), "too little is left of each");
        [first, second, over].iter().for_each(|flight| plan.landed(flight));
        assert!(plan.is_done());
    }

    #[test]
    fn what_is_given_back_goes_to_others_first() {
        let mut plan = Plan::new([piece(0, 0..8 * MIB), piece(1, 0..8 * MIB)], 8 * MIB);
        let (a, b) = (holder(), holder());
        let flight = taken(&mut plan, a);
        plan.give_back(&flight, [2 * MIB..3 * MIB, 5 * MIB..8 * MIB]);
        assert_eq!(plan.left_bytes(), 12 * MIB);
        let again: Vec<_> = (0..3).map(|_| taken(&mut plan, b).piece).collect();
        assert_eq!(again, [piece(0, 5 * MIB..8 * MIB), piece(0, 2 * MIB..3 * MIB), piece(1, 0..8 * MIB)]);
    }

    #[test]
    fn a_holder_is_not_asked_for_what_it_lacks() {
        let mut plan = Plan::new([piece(0, 0..MIB), piece(1, 0..MIB)], 8 * MIB);
        let (a, b) = (holder(), holder());
        plan.lacks(a, 0);
        let own = taken(&mut plan, a);
        assert_eq!(own.piece.blob, 1);
        assert!(matches!(plan.take(a), Take::Wait));
        plan.landed(&own);
        assert!(matches!(plan.take(a), Take::Useless), "blob 0 is all that is left");
        let other = taken(&mut plan, b);
        assert_eq!((other.piece.blob, plan.left_blobs()), (0, [0].into()));
        assert!(matches!(plan.take(a), Take::Useless));
    }
}

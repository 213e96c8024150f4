//! Who fetches which range: a queue, what is under way, and how the last ranges are shared.
//!
//! Nothing here waits or touches anything; [`super::fetch`] holds the one plan of a fetch behind a lock.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use assay_store::{CLAIM_BYTES, GROUP_BYTES};
use libp2p::PeerId;
use tokio::time::Instant;

/// What is cut off the queue at a time, by all that is queued: at the end pieces are short, so that all holders come to it
/// at about the same time.
const PART_OF_QUEUE: u64 = 16;
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
    began: Instant,
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

/// How holders share what is missing.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Bytes of the shortest and of the longest piece that is cut, both multiples of a group.
    pub piece_bytes: [u64; 2],
    /// How long a piece may be under way before another holder takes over a part of it. What its own holder has sent by
    /// then and is not read yet goes to waste.
    pub take_over_after: Duration,
    /// How long it may be under way before another holder is asked for the same.
    pub twin_after: Duration,
}

#[derive(Debug)]
pub struct Plan {
    terms: Terms,
    /// Not asked for, and not cut yet.
    queue: VecDeque<Piece>,
    queued_bytes: u64,
    flights: BTreeMap<u64, (PeerId, Flight)>,
    /// Flights that bring the end of another once more, because that one takes long; and the other.
    twins: BTreeMap<u64, u64>,
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

    fn left_bytes(&self) -> u64 {
        let left = self.left();
        left.end - left.start
    }

    /// What is not yet recorded as here.
    fn unclaimed(&self) -> Range<u64> {
        let Range { start, end } = self.left();
        let first = self.piece.range.start;
        start - (start - first) % CLAIM_BYTES..end
    }

    /// Nothing more is wanted of it.
    fn end_here(&self) {
        self.end.store(self.left().start, Ordering::Relaxed);
    }
}

impl Plan {
    /// A plan for these ranges.
    pub fn new(missing: impl IntoIterator<Item = Piece>, terms: Terms) -> Self {
        let queue: VecDeque<_> = missing.into_iter().collect();
        let queued_bytes = queue.iter().map(|piece| piece.range.end - piece.range.start).sum();
        let (flights, twins) = (BTreeMap::new(), BTreeMap::new());
        Self { terms, queue, queued_bytes, flights, twins, next_id: 0, lacking: HashSet::new() }
    }

    /// Bytes that are still to come.
    pub fn left_bytes(&self) -> u64 {
        let flying = self.flights.iter().filter(|(id, _)| !self.twins.contains_key(id));
        self.queued_bytes + flying.map(|(_, (_, flight))| flight.left_bytes()).sum::<u64>()
    }

    /// Blobs of which something is still to come.
    pub fn left_blobs(&self) -> HashSet<usize> {
        let flying = self.flights.values().map(|(_, flight)| flight.piece.blob);
        self.queue.iter().map(|piece| piece.blob).chain(flying).collect()
    }

    pub fn is_done(&self) -> bool {
        self.queue.is_empty() && self.flights.is_empty()
    }

    /// The next piece for a holder: of the queue; or, when that has none for it, a part of what has been under way from
    /// another for a while; or all that is left of one that takes still longer, a second time.
    pub fn take(&mut self, holder: PeerId, now: Instant) -> Take {
        if self.is_done() {
            return Take::Done;
        }
        if let Some(at) = self.queue.iter().position(|piece| self.has(holder, piece.blob))
            && let Some(piece) = self.cut(at)
        {
            return Take::Piece(self.fly(holder, piece, now));
        }
        if !self.flights.values().any(|(by, flight)| *by == holder || self.has(holder, flight.piece.blob)) {
            return Take::Useless;
        }
        if let Some(piece) = self.take_over(holder, now) {
            return Take::Piece(self.fly(holder, piece, now));
        }
        let Some((original, piece)) = self
            .longest_of_others(holder, now, self.terms.twin_after)
            .map(|most| (most.id, Piece { blob: most.piece.blob, range: most.unclaimed() }))
        else {
            return Take::Wait;
        };
        let twin = self.fly(holder, piece, now);
        self.twins.insert(twin.id, original);
        Take::Piece(twin)
    }

    /// The beginning of what is queued there.
    fn cut(&mut self, at: usize) -> Option<Piece> {
        let [shortest, longest] = self.terms.piece_bytes;
        let part = (self.queued_bytes / PART_OF_QUEUE).next_multiple_of(GROUP_BYTES);
        let bytes = part.max(shortest).min(longest);
        let Piece { blob, range } = self.queue.get_mut(at)?;
        let piece = Piece { blob: *blob, range: range.start..range.end.min(range.start + bytes) };
        range.start = piece.range.end;
        if range.is_empty() {
            self.queue.remove(at);
        }
        self.queued_bytes -= piece.range.end - piece.range.start;
        Some(piece)
    }

    /// The second half of what has most to come from another, if that is worth it.
    fn take_over(&self, holder: PeerId, now: Instant) -> Option<Piece> {
        let most = self.longest_of_others(holder, now, self.terms.take_over_after)?;
        let left = most.left();
        let middle = (left.start + (left.end - left.start) / 2).next_multiple_of(GROUP_BYTES);
        if middle >= left.end || left.end - middle < TAKE_OVER_BYTES_MIN {
            return None;
        }
        most.end.store(middle, Ordering::Relaxed);
        Some(Piece { blob: most.piece.blob, range: middle..left.end })
    }

    /// What has most to come from others, of blobs that the holder has, is under way for so long, and has no twin.
    fn longest_of_others(&self, holder: PeerId, now: Instant, after: Duration) -> Option<&Flight> {
        let is_late = |flight: &Flight| now.duration_since(flight.began) >= after;
        let is_free = |id: &u64| !self.twins.iter().any(|(twin, original)| id == twin || id == original);
        let others = self.flights.values().filter(|(by, _)| *by != holder).map(|(_, flight)| flight);
        others
            .filter(|flight| self.has(holder, flight.piece.blob) && is_free(&flight.id) && is_late(flight))
            .filter(|flight| flight.left_bytes() > 0)
            .max_by_key(|flight| flight.left_bytes())
    }

    fn has(&self, holder: PeerId, blob: usize) -> bool {
        !self.lacking.contains(&(holder, blob))
    }

    fn fly(&mut self, holder: PeerId, piece: Piece, began: Instant) -> Flight {
        let id = self.next_id;
        self.next_id += 1;
        let Range { start, end } = piece.range;
        let (reached, end) = (Arc::new(AtomicU64::new(start)), Arc::new(AtomicU64::new(end)));
        let flight = Flight { id, began, piece, reached, end };
        self.flights.insert(id, (holder, flight.clone()));
        flight
    }

    /// All that is wanted of a flight has arrived, and so has that of its twin, and of whose twin it is.
    pub fn landed(&mut self, flight: &Flight) {
        self.flights.remove(&flight.id);
        let original = self.twins.remove(&flight.id);
        let twin = self.twins.iter().find(|(_, original)| **original == flight.id).map(|(twin, _)| *twin);
        for other in original.into_iter().chain(twin) {
            self.twins.remove(&other);
            if let Some((_, other)) = self.flights.remove(&other) {
                other.end_here();
            }
        }
    }

    /// A flight ended, and this is missing of it.
    pub fn give_back(&mut self, flight: &Flight, missing: impl IntoIterator<Item = Range<u64>>) {
        // Another has landed in its stead, or is still under way with the same.
        if self.flights.remove(&flight.id).is_none() || self.twins.remove(&flight.id).is_some() {
            return;
        }
        self.twins.retain(|_, original| *original != flight.id);
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

    const TWIN_AFTER: Duration = Duration::from_secs(5);
    const TERMS: Terms =
        Terms { piece_bytes: [8 * MIB; 2], take_over_after: Duration::ZERO, twin_after: TWIN_AFTER };

    fn take(plan: &mut Plan, holder: PeerId) -> Take {
        plan.take(holder, Instant::now())
    }

    fn taken(plan: &mut Plan, holder: PeerId) -> Flight {
        match take(plan, holder) {
            Take::Piece(flight) => flight,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_missing_is_cut_and_handed_out_once() {
        let mut plan = Plan::new([piece(0, 0..20 * MIB), piece(1, 3 * MIB..4 * MIB)], TERMS);
        let (a, b) = (holder(), holder());
        assert_eq!(plan.left_bytes(), 21 * MIB);
        let flights: Vec<_> = [a, b, a, b].map(|holder| taken(&mut plan, holder)).into();
        let pieces: Vec<_> = flights.iter().map(|flight| flight.piece.clone()).collect();
        let expected = [0..8 * MIB, 8 * MIB..16 * MIB, 16 * MIB..20 * MIB].map(|range| piece(0, range));
        assert_eq!(pieces[..3], expected);
        assert_eq!(pieces[3], piece(1, 3 * MIB..4 * MIB));
        flights.iter().for_each(|flight| plan.landed(flight));
        assert!(plan.is_done() && matches!(take(&mut plan, a), Take::Done));
        assert_eq!(plan.left_bytes(), 0);
    }

    #[test]
    fn pieces_are_short_where_little_is_left() {
        let mut plan = Plan::new([piece(0, 0..200 * MIB)], Terms { piece_bytes: [MIB, 8 * MIB], ..TERMS });
        let (a, mut end, mut lengths) = (holder(), 0, Vec::new());
        while end < 200 * MIB {
            let flight = taken(&mut plan, a);
            assert_eq!(flight.piece.range.start, end);
            end = flight.piece.range.end;
            lengths.push(end - flight.piece.range.start);
            plan.landed(&flight);
        }
        assert!(plan.is_done());
        let (last, cut) = lengths.split_last().unwrap();
        assert!(
            cut.is_sorted_by(|one, next| one >= next) && cut.iter().all(|length| length % GROUP_BYTES == 0)
        );
        assert_eq!((cut[0], cut[cut.len() - 1]), (8 * MIB, MIB));
        assert!(*last <= MIB);
        // With each a sixteenth of what is left goes: from 128 MiB to 16 MiB in ln 8 / ln (16 / 15) = 32 steps.
        let between = cut.iter().filter(|length| (MIB + 1..8 * MIB).contains(length)).count();
        assert!((32..=35).contains(&between), "{between}");
    }

    #[test]
    fn nothing_is_taken_over_at_once() {
        let later = Duration::from_millis(500);
        let mut plan = Plan::new([piece(0, 0..8 * MIB)], Terms { take_over_after: later, ..TERMS });
        let (a, b, now) = (holder(), holder(), Instant::now());
        let Take::Piece(flight) = plan.take(a, now) else { panic!("a piece") };
        assert!(matches!(plan.take(b, now + later - Duration::from_millis(1)), Take::Wait));
        let Take::Piece(over) = plan.take(b, now + later) else { panic!("half of it") };
        assert_eq!((flight.wanted(), over.wanted()), (0..4 * MIB, 4 * MIB..8 * MIB));
    }

    #[test]
    fn who_has_time_takes_over_half_of_what_has_most_to_come() {
        let mut plan = Plan::new([piece(0, 0..8 * MIB), piece(0, 8 * MIB..16 * MIB)], TERMS);
        let (a, b) = (holder(), holder());
        let (first, second) = (taken(&mut plan, a), taken(&mut plan, a));
        assert!(matches!(take(&mut plan, a), Take::Wait), "nobody takes over from itself");
        first.reached.store(6 * MIB, Ordering::Relaxed);
        let over = taken(&mut plan, b);
        assert_eq!((over.piece.range.clone(), second.wanted()), (12 * MIB..16 * MIB, 8 * MIB..12 * MIB));
        assert_eq!(plan.left_bytes(), 10 * MIB);
        second.reached.store(12 * MIB - 300 * 1024, Ordering::Relaxed);
        first.reached.store(8 * MIB - 300 * 1024, Ordering::Relaxed);
        assert!(matches!(take(&mut plan, b), Take::Wait), "too little is left of each");
        [first, second, over].iter().for_each(|flight| plan.landed(flight));
        assert!(plan.is_done());
    }

    #[test]
    fn what_is_given_back_goes_to_others_first() {
        let mut plan = Plan::new([piece(0, 0..8 * MIB), piece(1, 0..8 * MIB)], TERMS);
        let (a, b) = (holder(), holder());
        let flight = taken(&mut plan, a);
        plan.give_back(&flight, [2 * MIB..3 * MIB, 5 * MIB..8 * MIB]);
        assert_eq!(plan.left_bytes(), 12 * MIB);
        let again: Vec<_> = (0..3).map(|_| taken(&mut plan, b).piece).collect();
        assert_eq!(again, [piece(0, 5 * MIB..8 * MIB), piece(0, 2 * MIB..3 * MIB), piece(1, 0..8 * MIB)]);
    }

    #[test]
    fn a_holder_is_not_asked_for_what_it_lacks() {
        let mut plan = Plan::new([piece(0, 0..MIB), piece(1, 0..MIB)], TERMS);
        let (a, b) = (holder(), holder());
        plan.lacks(a, 0);
        let own = taken(&mut plan, a);
        assert_eq!(own.piece.blob, 1);
        assert!(matches!(take(&mut plan, a), Take::Wait));
        plan.landed(&own);
        assert!(matches!(take(&mut plan, a), Take::Useless), "blob 0 is all that is left");
        let other = taken(&mut plan, b);
        assert_eq!((other.piece.blob, plan.left_blobs()), (0, [0].into()));
        assert!(matches!(take(&mut plan, a), Take::Useless));
    }
    #[test]
    fn what_takes_long_is_brought_a_second_time_and_whoever_is_first_ends_the_other() {
        let long_ago = Instant::now();
        let later = long_ago + TWIN_AFTER;
        for first_is_the_twin in [true, false] {
            let mut plan = Plan::new([piece(0, 0..8 * MIB)], TERMS);
            let (a, b, c) = (holder(), holder(), holder());
            let Take::Piece(slow) = plan.take(a, long_ago) else { panic!("a piece") };
            slow.reached.store(8 * MIB - 100 * 1024, Ordering::Relaxed);
            assert!(matches!(plan.take(b, long_ago), Take::Wait), "it is not late yet");
            let Take::Piece(twin) = plan.take(b, later) else { panic!("a twin") };
            assert_eq!(twin.piece, piece(0, 7 * MIB..8 * MIB), "from where it is recorded");
            assert_eq!(plan.left_bytes(), 100 * 1024, "nothing is counted twice");
            assert!(matches!(plan.take(c, later + TWIN_AFTER), Take::Wait), "one twin is enough");
            let (first, second) = if first_is_the_twin { (&twin, &slow) } else { (&slow, &twin) };
            plan.landed(first);
            assert!(plan.is_done());
            assert_eq!(second.wanted().end, second.reached.load(Ordering::Relaxed), "it is to end");
            plan.give_back(second, [second.piece.range.clone()]);
            assert!(plan.is_done(), "nothing comes back of it");
        }
    }

    #[test]
    fn a_twin_that_fails_brings_nothing_back_and_one_whose_original_fails_goes_on() {
        let (long_ago, a, b) = (Instant::now(), holder(), holder());
        let later = long_ago + TWIN_AFTER;
        let mut plan = Plan::new([piece(0, 0..MIB / 4)], TERMS);
        let Take::Piece(slow) = plan.take(a, long_ago) else { panic!("a piece") };
        let Take::Piece(twin) = plan.take(b, later) else { panic!("a twin") };
        plan.give_back(&twin, std::iter::once(0..MIB / 4));
        assert_eq!(plan.left_bytes(), MIB / 4);
        let Take::Piece(again) = plan.take(b, later) else { panic!("a twin") };
        plan.give_back(&slow, []);
        assert_eq!(plan.left_bytes(), MIB / 4, "it is a flight like any other now");
        plan.landed(&again);
        assert!(plan.is_done());
    }
}

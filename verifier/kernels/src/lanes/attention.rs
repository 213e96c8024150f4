//! Attention: a lane is a position while scoring, a dimension while summing values.
//!
//! Loops and functions only where vectors are held: a closure would not be compiled for the instruction set of its
//! caller.

use std::ops::Range;

use super::isa::Isa;
use crate::cache::{Head, HeadMut, PAGE_POSITIONS, QUERIES_MAX};
use crate::reference::{LANES, SEGMENT, exp, tree_sum};

/// How many tiles ahead memory is asked for, into the second cache, where the queries are of one position and keys and
/// values come from memory: 32 heads of 64 on 8 took a third less time so over 600 positions and two fifths over 2,000
/// (example `attention`, on a Zen 4). Asking for them into the first cache was no gain.
const AHEAD_TILES: usize = 16;

const SEGMENT_TILES: usize = SEGMENT / LANES;
const _: () = assert!(SEGMENT.is_multiple_of(PAGE_POSITIONS), "a segment is made of whole pages");

/// The scores, then the weights, of the queries at sixteen positions.
type TileWeights<const Q: usize> = [[f32; LANES]; Q];

/// See [`Cpu::write_position`](crate::Cpu::write_position).
#[inline(always)]
pub(crate) fn write_position<I: Isa>(
    isa: I,
    head: &mut HeadMut<'_>,
    position: usize,
    key: &[f32],
    value: &[f32],
) {
    let head_size = head.head_size();
    assert!(position < PAGE_POSITIONS, "position {position} of a page");
    assert!(key.len() == head_size && value.len() == head_size, "a head of {head_size}");
    let (tile, lane) = (position / LANES, position % LANES);
    let width = head_size.div_ceil(LANES);
    let keys = &mut head.keys[tile * head_size..][..head_size];
    let values = &mut head.values[position * width..][..width];
    for (index, lanes) in values.iter_mut().enumerate() {
        let dims = index * LANES..head_size.min((index + 1) * LANES);
        lanes.0 = halves(isa, &value[dims.clone()]);
        let halves = halves(isa, &key[dims.clone()]);
        for (lanes, half) in keys[dims].iter_mut().zip(halves) {
            lanes.0[lane] = half;
        }
    }
}

/// Up to sixteen numbers, rounded to binary16; zeros after the last.
#[inline(always)]
fn halves<I: Isa>(isa: I, values: &[f32]) -> [u16; LANES] {
    let mut lanes = [0.0; LANES];
    lanes[..values.len()].copy_from_slice(values);
    isa.to_halves(isa.load(&lanes))
}

/// See [`attention`](crate::reference::attention).
#[inline(always)]
pub(crate) fn attend<I: Isa>(
    isa: I,
    queries: &[f32],
    head: Head<'_>,
    spans: &[Range<usize>],
    scale: f32,
    out: &mut [f32],
) {
    let size = head.head_size();
    assert!(queries.len() == out.len() && queries.len() == spans.len() * size, "queries of {size}");
    for span in spans {
        assert!(span.start < span.end && span.end <= head.positions(), "positions {span:?}");
    }
    let mut first = 0;
    macro_rules! queries {
        ($($count:literal)+) => {$(
            while spans.len() - first >= $count {
                let range = first * size..(first + $count) * size;
                let mut span = [const { 0..0 }; $count];
                span.clone_from_slice(&spans[first..first + $count]);
                // What others have read is in the second cache.
                let once = first == 0 && spans.iter().all(|span| *span == spans[0]);
                some::<I, $count>(isa, &queries[range.clone()], (head, once), &span, scale, &mut out[range]);
                first += $count;
            }
        )+};
    }
    queries!(8 4 2 1);
    const { assert!(QUERIES_MAX == 8) };
}

/// Attention of `Q` queries at once; `once` says that they are the first to read the head, and those of one position.
#[inline(always)]
fn some<I: Isa, const Q: usize>(
    isa: I,
    queries: &[f32],
    (head, once): (Head<'_>, bool),
    spans: &[Range<usize>; Q],
    scale: f32,
    out: &mut [f32],
) {
    let (mut start, mut end) = (usize::MAX, 0);
    for span in spans {
        (start, end) = (start.min(span.start), end.max(span.end));
    }
    let first = start / LANES;
    let mut weights = vec![[[0.0; LANES]; Q]; end.div_ceil(LANES) - first];
    let reading = Reading { head, first, tiles: weights.len(), once };
    score(isa, queries, reading, scale, &mut weights);
    let mut sums = [0.0; Q];
    for query in 0..Q {
        sums[query] = to_weights(isa, &mut weights, query, first, &spans[query]);
    }
    sum_values(isa, reading, &weights, spans, out);
    for (query, out) in out.chunks_exact_mut(head.head_size()).enumerate() {
        for out in out {
            *out /= sums[query];
        }
    }
}

/// Keys and values of tiles from `first` on: the keys of all of them are read, then the values.
#[derive(Clone, Copy)]
struct Reading<'a> {
    head: Head<'a>,
    first: usize,
    tiles: usize,
    /// They come from memory, and not from a cache.
    once: bool,
}

impl Reading<'_> {
    /// Asks for what is read so many places after the keys of the first tile, if there is as much.
    #[inline(always)]
    fn prefetch<I: Isa>(self, isa: I, place: usize) {
        if !self.once || place >= 2 * self.tiles {
            return;
        }
        let lanes = if place < self.tiles {
            self.head.keys(self.first + place)
        } else {
            self.head.values(self.first + place - self.tiles)
        };
        // A line of the cache holds two of sixteen halves.
        for line in lanes.chunks(2) {
            isa.prefetch_outer(line.as_ptr().cast());
        }
    }
}

/// Scores of all positions of the tiles.
#[inline(always)]
fn score<I: Isa, const Q: usize>(
    isa: I,
    queries: &[f32],
    reading: Reading<'_>,
    scale: f32,
    scores: &mut [TileWeights<Q>],
) {
    let Reading { head, first, .. } = reading;
    for place in 0..AHEAD_TILES {
        reading.prefetch(isa, place);
    }
    // Several tiles at once hide the latency of the multiply-add; positions do not meet.
    let mut tile = 0;
    while tile < scores.len() {
        reading.prefetch(isa, tile + AHEAD_TILES);
        tile += if scores.len() - tile >= 2 {
            reading.prefetch(isa, tile + 1 + AHEAD_TILES);
            score_tiles::<I, Q, 2>(isa, queries, head, first + tile, scale, &mut scores[tile..])
        } else {
            score_tiles::<I, Q, 1>(isa, queries, head, first + tile, scale, &mut scores[tile..])
        };
    }
}

/// The scores of `T` tiles; returns `T`.
#[inline(always)]
fn score_tiles<I: Isa, const Q: usize, const T: usize>(
    isa: I,
    queries: &[f32],
    head: Head<'_>,
    first: usize,
    scale: f32,
    scores: &mut [TileWeights<Q>],
) -> usize {
    let size = head.head_size();
    let mut keys: [&[_]; T] = [&[]; T];
    for tile in 0..T {
        keys[tile] = &head.keys(first + tile)[..size];
    }
    let mut rows: [&[f32]; Q] = [&[]; Q];
    for query in 0..Q {
        rows[query] = &queries[query * size..][..size];
    }
    let mut sums = [[isa.splat(0.0); Q]; T];
    for dim in 0..size {
        for tile in 0..T {
            let keys = isa.halves(&keys[tile][dim].0);
            for query in 0..Q {
                sums[tile][query] = isa.fma(isa.splat(rows[query][dim]), keys, sums[tile][query]);
            }
        }
    }
    for tile in 0..T {
        for query in 0..Q {
            isa.store(isa.multiply(sums[tile][query], isa.splat(scale)), &mut scores[tile][query]);
        }
    }
    T
}

/// Turns the scores of a query into weights, 0 outside of its span, and returns their sum.
#[inline(always)]
fn to_weights<I: Isa, const Q: usize>(
    isa: I,
    scores: &mut [TileWeights<Q>],
    query: usize,
    first: usize,
    span: &Range<usize>,
) -> f32 {
    let mut largest = [f32::NEG_INFINITY; LANES];
    for (tile, scores) in scores.iter_mut().enumerate() {
        let scores = &mut scores[query];
        hide(scores, (first + tile) * LANES, span, f32::NEG_INFINITY);
        for lane in 0..LANES {
            largest[lane] = if scores[lane] > largest[lane] { scores[lane] } else { largest[lane] };
        }
    }
    let largest =
        largest.iter().fold(f32::NEG_INFINITY, |max, score| if *score > max { *score } else { max });
    let mut sums = isa.splat(0.0);
    for (tile, scores) in scores.iter_mut().enumerate() {
        let scores = &mut scores[query];
        for lane in 0..LANES {
            scores[lane] = exp(scores[lane] - largest);
        }
        hide(scores, (first + tile) * LANES, span, 0.0);
        sums = isa.add(sums, isa.load(scores));
    }
    let mut lanes = [0.0; LANES];
    isa.store(sums, &mut lanes);
    tree_sum(lanes)
}

/// Replaces the values of positions outside of a span.
#[inline(always)]
fn hide(values: &mut [f32; LANES], position: usize, span: &Range<usize>, hidden: f32) {
    if span.start <= position && position + LANES <= span.end {
        return;
    }
    for (lane, value) in values.iter_mut().enumerate() {
        if !span.contains(&(position + lane)) {
            *value = hidden;
        }
    }
}

/// `out[q][d] = Σ weight · value[d]` over the span of each query.
#[inline(always)]
fn sum_values<I: Isa, const Q: usize>(
    isa: I,
    reading: Reading<'_>,
    weights: &[TileWeights<Q>],
    spans: &[Range<usize>; Q],
    out: &mut [f32],
) {
    let width = reading.head.head_size().div_ceil(LANES);
    let mut line = 0;
    while line < width {
        // As many sums as there are registers for, beside what they are made of.
        line += if Q == QUERIES_MAX && width - line >= 2 {
            sum_lines::<I, Q, 2>(isa, reading, line, weights, spans, out)
        } else if width - line >= 4 {
            sum_lines::<I, Q, 4>(isa, reading, line, weights, spans, out)
        } else {
            sum_lines::<I, Q, 1>(isa, reading, line, weights, spans, out)
        };
    }
}

/// The dimensions of `D` lines from `line` on; returns `D`.
#[inline(always)]
fn sum_lines<I: Isa, const Q: usize, const D: usize>(
    isa: I,
    reading: Reading<'_>,
    line: usize,
    weights: &[TileWeights<Q>],
    spans: &[Range<usize>; Q],
    out: &mut [f32],
) -> usize {
    let (mut common_start, mut common_end) = (0, usize::MAX);
    for span in spans {
        (common_start, common_end) = (common_start.max(span.start), common_end.min(span.end));
    }
    let Reading { head, first, .. } = reading;
    let width = head.head_size().div_ceil(LANES);
    let mut totals = [[isa.splat(0.0); D]; Q];
    let mut sums = totals;
    for (index, weights) in weights.iter().enumerate() {
        let (tile, position) = (first + index, (first + index) * LANES);
        let values = head.values(tile);
        if line == 0 {
            reading.prefetch(isa, reading.tiles + index + AHEAD_TILES);
        }
        let common = common_start <= position && position + LANES <= common_end;
        for lane in 0..LANES {
            let values = &values[lane * width + line..][..D];
            let mut lines = [isa.splat(0.0); D];
            for dim in 0..D {
                lines[dim] = isa.halves(&values[dim].0);
            }
            for query in 0..Q {
                // A position that a query does not see may hold an infinity.
                if common || spans[query].contains(&(position + lane)) {
                    let weight = isa.splat(weights[query][lane]);
                    for dim in 0..D {
                        sums[query][dim] = isa.fma(weight, lines[dim], sums[query][dim]);
                    }
                }
            }
        }
        if (tile + 1).is_multiple_of(SEGMENT_TILES) {
            add(isa, &mut totals, &mut sums);
        }
    }
    add(isa, &mut totals, &mut sums);
    store(isa, &totals, head.head_size(), line, out);
    D
}

/// Adds the sums of a segment to the totals, and begins new ones.
#[inline(always)]
fn add<I: Isa, const Q: usize, const D: usize>(
    isa: I,
    totals: &mut [[I::Floats; D]; Q],
    sums: &mut [[I::Floats; D]; Q],
) {
    for query in 0..Q {
        for dim in 0..D {
            totals[query][dim] = isa.add(totals[query][dim], sums[query][dim]);
            sums[query][dim] = isa.splat(0.0);
        }
    }
}

/// Writes the totals where the dimensions of these lines stand; lanes beyond the last one are dropped.
#[inline(always)]
fn store<I: Isa, const Q: usize, const D: usize>(
    isa: I,
    totals: &[[I::Floats; D]; Q],
    head_size: usize,
    line: usize,
    out: &mut [f32],
) {
    for query in 0..Q {
        for dim in 0..D {
            let first = (line + dim) * LANES;
            let count = LANES.min(head_size - first);
            let mut lanes = [0.0; LANES];
            isa.store(totals[query][dim], &mut lanes);
            out[query * head_size + first..][..count].copy_from_slice(&lanes[..count]);
        }
    }
}

//! Matrix products: rows of activations with tiles of sixteen weight rows.

use super::isa::Isa;
use crate::activation::Row;
use crate::matmul::TileColumns;
use crate::matrix::{Lanes, Matrix, Packed, Q4_0_LINES, Q8_0_LINES, Quads};
use crate::reference::{BLOCK, LANES, SEGMENT};

/// Blocks of a segment.
const SEGMENT_BLOCKS: usize = SEGMENT / BLOCK;

/// Rows of activations that share a pass over a tile: each weight is loaded once for all of them, and their
/// chains of additions hide one another's latency.
const ROWS_AT_ONCE: usize = 4;

/// Multiplies every row of `x` with the weight rows of the tiles of `out`; see
/// [`dot_f32`](crate::reference::dot_f32) and its siblings.
#[inline(always)]
pub(crate) fn multiply<I: Isa>(isa: I, matrix: &Matrix, x: &[Row], out: &mut TileColumns<'_>) {
    let (cols, blocks) = (matrix.cols(), matrix.cols() / BLOCK);
    for tile in out.tiles() {
        match &matrix.packed {
            Packed::F32(weights) => {
                every_row(&FloatTile { isa, weights: &weights[tile * cols..][..cols] }, x, tile, out);
            }
            Packed::F16(weights) => {
                every_row(&FloatTile { isa, weights: &weights[tile * cols..][..cols] }, x, tile, out);
            }
            Packed::Q8_0 { quants, scales } => {
                let lines = quants[tile * blocks * Q8_0_LINES..].as_chunks::<Q8_0_LINES>().0;
                every_row(
                    &BlockTile { isa, lines, scales: &scales[tile * blocks..][..blocks] },
                    x,
                    tile,
                    out,
                );
            }
            Packed::Q4_0 { quants, scales } => {
                let lines = quants[tile * blocks * Q4_0_LINES..].as_chunks::<Q4_0_LINES>().0;
                every_row(
                    &BlockTile { isa, lines, scales: &scales[tile * blocks..][..blocks] },
                    x,
                    tile,
                    out,
                );
            }
        }
    }
}

#[inline(always)]
fn every_row(weights: &impl Tile, x: &[Row], index: usize, out: &mut TileColumns<'_>) {
    let (groups, rest) = x.as_chunks::<ROWS_AT_ONCE>();
    for (group, rows) in groups.iter().enumerate() {
        for (row, products) in weights.times(rows).iter().enumerate() {
            out.write(group * ROWS_AT_ONCE + row, index, products);
        }
    }
    for (row, x) in rest.iter().enumerate() {
        let [products] = weights.times(std::array::from_ref(x));
        out.write(groups.len() * ROWS_AT_ONCE + row, index, &products);
    }
}

// Traits and not closures: a closure cannot be forced inline, and one that is not loses the instruction set
// of its caller.

/// Sixteen rows of weights.
trait Tile {
    /// Their products with each of `R` rows of activations.
    fn times<const R: usize>(&self, x: &[Row; R]) -> [[f32; LANES]; R];
}

/// Weights that are numbers.
struct FloatTile<'a, I, T> {
    isa: I,
    weights: &'a [Lanes<T>],
}

/// Numbers that weights can be.
trait Float: Copy {
    fn widen<I: Isa>(isa: I, values: &[Self; LANES]) -> [f32; LANES];
}

impl Float for f32 {
    #[inline(always)]
    fn widen<I: Isa>(_: I, values: &[Self; LANES]) -> [f32; LANES] {
        *values
    }
}

/// The bits of binary16.
impl Float for u16 {
    #[inline(always)]
    fn widen<I: Isa>(isa: I, values: &[Self; LANES]) -> [f32; LANES] {
        isa.halves(values)
    }
}

impl<I: Isa, T: Float> Tile for FloatTile<'_, I, T> {
    #[inline(always)]
    fn times<const R: usize>(&self, x: &[Row; R]) -> [[f32; LANES]; R] {
        let mut totals = [[0.0; LANES]; R];
        let cols = self.weights.len();
        for first in (0..cols).step_by(SEGMENT) {
            let mut sums = [[0.0; LANES]; R];
            for col in first..cols.min(first + SEGMENT) {
                let weights = T::widen(self.isa, &self.weights[col].0);
                for (sums, x) in sums.iter_mut().zip(x) {
                    for (sum, weight) in sums.iter_mut().zip(&weights) {
                        *sum = weight.mul_add(x.values[col], *sum);
                    }
                }
            }
            add(&mut totals, &sums);
        }
        totals
    }
}

/// Weights in blocks of `N` lines.
struct BlockTile<'a, I, const N: usize> {
    isa: I,
    lines: &'a [[Quads; N]],
    scales: &'a [Lanes<u16>],
}

/// The formats of blocks, by their number of lines.
trait Block {
    fn dot<I: Isa>(&self, isa: I, x: &[i8; BLOCK], sum: i32) -> [i32; LANES];
}

impl Block for [Quads; Q8_0_LINES] {
    #[inline(always)]
    fn dot<I: Isa>(&self, isa: I, x: &[i8; BLOCK], sum: i32) -> [i32; LANES] {
        isa.q8_0(self, x, sum)
    }
}

impl Block for [Quads; Q4_0_LINES] {
    #[inline(always)]
    fn dot<I: Isa>(&self, isa: I, x: &[i8; BLOCK], sum: i32) -> [i32; LANES] {
        isa.q4_0(self, x, sum)
    }
}

impl<I: Isa, const N: usize> Tile for BlockTile<'_, I, N>
where
    [Quads; N]: Block,
{
    #[inline(always)]
    fn times<const R: usize>(&self, x: &[Row; R]) -> [[f32; LANES]; R] {
        let mut totals = [[0.0; LANES]; R];
        let blocks = self.scales.len();
        for first in (0..blocks).step_by(SEGMENT_BLOCKS) {
            let mut sums = [[0.0; LANES]; R];
            for block in first..blocks.min(first + SEGMENT_BLOCKS) {
                let scales = self.isa.halves(&self.scales[block].0);
                for (sums, x) in sums.iter_mut().zip(x) {
                    let dots = self.lines[block].dot(self.isa, &x.quants[block], x.sums[block]);
                    for ((sum, scale), dot) in sums.iter_mut().zip(&scales).zip(dots) {
                        *sum = (scale * x.scales[block]).mul_add(dot as f32, *sum);
                    }
                }
            }
            add(&mut totals, &sums);
        }
        totals
    }
}

#[inline(always)]
fn add<const R: usize>(totals: &mut [[f32; LANES]; R], sums: &[[f32; LANES]; R]) {
    for (total, sum) in totals.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
        *total += sum;
    }
}

//! Matrix products: rows of activations with tiles of sixteen weight rows.
//!
//! Loops and functions only: a closure would not be compiled for the instruction set of its caller.

use super::isa::Isa;
use crate::activation::{GROUP_ROWS, Group};
use crate::matmul::TileColumns;
use crate::matrix::{FACTORS, Lanes, Matrix, Packed, PackedIntegers, Quads};
use crate::planes;
use crate::reference::{BLOCK, LANES, SEGMENT};
use crate::weight::{Integers, WeightType};

/// How many lines ahead memory is asked for where it decides the speed, with few rows of activations: the
/// processor's own prefetching stops at the ends of pages of 4 KiB. One thread reads Q4_0 at 42 GB/s with it and at
/// 30 without (example `products`, a matrix of 150 MB).
const AHEAD: usize = 96;

/// Blocks of a segment.
const SEGMENT_BLOCKS: usize = SEGMENT / BLOCK;

/// Multiplies every row of `x` with the weight rows of the tiles of `out`; see
/// [`dot`](crate::reference::dot).
#[inline(always)]
pub(crate) fn multiply<I: Isa>(isa: I, matrix: &Matrix, x: &[Group], out: &mut TileColumns<'_>) {
    let cols = matrix.cols();
    for tile in out.tiles() {
        match &matrix.packed {
            Packed::F32(weights) => every_row(isa, &numbers::<_, F32>(weights, tile, cols), x, tile, out),
            Packed::Halves(weights) if matrix.weight_type() == WeightType::BF16 => {
                every_row(isa, &numbers::<_, BF16>(weights, tile, cols), x, tile, out);
            }
            Packed::Halves(weights) => every_row(isa, &numbers::<_, F16>(weights, tile, cols), x, tile, out),
            Packed::Integers(packed) => {
                macro_rules! multiply {
                    ($($name:ident)+) => {
                        match matrix.weight_type() {
                            $(WeightType::$name => {
                                let weights = BlockTile::<{ WeightType::$name as usize }>::new(packed, tile, cols);
                                every_row(isa, &weights, x, tile, out);
                            })+
                            WeightType::F32 | WeightType::F16 | WeightType::BF16 => {}
                        }
                    };
                }
                multiply!(Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K Q4_K Q5_K Q6_K);
            }
        }
    }
}

/// Sixteen rows of weights.
trait Tile {
    /// Their products with the rows `first..first + R` of a group; `once` says that no other rows follow, so that
    /// memory decides the speed.
    fn times<I: Isa, const R: usize>(&self, isa: I, x: &Group, first: usize, once: bool) -> [I::Floats; R];
}

#[inline(always)]
fn every_row<I: Isa>(isa: I, weights: &impl Tile, x: &[Group], tile: usize, out: &mut TileColumns<'_>) {
    let once = x.len() == 1;
    for (index, group) in x.iter().enumerate() {
        let mut row = 0;
        macro_rules! rows {
            ($($count:literal)+) => {$(
                while group.rows - row >= $count && $count <= I::ROWS {
                    let products = weights.times::<I, $count>(isa, group, row, once && row == 0);
                    for offset in 0..$count {
                        let mut lanes = [0.0; LANES];
                        isa.store(products[offset], &mut lanes);
                        out.write(index * GROUP_ROWS + row + offset, tile, &lanes);
                    }
                    row += $count;
                }
            )+};
        }
        rows!(8 4 2 1);
    }
}

/// A type of plain numbers.
trait Number {
    type Stored: Copy;
    fn widen<I: Isa>(isa: I, stored: &[Self::Stored; LANES]) -> I::Floats;
}

struct F32;
struct F16;
struct BF16;

impl Number for F32 {
    type Stored = f32;

    #[inline(always)]
    fn widen<I: Isa>(isa: I, stored: &[f32; LANES]) -> I::Floats {
        isa.load(stored)
    }
}

impl Number for F16 {
    type Stored = u16;

    #[inline(always)]
    fn widen<I: Isa>(isa: I, stored: &[u16; LANES]) -> I::Floats {
        isa.halves(stored)
    }
}

impl Number for BF16 {
    type Stored = u16;

    #[inline(always)]
    fn widen<I: Isa>(isa: I, stored: &[u16; LANES]) -> I::Floats {
        isa.upper_halves(stored)
    }
}

/// Weights that are numbers, `[column]`.
struct NumberTile<'a, N: Number>(&'a [Lanes<N::Stored>]);

#[inline(always)]
fn numbers<T, N: Number<Stored = T>>(weights: &[Lanes<T>], tile: usize, cols: usize) -> NumberTile<'_, N> {
    NumberTile(&weights[tile * cols..][..cols])
}

impl<N: Number> Tile for NumberTile<'_, N> {
    #[inline(always)]
    fn times<I: Isa, const R: usize>(&self, isa: I, x: &Group, first: usize, _: bool) -> [I::Floats; R] {
        let cols = self.0.len();
        let mut rows: [&[f32]; R] = [&[]; R];
        for (offset, row) in rows.iter_mut().enumerate() {
            *row = &x.values[(first + offset) * cols..][..cols];
        }
        let mut totals = [isa.splat(0.0); R];
        for segment in (0..cols).step_by(SEGMENT) {
            let mut sums = [isa.splat(0.0); R];
            for col in segment..cols.min(segment + SEGMENT) {
                let weights = N::widen(isa, &self.0[col].0);
                for row in 0..R {
                    sums[row] = isa.fma(weights, isa.splat(rows[row][col]), sums[row]);
                }
            }
            for row in 0..R {
                totals[row] = isa.add(totals[row], sums[row]);
            }
        }
        totals
    }
}

/// Weights in blocks of integers of one type, `[block]`.
struct BlockTile<'a, const TYPE: usize> {
    quants: &'a [Quads],
    scales: &'a [Lanes<u16>],
    minima: &'a [Lanes<u16>],
    factors: &'a [Lanes<i8>],
    blocks: usize,
}

/// What a block's sums are multiplied by; of types with groups of 32 the second half's are not used.
#[derive(Clone, Copy)]
struct Scales<I: Isa> {
    halves: [I::Floats; 2],
    minima: [I::Floats; 2],
}

impl<'a, const TYPE: usize> BlockTile<'a, TYPE> {
    const INTEGERS: Integers = WeightType::ALL[TYPE].integers().unwrap();
    const LINES: usize = planes::lines(Self::INTEGERS.bits);

    #[inline(always)]
    fn new(packed: &'a PackedIntegers, tile: usize, cols: usize) -> Self {
        let Integers { minima, nested, .. } = Self::INTEGERS;
        let blocks = cols / BLOCK;
        let scales = blocks / Self::INTEGERS.blocks_per_scale();
        Self {
            quants: &packed.quants[tile * blocks * Self::LINES..][..blocks * Self::LINES],
            scales: &packed.scales[tile * scales..][..scales],
            minima: if minima { &packed.minima[tile * scales..][..scales] } else { &[] },
            factors: if nested {
                &packed.factors[tile * blocks * FACTORS..][..blocks * FACTORS]
            } else {
                &[]
            },
            blocks,
        }
    }

    #[inline(always)]
    fn prefetch<I: Isa>(&self, isa: I, block: usize) {
        let lines = self.quants.as_ptr().wrapping_add(block * Self::LINES + AHEAD);
        for line in 0..Self::LINES {
            isa.prefetch(lines.wrapping_add(line));
        }
    }

    /// The scales and minima of a block, each one product of its parts.
    #[inline(always)]
    fn scales<I: Isa>(&self, isa: I, block: usize) -> Scales<I> {
        let Integers { group, minima, nested, .. } = Self::INTEGERS;
        let index = block / const { Self::INTEGERS.blocks_per_scale() };
        let scale = isa.halves(&self.scales[index].0);
        let minimum = if minima { isa.halves(&self.minima[index].0) } else { scale };
        if !nested {
            return Scales { halves: [scale; 2], minima: [minimum; 2] };
        }
        let [first, second] = [&self.factors[block * FACTORS].0, &self.factors[block * FACTORS + 1].0];
        if group == BLOCK {
            let scale = isa.multiply(scale, isa.signed_bytes(first));
            let minimum = isa.multiply(minimum, isa.signed_bytes(second));
            return Scales { halves: [scale; 2], minima: [minimum; 2] };
        }
        if !minima {
            let halves =
                [isa.multiply(scale, isa.signed_bytes(first)), isa.multiply(scale, isa.signed_bytes(second))];
            return Scales { halves, minima: halves };
        }
        let (first, second) = (isa.nibbles(first), isa.nibbles(second));
        // Magnitudes of minima are stored: what multiplies the minimum is nought less the magnitude.
        let zero = isa.splat(0.0);
        let negated = [isa.subtract(zero, first.1), isa.subtract(zero, second.1)];
        Scales {
            halves: [isa.multiply(scale, first.0), isa.multiply(scale, second.0)],
            minima: [isa.multiply(minimum, negated[0]), isa.multiply(minimum, negated[1])],
        }
    }

    /// A quad of a block, unpacked; see [`planes`].
    #[inline(always)]
    fn quad<I: Isa>(&self, isa: I, block: usize, quad: usize) -> I::Bytes {
        let lines = &self.quants[block * Self::LINES..][..Self::LINES];
        let (low, high) = const { planes::low_plane(Self::INTEGERS.bits) };
        let bits = plane(isa, lines, low, quad);
        if high == 0 { bits } else { isa.join(bits, plane(isa, &lines[low..], high, quad), low as u32) }
    }

    /// Adds a block's part to the sums of rows; see `add_group` of the reference. A quad of weights meets all rows
    /// before the next one does, so that each row's dots wait for one another behind those of the others.
    #[inline(always)]
    fn add_block<I: Isa, const R: usize>(
        &self,
        isa: I,
        block: usize,
        (x, first): (&Group, usize),
        sums: &mut [I::Floats; R],
    ) {
        let Integers { group, minima, .. } = Self::INTEGERS;
        let (scales, blocks, parts) = (self.scales(isa, block), &x.blocks[block], &x.parts[block]);
        for half in 0..BLOCK / group {
            // The offsets of whole blocks stand before those of their halves.
            let (sums_of_x, offsets) = if group == BLOCK {
                (&blocks.sums, &parts.offsets[0])
            } else {
                (&parts.halves[half], &parts.offsets[1 + half])
            };
            let mut dots = [isa.splat_int(0); R];
            for row in 0..R {
                dots[row] = Self::start(isa, sums_of_x[first + row]);
            }
            for quad in half * group / 4..(half + 1) * group / 4 {
                let weights = self.quad(isa, block, quad);
                for row in 0..R {
                    let x = &blocks.quants[first + row].as_chunks::<4>().0[quad];
                    dots[row] = if Self::INTEGERS.bits == 8 {
                        isa.dot_wide(dots[row], weights, x)
                    } else {
                        isa.dot(dots[row], weights, x)
                    };
                }
            }
            for row in 0..R {
                let scale = isa.multiply(scales.halves[half], isa.splat(blocks.scales[first + row]));
                sums[row] = isa.fma(scale, isa.to_floats(dots[row]), sums[row]);
                if minima {
                    let offset = isa.splat(offsets[first + row]);
                    sums[row] = isa.fma(scales.minima[half], offset, sums[row]);
                }
            }
        }
    }

    /// Where a dot begins, so that what is taken off every weight is taken off once.
    #[inline(always)]
    fn start<I: Isa>(isa: I, sum_of_x: i32) -> I::Ints {
        match Self::INTEGERS.less {
            0 => isa.splat_int(0),
            128 => isa.wide_start(sum_of_x),
            less => isa.splat_int(-less * sum_of_x),
        }
    }
}

/// The bits of a quad that a plane of this width holds.
#[inline(always)]
fn plane<I: Isa>(isa: I, lines: &[Quads], width: usize, quad: usize) -> I::Bytes {
    let line = isa.quads(&lines[quad % width]);
    if width == 8 { line } else { isa.bits(line, (quad / width * width) as u32, width as u32) }
}

impl<const TYPE: usize> Tile for BlockTile<'_, TYPE> {
    #[inline(always)]
    fn times<I: Isa, const R: usize>(&self, isa: I, x: &Group, first: usize, once: bool) -> [I::Floats; R] {
        assert!(
            first + R <= GROUP_ROWS && x.blocks.len() == self.blocks && x.parts.len() == self.blocks,
            "rows of {} blocks",
            self.blocks
        );
        let mut totals = [isa.splat(0.0); R];
        for segment in (0..self.blocks).step_by(SEGMENT_BLOCKS) {
            let mut sums = [isa.splat(0.0); R];
            for block in segment..self.blocks.min(segment + SEGMENT_BLOCKS) {
                if once {
                    self.prefetch(isa, block);
                }
                self.add_block(isa, block, (x, first), &mut sums);
            }
            for row in 0..R {
                totals[row] = isa.add(totals[row], sums[row]);
            }
        }
        totals
    }
}

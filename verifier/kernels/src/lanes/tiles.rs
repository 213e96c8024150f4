//! Matrix products: rows of activations with tiles of sixteen weight rows.
//!
//! Loops and functions only: a closure would not be compiled for the instruction set of its caller.

use std::ops::Range;

use super::isa::Isa;
use crate::activation::{GROUP_ROWS, Group, RowBlock};
use crate::matmul::TileColumns;
use crate::matrix::{FACTORS, Lanes, Matrix, Packed, PackedIntegers, Quads};
use crate::planes;
use crate::reference::{BLOCK, LANES, SEGMENT};
use crate::weight::{Integers, WeightType};

/// How many lines ahead memory is asked for where it decides the speed, with few rows of activations: the
/// processor's own prefetching stops at the ends of pages of 4 KiB. One thread read Q4_0 at 42 GB/s with it and at
/// 30 without (example `products`, a matrix of 150 MB).
///
/// What is best asked for differs by type, as found on a Zen 4 (`docs/PERFORMANCE.md`): of integers of eight bits the
/// heads of pages, and of a plane of four bits and another all lines, both into the second cache. What reads the one
/// fastest slows the other down, and both slow down the rest.
const AHEAD: usize = 96;

const PAGE_BYTES: usize = 4_096;

/// So much of a page is asked for until the processor reads on by itself.
const PAGE_HEAD_BYTES: usize = 4 * size_of::<Quads>();

/// Blocks of a segment.
const SEGMENT_BLOCKS: usize = SEGMENT / BLOCK;

/// Multiplies every row of `x` with the weight rows of the tiles of `out`; see
/// [`dot`](crate::reference::dot).
#[inline(always)]
pub(crate) fn multiply<I: Isa>(isa: I, matrix: &Matrix, x: &[Group], out: &mut TileColumns<'_>) {
    let cols = matrix.cols();
    match &matrix.packed {
        Packed::F32(weights) => every_tile(isa, &Numbers::<F32> { weights, cols }, x, out),
        Packed::Halves(weights) if matrix.weight_type() == WeightType::BF16 => {
            every_tile(isa, &Numbers::<BF16> { weights, cols }, x, out);
        }
        Packed::Halves(weights) => every_tile(isa, &Numbers::<F16> { weights, cols }, x, out),
        Packed::Integers(packed) => {
            macro_rules! multiply {
                ($($name:ident)+) => {
                    match matrix.weight_type() {
                        $(WeightType::$name => {
                            let weights = Blocks::<{ WeightType::$name as usize }> { packed, cols };
                            every_tile(isa, &weights, x, out);
                        })+
                        WeightType::F32 | WeightType::F16 | WeightType::BF16 => {}
                    }
                };
            }
            multiply!(Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K Q4_K Q5_K Q6_K);
        }
    }
}

/// The weights of a matrix.
trait Weights {
    /// Whether many rows of activations meet two tiles at once, where the registers have room: each activation is
    /// then loaded once for both, and loads are what bounds products of weights that take little unpacking. One
    /// thread multiplies Q8_0 15 % and Q4_0 13 % faster so (example `products`, a matrix in the L2 cache); weights
    /// in two planes of bits lose 5 %. One group of rows loses a fifth, which two tiles at a time read memory for.
    const PAIRS: bool;
    type Tile: Tile;

    fn tile(&self, index: usize) -> Self::Tile;
}

/// Sixteen rows of weights.
trait Tile: Sized {
    /// The products of neighbouring tiles with the rows `first..first + R` of a group; `once` says that no other
    /// rows follow, so that memory decides the speed.
    fn times<I: Isa, const N: usize, const R: usize>(
        tiles: &[Self; N],
        isa: I,
        x: &Group,
        first: usize,
        once: bool,
    ) -> [[I::Floats; R]; N];
}

#[inline(always)]
fn every_tile<I: Isa, W: Weights>(isa: I, weights: &W, x: &[Group], out: &mut TileColumns<'_>) {
    let Range { start: mut tile, end } = out.tiles();
    let cached = x.len() > 1;
    while I::PAIRS && W::PAIRS && cached && tile + 2 <= end {
        every_row(isa, &[weights.tile(tile), weights.tile(tile + 1)], x, tile, out);
        tile += 2;
    }
    while tile < end {
        every_row(isa, &[weights.tile(tile)], x, tile, out);
        tile += 1;
    }
}

#[inline(always)]
fn every_row<I: Isa, const N: usize>(
    isa: I,
    tiles: &[impl Tile; N],
    x: &[Group],
    tile: usize,
    out: &mut TileColumns<'_>,
) {
    let once = x.len() == 1;
    for (index, group) in x.iter().enumerate() {
        let mut row = 0;
        macro_rules! rows {
            ($($count:literal)+) => {$(
                while group.rows - row >= $count && $count <= I::ROWS {
                    let first = index * GROUP_ROWS + row;
                    // Where results go is asked for before they are there: 128 rows times 8,192 of weights are
                    // multiplied 4 % faster so (Q4_0).
                    for from in first..first + $count {
                        for offset in 0..N {
                            isa.prefetch(out.place(from, tile + offset).cast());
                        }
                    }
                    let products = Tile::times::<I, N, $count>(tiles, isa, group, row, once && row == 0);
                    for (offset, products) in products.iter().enumerate() {
                        for (from, product) in products.iter().enumerate() {
                            let mut lanes = [0.0; LANES];
                            isa.store(*product, &mut lanes);
                            out.write(first + from, tile + offset, &lanes);
                        }
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

/// A matrix of numbers, `[tile][column]`.
struct Numbers<'a, N: Number> {
    weights: &'a [Lanes<N::Stored>],
    cols: usize,
}

/// Weights that are numbers, `[column]`.
struct NumberTile<'a, N: Number>(&'a [Lanes<N::Stored>]);

impl<'a, N: Number> Weights for Numbers<'a, N> {
    const PAIRS: bool = true;
    type Tile = NumberTile<'a, N>;

    #[inline(always)]
    fn tile(&self, index: usize) -> NumberTile<'a, N> {
        NumberTile(&self.weights[index * self.cols..][..self.cols])
    }
}

impl<S: Number> Tile for NumberTile<'_, S> {
    #[inline(always)]
    fn times<I: Isa, const N: usize, const R: usize>(
        tiles: &[Self; N],
        isa: I,
        x: &Group,
        first: usize,
        _: bool,
    ) -> [[I::Floats; R]; N] {
        let cols = tiles[0].0.len();
        let mut rows: [&[f32]; R] = [&[]; R];
        for (offset, row) in rows.iter_mut().enumerate() {
            *row = &x.values[(first + offset) * cols..][..cols];
        }
        let mut totals = [[isa.splat(0.0); R]; N];
        for segment in (0..cols).step_by(SEGMENT) {
            let mut sums = [[isa.splat(0.0); R]; N];
            for col in segment..cols.min(segment + SEGMENT) {
                for n in 0..N {
                    let weights = S::widen(isa, &tiles[n].0[col].0);
                    for row in 0..R {
                        sums[n][row] = isa.fma(weights, isa.splat(rows[row][col]), sums[n][row]);
                    }
                }
            }
            add_all(isa, &mut totals, &sums);
        }
        totals
    }
}

#[inline(always)]
fn add_all<I: Isa, const N: usize, const R: usize>(
    isa: I,
    totals: &mut [[I::Floats; R]; N],
    sums: &[[I::Floats; R]; N],
) {
    for n in 0..N {
        for row in 0..R {
            totals[n][row] = isa.add(totals[n][row], sums[n][row]);
        }
    }
}

/// A matrix in blocks of integers of one type, `[tile][block]`.
struct Blocks<'a, const TYPE: usize> {
    packed: &'a PackedIntegers,
    cols: usize,
}

impl<'a, const TYPE: usize> Weights for Blocks<'a, TYPE> {
    const PAIRS: bool = matches!(planes::low_plane(BlockTile::<TYPE>::INTEGERS.bits), (4 | 8, 0));
    type Tile = BlockTile<'a, TYPE>;

    #[inline(always)]
    fn tile(&self, index: usize) -> BlockTile<'a, TYPE> {
        BlockTile::new(self.packed, index, self.cols)
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
            let line = lines.wrapping_add(line);
            match const { planes::low_plane(Self::INTEGERS.bits) } {
                (8, _) if line.addr() % PAGE_BYTES >= PAGE_HEAD_BYTES => {}
                (8, _) | (4, 1..) => isa.prefetch_outer(line.cast()),
                _ => isa.prefetch(line.cast()),
            }
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
    fn add_block<I: Isa, const N: usize, const R: usize>(
        tiles: &[Self; N],
        isa: I,
        block: usize,
        (x, first): (&Group, usize),
        sums: &mut [[I::Floats; R]; N],
    ) {
        let Integers { group, minima, .. } = Self::INTEGERS;
        let rows = block * x.rows + first..block * x.rows + first + R;
        let (blocks, parts) = (&x.blocks[rows.clone()], &x.parts[rows]);
        let mut scales = [tiles[0].scales(isa, block); N];
        for n in 1..N {
            scales[n] = tiles[n].scales(isa, block);
        }
        for half in 0..BLOCK / group {
            let mut dots = [[isa.splat_int(0); R]; N];
            for row in 0..R {
                let sum_of_x = if group == BLOCK { blocks[row].sum } else { parts[row].halves[half] };
                let start = Self::start(isa, sum_of_x);
                for n in 0..N {
                    dots[n][row] = start;
                }
            }
            macro_rules! meet {
                ($($quad:expr),+) => {{
                    $(Self::meet(tiles, isa, (block, $quad), blocks, &mut dots);)+
                }};
            }
            // Of one row the quads are written out, so that their shifts and masks are constants: the compiler does not
            // see to it in every case (Q4_1 lost a third). With more rows that is more code than stays decoded.
            match (R, group) {
                (1, BLOCK) => meet!(0, 1, 2, 3, 4, 5, 6, 7),
                (1, _) if half == 0 => meet!(0, 1, 2, 3),
                (1, _) => meet!(4, 5, 6, 7),
                _ => {
                    for quad in half * group / 4..(half + 1) * group / 4 {
                        meet!(quad);
                    }
                }
            }
            for row in 0..R {
                for n in 0..N {
                    let scale = isa.multiply(scales[n].halves[half], isa.splat(blocks[row].scale));
                    sums[n][row] = isa.fma(scale, isa.to_floats(dots[n][row]), sums[n][row]);
                    if minima {
                        // The offset of the whole block stands before those of its halves.
                        let offset = isa.splat(parts[row].offsets[if group == BLOCK { 0 } else { 1 + half }]);
                        sums[n][row] = isa.fma(scales[n].minima[half], offset, sums[n][row]);
                    }
                }
            }
        }
    }

    /// Adds a quad of a block of each tile to the dots of rows.
    #[inline(always)]
    fn meet<I: Isa, const N: usize, const R: usize>(
        tiles: &[Self; N],
        isa: I,
        (block, quad): (usize, usize),
        x: &[RowBlock],
        dots: &mut [[I::Ints; R]; N],
    ) {
        let mut weights = [tiles[0].quad(isa, block, quad); N];
        for n in 1..N {
            weights[n] = tiles[n].quad(isa, block, quad);
        }
        for row in 0..R {
            let x = &x[row].quants.as_chunks::<4>().0[quad];
            for n in 0..N {
                dots[n][row] = if Self::INTEGERS.bits == 8 {
                    isa.dot_wide(dots[n][row], weights[n], x)
                } else {
                    isa.dot(dots[n][row], weights[n], x)
                };
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
    fn times<I: Isa, const N: usize, const R: usize>(
        tiles: &[Self; N],
        isa: I,
        x: &Group,
        first: usize,
        once: bool,
    ) -> [[I::Floats; R]; N] {
        let count = tiles[0].blocks;
        assert!(first + R <= x.rows && x.rows * count <= x.blocks.len(), "rows of {count} blocks",);
        let mut totals = [[isa.splat(0.0); R]; N];
        for segment in (0..count).step_by(SEGMENT_BLOCKS) {
            let mut sums = [[isa.splat(0.0); R]; N];
            for block in segment..count.min(segment + SEGMENT_BLOCKS) {
                if once {
                    for tile in tiles {
                        tile.prefetch(isa, block);
                    }
                }
                Self::add_block(tiles, isa, block, (x, first), &mut sums);
            }
            add_all(isa, &mut totals, &sums);
        }
        totals
    }
}

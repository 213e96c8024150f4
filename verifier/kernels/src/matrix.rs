//! Weight matrices, packed so that a vector lane is a row.

use std::ops::Range;
use std::sync::Mutex;

use crate::cpu::dispatched;
use crate::float::{bf16_is_finite, f16_is_finite, f16_to_f32};
use crate::memory::{Arena, Buffer, MemoryError, Zeroed};
use crate::planes;
use crate::pool::Pool;
use crate::reference::{self, BLOCK, Block, HALF, LANES, SUPER_BLOCK};
use crate::weight::{Integers, WeightType};

/// Four consecutive elements of sixteen rows, as bytes: one cache line and one AVX-512 register.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Quads(pub [[u8; 4]; LANES]);

/// One element of sixteen rows.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub(crate) struct Lanes<T>(pub [T; LANES]);

// SAFETY: bytes and numbers, for which zero bytes are zero.
unsafe impl Zeroed for Quads {}
// SAFETY: as above.
unsafe impl Zeroed for Lanes<f32> {}
// SAFETY: as above.
unsafe impl Zeroed for Lanes<u16> {}
// SAFETY: as above.
unsafe impl Zeroed for Lanes<i8> {}

/// Elements, in tiles of sixteen rows; a last tile is filled up with zero rows.
#[derive(Debug)]
pub(crate) enum Packed {
    /// `[tile][column]`.
    F32(Buffer<Lanes<f32>>),
    /// `[tile][column]`, the bits of binary16 or bfloat16.
    Halves(Buffer<Lanes<u16>>),
    /// Blocks of integers.
    Integers(PackedIntegers),
}

/// Blocks of integers, `[tile][…]` each.
#[derive(Debug)]
pub(crate) struct PackedIntegers {
    /// `[block][line]`, see [`planes`].
    pub quants: Buffer<Quads>,
    /// `[block]`, or `[block of 256]` for nested types, in binary16.
    pub scales: Buffer<Lanes<u16>>,
    /// As the scales; empty for types without minima.
    pub minima: Buffer<Lanes<u16>>,
    /// `[block][2]`, for nested types only. Groups of 32: scale and minimum. Groups of 16: the halves' scales,
    /// or for types with minima of four bits each, scale in the low half of a byte and magnitude of the minimum
    /// in the high one.
    pub factors: Buffer<Lanes<i8>>,
}

/// Tiles that are read through one buffer.
const STRETCH_TILES: usize = 4;

/// Lines of [`PackedIntegers::factors`] that a block takes.
pub(crate) const FACTORS: usize = 2;

/// A matrix `[rows, cols]` of weights, all of them finite.
#[derive(Debug)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    weight_type: WeightType,
    pub(crate) packed: Packed,
}

/// A tensor's bytes are no matrix of finite numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// The shape is empty, its rows do not fill whole blocks, or the bytes are not as many as it says.
    #[error("packing a matrix: {rows} x {cols} {weight_type:?} weights do not make {found} bytes")]
    Shape {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
        /// Type of its elements.
        weight_type: WeightType,
        /// Bytes that were given.
        found: usize,
    },
    /// A weight or a block's scale or minimum is NaN or infinite.
    #[error("packing a matrix: row {row} holds a NaN or an infinity")]
    NotFinite {
        /// The row.
        row: usize,
    },
    /// No memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// A matrix could not be read and packed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E> {
    /// Its bytes could not be read.
    #[error("{0}")]
    Source(E),
    /// Its bytes are no such matrix.
    #[error(transparent)]
    Pack(#[from] PackError),
}

impl Matrix {
    /// Packs row-major bytes as GGUF files hold them.
    ///
    /// # Errors
    /// [`PackError`] when the bytes do not have the shape, or hold a NaN or an infinity.
    pub fn pack(
        pool: &Pool,
        weight_type: WeightType,
        rows: usize,
        cols: usize,
        bytes: &[u8],
    ) -> Result<Self, PackError> {
        let row_bytes = weight_type.row_bytes(cols).unwrap_or(usize::MAX);
        if row_bytes.checked_mul(rows) != Some(bytes.len()) {
            return Err(PackError::Shape { rows, cols, weight_type, found: bytes.len() });
        }
        let read = |rows: Range<usize>, out: &mut [u8]| {
            out.copy_from_slice(&bytes[rows.start * row_bytes..rows.end * row_bytes]);
            Ok::<_, std::convert::Infallible>(())
        };
        Self::read(pool, &Arena::default(), weight_type, rows, cols, &read).map_err(|error| match error {
            ReadError::Pack(error) => error,
            ReadError::Source(never) => match never {},
        })
    }

    /// Reads the rows of a matrix tile by tile, on all threads, and packs them as they come, so that no second
    /// copy of it is ever in memory. It takes its memory of `arena`. `read` fills a buffer with the bytes of some rows.
    ///
    /// # Errors
    /// [`ReadError`] when `read` fails, the shape is not one, or a row holds a NaN or an infinity: the first
    /// such row.
    pub fn read<E: Send>(
        pool: &Pool,
        arena: &Arena,
        weight_type: WeightType,
        rows: usize,
        cols: usize,
        read: &(impl Fn(Range<usize>, &mut [u8]) -> Result<(), E> + Sync),
    ) -> Result<Self, ReadError<E>> {
        let shape_error = PackError::Shape { rows, cols, weight_type, found: 0 };
        let row_bytes = weight_type.row_bytes(cols).filter(|_| rows > 0 && cols > 0).ok_or(shape_error)?;
        row_bytes.checked_mul(rows).ok_or(shape_error)?;
        let packed = Packed::zeroed(arena, weight_type, rows, cols).map_err(PackError::from)?;
        let mut matrix = Self { rows, cols, weight_type, packed };
        let failure: Mutex<Option<(usize, ReadError<E>)>> = Mutex::new(None);
        let cpu = pool.cpu();
        let mut tiles = matrix.packed.tiles(weight_type, cols);
        let mut stretches: Vec<&mut [Tile<'_>]> = tiles.chunks_mut(STRETCH_TILES).collect();
        pool.for_each(&mut stretches, cols * LANES * STRETCH_TILES, |index, tiles| {
            // Taken and zeroed once for all of them.
            let mut bytes = vec![0; LANES.min(rows) * row_bytes];
            for (offset, tile) in tiles.iter_mut().enumerate() {
                let first = (index * STRETCH_TILES + offset) * LANES;
                let range = first..rows.min(first + LANES);
                let bytes = &mut bytes[..range.len() * row_bytes];
                if let Err(error) = read(range, bytes) {
                    keep_first(&failure, (first, ReadError::Source(error)));
                    continue;
                }
                let mut not_finite = None;
                cpu.pack_tile(weight_type, row_bytes, bytes, tile, &mut not_finite);
                if let Some(lane) = not_finite {
                    let row = first + lane;
                    keep_first(&failure, (row, ReadError::Pack(PackError::NotFinite { row })));
                }
            }
        });
        drop(tiles);
        match failure.into_inner() {
            Ok(Some((_, error))) => Err(error),
            _ => Ok(matrix),
        }
    }

    /// Number of rows: the length of a result.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns: the length of an input.
    pub const fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes of its rows as a file holds them. Packed they are as many, but for what fills up the last tile, and four
    /// more for each block of 256 of Q3_K, Q4_K and Q5_K, whose factors of six bits get a byte each.
    pub fn size_bytes(&self) -> usize {
        self.weight_type.row_bytes(self.cols).unwrap_or(0) * self.rows
    }

    /// The memory that its elements take, in parts.
    pub(crate) fn memory(&self) -> [&[u8]; 4] {
        match &self.packed {
            Packed::F32(lanes) => [lanes.bytes(), &[], &[], &[]],
            Packed::Halves(lanes) => [lanes.bytes(), &[], &[], &[]],
            Packed::Integers(PackedIntegers { quants, scales, minima, factors }) => {
                [quants.bytes(), scales.bytes(), minima.bytes(), factors.bytes()]
            }
        }
    }

    /// Tiles of sixteen rows, the last perhaps not full.
    pub(crate) const fn tiles(&self) -> usize {
        self.rows.div_ceil(LANES)
    }

    /// How the elements are stored.
    pub const fn weight_type(&self) -> WeightType {
        self.weight_type
    }

    /// Writes one row as f32; see [`row_values`](crate::reference::row_values).
    ///
    /// # Panics
    /// When there is no such row, or `out` is not as long as a row.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows && out.len() == self.cols, "row {row} of {} x {}", self.rows, self.cols);
        let (tile, lane) = (row / LANES, row % LANES);
        match &self.packed {
            Packed::F32(lanes) => {
                let lanes = &lanes[tile * self.cols..];
                out.iter_mut().zip(lanes).for_each(|(out, lanes)| *out = lanes.0[lane]);
            }
            Packed::Halves(lanes) => {
                let lanes = &lanes[tile * self.cols..];
                let widen =
                    if self.weight_type == WeightType::F16 { f16_to_f32 } else { crate::float::bf16_to_f32 };
                out.iter_mut().zip(lanes).for_each(|(out, lanes)| *out = widen(lanes.0[lane]));
            }
            Packed::Integers(packed) => {
                let Some(integers) = self.weight_type.integers() else { return };
                let first = tile * (self.cols / BLOCK);
                for (index, out) in out.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
                    write_values(integers, &packed.block(integers, first + index, lane), out);
                }
            }
        }
    }
}

/// Keeps the failure of the lowest row, so that an error does not depend on the threads.
fn keep_first<E>(failure: &Mutex<Option<(usize, E)>>, found: (usize, E)) {
    let mut failure = failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if failure.as_ref().is_none_or(|(row, _)| found.0 < *row) {
        *failure = Some(found);
    }
}

fn write_values(integers: Integers, block: &Block, out: &mut [f32; BLOCK]) {
    for (i, out) in out.iter_mut().enumerate() {
        let scaled = block.half_scale(i / HALF) * (i32::from(block.stored[i]) - integers.less) as f32;
        *out = if integers.minima { scaled + block.half_minimum(i / HALF) } else { scaled };
    }
}

impl PackedIntegers {
    /// A row's block, as the file has it; `index` counts the blocks of all tiles.
    fn block(&self, integers: Integers, index: usize, lane: usize) -> Block {
        let lines = planes::lines(integers.bits);
        let scale = index / integers.blocks_per_scale();
        let factor = |line: usize| self.factors[index * FACTORS + line].0[lane];
        let (factors, minimum_factors) = match (integers.nested, integers.group, integers.minima) {
            (false, ..) => ([1; 2], [1; 2]),
            (true, BLOCK, _) => ([factor(0); 2], [factor(1); 2]),
            (true, _, false) => ([factor(0), factor(1)], [0; 2]),
            (true, _, true) => {
                let (low, high) = (|f: i8| f & 15, |f: i8| -(f as u8 >> 4).cast_signed());
                ([low(factor(0)), low(factor(1))], [high(factor(0)), high(factor(1))])
            }
        };
        Block {
            scale: self.scales[scale].0[lane],
            minimum: if integers.minima { self.minima[scale].0[lane] } else { 0 },
            factors,
            minimum_factors,
            stored: planes::read(integers.bits, lane, &self.quants[index * lines..][..lines]),
        }
    }
}

impl Integers {
    /// Blocks of 32 that share a scale.
    pub(crate) const fn blocks_per_scale(self) -> usize {
        if self.nested { SUPER_BLOCK / BLOCK } else { 1 }
    }
}

impl Packed {
    /// Room for a matrix, all zero.
    fn zeroed(arena: &Arena, weight_type: WeightType, rows: usize, cols: usize) -> Result<Self, MemoryError> {
        let tiles = rows.div_ceil(LANES);
        let of = |per_tile: usize| tiles.saturating_mul(per_tile);
        let Some(integers) = weight_type.integers() else {
            return Ok(match weight_type {
                WeightType::F32 => Self::F32(arena.zeroed(of(cols))?),
                _ => Self::Halves(arena.zeroed(of(cols))?),
            });
        };
        let blocks = cols / BLOCK;
        let scales = blocks / integers.blocks_per_scale();
        Ok(Self::Integers(PackedIntegers {
            quants: arena.zeroed(of(blocks * planes::lines(integers.bits)))?,
            scales: arena.zeroed(of(scales))?,
            minima: arena.zeroed(if integers.minima { of(scales) } else { 0 })?,
            factors: arena.zeroed(if integers.nested { of(blocks * FACTORS) } else { 0 })?,
        }))
    }

    /// The tiles, to be filled one by one.
    fn tiles(&mut self, weight_type: WeightType, cols: usize) -> Vec<Tile<'_>> {
        match self {
            Self::F32(lanes) => lanes.chunks_exact_mut(cols).map(Tile::F32).collect(),
            Self::Halves(lanes) => lanes.chunks_exact_mut(cols).map(Tile::Halves).collect(),
            Self::Integers(packed) => {
                let Some(integers) = weight_type.integers() else { return Vec::new() };
                let blocks = cols / BLOCK;
                let scales = blocks / integers.blocks_per_scale();
                let mut minima = packed.minima.chunks_exact_mut(scales);
                let mut factors = packed.factors.chunks_exact_mut(blocks * FACTORS);
                let quants = packed.quants.chunks_exact_mut(blocks * planes::lines(integers.bits));
                quants
                    .zip(packed.scales.chunks_exact_mut(scales))
                    .map(|(quants, scales)| {
                        let (minima, factors) = (minima.next(), factors.next());
                        let (minima, factors) = (minima.unwrap_or_default(), factors.unwrap_or_default());
                        Tile::Integers { quants, scales, minima, factors }
                    })
                    .collect()
            }
        }
    }
}

/// Sixteen rows that are being packed.
pub(crate) enum Tile<'a> {
    F32(&'a mut [Lanes<f32>]),
    Halves(&'a mut [Lanes<u16>]),
    Integers {
        quants: &'a mut [Quads],
        scales: &'a mut [Lanes<u16>],
        minima: &'a mut [Lanes<u16>],
        factors: &'a mut [Lanes<i8>],
    },
}

dispatched! {
    /// Packs the rows of a tile, as many as there are; finds the first that holds a NaN or an infinity.
    fn pack_tile(
        weight_type: WeightType,
        row_bytes: usize,
        rows: &[u8],
        tile: &mut Tile<'_>,
        not_finite: &mut Option<usize>,
    ) = pack_tile;
}

#[inline(always)]
fn pack_tile<I>(
    _: I,
    weight_type: WeightType,
    row_bytes: usize,
    rows: &[u8],
    tile: &mut Tile<'_>,
    not_finite: &mut Option<usize>,
) {
    *not_finite = match tile {
        Tile::F32(lanes) => {
            pack_numbers(lanes, row_bytes, rows, |bytes| f32::from_le_bytes(*bytes), |x| x.is_finite())
        }
        Tile::Halves(lanes) => {
            let read = |bytes: &[u8; 2]| u16::from_le_bytes(*bytes);
            match weight_type {
                WeightType::F16 => pack_numbers(lanes, row_bytes, rows, read, f16_is_finite),
                _ => pack_numbers(lanes, row_bytes, rows, read, bf16_is_finite),
            }
        }
        Tile::Integers { quants, scales, minima, factors } => {
            macro_rules! pack {
                ($($name:ident)+) => {
                    match weight_type {
                        $(WeightType::$name => {
                            const BITS: usize = WeightType::$name.integers().unwrap().bits;
                            pack_blocks::<{ WeightType::$name as usize }, BITS>(
                                row_bytes, rows, quants, scales, minima, factors,
                            )
                        })+
                        WeightType::F32 | WeightType::F16 | WeightType::BF16 => None,
                    }
                };
            }
            pack!(Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K Q4_K Q5_K Q6_K)
        }
    };
}

#[inline(always)]
fn pack_numbers<T: Copy, const BYTES: usize>(
    lanes: &mut [Lanes<T>],
    row_bytes: usize,
    rows: &[u8],
    read: impl Fn(&[u8; BYTES]) -> T,
    finite: impl Fn(T) -> bool,
) -> Option<usize> {
    let mut first = None;
    for (lane, row) in rows.chunks_exact(row_bytes).enumerate() {
        let mut all_finite = true;
        for (lanes, bytes) in lanes.iter_mut().zip(row.as_chunks().0) {
            let number = read(bytes);
            lanes.0[lane] = number;
            all_finite &= finite(number);
        }
        if !all_finite {
            first = first.or(Some(lane));
        }
    }
    first
}

/// Block by block: what each row has of its lines, and then the lines, so that they are written whole.
#[inline(always)]
fn pack_blocks<const TYPE: usize, const BITS: usize>(
    row_bytes: usize,
    rows: &[u8],
    quants: &mut [Quads],
    scales: &mut [Lanes<u16>],
    minima: &mut [Lanes<u16>],
    factors: &mut [Lanes<i8>],
) -> Option<usize> {
    let integers = const { WeightType::ALL[TYPE].integers().unwrap() };
    let block_bytes = const { WeightType::ALL[TYPE].block().1 };
    let blocks = integers.blocks_per_scale();
    let count = LANES.min(rows.len() / row_bytes);
    let mut read = [Block::default(); SUPER_BLOCK / BLOCK];
    let read = &mut read[..blocks];
    let mut words = [[[0; BITS]; LANES]; SUPER_BLOCK / BLOCK];
    let mut finite = [true; LANES];
    for (index, quants) in quants.chunks_exact_mut(blocks * BITS).enumerate() {
        for (lane, row) in rows.chunks_exact(row_bytes).enumerate() {
            reference::read_blocks(WeightType::ALL[TYPE], &row[index * block_bytes..][..block_bytes], read);
            finite[lane] &= f16_is_finite(read[0].scale) & f16_is_finite(read[0].minimum);
            scales[index].0[lane] = read[0].scale;
            if integers.minima {
                minima[index].0[lane] = read[0].minimum;
            }
            for (inner, block) in read.iter().enumerate() {
                words[inner][lane] = planes::pack(&block.stored);
                if integers.nested {
                    let factors = &mut factors[(index * blocks + inner) * FACTORS..][..FACTORS];
                    let [first, second] = packed_factors(integers, block);
                    (factors[0].0[lane], factors[1].0[lane]) = (first, second);
                }
            }
        }
        for (words, lines) in words.iter().zip(quants.as_chunks_mut::<BITS>().0) {
            // A count that the compiler does not know keeps this a loop, which it does in vectors.
            #[expect(clippy::needless_range_loop, reason = "with iterators packing takes a quarter longer")]
            for lane in 0..count {
                for line in 0..BITS {
                    lines[line].0[lane] = words[lane][line].to_le_bytes();
                }
            }
        }
    }
    finite.iter().position(|finite| !finite)
}

/// The two bytes of a block's factors; see [`PackedIntegers::factors`].
#[inline(always)]
fn packed_factors(integers: Integers, block: &Block) -> [i8; FACTORS] {
    let Block { factors, minimum_factors, .. } = block;
    match (integers.group, integers.minima) {
        (BLOCK, _) => [factors[0], minimum_factors[0]],
        (_, false) => *factors,
        (_, true) => [0, 1].map(|half| factors[half] | ((-minimum_factors[half]) << 4)),
    }
}

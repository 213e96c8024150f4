//! Weight matrices, packed so that a vector lane is a row.

use crate::float::{f16_is_finite, f16_to_f32};
use crate::reference::{BLOCK, LANES};
use crate::weight::WeightType;

/// Four consecutive elements of sixteen rows, as bytes: one cache line and one AVX-512 register.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Quads(pub [[u8; 4]; LANES]);

/// One element of sixteen rows.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Lanes<T>(pub [T; LANES]);

/// Lines of [`Quads`] that a block takes in a tile.
pub(crate) const Q8_0_LINES: usize = BLOCK / 4;
pub(crate) const Q4_0_LINES: usize = BLOCK / 8;

/// Elements, in tiles of sixteen rows; a last tile is filled up with zero rows.
#[derive(Debug)]
pub(crate) enum Packed {
    /// `[tile][column]`.
    F32(Vec<Lanes<f32>>),
    /// `[tile][column]`, the bits.
    F16(Vec<Lanes<u16>>),
    /// `[tile][block][line]`, each byte with its sign bit flipped, which makes it unsigned and 128 too large;
    /// scales `[tile][block]`.
    Q8_0 { quants: Vec<Quads>, scales: Vec<Lanes<u16>> },
    /// `[tile][block][line]`, bytes as in files; scales `[tile][block]`.
    Q4_0 { quants: Vec<Quads>, scales: Vec<Lanes<u16>> },
}

/// A matrix `[rows, cols]` of weights, all of them finite.
#[derive(Debug)]
pub struct Matrix {
    rows: usize,
    cols: usize,
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
    /// A weight or a block's scale is NaN or infinite.
    #[error("packing a matrix: row {row} holds a NaN or an infinity")]
    NotFinite {
        /// The row.
        row: usize,
    },
}

impl Matrix {
    /// Packs row-major bytes as GGUF files hold them.
    ///
    /// # Errors
    /// [`PackError`] when the bytes do not have the shape, or hold a NaN or an infinity.
    pub fn pack(weight_type: WeightType, rows: usize, cols: usize, bytes: &[u8]) -> Result<Self, PackError> {
        let shape_error = PackError::Shape { rows, cols, weight_type, found: bytes.len() };
        let row_bytes = weight_type.row_bytes(cols).filter(|_| rows > 0 && cols > 0).ok_or(shape_error)?;
        if row_bytes.checked_mul(rows) != Some(bytes.len()) {
            return Err(shape_error);
        }
        let source = Rows { bytes, row_bytes, tiles: rows.div_ceil(LANES) };
        source.check_finite(weight_type)?;
        let packed = match weight_type {
            WeightType::F32 => Packed::F32(source.elements(cols, f32::from_le_bytes)),
            WeightType::F16 => Packed::F16(source.elements(cols, u16::from_le_bytes)),
            WeightType::Q8_0 => {
                let quants = source.quants(weight_type, |byte| byte ^ 0x80);
                Packed::Q8_0 { quants, scales: source.scales(weight_type) }
            }
            WeightType::Q4_0 => {
                let quants = source.quants(weight_type, |byte| byte);
                Packed::Q4_0 { quants, scales: source.scales(weight_type) }
            }
        };
        Ok(Self { rows, cols, packed })
    }

    /// Number of rows: the length of a result.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns: the length of an input.
    pub const fn cols(&self) -> usize {
        self.cols
    }

    /// Tiles of sixteen rows, the last perhaps not full.
    pub(crate) const fn tiles(&self) -> usize {
        self.rows.div_ceil(LANES)
    }

    /// How the elements are stored.
    pub const fn weight_type(&self) -> WeightType {
        match self.packed {
            Packed::F32(_) => WeightType::F32,
            Packed::F16(_) => WeightType::F16,
            Packed::Q8_0 { .. } => WeightType::Q8_0,
            Packed::Q4_0 { .. } => WeightType::Q4_0,
        }
    }

    /// Writes one row as f32: exact for floats; for blocks, the product of scale and integer, rounded once.
    ///
    /// # Panics
    /// When there is no such row, or `out` is not as long as a row.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows && out.len() == self.cols, "row {row} of {} x {}", self.rows, self.cols);
        let (tile, lane) = (row / LANES, row % LANES);
        let blocks = self.cols / BLOCK;
        match &self.packed {
            Packed::F32(lanes) => {
                let lanes = &lanes[tile * self.cols..];
                out.iter_mut().zip(lanes).for_each(|(out, lanes)| *out = lanes.0[lane]);
            }
            Packed::F16(lanes) => {
                let lanes = &lanes[tile * self.cols..];
                out.iter_mut().zip(lanes).for_each(|(out, lanes)| *out = f16_to_f32(lanes.0[lane]));
            }
            Packed::Q8_0 { quants, scales } => {
                let quants = &quants[tile * blocks * Q8_0_LINES..];
                row_q8_0(lane, quants, &scales[tile * blocks..], out);
            }
            Packed::Q4_0 { quants, scales } => {
                let quants = &quants[tile * blocks * Q4_0_LINES..];
                row_q4_0(lane, quants, &scales[tile * blocks..], out);
            }
        }
    }
}

fn row_q8_0(lane: usize, quants: &[Quads], scales: &[Lanes<u16>], out: &mut [f32]) {
    let blocks = out.as_chunks_mut::<BLOCK>().0.iter_mut();
    for ((out, lines), scale) in blocks.zip(quants.as_chunks::<Q8_0_LINES>().0).zip(scales) {
        let scale = f16_to_f32(scale.0[lane]);
        for (out, line) in out.as_chunks_mut::<4>().0.iter_mut().zip(lines) {
            *out = line.0[lane].map(|byte| scale * f32::from((byte ^ 0x80) as i8));
        }
    }
}

fn row_q4_0(lane: usize, quants: &[Quads], scales: &[Lanes<u16>], out: &mut [f32]) {
    let blocks = out.as_chunks_mut::<BLOCK>().0.iter_mut();
    for ((out, lines), scale) in blocks.zip(quants.as_chunks::<Q4_0_LINES>().0).zip(scales) {
        let scale = f16_to_f32(scale.0[lane]);
        let bytes = lines.iter().flat_map(|line| line.0[lane]);
        for (i, byte) in bytes.enumerate() {
            out[i] = scale * (f32::from(byte & 15) - 8.0);
            out[i + BLOCK / 2] = scale * (f32::from(byte >> 4) - 8.0);
        }
    }
}

/// The rows of a tensor, as the file has them.
struct Rows<'a> {
    bytes: &'a [u8],
    row_bytes: usize,
    tiles: usize,
}

impl Rows<'_> {
    fn check_finite(&self, weight_type: WeightType) -> Result<(), PackError> {
        let finite = |bytes: &[u8]| match weight_type {
            WeightType::F32 => bytes.as_chunks().0.iter().all(|b| f32::from_le_bytes(*b).is_finite()),
            WeightType::F16 => bytes.as_chunks().0.iter().all(|b| f16_is_finite(u16::from_le_bytes(*b))),
            WeightType::Q8_0 | WeightType::Q4_0 => bytes
                .chunks_exact(weight_type.block().1)
                .all(|block| f16_is_finite(u16::from_le_bytes([block[0], block[1]]))),
        };
        match self.bytes.chunks_exact(self.row_bytes).position(|row| !finite(row)) {
            Some(row) => Err(PackError::NotFinite { row }),
            None => Ok(()),
        }
    }

    /// The rows of each tile; those beyond the last row are missing.
    fn lanes(&self, tile: usize) -> impl Iterator<Item = (usize, &[u8])> {
        self.bytes.chunks_exact(self.row_bytes).skip(tile * LANES).take(LANES).enumerate()
    }

    /// Plain numbers of `N` bytes, tile by tile.
    fn elements<T: Copy + Default, const N: usize>(
        &self,
        cols: usize,
        read: impl Fn([u8; N]) -> T,
    ) -> Vec<Lanes<T>> {
        let mut packed = vec![Lanes([T::default(); LANES]); self.tiles * cols];
        for (tile, columns) in packed.chunks_exact_mut(cols).enumerate() {
            for (lane, row) in self.lanes(tile) {
                for (column, bytes) in columns.iter_mut().zip(row.as_chunks::<N>().0) {
                    column.0[lane] = read(*bytes);
                }
            }
        }
        packed
    }

    /// The integers of blocks, tile by tile; `stored` says how a byte is kept.
    fn quants(&self, weight_type: WeightType, stored: impl Fn(u8) -> u8) -> Vec<Quads> {
        let block_bytes = weight_type.block().1;
        let lines = (block_bytes - SCALE_BYTES) / 4;
        let tile_lines = self.row_bytes / block_bytes * lines;
        let mut packed = vec![Quads([[stored(0); 4]; LANES]); self.tiles * tile_lines];
        for (tile, tile_lines) in packed.chunks_exact_mut(tile_lines).enumerate() {
            for (lane, row) in self.lanes(tile) {
                let blocks = row.chunks_exact(block_bytes);
                for (lines, block) in tile_lines.chunks_exact_mut(lines).zip(blocks) {
                    for (line, quad) in lines.iter_mut().zip(block[SCALE_BYTES..].as_chunks().0) {
                        line.0[lane] = quad.map(&stored);
                    }
                }
            }
        }
        packed
    }

    /// The scales of blocks, tile by tile.
    fn scales(&self, weight_type: WeightType) -> Vec<Lanes<u16>> {
        let block_bytes = weight_type.block().1;
        let blocks = self.row_bytes / block_bytes;
        let mut packed = vec![Lanes([0; LANES]); self.tiles * blocks];
        for (tile, scales) in packed.chunks_exact_mut(blocks).enumerate() {
            for (lane, row) in self.lanes(tile) {
                for (scale, block) in scales.iter_mut().zip(row.chunks_exact(block_bytes)) {
                    scale.0[lane] = u16::from_le_bytes([block[0], block[1]]);
                }
            }
        }
        packed
    }
}

/// A block begins with its scale, in binary16.
const SCALE_BYTES: usize = 2;

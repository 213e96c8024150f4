//! Rows of activations in the forms that matrices take.

use crate::cpu::dispatched;
use crate::lanes;
use crate::matrix::Matrix;
use crate::pool::Pool;
use crate::reference::BLOCK;

/// Rows that share a pass over a tile of weights: each weight is unpacked once for all of them, and their chains
/// of additions hide one another's latency.
pub(crate) const GROUP_ROWS: usize = 8;

/// One block of one row.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct RowBlock {
    pub quants: [i8; BLOCK],
    pub scale: f32,
    /// Sum of the integers, by which back ends with unsigned weights correct their dots.
    pub sum: i32,
}

/// What only some types of weights need of a block of one row; apart, so that the others do not read over it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(32))]
pub(crate) struct RowParts {
    /// Sums of the integers of each half of the block.
    pub halves: [i32; 2],
    /// The sums of the whole block and of its halves, times the scale, which minima multiply.
    pub offsets: [f32; 3],
}

/// Up to [`GROUP_ROWS`] consecutive rows.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// `[row, cols]`.
    pub values: Vec<f32>,
    /// `[block][row]`, of the rows that are filled: a single row is dense.
    pub blocks: Vec<RowBlock>,
    /// As the blocks.
    pub parts: Vec<RowParts>,
    /// Rows that are filled.
    pub rows: usize,
}

/// The input of matrix products: up to a fixed number of rows of equal length.
#[derive(Debug)]
pub struct Activations {
    groups: Vec<Group>,
    rows: usize,
    cols: usize,
}

impl Activations {
    /// Room for `rows_max` rows of `cols` values.
    pub fn new(rows_max: usize, cols: usize) -> Self {
        let group = |index: usize| {
            let rows = GROUP_ROWS.min(rows_max - index * GROUP_ROWS);
            let blocks = rows * (cols / BLOCK);
            Group {
                values: vec![0.0; rows * cols],
                blocks: vec![RowBlock::default(); blocks],
                parts: vec![RowParts::default(); blocks],
                rows: 0,
            }
        };
        Self { groups: (0..rows_max.div_ceil(GROUP_ROWS)).map(group).collect(), rows: 0, cols }
    }

    /// Lets `write` fill each of `rows` rows, and prepares them for `consumers`.
    ///
    /// # Panics
    /// When there is no room for as many rows, or a consumer has another number of columns.
    pub fn fill(
        &mut self,
        pool: &Pool,
        rows: usize,
        consumers: &[&Matrix],
        write: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        assert!(consumers.iter().all(|matrix| matrix.cols() == self.cols), "rows of {}", self.cols);
        let quantised = consumers.iter().any(|matrix| matrix.weight_type().integers().is_some());
        self.rows = rows;
        let (cpu, cols) = (pool.cpu(), self.cols);
        let groups = &mut self.groups[..rows.div_ceil(GROUP_ROWS)];
        pool.for_each(groups, GROUP_ROWS * cols * OPS_PER_VALUE, |index, group| {
            let first = index * GROUP_ROWS;
            group.rows = GROUP_ROWS.min(rows - first);
            let values = group.values[..group.rows * cols].chunks_exact_mut(cols);
            for (row, values) in values.enumerate() {
                write(first + row, values);
                if quantised {
                    cpu.quantise_row(values, (row, group.rows), &mut group.blocks, &mut group.parts);
                }
            }
        });
    }

    /// Number of columns.
    pub const fn cols(&self) -> usize {
        self.cols
    }

    /// Number of rows that were filled last.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The values of a row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.groups[row / GROUP_ROWS].values[row % GROUP_ROWS * self.cols..][..self.cols]
    }

    /// The rows that were filled last.
    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups[..self.rows.div_ceil(GROUP_ROWS)]
    }
}

/// What producing and quantising a value costs, in multiply-adds of a matrix product.
const OPS_PER_VALUE: usize = 8;

dispatched! {
    /// Quantises a row of whole blocks into its place among the blocks of so many rows; see
    /// [`quantise_block`](crate::reference::quantise_block).
    pub(crate) fn quantise_row(
        values: &[f32],
        place: (usize, usize),
        blocks: &mut [RowBlock],
        parts: &mut [RowParts],
    ) = lanes::rows::quantise;
}

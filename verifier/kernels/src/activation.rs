//! Rows of activations in the forms that matrices take.

use crate::cpu::dispatched;
use crate::lanes;
use crate::matrix::Matrix;
use crate::pool::Pool;
use crate::reference::BLOCK;

/// Rows that share a pass over a tile of weights: each weight is unpacked once for all of them, and their chains
/// of additions hide one another's latency.
pub(crate) const GROUP_ROWS: usize = 8;

/// One block of each row of a group.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct GroupBlock {
    /// `[row][element]`.
    pub quants: [[i8; BLOCK]; GROUP_ROWS],
    pub scales: [f32; GROUP_ROWS],
    /// Where dots begin, so that what is taken off every weight is taken off once; see [`START`].
    pub starts: [[i32; GROUP_ROWS]; START.len()],
    /// Sums of the integers of the whole block and of its halves, times the scale; minima multiply them.
    pub offsets: [[f32; GROUP_ROWS]; 3],
}

/// What each of [`GroupBlock::starts`] is for: a part of the block (0 the whole, 1 and 2 its halves), whose sum is
/// multiplied by what is taken off every weight. Kept, and not multiplied out where it is needed: there it would be
/// a twelfth of the work.
pub(crate) const START: [(usize, i32); 7] = [(0, 128), (0, 8), (0, 16), (1, 32), (2, 32), (1, 4), (2, 4)];

/// Which of the starts a part of a block has, for weights of which `less` is taken off.
pub(crate) const fn start(part: usize, less: i32) -> usize {
    let mut index = 0;
    while index < START.len() {
        if START[index].0 == part && START[index].1 == less {
            return index;
        }
        index += 1;
    }
    panic!("a type of weights has no start")
}

const ZERO: GroupBlock = GroupBlock {
    quants: [[0; BLOCK]; GROUP_ROWS],
    scales: [0.0; GROUP_ROWS],
    starts: [[0; GROUP_ROWS]; START.len()],
    offsets: [[0.0; GROUP_ROWS]; 3],
};

/// Up to [`GROUP_ROWS`] consecutive rows.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// `[row, cols]`.
    pub values: Vec<f32>,
    pub blocks: Vec<GroupBlock>,
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
            Group { values: vec![0.0; rows * cols], blocks: vec![ZERO; cols / BLOCK], rows: 0 }
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
                    cpu.quantise_row(values, row, &mut group.blocks);
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
    /// Quantises a row of whole blocks into its place in a group; see
    /// [`quantise_block`](crate::reference::quantise_block).
    pub(crate) fn quantise_row(values: &[f32], row: usize, blocks: &mut [GroupBlock]) = lanes::rows::quantise;
}
